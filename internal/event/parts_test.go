package event

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestTradeParts compares the objects in each trade of the corpus with what
// encoding/json finds there.
func TestTradeParts(t *testing.T) {
	var d Decoder
	var trade Trade
	orders, states := 0, 0
	for _, l := range corpus(t, true) {
		if l.Type != "TradeMessage" {
			continue
		}
		if err := d.Trade(l.Value, &trade); err != nil {
			t.Fatal(err)
		}
		if trade.Malformed {
			t.Fatalf("malformed: %s", l.Value)
		}
		whole := reference(t, l.Value)
		for key, o := range map[string]*Order{"ask_order": trade.AskOrder, "bid_order": trade.BidOrder} {
			if whole[key] == nil {
				if o != nil {
					t.Fatalf("%s is there, in %s", key, l.Value)
				}
				continue
			}
			orders++
			part, err := json.Marshal(map[string]any{"order": whole[key]})
			if err != nil {
				t.Fatal(err)
			}
			o.Action = Put // checker.order compares an order in its event
			checker{TB: t, tree: tree(whole[key].(map[string]any)), value: part}.partOrder(o)
		}
		for key, s := range map[string]*TradeState{"state_before": trade.Before, "state_after": trade.After} {
			if whole[key] == nil {
				t.Fatalf("no %s in %s", key, l.Value)
			}
			states++
			checkState(t, whole[key].(map[string]any), s)
		}
	}
	if orders == 0 || states == 0 {
		t.Errorf("compared %d orders, %d states", orders, states)
	}
}

func (c checker) partOrder(o *Order) {
	c.id("id", o.ID)
	c.id("user", o.UserID)
	c.words("base", o.Base)
	c.words("quote", o.Quote)
	c.words("market", o.Market)
	c.same("side", strings.ToUpper(o.Side.String()))
	c.same("type", strings.ToUpper(o.Type.String()))
	for key, got := range map[string]Decimal{
		"price": o.Price, "amount": o.Amount, "remain": o.Remain, "frozen": o.Frozen, "finished_base": o.FinishedBase,
		"finished_quote": o.FinishedQuote, "finished_fee": o.FinishedFee, "maker_fee": o.MakerFee, "taker_fee": o.TakerFee,
	} {
		c.amount(key, got)
	}
	c.time("create_time", o.CreateTime)
	c.time("update_time", o.UpdateTime)
	if o.Signature != nil {
		c.Errorf("a signature in %s", c.value)
	}
}

func checkState(t *testing.T, want map[string]any, got *TradeState) {
	t.Helper()
	var found []string
	for _, o := range got.Orders {
		found = append(found, fmt.Sprint(o.UserID, o.ID, strings.ToUpper(o.Side.String()), string(o.FinishedBase.Text), string(o.FinishedQuote.Text), string(o.FinishedFee.Text)))
	}
	for _, b := range got.Balances {
		found = append(found, fmt.Sprint(b.UserID, string(b.Asset), string(b.Balance.Text)))
	}
	var expected []string
	for _, e := range want["order_states"].([]any) {
		m := tree(e.(map[string]any))
		expected = append(expected, fmt.Sprint(m.integer("user_id"), m.integer("order_id"), m.text("order_side"), m.text("finished_base"), m.text("finished_quote"), m.text("finished_fee")))
	}
	for _, e := range want["balance_states"].([]any) {
		m := tree(e.(map[string]any))
		expected = append(expected, fmt.Sprint(m.integer("user_id"), m.text("asset"), m.text("balance")))
	}
	if !reflect.DeepEqual(found, expected) {
		t.Fatalf("got %v, expected %v", found, expected)
	}
}

func (m tree) integer(key string) int64 {
	n, err := m[key].(json.Number).Int64()
	if err != nil {
		panic(err)
	}
	return n
}

// TestTradePartsMalformed shows that what is wrong inside of a trade's objects
// harms neither the trade nor its other parts.
func TestTradePartsMalformed(t *testing.T) {
	good := string(values(t, "TradeMessage")[0])
	for _, c := range []struct{ name, old, new string }{
		{"order without amount", `"amount":"12.1132","maker_fee"`, `"maker_fee"`},
		{"order of an unknown side", `"side":"ASK"`, `"side":"ask"`},
		{"no order states", `"state_before":{"order_states":[`, `"state_before":{"others":[`},
		{"too few order states", `"state_after":{"order_states":[`, `"state_after":{"order_states":[],"others":[`},
		{"too many balance states", `"balance_states":[`, `"balance_states":[{"user_id":12,"asset":"UNI","balance":"10000"},`},
		{"balance state a number", `"balance_states":[`, `"balance_states":[5,`},
		{"balance no decimal", `"balance":"10000"`, `"balance":"1,0"`},
		{"order state without fee", `,"finished_fee":"0"},{"user_id":20`, `},{"user_id":20`},
	} {
		t.Run(c.name, func(t *testing.T) {
			value := strings.Replace(good, c.old, c.new, 1)
			if value == good {
				t.Fatalf("%s is not in %s", c.old, good)
			}
			var d Decoder
			var trade Trade
			if err := d.Trade([]byte(value), &trade); err != nil {
				t.Fatal(err)
			}
			parts := 0
			for _, there := range []bool{trade.AskOrder != nil, trade.BidOrder != nil, trade.Before != nil, trade.After != nil} {
				if there {
					parts++
				}
			}
			if !trade.Malformed || parts != 3 {
				t.Errorf("malformed %v with %d parts, expected true with 3", trade.Malformed, parts)
			}
		})
	}
}

// TestEarlyTradeParts reads the states as they were before 2021-06.
func TestEarlyTradeParts(t *testing.T) {
	value := strings.Replace(engineTrade, `,"ask_order":null,"bid_order":{"id":9},"state_before":{"order_states":[]},"state_after":{"order_states":[]}`,
		`,"state_before":{"ask_order_state":{"price":"1","amount":"1","finished_base":"0.1","finished_quote":"0.2"},`+
			`"bid_order_state":{"price":"1","amount":"1","finished_base":"0.3","finished_quote":"0.4"},`+
			`"balance":{"bid_user_base":"3","bid_user_quote":"4","ask_user_base":"1","ask_user_quote":"2"}}`, 1)
	var d Decoder
	var got Trade
	if err := d.Trade([]byte(value), &got); err != nil {
		t.Fatal(err)
	}
	want := &TradeState{
		Orders: [2]OrderState{
			{UserID: NoID, ID: NoID, FinishedBase: dec("0.1"), FinishedQuote: dec("0.2")},
			{UserID: NoID, ID: NoID, FinishedBase: dec("0.3"), FinishedQuote: dec("0.4")},
		},
		Balances: [4]BalanceState{
			{1, Text("ETH"), dec("1")}, {1, Text("USDT"), dec("2")}, {3, Text("ETH"), dec("3")}, {3, Text("USDT"), dec("4")},
		},
	}
	if got.Malformed || got.After != nil || !reflect.DeepEqual(got.Before, want) {
		t.Errorf("got %+v (malformed %v), expected %+v", got.Before, got.Malformed, want)
	}
}

// TestUnify has each of the engine's keys, and one that is none.
func TestUnify(t *testing.T) {
	for _, c := range []struct {
		key, value string
		want       Kind
	}{
		{"trades", engineTrade, KindTrade}, {"trades", documentedTrade, KindTrade}, {"orders", engineOrder, KindOrder},
		{"deposits", deposit, KindDeposit}, {"withdraws", withdraw, KindWithdraw}, {"balances", balance, KindWithdraw},
		{"balances", strings.Replace(balance, "-100", "100", 1), KindDeposit}, {"internaltransfer", transfer, KindTransfer}, {"registeruser", user, KindUser},
	} {
		var d Decoder
		var u Unify
		if err := d.Unify([]byte(c.key), []byte(c.value), &u); err != nil || u.Kind != c.want {
			t.Errorf("%s: kind %d (%v), expected %d", c.key, u.Kind, err, c.want)
		}
	}
	var d Decoder
	var u Unify
	// A deposit of 2021-07 has no business_id of its own.
	early := `{"timestamp":1625443200.5,"user_id":1,"asset":"USDT","business":"deposit","change":"5","balance":"5","balance_available":"5","balance_frozen":"0","detail":"{\"id\":1625443200123}"}`
	if err := d.Unify([]byte("balances"), []byte(early), &u); err != nil || u.Kind != KindDeposit || string(u.Balance.BusinessID.Text) != "1625443200123" {
		t.Errorf("kind %d, business id %s, %v", u.Kind, u.Balance.BusinessID.Text, err)
	}
	if err := d.Unify([]byte("balances"), []byte(strings.Replace(early, `:1625443200123}`, `:-5}`, 1)), &u); err == nil || !strings.Contains(err.Error(), "detail.id is -5") {
		t.Errorf("negative id: %v", err)
	}
	if err := d.Unify([]byte("unifyevents"), []byte(user), &u); err == nil || !strings.Contains(err.Error(), `key "unifyevents" is not one of the engine's`) {
		t.Errorf("unknown key: %v", err)
	}
}
