package state

import (
	"slices"

	"github.com/thaliumx/persistor/internal/amount"
)

// learnOrder hears whether a doubted order is open, and reports whether any
// answer allows it.
func (s *State) learnOrder(o *order, alive bool) bool {
	id, allowed := o.id, false
	for i := len(s.questions) - 1; i >= 0 && (alive || !allowed); i-- {
		if q := s.questions[i]; q.doubts(id) {
			allowed = s.keep(q, func(a answer) bool { return q.alive(a, id) == alive }) || allowed
		}
	}
	s.closeAnswered()
	return allowed && (s.orders.find(id) != nil) == alive
}

// keep drops the answers of a question that do not fit, unless none does. It
// changes the state over where it was built on one of those.
func (s *State) keep(q *question, fits func(answer) bool) bool {
	var kept []answer
	for _, a := range q.answers {
		if fits(a) {
			kept = append(kept, a)
		}
	}
	if len(kept) == 0 {
		return false
	}
	s.narrowTo(q, kept)
	if !slices.Contains(kept, q.now) {
		s.answer(q, q.best())
	}
	return true
}

// narrowTo leaves a question these answers. With a single one nothing is in doubt
// by it any more, which must show at once: a reader of a snapshot knows no earlier.
func (s *State) narrowTo(q *question, answers []answer) {
	was := q.open()
	if q.answers = answers; was && !q.open() {
		s.setQuestions(s.questions)
	}
}

// answer changes the state over to another answer.
func (s *State) answer(q *question, a answer) {
	was, _ := q.run(q.now)
	then, _ := q.run(a)
	total := map[int32]amount.Amount{} // by asset: what comes in
	for k := range q.slots {
		d := &q.slots[k]
		available, frozen := then[k].available.Sub(was[k].available), then[k].frozen.Sub(was[k].frozen)
		if gone := s.goneOtherwise(q, d.slot, a); !gone.IsZero() {
			available, frozen = available.Sub(gone), frozen.Add(gone)
		}
		if d.settled > 0 {
			if available = frozen.Neg(); d.split {
				available, frozen = amount.Amount{}, amount.Amount{}
			}
		}
		if available.IsZero() && frozen.IsZero() {
			continue
		}
		account := s.touch(d.slot)
		account.total, account.odd = account.total.Add(available).Add(frozen), account.odd.Add(frozen)
		total[account.asset] = total[account.asset].Add(available).Add(frozen)
	}
	for i := range q.ops {
		d := &q.ops[i]
		if d.kind == stepCancel && d.o != nil {
			s.answerOrder(q, d, a)
		}
		if d.kind == stepPayment && q.now.keeps(i) != a.keeps(i) {
			change, times := d.change, int64(1)
			if !a.keeps(i) {
				change, times = change.Neg(), -1
			}
			asset := s.accounts[d.slot].asset
			total[asset] = total[asset].Sub(change)
			m := s.keepMoney(asset)
			if slices.Contains(d.counted, paymentBalance) {
				m.AdoptedTimes += times
			}
			if d.change.Sign() >= 0 {
				m.Deposits = m.Deposits.Add(change)
			} else {
				m.Withdrawals = m.Withdrawals.Sub(change)
			}
		}
	}
	// What no payment accounts for is the engine's word.
	for asset := range int32(len(s.assets.names)) {
		if by := total[asset]; !by.IsZero() {
			m := s.keepMoney(asset)
			m.Adopted = m.Adopted.Add(by)
		}
	}
	q.history = append(q.history, answered{s.next, q.now})
	s.changeTo(q, a)
}

// goneOtherwise is what a change of the answer would release of an account,
// although the orders that held it are not as the question has them: something
// else the engine told has opened or closed them, or let them trade.
func (s *State) goneOtherwise(q *question, slot int32, a answer) (part amount.Amount) {
	for i := range q.ops {
		d := &q.ops[i]
		if d.kind != stepCancel || d.o == nil || d.o.holds() != slot || slices.ContainsFunc(q.ops[:i], d.same) {
			continue
		}
		o, was, is := s.orders.find(d.order), q.alive(q.now, d.order), q.alive(a, d.order)
		switch {
		case was && !is && o == nil:
			part.Plus(&d.o.frozen)
		case was && !is:
			part = part.Add(d.o.frozen).Sub(o.frozen)
		case !was && is && o != nil:
			part.Minus(&d.o.frozen)
		}
	}
	return part
}

// same reports whether another operation cancels the same order.
func (d *doubt) same(other doubt) bool {
	return other.kind == stepCancel && other.o != nil && other.order == d.order
}

// answerOrder opens or closes an order by another answer. The money it holds
// has been moved.
func (s *State) answerOrder(q *question, d *doubt, a answer) {
	o := s.orders.find(d.order)
	alive := q.alive(a, d.order)
	switch {
	case alive == q.alive(q.now, d.order):
	case alive && o == nil:
		o = s.newOrder()
		*o = *d.o
		s.begins(o)
		account := s.touch(o.holds())
		account.held, account.odd = account.held.Add(o.frozen), account.odd.Sub(o.frozen)
		if o.rests() {
			s.markets[o.market].books[o.side].insert(o)
		}
	case !alive && o != nil: // as close does it, but what it held is odd from now on
		account := s.touch(o.holds())
		account.held, account.odd = account.held.Sub(o.frozen), account.odd.Add(o.frozen)
		s.remove(o)
	}
}

// doubtPassedOver hears that a maker was matched, although other orders stand
// before it: doubted ones of them are not open.
func (s *State) doubtPassedOver(k *book, maker *order) {
	for best := k.best(); best != maker && best.doubted; best = k.best() {
		if !s.learnOrder(best, false) {
			return
		}
	}
}

// returned finds an order that is open after all, although the state took it for
// ended.
func (s *State) returned(id int64) *order {
	for _, q := range slices.Backward(s.questions) {
		if q.doubts(id) && s.keep(q, func(a answer) bool { return q.alive(a, id) }) && s.orders.find(id) != nil {
			break
		}
	}
	s.closeAnswered()
	if o := s.orders.find(id); o != nil {
		return o
	}
	if s.suspectOrder(id) {
		return s.orders.find(id)
	}
	return nil
}
