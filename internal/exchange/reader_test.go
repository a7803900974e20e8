package exchange

import (
	"encoding/json"
	"fmt"
	"testing"

	shopspring "github.com/shopspring/decimal"
)

// reader rebuilds the state from unifyevents by the rules of wire 4.1 and counts
// what the cross-checks of 4.2 find. It shares no code with the exchange: another
// decimal type, another JSON decoder, no book.
type reader struct {
	t                   testing.TB
	users               map[uint32]User
	available, frozen   map[holding]shopspring.Decimal
	orders              map[uint64]*readOrder
	lastOrder           uint64
	lastTrade           uint64
	mismatches          map[string]int
	trades, deposits    int
	paidIn, out, charge map[string]shopspring.Decimal // per asset
}

type holding struct {
	user  uint32
	asset string
}

type readOrder struct {
	ID            uint64             `json:"id"`
	Base          string             `json:"base"`
	Quote         string             `json:"quote"`
	Market        string             `json:"market"`
	Type          string             `json:"type"`
	Side          string             `json:"side"`
	User          uint32             `json:"user"`
	PostOnly      bool               `json:"post_only"`
	Price         shopspring.Decimal `json:"price"`
	Amount        shopspring.Decimal `json:"amount"`
	Remain        shopspring.Decimal `json:"remain"`
	Frozen        shopspring.Decimal `json:"frozen"`
	FinishedBase  shopspring.Decimal `json:"finished_base"`
	FinishedQuote shopspring.Decimal `json:"finished_quote"`
	FinishedFee   shopspring.Decimal `json:"finished_fee"`
	UpdateTime    json.Number        `json:"update_time"`
}

type readState struct {
	OrderStates []struct {
		OrderID       uint64             `json:"order_id"`
		FinishedBase  shopspring.Decimal `json:"finished_base"`
		FinishedQuote shopspring.Decimal `json:"finished_quote"`
		FinishedFee   shopspring.Decimal `json:"finished_fee"`
	} `json:"order_states"`
	BalanceStates []struct {
		UserID  uint32             `json:"user_id"`
		Asset   string             `json:"asset"`
		Balance shopspring.Decimal `json:"balance"`
	} `json:"balance_states"`
}

func newReader(t testing.TB) *reader {
	r := &reader{t: t, users: map[uint32]User{}, available: map[holding]shopspring.Decimal{}, frozen: map[holding]shopspring.Decimal{},
		orders: map[uint64]*readOrder{}, mismatches: map[string]int{}}
	r.paidIn, r.out, r.charge = map[string]shopspring.Decimal{}, map[string]shopspring.Decimal{}, map[string]shopspring.Decimal{}
	return r
}

func (r *reader) check(name string, ok bool) {
	if !ok {
		r.mismatches[name]++
	}
}

func (r *reader) equal(name string, got, want shopspring.Decimal) { r.check(name, got.Equal(want)) }

func (r *reader) parse(m Message, into any) {
	r.t.Helper()
	if err := json.Unmarshal(m.Value, into); err != nil {
		r.t.Fatalf("%s: %v: %s", m.Key, err, m.Value)
	}
}

// apply reads one record of unifyevents.
func (r *reader) apply(m Message) {
	switch string(m.Key) {
	case "registeruser":
		var v struct {
			User
			UserID uint32 `json:"user_id"`
		}
		r.parse(m, &v)
		r.users[v.UserID] = v.User
	case "deposits", "withdraws":
		r.payment(m)
	case "internaltransfer":
		var v struct {
			From   uint32             `json:"user_from"`
			To     uint32             `json:"user_to"`
			Asset  string             `json:"asset"`
			Amount shopspring.Decimal `json:"amount"`
		}
		r.parse(m, &v)
		if !v.Amount.IsZero() {
			r.move(r.available, v.From, v.Asset, v.Amount.Neg())
			r.move(r.available, v.To, v.Asset, v.Amount)
		}
	case "orders":
		r.order(m)
	case "trades":
		r.trade(m)
	default:
		r.t.Fatalf("key %q on unifyevents", m.Key)
	}
}

func (r *reader) move(of map[holding]shopspring.Decimal, user uint32, asset string, by shopspring.Decimal) {
	of[holding{user, asset}] = of[holding{user, asset}].Add(by)
}

func (r *reader) payment(m Message) {
	var v struct {
		User      uint32             `json:"user_id"`
		Asset     string             `json:"asset"`
		Change    shopspring.Decimal `json:"change"`
		Balance   shopspring.Decimal `json:"balance"`
		Available shopspring.Decimal `json:"balance_available"`
		Frozen    shopspring.Decimal `json:"balance_frozen"`
	}
	r.parse(m, &v)
	r.deposits++
	r.check("payment sign", v.Change.IsPositive() == (string(m.Key) == "deposits") && !v.Change.IsZero())
	h := holding{v.User, v.Asset}
	r.move(r.available, v.User, v.Asset, v.Change)
	r.paidIn[v.Asset] = r.paidIn[v.Asset].Add(v.Change)
	r.equal("payment available", r.available[h], v.Available)
	r.equal("payment frozen", r.frozen[h], v.Frozen)
	r.equal("payment balance", v.Available.Add(v.Frozen), v.Balance)
	r.out[v.Asset] = r.out[v.Asset].Add(r.available[h].Sub(v.Available)) // what is adopted
	r.available[h], r.frozen[h] = v.Available, v.Frozen
}

// hold is what a part of an order has frozen.
func (o *readOrder) hold(amount shopspring.Decimal) shopspring.Decimal {
	switch {
	case o.Type == "MARKET":
		return shopspring.Zero
	case o.Side == "ASK":
		return amount
	}
	return amount.Mul(o.Price)
}

func (o *readOrder) asset() string {
	if o.Side == "ASK" {
		return o.Base
	}
	return o.Quote
}

func (r *reader) order(m Message) {
	var v struct {
		Event string    `json:"event"`
		Order readOrder `json:"order"`
		Base  string    `json:"base"`
	}
	r.parse(m, &v)
	o := v.Order
	r.check("order base", v.Base == o.Base && o.Market == o.Base+"_"+o.Quote)
	if v.Event == "PUT" {
		r.check("put id", o.ID == r.lastOrder+1)
		r.check("put fresh", o.Remain.Equal(o.Amount) && o.Frozen.IsZero() && o.FinishedBase.IsZero())
		r.lastOrder = o.ID
		o.Frozen = o.hold(o.Remain)
		r.move(r.available, o.User, o.asset(), o.Frozen.Neg())
		r.move(r.frozen, o.User, o.asset(), o.Frozen)
		r.orders[o.ID] = &o
		return
	}
	known := r.orders[o.ID]
	if known == nil {
		r.check("order known", false)
		return
	}
	r.equal("order remain", known.Remain, o.Remain)
	r.equal("order finished_base", known.FinishedBase, o.FinishedBase)
	r.equal("order finished_quote", known.FinishedQuote, o.FinishedQuote)
	r.equal("order finished_fee", known.FinishedFee, o.FinishedFee)
	r.check("order frozen", known.Frozen.Equal(o.Frozen) || (v.Event == "FINISH" && o.Frozen.IsZero() && o.ID == r.lastOrder))
	if v.Event == "FINISH" {
		r.move(r.frozen, known.User, known.asset(), known.Frozen.Neg())
		r.move(r.available, known.User, known.asset(), known.Frozen)
		delete(r.orders, o.ID)
	}
}

func (r *reader) trade(m Message) {
	var v struct {
		ID          uint64             `json:"id"`
		Base        string             `json:"base"`
		Quote       string             `json:"quote"`
		Price       shopspring.Decimal `json:"price"`
		Amount      shopspring.Decimal `json:"amount"`
		QuoteAmount shopspring.Decimal `json:"quote_amount"`
		AskUser     uint32             `json:"ask_user_id"`
		AskID       uint64             `json:"ask_order_id"`
		AskRole     string             `json:"ask_role"`
		AskFee      shopspring.Decimal `json:"ask_fee"`
		BidUser     uint32             `json:"bid_user_id"`
		BidID       uint64             `json:"bid_order_id"`
		BidFee      shopspring.Decimal `json:"bid_fee"`
		AskOrder    *readOrder         `json:"ask_order"`
		BidOrder    *readOrder         `json:"bid_order"`
		Before      readState          `json:"state_before"`
		After       readState          `json:"state_after"`
	}
	r.parse(m, &v)
	r.trades++
	r.check("trade id", v.ID == r.lastTrade+1)
	r.lastTrade = v.ID
	r.equal("trade quote", v.Price.Mul(v.Amount), v.QuoteAmount)
	ask, bid := r.orders[v.AskID], r.orders[v.BidID]
	if ask == nil || bid == nil {
		r.check("trade orders", false)
		return
	}
	maker, taker := ask, bid
	if v.AskRole == "TAKER" {
		maker, taker = bid, ask
	}
	r.check("trade taker", taker.ID > maker.ID && taker.ID == r.lastOrder)
	r.check("trade maker is best", r.isBest(maker))
	r.equal("trade price", maker.Price, v.Price)
	r.snapshot(v.AskOrder, ask, ask == taker)
	r.snapshot(v.BidOrder, bid, bid == taker)
	r.compare("before", v.Before, ask, bid)

	take := func(o *readOrder, paid shopspring.Decimal, received string, gain, fee shopspring.Decimal) {
		h := o.hold(v.Amount)
		r.move(r.frozen, o.User, o.asset(), h.Neg())
		r.move(r.available, o.User, o.asset(), h.Sub(paid))
		charged := shopspring.Max(fee, shopspring.Zero)
		r.move(r.available, o.User, received, gain.Sub(charged))
		r.charge[received] = r.charge[received].Add(charged)
		o.Remain, o.Frozen = o.Remain.Sub(v.Amount), o.Frozen.Sub(h)
		o.FinishedBase, o.FinishedQuote = o.FinishedBase.Add(v.Amount), o.FinishedQuote.Add(v.QuoteAmount)
		o.FinishedFee = o.FinishedFee.Add(fee)
	}
	take(ask, v.Amount, v.Quote, v.QuoteAmount, v.AskFee)
	take(bid, v.QuoteAmount, v.Base, v.Amount, v.BidFee)
	r.compare("after", v.After, ask, bid)
}

// snapshot checks the picture of an order that its first trade carries.
func (r *reader) snapshot(told *readOrder, o *readOrder, takes bool) {
	r.check("trade snapshot present", (told != nil) == o.FinishedBase.IsZero())
	if told == nil {
		return
	}
	r.equal("trade snapshot remain", told.Remain, o.Remain)
	r.check("trade snapshot frozen", (takes && told.Frozen.IsZero()) || (!takes && told.Frozen.Equal(o.Frozen)))
}

func (r *reader) compare(when string, s readState, ask, bid *readOrder) {
	for i, o := range []*readOrder{ask, bid} {
		told := s.OrderStates[i]
		r.check("trade order state "+when, told.OrderID == o.ID && told.FinishedBase.Equal(o.FinishedBase) &&
			told.FinishedQuote.Equal(o.FinishedQuote) && told.FinishedFee.Equal(o.FinishedFee))
	}
	users, assets := []uint32{ask.User, ask.User, bid.User, bid.User}, []string{ask.Base, ask.Quote, ask.Base, ask.Quote}
	for i, told := range s.BalanceStates {
		h := holding{users[i], assets[i]}
		r.check("trade balance state "+when, told.UserID == h.user && told.Asset == h.asset &&
			told.Balance.Equal(r.available[h].Add(r.frozen[h])))
	}
}

// isBest says that no open order of the side would have to be matched earlier.
func (r *reader) isBest(maker *readOrder) bool {
	for _, o := range r.orders {
		if o.Market != maker.Market || o.Side != maker.Side || o.ID == maker.ID || o.Remain.IsZero() {
			continue // a filled maker waits for its FINISH
		}
		c := o.Price.Cmp(maker.Price)
		if maker.Side == "BID" {
			c = -c
		}
		if c < 0 || (c == 0 && o.ID < maker.ID) {
			return false
		}
	}
	return true
}

// differences compares with the exchange's own state.
func (r *reader) differences(s State) (found []string) {
	differ := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if r.lastOrder != s.LastOrderID || r.lastTrade != s.LastTradeID {
		differ("last ids %d and %d, want %d and %d", r.lastOrder, r.lastTrade, s.LastOrderID, s.LastTradeID)
	}
	if len(r.users) != len(s.Users) {
		differ("%d users, want %d", len(r.users), len(s.Users))
	}
	for id, u := range s.Users {
		if r.users[id] != u {
			differ("user %d: %v, want %v", id, r.users[id], u)
		}
	}
	count := 0
	for user, row := range s.Balances {
		for asset, b := range row {
			count++
			h := holding{user, asset}
			if r.available[h].String() != b.Available || r.frozen[h].String() != b.Frozen {
				differ("user %d %s: %s and %s, want %s and %s", user, asset, r.available[h], r.frozen[h], b.Available, b.Frozen)
			}
		}
	}
	for h, b := range r.available {
		if _, there := s.Balances[h.user][h.asset]; !there && !b.IsZero() {
			differ("user %d %s: %s, want none", h.user, h.asset, b)
		}
	}
	if len(r.orders) != len(s.OpenOrders) {
		differ("%d open orders, want %d", len(r.orders), len(s.OpenOrders))
	}
	for _, want := range s.OpenOrders {
		o := r.orders[want.ID]
		if o == nil {
			differ("order %d is not open", want.ID)
			continue
		}
		for _, p := range [][2]string{{o.Remain.String(), want.Remain}, {o.Frozen.String(), want.Frozen}, {o.FinishedBase.String(), want.FinishedBase},
			{o.FinishedQuote.String(), want.FinishedQuote}, {o.FinishedFee.String(), want.FinishedFee}, {o.Price.String(), want.Price}, {o.Amount.String(), want.Amount}} {
			if !shopspring.RequireFromString(p[0]).Equal(shopspring.RequireFromString(p[1])) {
				differ("order %d: %s, want %s", want.ID, p[0], p[1])
			}
		}
	}
	return found
}

// money checks that nothing appears or vanishes, and that nobody owes.
func (r *reader) money() (found []string) {
	sums := map[string]shopspring.Decimal{}
	held := map[holding]shopspring.Decimal{}
	for _, o := range r.orders {
		h := holding{o.User, o.asset()}
		held[h] = held[h].Add(o.Frozen)
	}
	for _, of := range []map[holding]shopspring.Decimal{r.available, r.frozen} {
		for h, b := range of {
			sums[h.asset] = sums[h.asset].Add(b)
			if b.IsNegative() {
				found = append(found, fmt.Sprintf("user %d owes %s %s", h.user, b, h.asset))
			}
		}
	}
	for h, b := range r.frozen {
		if !b.Equal(held[h]) {
			found = append(found, fmt.Sprintf("user %d: %s %s frozen, orders hold %s", h.user, b, h.asset, held[h]))
		}
	}
	for asset, sum := range sums {
		if want := r.paidIn[asset].Sub(r.charge[asset]).Sub(r.out[asset]); !sum.Equal(want) {
			found = append(found, fmt.Sprintf("%s: %s in all, want %s", asset, sum, want))
		}
	}
	return found
}
