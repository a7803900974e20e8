package event

// tradeParts is room for the objects in a trade.
type tradeParts struct {
	ask, bid      Order
	before, after TradeState
}

// The shapes of the objects in a trade (wire format, sections 1.9 and 1.10).
var (
	orderShape = shape{first: orderID, keys: orderEventShape.inner.keys}

	tradeStateShape = shape{keys: []string{"order_states", "balance_states", "ask_order_state", "bid_order_state", "balance"}}

	orderStateShape = shape{keys: []string{"user_id", "order_id", "order_side", "finished_base", "finished_quote", "finished_fee"}}

	balanceStateShape = shape{keys: []string{"user_id", "asset", "balance"}}

	earlyBalanceShape = shape{keys: []string{"ask_user_base", "ask_user_quote", "bid_user_base", "bid_user_quote"}}
)

const (
	stateOrders field = iota
	stateBalances
	stateAskOrder
	stateBidOrder
	stateBalance
)

const (
	orderStateUserID field = iota
	orderStateOrderID
	orderStateSide
	orderStateFinishedBase
	orderStateFinishedQuote
	orderStateFinishedFee
)

const (
	balanceStateUserID field = iota
	balanceStateAsset
	balanceStateBalance
)

// tradeParts reads the objects in a trade, whose JSON the scan has checked. What
// of them cannot be read is left out and noted.
func (d *Decoder) tradeParts(t *Trade) {
	if d.inner == nil {
		d.inner = &Decoder{}
	}
	d.inner.scratch = d.inner.scratch[:0]
	order := func(f field, o *Order) *Order {
		if d.absent(f) {
			return nil
		}
		if in := d.enter(f, &orderShape); in.err == nil {
			if in.orderFields(o); in.err == nil {
				return o
			}
		}
		t.Malformed = true
		return nil
	}
	state := func(f field, s *TradeState) *TradeState {
		if d.absent(f) {
			return nil
		}
		if d.enter(f, &tradeStateShape).tradeState(t, s) {
			return s
		}
		t.Malformed = true
		return nil
	}
	t.AskOrder = order(tradeAskOrder, &d.parts.ask)
	t.BidOrder = order(tradeBidOrder, &d.parts.bid)
	t.Before = state(tradeStateBefore, &d.parts.before)
	t.After = state(tradeStateAfter, &d.parts.after)
}

// enter has the inner decoder scan the object under a field.
func (d *Decoder) enter(f field, s *shape) *Decoder {
	v := d.fields[f]
	d.inner.rescan(d.src[v.start:v.end], s)
	return d.inner
}

// tradeState reads what a trade says about orders and balances; d stands on the
// object.
func (d *Decoder) tradeState(t *Trade, s *TradeState) bool {
	*s = TradeState{}
	src, fields := d.src, d.fields
	if d.err != nil {
		return false
	}
	value := func(f field) []byte { return src[fields[f].start:fields[f].end] }
	if fields[stateBalance].kind == object {
		return d.earlyTradeState(t, s, value)
	}
	if fields[stateOrders].kind != array || fields[stateBalances].kind != array {
		return false
	}
	n := 0
	ok := d.each(value(stateOrders), func(element []byte) bool {
		n++
		return n <= len(s.Orders) && d.orderState(element, &s.Orders[n-1], true)
	})
	if !ok || n != len(s.Orders) {
		return false
	}
	n = 0
	ok = d.each(value(stateBalances), func(element []byte) bool {
		n++
		if n > len(s.Balances) || !d.rescan(element, &balanceStateShape) {
			return false
		}
		s.Balances[n-1] = BalanceState{d.userID(balanceStateUserID), d.name(balanceStateAsset), d.decimal(balanceStateBalance)}
		return d.err == nil
	})
	return ok && n == len(s.Balances)
}

// orderState reads how far an order has come.
func (d *Decoder) orderState(value []byte, o *OrderState, identified bool) bool {
	if !d.rescan(value, &orderStateShape) {
		return false
	}
	*o = OrderState{
		UserID:        NoID,
		ID:            NoID,
		FinishedBase:  d.decimal(orderStateFinishedBase),
		FinishedQuote: d.decimal(orderStateFinishedQuote),
	}
	if identified {
		o.UserID, o.ID = d.userID(orderStateUserID), d.entityID(orderStateOrderID)
		o.Side = Ask + Side(d.choice(orderStateSide, "ASK or BID", "ASK", "BID"))
		o.FinishedFee = d.decimal(orderStateFinishedFee)
	}
	return d.err == nil
}

// earlyTradeState reads the shape before 2021-06, which named neither users nor
// assets: they are the trade's own.
func (d *Decoder) earlyTradeState(t *Trade, s *TradeState, value func(field) []byte) bool {
	balances, ask, bid := value(stateBalance), value(stateAskOrder), value(stateBidOrder)
	if !d.orderState(ask, &s.Orders[0], false) || !d.orderState(bid, &s.Orders[1], false) || !d.rescan(balances, &earlyBalanceShape) {
		return false
	}
	for i := range s.Balances {
		b := &s.Balances[i]
		b.UserID, b.Asset, b.Balance = t.AskUserID, t.Base, d.decimal(field(i))
		if i >= 2 {
			b.UserID = t.BidUserID
		}
		if i%2 == 1 {
			b.Asset = t.Quote
		}
	}
	return d.err == nil
}

// each calls fn with each element of an array that was scanned before, until one
// is refused.
func (d *Decoder) each(list []byte, fn func(element []byte) bool) bool {
	if d.inner == nil {
		d.inner = &Decoder{}
	}
	walk := d.inner // d itself reads the elements
	walk.src = list
	i := walk.space(1)
	for i < len(list) && list[i] != ']' {
		v, end := walk.value(i, 0)
		if v.kind != object || !fn(list[v.start:v.end]) {
			return false
		}
		if i = walk.space(end); list[i] == ',' {
			i = walk.space(i + 1)
		}
	}
	return true
}
