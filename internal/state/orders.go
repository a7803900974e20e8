package state

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/event"
)

func (s *State) nameOrder(id int64) string { return "order " + strconv.FormatInt(id, 10) }

// ordersOf are the open orders that hold something of an account, by id.
func (s *State) ordersOf(slot int32) (all []*order) {
	for o := range s.orders.all() {
		if o.holds() == slot && !o.frozen.IsZero() {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b *order) int { return cmp.Compare(a.id, b.id) })
	return all
}

// order applies one event of an order.
func (s *State) order(e *event.Order) {
	if e.Base == nil || e.Quote == nil || e.UserID < 0 {
		s.cannotRead("shape", "the engine's order", "another one")
		return
	}
	switch e.Action {
	case event.Put:
		s.put(e)
	case event.Update:
		s.progressed(e)
	case event.Finish, event.Expired:
		s.finish(e)
	default:
		s.cannotRead("event", "an order's event", e.Action.String())
	}
}

// old reports whether an order's event is of the time before 2021-06, when PUT
// came after the trades and only for what rests (wire 1.10).
func old(e *event.Order) bool { return e.PostOnly == event.NoFlag }

// golden is 2^64 divided by the golden ratio: it spreads what it multiplies.
const golden = 0x9e3779b97f4a7c15

// markOf tells a repetition of the same event from another one with its id.
func markOf(a, b, c int64) uint64 {
	return ((uint64(a)*golden^uint64(b))*golden ^ uint64(c)) * golden
}

func (s *State) put(e *event.Order) {
	late := s.op.early && s.op.taker == e.ID
	mark := markOf(int64(e.CreateTime), e.UserID, int64(e.Side))
	if e.ID <= s.lastOrder && !late {
		if s.isRepeated(stepPut, e.ID, mark) {
			return
		}
		last := s.lastOrder
		done := s.rewindTo(e.ID)
		s.begin(stepPut, e.ID, mark)
		if s.fail(done) {
			s.example(done, "order id", strconv.FormatInt(last+1, 10), strconv.FormatInt(e.ID, 10))
		}
		if done == rewindBeyondJournal {
			s.forgetFrom(e.ID)
		}
	} else {
		s.begin(stepPut, e.ID, mark)
	}
	if s.journal.records.last().late = late; !late {
		s.beginOperation()
	}
	if o := s.orders.find(e.ID); o != nil { // only where no journal reaches back
		s.vanish(o, "another order has its id")
	}
	if s.crossing != 0 {
		s.uncross()
	}
	m := s.market(e.Market, e.Base, e.Quote)
	o := s.orderFrom(e, m)
	if !late {
		s.checkPut(e, o)
	}
	s.lastOrder, s.ordersFollow = e.ID, true
	s.op.put, s.op.ended, s.op.early, s.op.taker = true, false, false, e.ID
	s.open(o, o.hold(o.remain))
}

func (s *State) checkPut(e *event.Order, o *order) {
	if s.ordersFollow {
		if e.ID == s.lastOrder+1 {
			s.pass(putID)
		} else if s.fail(putID) {
			s.example(putID, "id", strconv.FormatInt(s.lastOrder+1, 10), strconv.FormatInt(e.ID, 10))
		}
	}
	if old(e) {
		return // it rests already: less of it may remain
	}
	s.equalIn(putRemain, "remain", e.ID, &o.amount, &o.remain)
	s.saysIn(putFrozen, "frozen", e.ID, &nothing, &e.Frozen)
	if o.finishedBase.IsZero() && o.finishedQuote.IsZero() && o.finishedFee.IsZero() {
		s.pass(putFinished)
	} else if s.fail(putFinished) {
		s.example(putFinished, s.nameOrder(e.ID), "nothing finished", o.finishedBase.String()+" and "+o.finishedQuote.String())
	}
}

// nothing is 0.
var nothing amount.Amount

// equalIn counts the comparison of an amount of an order.
func (s *State) equalIn(c check, what string, id int64, expected, found *amount.Amount) bool {
	if expected.Same(found) {
		s.pass(c)
		return true
	}
	if s.fail(c) {
		s.example(c, what+" of "+s.nameOrder(id), expected.String(), found.String())
	}
	return false
}

// saysIn is equalIn for what a message tells.
func (s *State) saysIn(c check, what string, id int64, expected *amount.Amount, told *event.Decimal) bool {
	if told.Is(expected) {
		s.pass(c)
		return true
	}
	found := told.Amount()
	return s.equalIn(c, what, id, expected, &found)
}

// progressed is an UPDATE: nothing happens, but the engine tells how far a
// maker has come.
func (s *State) progressed(e *event.Order) {
	s.begin(stepUpdate, 0, 0)
	if !s.op.put || s.op.ended {
		s.beginOperation()
	}
	o := s.known(e.ID, e.UserID)
	if o == nil {
		s.fromWord(e, e.Frozen.Amount())
		return
	}
	if !s.checkOrder(o, e, e.Frozen.Is(&o.frozen)) {
		told := toldProgress(e)
		s.believe(o, &told)
	}
	s.retell(o, e)
	s.timeTaker(e)
}

// retell takes over what a restart may change in an order: times to the second,
// rates to four decimals (wire 5).
func (s *State) retell(o *order, e *event.Order) {
	if o.updateTime != e.UpdateTime {
		s.update(o)
		o.updateTime = e.UpdateTime
	}
	if o.createTime != e.CreateTime || !e.MakerFee.Is(&o.makerFee) || !e.TakerFee.Is(&o.takerFee) {
		s.orderChanged(o)
		o.createTime, o.makerFee, o.takerFee = e.CreateTime, e.MakerFee.Amount(), e.TakerFee.Amount()
	}
}

// timeTaker sets the time of the taker's newest trade, which only its maker's
// message tells to the µs.
func (s *State) timeTaker(e *event.Order) {
	if !s.op.put || e.ID != s.op.lastMaker {
		return
	}
	if taker := s.orders.find(s.op.taker); taker != nil && taker.updateTime != e.UpdateTime {
		s.update(taker)
		taker.updateTime = e.UpdateTime
	}
}

func toldProgress(e *event.Order) progress {
	return progress{remain: e.Remain.Amount(), frozen: e.Frozen.Amount(), finishedBase: e.FinishedBase.Amount(),
		finishedQuote: e.FinishedQuote.Amount(), finishedFee: e.FinishedFee.Amount(), updateTime: e.UpdateTime}
}

// checkOrder compares an order with what the engine tells. Of what follows from
// each other only the first counts.
func (s *State) checkOrder(o *order, e *event.Order, frozen bool) bool {
	if !s.saysIn(orderRemain, "remain", o.id, &o.remain, &e.Remain) ||
		!s.saysIn(orderFinishedBase, "finished_base", o.id, &o.finishedBase, &e.FinishedBase) ||
		!s.saysIn(orderFinishedQuote, "finished_quote", o.id, &o.finishedQuote, &e.FinishedQuote) ||
		!s.saysIn(orderFinishedFee, "finished_fee", o.id, &o.finishedFee, &e.FinishedFee) {
		return false
	}
	if frozen {
		s.pass(orderFrozen)
	} else if s.fail(orderFrozen) {
		s.example(orderFrozen, "frozen of "+s.nameOrder(o.id), o.frozen.String(), e.Frozen.Amount().String())
	}
	return frozen
}

// believe takes over what the engine tells of an open order.
func (s *State) believe(o *order, told *progress) {
	s.update(o)
	slot := o.holds()
	if by := told.frozen.Sub(o.frozen); !by.IsZero() && s.accounts[slot].odd.Equal(by) {
		// The account has been told already, only not of which order it was.
		a := s.touch(slot)
		a.held, a.odd = a.held.Add(by), a.odd.Sub(by)
	} else {
		s.holdFor(o, told.frozen)
	}
	o.progress = *told
	if o.inBook && !o.rests() {
		s.markets[o.market].books[o.side].remove(o)
	} else if !o.inBook && o.rests() && !s.takes(o) {
		s.markets[o.market].books[o.side].insert(o)
	}
}

// known finds an open order, also one that came back. Where the id is another
// user's by now, the engine does not know the order that had it.
func (s *State) known(id, user int64) *order {
	o := s.orders.find(id)
	if o == nil {
		o = s.returned(id)
	} else if o.doubted {
		s.learnOrder(o, true)
	}
	if o != nil && o.user != user {
		s.vanish(o, "its id is of an order of user "+text(user))
		return nil
	}
	return o
}

// unknown counts an order that should be open and is not, once in an operation.
func (s *State) unknown(id int64, found string) {
	if !s.complete || slices.Contains(s.op.unknown, id) {
		return
	}
	s.op.unknown = append(s.op.unknown, id)
	if s.fail(unknownOrder) {
		s.example(unknownOrder, s.nameOrder(id), "an open order", found)
	}
}

// fromWord makes an order that only a later message tells of.
func (s *State) fromWord(e *event.Order, frozen amount.Amount) *order {
	s.unknown(e.ID, e.Action.String())
	if o := s.orders.find(e.ID); o != nil {
		s.vanish(o, "another order has its id")
	}
	o := s.orderFrom(e, s.market(e.Market, e.Base, e.Quote))
	s.release(o.holds(), frozen) // what the engine told as frozen may already include it
	s.open(o, frozen)
	taking := s.takes(o)
	if e.ID > s.lastOrder {
		s.lastOrder, s.ordersFollow = e.ID, s.ordersFollow || taking
	}
	if !taking && o.rests() {
		s.markets[o.market].books[o.side].insert(o)
	}
	return o
}

// finish is the end of an order: filled, cancelled or refused (wire 0.7).
func (s *State) finish(e *event.Order) {
	remain, frozen := e.Remain.Amount(), e.Frozen.Amount()
	taking := s.op.put && !s.op.ended && s.op.taker == e.ID
	inside := taking && (frozen.IsZero() || remain.IsZero()) ||
		!taking && s.op.put && !s.op.ended && remain.IsZero()
	if inside {
		s.begin(stepFinish, 0, 0)
	} else {
		s.begin(stepCancel, 0, 0)
		s.journal.words.push(word{order: e.ID, first: remain, frozen: frozen})
		s.beginOperation()
		taking = false
	}
	o := s.known(e.ID, e.UserID)
	if o == nil {
		s.finishUnknown(e, frozen, taking)
		return
	}
	if !inside {
		s.journal.words.last().slot = o.holds()
	}
	held := o.frozen.Same(&frozen)
	s.checkOrder(o, e, held || taking && frozen.IsZero())
	if !held && !taking {
		told := toldProgress(e)
		s.believe(o, &told)
	}
	s.timeTaker(e)
	s.op.ended = s.op.ended || taking
	s.close(o)
}

// finishUnknown is the end of an order that is not open. Before 2021-06 that is
// how an order ends that never rested.
func (s *State) finishUnknown(e *event.Order, frozen amount.Amount, taking bool) {
	s.op.ended = s.op.ended || taking
	m := &s.markets[s.market(e.Market, e.Base, e.Quote)]
	slot := s.slot(e.UserID, m.quote)
	if e.Side == event.Ask {
		slot = s.slot(e.UserID, m.base)
	}
	if s.journal.records.last().kind == stepCancel {
		s.journal.words.last().slot = slot
	}
	if old(e) && (taking || e.ID == s.lastOrder+1 || !s.ordersFollow) {
		s.lastOrder, s.ordersFollow = max(s.lastOrder, e.ID), true
		return
	}
	s.unknown(e.ID, e.Action.String())
	s.release(slot, frozen)
}

// release gives back what an unknown order has frozen, where the engine has
// told of something frozen that no known order holds.
func (s *State) release(slot int32, part amount.Amount) {
	if a := &s.accounts[slot]; a.flags&splitKnown != 0 && part.Sign() > 0 && a.odd.Cmp(&part) >= 0 {
		s.touch(slot).odd.Minus(&part)
	}
}
