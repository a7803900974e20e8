package event

import (
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestOrder(t *testing.T) {
	signature, err := hex.DecodeString(someSignature)
	if err != nil {
		t.Fatal(err)
	}
	engine := Order{
		Action: Update, ID: 9, Market: Text("ETH_USDT"), Base: Text("ETH"), Quote: Text("USDT"), UserID: 3,
		Side: Bid, Type: Limit, PostOnly: False, Price: dec("3331.16"), Amount: dec("0.2261"),
		Remain: dec("0.1187"), Frozen: dec("395.408692"), FinishedBase: dec("0.1074"),
		FinishedQuote: dec("357.766584"), FinishedFee: dec("0.000000"),
		MakerFee: dec("0"), TakerFee: dec("0.001"),
		CreateTime: 1631097282055038, UpdateTime: 1631097283933325, Signature: signature,
	}
	documented := Order{
		Action: Put, ID: 123, Market: Text("BTC_USDT"), UserID: 1001, Side: Bid, Type: Limit,
		Price: dec("42000.00"), Amount: dec("1.0"), Remain: dec("1.0"), FinishedBase: dec("0.0"),
		CreateTime: 1705314600000000, UpdateTime: NoTime,
	}
	with := func(e Order, change func(*Order)) Order { change(&e); return e }
	unsigned := with(engine, func(o *Order) { o.Signature = nil })

	type good struct {
		name  string
		value string
		want  Order
	}
	cases := []good{
		{"engine", engineOrder, engine},
		{"engine, PUT", strings.Replace(engineOrder, "UPDATE", "PUT", 1), with(engine, func(o *Order) { o.Action = Put })},
		{"engine, FINISH", strings.Replace(engineOrder, "UPDATE", "FINISH", 1), with(engine, func(o *Order) { o.Action = Finish })},
		{"engine, EXPIRED", strings.Replace(engineOrder, "UPDATE", "EXPIRED", 1), with(engine, func(o *Order) { o.Action = Expired })},
		{"engine, market ask, post only", strings.NewReplacer("LIMIT", "MARKET", "BID", "ASK", "false", "true").Replace(engineOrder),
			with(engine, func(o *Order) { o.Type, o.Side, o.PostOnly = Market, Ask, True })},
		{"engine, unsigned", strings.Replace(engineOrder, someSignature, noSignature, 1), unsigned},
		{"engine, signature in upper case", strings.Replace(engineOrder, someSignature, strings.ToUpper(someSignature), 1), engine},
		{"engine before 2021-06: no signature, post_only, assets in the order; other sequence",
			`{"event":"UPDATE","order":{"create_time":1631097282.055038,"update_time":1631097283.933325,"price":"3331.16","amount":"0.2261","market":"ETH_USDT","type":"LIMIT","side":"BID","user":3,"id":9,"taker_fee":"0.001","maker_fee":"0","remain":"0.1187","frozen":"395.408692","finished_base":"0.1074","finished_quote":"357.766584","finished_fee":"0.000000"},"base":"ETH","quote":"USDT"}`,
			with(unsigned, func(o *Order) { o.PostOnly = NoFlag })},
		{"engine, nulls for optional fields", strings.NewReplacer(`"`+someSignature+`"`, "null", "false", "null", `"base":"ETH","quote":"USDT","market"`, `"base":null,"quote":null,"market"`).Replace(engineOrder),
			with(unsigned, func(o *Order) { o.PostOnly = NoFlag })},
		{"engine, a field of the other dialect ignored", strings.Replace(engineOrder, `"id":9,`, `"id":9,"filled_amount":"x","user_id":-1,`, 1), engine},
		{"engine, data ignored", strings.Replace(engineOrder, `{"event"`, `{"data":{"x":1},"event"`, 1), engine},
		{"documented", documentedOrder, documented},
		{"documented, event last", `{"order"` + strings.TrimSuffix(strings.SplitN(documentedOrder, `"order"`, 2)[1], "}") + `,"event":"ORDER_CREATED"}`, documented},
		{"documented, market sell without price", strings.NewReplacer("limit", "market", "buy", "sell", `"price":"42000.00",`, "").Replace(documentedOrder),
			with(documented, func(o *Order) { o.Type, o.Side, o.Price = Market, Ask, Decimal{} })},
		{"documented, partly filled", strings.Replace(documentedOrder, `"0.0"`, `"0.123"`, 1),
			with(documented, func(o *Order) { o.FinishedBase, o.Remain = dec("0.123"), dec("0.877") })},
		{"documented, overfilled", strings.Replace(documentedOrder, `"0.0"`, `"1.5"`, 1),
			with(documented, func(o *Order) { o.FinishedBase, o.Remain = dec("1.5"), dec("-0.5") })},
	}
	for name, action := range map[string]Action{
		"ORDER_CREATED": Put, "ORDER_UPDATED": Update, "ORDER_PARTIALLY_FILLED": Update, "ORDER_FILLED": Finish,
		"ORDER_CANCELLED": Finish, "ORDER_CANCELED": Finish, "ORDER_REJECTED": Finish, "ORDER_EXPIRED": Expired,
	} {
		cases = append(cases, good{"documented, " + name, strings.Replace(documentedOrder, "ORDER_CREATED", name, 1),
			with(documented, func(o *Order) { o.Action = action })})
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			got := Order{Frozen: dec("left over")}
			if err := d.Order([]byte(c.value), &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got\n%+v, expected\n%+v", got, c.want)
			}
		})
	}

	for _, c := range []struct{ name, base, old, new, reason string }{
		{"event missing", engineOrder, `"event":"UPDATE",`, ``, "event is missing"},
		{"event null", engineOrder, `"UPDATE"`, `null`, "event is null"},
		{"event unknown", engineOrder, `UPDATE`, `CANCEL`, `event is "CANCEL"`},
		{"event in lower case", engineOrder, `UPDATE`, `update`, `event is "update"`},
		{"event empty", engineOrder, `UPDATE`, ``, `event is ""`},
		{"order missing", engineOrder, `"order":{`, `"other":{`, "order is missing"},
		{"order null", foreignOrder, foreignOrder, `{"event":"PUT","order":null}`, "order is null"},
		{"order a string", foreignOrder, foreignOrder, `{"event":"PUT","order":"x"}`, "order is \"x\""},
		{"order empty", foreignOrder, foreignOrder, `{"event":"PUT","order":{}}`, "order.id is missing"},
		{"engine event, documented id", engineOrder, `"id":9`, `"id":"order_9"`, `order.id is "order_9"`},
		{"documented event, engine id", documentedOrder, `"order_123"`, `123`, "order.id is 123"},
		{"id above bigint", engineOrder, `"id":9`, `"id":18446744073709551615`, "2^63-1"},
		{"user missing", engineOrder, `"user":3,`, ``, "order.user is missing"},
		{"remain missing", engineOrder, `"remain":"0.1187",`, ``, "order.remain is missing"},
		{"finished_fee null", engineOrder, `"0.000000"`, `null`, "order.finished_fee is null"},
		{"update_time missing", engineOrder, `,"update_time":1631097283.933325`, ``, "order.update_time is missing"},
		{"message's base missing", engineOrder, `},"base":"ETH"`, `}`, "base is missing"},
		{"side in lower case", engineOrder, `BID`, `bid`, `order.side is "bid"`},
		{"side of the other dialect", engineOrder, `BID`, `buy`, `order.side is "buy"`},
		{"type unknown", engineOrder, `LIMIT`, `STOP`, `order.type is "STOP"`},
		{"post_only a string", engineOrder, `false`, `"false"`, `order.post_only is "false"`},
		{"signature short", engineOrder, someSignature, someSignature[2:], "128 hexadecimal digits"},
		{"signature long", engineOrder, someSignature, someSignature + "00", "128 hexadecimal digits"},
		{"signature empty", engineOrder, someSignature, "", "128 hexadecimal digits"},
		{"signature with 0x", engineOrder, someSignature, "0x" + someSignature[2:], "128 hexadecimal digits"},
		{"signature a number", engineOrder, `"` + someSignature + `"`, "0", "128 hexadecimal digits"},
		{"documented, user a string", documentedOrder, `1001`, `"1001"`, `order.user_id is "1001"`},
		{"documented, side of the engine", documentedOrder, `buy`, `BID`, `order.side is "BID"`},
		{"documented, type unknown", documentedOrder, `limit`, `stop_limit`, `order.type is "stop_limit"`},
		{"documented, limit without price", documentedOrder, `"price":"42000.00",`, ``, "order.price is missing"},
		{"documented, filled_amount missing", documentedOrder, `"filled_amount":"0.0",`, ``, "order.filled_amount is missing"},
		{"documented, created_at missing", documentedOrder, `,"created_at":"2024-01-15T10:30:00.000Z"`, ``, "order.created_at is missing"},
		{"documented, event unknown", documentedOrder, `ORDER_CREATED`, `ORDER_MOVED`, `event is "ORDER_MOVED"`},
		{"backend's event without data", foreignOrder, `"data":{`, `"order":{`, `event is "order.created"`},
		{"backend's event, data no object", foreignOrder, foreignOrder, `{"event":"order.created","data":[]}`, `event is "order.created"`},
		{"backend's data, other event", foreignOrder, `order.created`, `trade.created`, `event is "trade.created"`},
		{"backend's record broken", foreignOrder, `1.5`, `1.`, "a digit after the point"},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, c.base, edit(t, c.base, c.old, c.new), c.reason) })
	}

	for _, name := range []string{"order.created", "order.updated", "order.cancelled"} {
		t.Run("foreign, "+name, func(t *testing.T) {
			var d Decoder
			err := d.Order(edit(t, foreignOrder, "order.created", name), new(Order))
			if !errors.Is(err, ErrForeign) || err.Error() != "foreign" {
				t.Errorf("error %v, expected ErrForeign", err)
			}
		})
	}
}
