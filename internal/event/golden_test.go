package event

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"testing"
)

// tree is a record as encoding/json reads it, numbers kept as their text.
type tree map[string]any

func reference(t testing.TB, value []byte) tree {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.UseNumber()
	var m tree
	if err := dec.Decode(&m); err != nil {
		t.Fatalf("encoding/json refuses %s: %v", value, err)
	}
	return m
}

// text is a field's text, "" where it is absent, whatever its JSON type.
func (m tree) text(key string) string {
	switch v := m[key].(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	default:
		return fmt.Sprint(v)
	}
}

// micros rounds a field's seconds to µs with exact fractions.
func (m tree) micros(t testing.TB, key string) Micros {
	t.Helper()
	r, ok := new(big.Rat).SetString(m.text(key))
	if !ok {
		t.Fatalf("%s is %q, no number", key, m.text(key))
	}
	r.Mul(r, big.NewRat(1_000_000, 1)).Add(r, big.NewRat(1, 2))
	return Micros(new(big.Int).Div(r.Num(), r.Denom()).Int64())
}

// checker compares what was decoded with the reference, field by field.
type checker struct {
	testing.TB
	tree
	value []byte
}

func (c checker) same(key, got string) {
	c.Helper()
	if want := c.text(key); got != want {
		c.Errorf("%s is %q, expected %q in %s", key, got, want, c.value)
	}
}

func (c checker) amount(key string, got Decimal) { c.Helper(); c.same(key, string(got)) }
func (c checker) words(key string, got Text)     { c.Helper(); c.same(key, string(got)) }
func (c checker) id(key string, got int64)       { c.Helper(); c.same(key, fmt.Sprint(got)) }
func (c checker) time(key string, got Micros) {
	c.Helper()
	if want := c.micros(c.TB, key); got != want {
		c.Errorf("%s is %d, expected %d in %s", key, got, want, c.value)
	}
}

func (c checker) trade(e *Trade) {
	c.time("timestamp", e.Time)
	c.id("id", e.ID)
	c.words("market", e.Market)
	c.amount("price", e.Price)
	c.amount("amount", e.Amount)
	c.amount("quote_amount", e.QuoteAmount)
	c.id("ask_user_id", e.AskUserID)
	c.id("ask_order_id", e.AskOrderID)
	c.amount("ask_fee", e.AskFee)
	c.id("bid_user_id", e.BidUserID)
	c.id("bid_order_id", e.BidOrderID)
	c.amount("bid_fee", e.BidFee)
	role := map[Side]string{Ask: "ask_role", Bid: "bid_role"}[e.TakerSide]
	if c.text(role) != "TAKER" {
		c.Errorf("taker is %s in %s", e.TakerSide, c.value)
	}
}

func (c checker) order(e *Order) {
	c.same("event", e.Action.String())
	c.tree = c.tree["order"].(map[string]any)
	c.id("id", e.ID)
	c.words("base", e.Base)
	c.words("quote", e.Quote)
	c.words("market", e.Market)
	c.id("user", e.UserID)
	c.same("side", map[Side]string{Ask: "ASK", Bid: "BID"}[e.Side])
	c.same("type", map[OrderType]string{Limit: "LIMIT", Market: "MARKET"}[e.Type])
	c.same("post_only", map[Flag]string{True: "true", False: "false"}[e.PostOnly])
	c.amount("price", e.Price)
	c.amount("amount", e.Amount)
	c.amount("remain", e.Remain)
	c.amount("frozen", e.Frozen)
	c.amount("finished_base", e.FinishedBase)
	c.amount("finished_quote", e.FinishedQuote)
	c.amount("finished_fee", e.FinishedFee)
	c.amount("maker_fee", e.MakerFee)
	c.amount("taker_fee", e.TakerFee)
	c.time("create_time", e.CreateTime)
	c.time("update_time", e.UpdateTime)
	if e.Signature == nil {
		c.same("signature", noSignature)
	} else {
		c.same("signature", hex.EncodeToString(e.Signature))
	}
}

func (c checker) balance(e *Balance) {
	c.time("timestamp", e.Time)
	c.id("user_id", e.UserID)
	c.words("asset", e.Asset)
	c.words("business", e.Business)
	c.amount("change", e.Change)
	c.amount("balance", e.Balance)
	c.amount("balance_available", e.Available)
	c.amount("balance_frozen", e.Frozen)
	c.words("detail", e.Detail)
	c.words("signature", e.Signature)
	c.amount("market_price", e.MarketPrice)
}

func (c checker) detailID(e *Balance) {
	id := reference(c.TB, []byte(c.text("detail"))).text("id")
	if string(e.BusinessID) != id || id == "" {
		c.Errorf("business id is %q, expected %q in %s", e.BusinessID, id, c.value)
	}
}

// TestCorpus decodes every message that the engine wrote and compares each
// field with what encoding/json and exact fractions make of it.
func TestCorpus(t *testing.T) {
	var (
		d     Decoder
		err   error
		count = map[string]int{}
	)
	for _, l := range corpus(t, true) {
		c := checker{t, reference(t, l.Value), l.Value}
		count[l.Type]++
		switch l.Type {
		case "TradeMessage":
			var e Trade
			if err = d.Trade(l.Value, &e); err == nil {
				c.trade(&e)
			}
		case "OrderMessage":
			var e Order
			if err = d.Order(l.Value, &e); err == nil {
				c.order(&e)
			}
		case "BalanceMessage":
			var e Balance
			if err = d.Balance(l.Value, &e); err == nil {
				c.balance(&e)
				c.amount("business_id", e.BusinessID)
			}
		case "DepositMessage":
			var e Balance
			if err = d.Deposit(l.Value, &e); err == nil {
				c.balance(&e)
				c.detailID(&e)
			}
		case "WithdrawMessage":
			var e Balance
			if err = d.Withdraw(l.Value, &e); err == nil {
				c.balance(&e)
				c.detailID(&e)
			}
		case "TransferMessage":
			var e Transfer
			if err = d.Transfer(l.Value, &e); err == nil {
				c.time("time", e.Time)
				c.id("user_from", e.UserFrom)
				c.id("user_to", e.UserTo)
				c.words("asset", e.Asset)
				c.amount("amount", e.Amount)
				c.words("signature", e.Signature)
			}
		case "UserMessage":
			var e User
			if err = d.User(l.Value, &e); err == nil {
				c.id("user_id", e.UserID)
				c.words("l1_address", e.L1Address)
				c.words("l2_pubkey", e.L2Pubkey)
			}
		default:
			t.Fatalf("unknown type %s", l.Type)
		}
		if err != nil {
			t.Errorf("%v: %s", err, l.Value)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	if len(count) != 7 {
		t.Errorf("the corpus has %v, expected all seven types", count)
	}
	t.Log(count)
}
