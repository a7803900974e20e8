package event

import (
	"reflect"
	"strings"
	"testing"
)

func TestTrade(t *testing.T) {
	engine := Trade{
		Time: 1631097282055039, ID: 7, Market: Text("ETH_USDT"), Base: Text("ETH"), Quote: Text("USDT"),
		Price: dec("3331.16"), Amount: dec("0.1074"), QuoteAmount: dec("357.766584"), TakerSide: Bid,
		AskUserID: 1, AskOrderID: 8, AskFee: dec("0"),
		BidUserID: 3, BidOrderID: 9, BidFee: dec("-0.0101000"),
	}
	documented := Trade{
		Time: 1705314600000000, ID: 123456, Market: Text("BTC_USDT"),
		Price: dec("42500.00"), Amount: dec("0.5"), QuoteAmount: dec("21250.00"), TakerSide: Bid,
		AskUserID: NoID, AskOrderID: 111, BidUserID: NoID, BidOrderID: 222,
	}
	with := func(e Trade, change func(*Trade)) Trade { change(&e); return e }

	for _, c := range []struct {
		name  string
		value string
		want  Trade
	}{
		{"engine", engineTrade, engine},
		{"engine, ask takes", strings.NewReplacer("MAKER", "TAKER", "TAKER", "MAKER").Replace(engineTrade),
			with(engine, func(e *Trade) { e.TakerSide = Ask })},
		{"engine built without state diff", strings.Replace(engineTrade, `,"state_before":{"order_states":[]},"state_after":{"order_states":[]}`, ``, 1), engine},
		{"engine before 2021-06: no orders, other states",
			strings.Replace(engineTrade, `,"ask_order":null,"bid_order":{"id":9},"state_before":{"order_states":[]},"state_after":{"order_states":[]}`,
				`,"state_before":{"ask_order_state":{"price":"1","amount":"1"},"bid_order_state":{},"balance":{"bid_user_base":"1"}},"state_after":{}`, 1), engine},
		{"engine, nulls for optional fields", strings.NewReplacer(`{"id":9}`, `null`, `{"order_states":[]}`, `null`).Replace(engineTrade), engine},
		{"engine, largest ids", strings.NewReplacer(`"id":7`, `"id":9223372036854775807`, `"ask_user_id":1`, `"ask_user_id":4294967295`).Replace(engineTrade),
			with(engine, func(e *Trade) { e.ID, e.AskUserID = 1<<63-1, 1<<32-1 })},
		{"documented", documentedTrade, documented},
		{"documented, sell", strings.Replace(documentedTrade, "buy", "sell", 1),
			with(documented, func(e *Trade) { e.TakerSide, e.AskOrderID, e.BidOrderID = Ask, 222, 111 })},
		{"documented, amounts as numbers", strings.NewReplacer(`"42500.00"`, `42500.00`, `"0.5"`, `5E-1`).Replace(documentedTrade), documented},
		{"documented, unknown engine fields ignored", strings.Replace(documentedTrade, `{`, `{"ask_order_id":"x","base":5,`, 1), documented},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			got := Trade{AskFee: dec("left over")}
			if err := d.Trade([]byte(c.value), &got); err != nil {
				t.Fatal(err)
			}
			// TestTradeParts has the objects in a trade.
			got.AskOrder, got.BidOrder, got.Before, got.After, got.Malformed = nil, nil, nil, nil, false
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got\n%+v, expected\n%+v", got, c.want)
			}
		})
	}

	for _, c := range []struct{ name, base, old, new, reason string }{
		{"id missing", engineTrade, `"id":7,`, ``, "id is missing"},
		{"id null", engineTrade, `"id":7`, `"id":null`, "id is null"},
		{"id an object", engineTrade, `"id":7`, `"id":{}`, "id is an object"},
		{"id negative", engineTrade, `"id":7`, `"id":-7`, "id is -7"},
		{"id fractional", engineTrade, `"id":7`, `"id":7.5`, "id is 7.5"},
		{"id above bigint", engineTrade, `"id":7`, `"id":9223372036854775808`, "2^63-1"},
		{"id of the other dialect", engineTrade, `"id":7`, `"id":"trade_7"`, "timestamp is 1631097282.055039"},
		{"ask_order_id missing", engineTrade, `"ask_order_id":8,`, ``, "ask_order_id is missing"},
		{"market missing", engineTrade, `"market":"ETH_USDT",`, ``, "market is missing"},
		{"base missing", engineTrade, `"base":"ETH",`, ``, "base is missing"},
		{"fee null", engineTrade, `"ask_fee":"0"`, `"ask_fee":null`, "ask_fee is null"},
		{"price null", engineTrade, `"price":"3331.16"`, `"price":null`, "price is null"},
		{"price not a decimal", engineTrade, `3331.16`, `3,331.16`, `price is "3,331.16"`},
		{"time a string", engineTrade, `1631097282.055039`, `"1631097282.055039"`, `timestamp is "1631097282.055039"`},
		{"time in ms", engineTrade, `1631097282.055039`, `1631097282055.0`, "timestamp is 1631097282055.0"},
		{"unknown role", engineTrade, `TAKER`, `taker`, `bid_role is "taker", it must be MAKER or TAKER`},
		{"two takers", engineTrade, `MAKER`, `TAKER`, "ask_role and bid_role are the same"},
		{"two makers", engineTrade, `TAKER`, `MAKER`, "ask_role and bid_role are the same"},
		{"ask_order a number", engineTrade, `"ask_order":null`, `"ask_order":5`, "ask_order is 5"},
		{"state_after an array", engineTrade, `"state_after":{"order_states":[]}`, `"state_after":[]`, "state_after is an array"},
		{"documented id without number", documentedTrade, `trade_123456`, `trade_`, `id is "trade_"`},
		{"documented id without prefix", documentedTrade, `trade_123456`, `123456`, `id is "123456"`},
		{"documented id, other prefix", documentedTrade, `trade_123456`, `order_123456`, `id is "order_123456"`},
		{"documented id negative", documentedTrade, `trade_123456`, `trade_-1`, `id is "trade_-1"`},
		{"documented id spelt otherwise", documentedTrade, `trade_123456`, `trade_0123456`, `id is "trade_0123456"`},
		{"documented id above bigint", documentedTrade, `trade_123456`, `trade_9223372036854775808`, "2^63-1"},
		{"documented id a UUID", documentedTrade, `trade_123456`, `0b9f3e5e-6f0a-4a51-b1f3-5a2d6f0c9a11`, "id is"},
		{"documented order id a number", documentedTrade, `"order_111"`, `111`, "maker_order_id is 111"},
		{"documented side in upper case", documentedTrade, `buy`, `BUY`, `taker_side is "BUY", it must be buy or sell`},
		{"documented side missing", documentedTrade, `"taker_side":"buy",`, ``, "taker_side is missing"},
		{"documented time a number", documentedTrade, `"2024-01-15T10:30:00.000Z"`, `1705314600.0`, "timestamp is 1705314600.0"},
		{"documented time without zone", documentedTrade, `.000Z`, `.000`, "RFC 3339"},
		{"backend's shape is not foreign here", documentedTrade, documentedTrade, foreignOrder, "id is missing"},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, c.base, edit(t, c.base, c.old, c.new), c.reason) })
	}
}
