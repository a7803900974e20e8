package event

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/amount"
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

// amount expects the text that came, or, where that is not plain, the number
// written out; and nil where nothing came.
func (c checker) amount(key string, got Decimal) {
	c.Helper()
	if c.tree[key] == nil {
		if got.Text != nil {
			c.Errorf("%s is %q, expected none in %s", key, got.Text, c.value)
		}
		return
	}
	want, ok := exactly(c.text(key))
	if !ok || string(got.Text) != want {
		c.Errorf("%s is %q, expected %q in %s", key, got.Text, c.text(key), c.value)
	}
	if read := amount.Of(got.Text); !got.Is(&read) || !got.Amount().Equal(read) {
		c.Errorf("%s is reckoned as %s, expected %s in %s", key, got.Amount(), read, c.value)
	}
}

func (c checker) words(key string, got Text) {
	c.Helper()
	if c.same(key, string(got)); (c.tree[key] == nil) != (got == nil) {
		c.Errorf("%s is %#v, expected nil only where it is absent in %s", key, got, c.value)
	}
}

func (c checker) id(key string, got int64) { c.Helper(); c.same(key, fmt.Sprint(got)) }

func (c checker) time(key string, got Micros) {
	c.Helper()
	if want := c.micros(c.TB, key); got != want {
		c.Errorf("%s is %d, expected %d in %s", key, got, want, c.value)
	}
}

// iso is for tests where the time package's ns are enough.
func (c checker) iso(key string, got Micros) {
	c.Helper()
	want, err := time.Parse(time.RFC3339, c.text(key))
	if diff := want.UnixMicro() - int64(got); err != nil || diff < -1 || diff > 0 {
		c.Errorf("%s is %d, expected %v (%v) in %s", key, got, want, err, c.value)
	}
}

func (c checker) trade(e *Trade) {
	c.words("market", e.Market)
	c.amount("price", e.Price)
	c.amount("amount", e.Amount)
	c.amount("quote_amount", e.QuoteAmount)
	if _, documented := c.tree["id"].(string); documented {
		c.iso("timestamp", e.Time)
		c.same("id", fmt.Sprint("trade_", e.ID))
		side, maker, taker := "sell", e.BidOrderID, e.AskOrderID
		if e.TakerSide == Bid {
			side, maker, taker = "buy", taker, maker
		}
		c.same("taker_side", side)
		c.same("maker_order_id", fmt.Sprint("order_", maker))
		c.same("taker_order_id", fmt.Sprint("order_", taker))
		return
	}
	c.time("timestamp", e.Time)
	c.id("id", e.ID)
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
	message := c.tree
	c.tree = c.tree["order"].(map[string]any)
	c.words("market", e.Market)
	c.amount("price", e.Price)
	c.amount("amount", e.Amount)
	if _, documented := c.tree["id"].(string); documented {
		c.same("id", fmt.Sprint("order_", e.ID))
		c.id("user_id", e.UserID)
		c.same("side", map[Side]string{Ask: "sell", Bid: "buy"}[e.Side])
		c.same("type", e.Type.String())
		c.amount("filled_amount", e.FinishedBase)
		c.iso("created_at", e.CreateTime)
		return
	}
	if message["event"] != e.Action.String() {
		c.Errorf("action is %s in %s", e.Action, c.value)
	}
	c.id("id", e.ID)
	for key, got := range map[string]Text{"base": e.Base, "quote": e.Quote} {
		if c.tree[key] == nil {
			c.tree[key] = message[key]
		}
		c.words(key, got)
	}
	c.id("user", e.UserID)
	c.same("side", map[Side]string{Ask: "ASK", Bid: "BID"}[e.Side])
	c.same("type", map[OrderType]string{Limit: "LIMIT", Market: "MARKET"}[e.Type])
	c.same("post_only", map[Flag]string{True: "true", False: "false"}[e.PostOnly])
	c.amount("remain", e.Remain)
	c.amount("frozen", e.Frozen)
	c.amount("finished_base", e.FinishedBase)
	c.amount("finished_quote", e.FinishedQuote)
	c.amount("finished_fee", e.FinishedFee)
	c.amount("maker_fee", e.MakerFee)
	c.amount("taker_fee", e.TakerFee)
	c.time("create_time", e.CreateTime)
	c.time("update_time", e.UpdateTime)
	signature := strings.ToLower(c.text("signature"))
	if signature == noSignature {
		signature = ""
	}
	if hex.EncodeToString(e.Signature) != signature {
		c.Errorf("signature is %x in %s", e.Signature, c.value)
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
}

// detailID expects the id of a detail that encoding/json can read.
func (c checker) detailID(e *Balance) {
	dec := json.NewDecoder(bytes.NewReader(e.Detail))
	dec.UseNumber()
	var detail tree
	if dec.Decode(&detail) != nil || e.BusinessID.Text == nil {
		return // TestBalance has the details without an id
	}
	if string(e.BusinessID.Text) != detail.text("id") {
		c.Errorf("business id is %q in %s", e.BusinessID.Text, c.value)
	}
}

func (c checker) transfer(e *Transfer) {
	c.time("time", e.Time)
	c.id("user_from", e.UserFrom)
	c.id("user_to", e.UserTo)
	c.words("asset", e.Asset)
	c.amount("amount", e.Amount)
	c.words("signature", e.Signature)
}

func (c checker) user(e *User) {
	c.id("user_id", e.UserID)
	c.words("l1_address", e.L1Address)
	c.words("l2_pubkey", e.L2Pubkey)
}

// message compares what was just decoded from the value.
func (c checker) message(base string, m *messages) {
	c.tree = reference(c.TB, c.value)
	switch base {
	case engineTrade:
		c.trade(&m.trade)
	case engineOrder:
		c.order(&m.order)
	case balance:
		c.balance(&m.balance)
		c.words("signature", m.balance.Signature)
		c.amount("market_price", m.balance.MarketPrice)
		c.same("business_id", string(m.balance.BusinessID.Text))
	case deposit:
		c.balance(&m.balance)
		c.detailID(&m.balance)
	case withdraw:
		c.balance(&m.balance)
		c.words("signature", m.balance.Signature)
		c.detailID(&m.balance)
	case transfer:
		c.transfer(&m.transfer)
	case user:
		c.user(&m.user)
	}
}

// typeOf maps a dump's types to the messages of decoder_test.go.
var typeOf = map[string]string{
	"TradeMessage": engineTrade, "OrderMessage": engineOrder, "BalanceMessage": balance, "DepositMessage": deposit,
	"WithdrawMessage": withdraw, "TransferMessage": transfer, "UserMessage": user,
}

// TestCorpus decodes every message that the engine wrote and compares each
// field with what encoding/json and exact fractions make of it.
func TestCorpus(t *testing.T) {
	var m messages
	count := map[string]int{}
	for _, l := range corpus(t, true) {
		base := typeOf[l.Type]
		if err := m.decode(base, l.Value); err != nil {
			t.Fatalf("%v: %s", err, l.Value)
		}
		checker{TB: t, value: l.Value}.message(base, &m)
		if (base == deposit || base == withdraw) && m.balance.BusinessID.Text == nil {
			t.Errorf("no business id in %s", l.Value)
		}
		if t.Failed() {
			t.FailNow()
		}
		count[l.Type]++
	}
	if len(count) != len(typeOf) {
		t.Errorf("the corpus has %v, expected all seven types", count)
	}
	t.Log(count)
}
