package state

import (
	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/event"
)

// order is an open order.
type order struct {
	progress
	id, user           int64
	kept               uint64 // the serial at which it was kept last
	listed             int    // where it stands among the changed ones
	market             int32
	side               event.Side
	kind               event.OrderType
	postOnly           event.Flag
	signed             bool
	inBook             bool
	changed            bool  // since the last Committed
	written            bool  // there is a row of it
	doubted            bool  // a question is open about it
	base, quote        int32 // its user's accounts
	price, amount      amount.Amount
	makerFee, takerFee amount.Amount
	createTime         event.Micros
	signature          [64]byte
}

// holds is the account that an order's frozen amount is of.
func (o *order) holds() int32 {
	if o.side == event.Ask {
		return o.base
	}
	return o.quote
}

// hold is what a part of an order has frozen.
func (o *order) hold(part amount.Amount) amount.Amount {
	switch {
	case o.kind == event.Market:
		return amount.Amount{}
	case o.side == event.Ask:
		return part
	}
	return part.Mul(o.price)
}

// rests reports whether the order belongs into a book.
func (o *order) rests() bool { return o.kind == event.Limit && o.remain.Sign() > 0 }

// market is where two assets are traded.
type market struct {
	name        string
	base, quote int32
	books       [3]book // by side; 0 is not used
}

// market finds the market of an order or trade, or opens it.
func (s *State) market(name, base, quote []byte) int32 {
	if i, ok := s.marketOf[string(name)]; ok {
		return i
	}
	i := int32(len(s.markets))
	s.markets = append(s.markets, market{name: string(name), base: s.assets.of(base), quote: s.assets.of(quote)})
	s.marketOf[string(name)] = i
	return i
}

// newOrder takes an order from the spare ones. What a message tells of an order
// is left over in it.
func (s *State) newOrder() *order {
	if n := len(s.spare); n > 0 {
		o := s.spare[n-1]
		s.spare = s.spare[:n-1]
		o.frozen, o.kept = amount.Amount{}, 0
		o.inBook, o.changed, o.written = false, false, false
		return o
	}
	return &order{}
}

// reuse keeps an order that nobody knows any more for the next one.
func (s *State) reuse(o *order) {
	if len(s.spare) < 1024 {
		s.spare = append(s.spare, o)
	}
}

// orderFrom makes an order as a message tells it.
func (s *State) orderFrom(e *event.Order, market int32) *order {
	m := &s.markets[market]
	o := s.newOrder()
	o.id, o.user, o.market, o.side, o.kind, o.postOnly = e.ID, e.UserID, market, e.Side, e.Type, e.PostOnly
	o.base, o.quote = s.slot(e.UserID, m.base), s.slot(e.UserID, m.quote)
	o.price, o.amount = e.Price.Amount(), e.Amount.Amount()
	o.makerFee, o.takerFee = e.MakerFee.Amount(), e.TakerFee.Amount()
	o.createTime, o.updateTime = e.CreateTime, e.UpdateTime
	o.remain = e.Remain.Amount()
	o.finishedBase, o.finishedQuote, o.finishedFee = e.FinishedBase.Amount(), e.FinishedQuote.Amount(), e.FinishedFee.Amount()
	if o.signed = e.Signature != nil; o.signed {
		copy(o.signature[:], e.Signature)
	}
	return o
}

// open adds an order, with what it is to have frozen.
func (s *State) open(o *order, frozen amount.Amount) {
	s.begins(o)
	s.holdFor(o, frozen)
}

// begins adds an order that this record makes. What it was before is nothing: were
// its progress kept, an undo would give it to the order that had the id until now.
func (s *State) begins(o *order) {
	s.journal.lives.push(life{id: o.id})
	o.kept = s.serial
	s.insert(o)
}

// insert puts an order among the open ones, not into a book.
func (s *State) insert(o *order) {
	before := s.orders.newest
	s.orders.add(o)
	o.doubted = s.isDoubted(o.id)
	if o.id <= before && s.changed.gone[o.id] {
		delete(s.changed.gone, o.id)
		o.written = true
	}
	s.orderChanged(o)
}

func (s *State) orderChanged(o *order) {
	if !o.changed {
		o.changed, o.listed = true, len(s.changed.orders)
		s.changed.orders = append(s.changed.orders, o)
	}
}

// remove takes an order away, which has nothing frozen any more.
func (s *State) remove(o *order) {
	s.journal.lives.push(life{id: o.id, o: o})
	s.take(o)
}

func (s *State) take(o *order) {
	s.orders.remove(o)
	if o.inBook {
		s.markets[o.market].books[o.side].remove(o)
	}
	if o.written {
		s.changed.setGone(o.id)
	}
	if o.changed {
		s.changed.strike(o.listed)
	}
	o.written, o.changed = false, false
}

// update prepares an order for a change of its progress.
func (s *State) update(o *order) {
	s.keepOrder(o)
	s.orderChanged(o)
}

// holdFor sets what an order has frozen of its user's account.
func (s *State) holdFor(o *order, frozen amount.Amount) {
	if by := frozen.Sub(o.frozen); !by.IsZero() {
		s.touch(o.holds()).held.Plus(&by)
	}
	o.frozen = frozen
}

// unhold sets free a part of what an order has frozen.
func (s *State) unhold(o *order, part *amount.Amount) {
	if !part.IsZero() {
		s.touch(o.holds()).held.Minus(part)
		o.frozen.Minus(part)
	}
}

// view is the order as others see it.
func (s *State) view(o *order) Order {
	m := &s.markets[o.market]
	v := Order{ID: o.id, UserID: o.user, Market: m.name, Base: s.assets.names[m.base], Quote: s.assets.names[m.quote],
		Side: o.side, Type: o.kind, PostOnly: o.postOnly, Price: o.price, Amount: o.amount, Remain: o.remain, Frozen: o.frozen,
		FinishedBase: o.finishedBase, FinishedQuote: o.finishedQuote, FinishedFee: o.finishedFee,
		MakerFee: o.makerFee, TakerFee: o.takerFee, CreateTime: o.createTime, UpdateTime: o.updateTime}
	if o.signed {
		v.Signature = o.signature[:]
	}
	return v
}
