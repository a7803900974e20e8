package state

import (
	"fmt"

	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/event"
)

// operation is the engine's operation that the newest records belong to. There
// is no end-of-operation marker: the end is mostly known when the next begins
// (wire 2).
type operation struct {
	put       bool    // it is an order's, from its PUT to its FINISH or rest
	ended     bool    // its taker's FINISH has come
	early     bool    // 2021-03: the PUT comes after the trades
	taker     int64   // the order
	lastMaker int64   // the maker of its newest trade
	filled    []int64 // makers that have nothing left: their FINISH is to come
	unknown   []int64 // orders that should be open, counted already
	touched   []int32
}

// reset makes it none.
func (o *operation) reset() {
	o.put, o.ended, o.early, o.taker, o.lastMaker = false, false, false, 0, 0
	o.filled, o.unknown, o.touched = o.filled[:0], o.unknown[:0], o.touched[:0]
}

// Apply adds the record at an offset, with its timestamp in ms. A record below
// Next is passed over; a hole before it counts as lost.
func (s *State) Apply(offset, at int64, u *event.Unify) {
	if !s.reach(offset, at) {
		return
	}
	switch u.Kind {
	case event.KindTrade:
		s.trade(&u.Trade)
	case event.KindOrder:
		s.order(&u.Order)
	case event.KindDeposit:
		s.payment(&u.Balance, true)
	case event.KindWithdraw:
		s.payment(&u.Balance, false)
	case event.KindTransfer:
		s.transfer(&u.Transfer)
	case event.KindUser:
		s.user(&u.User)
	default:
		s.cannotRead("kind", "a record of unifyevents", u.Kind.String())
	}
	s.next = offset + 1
}

// Unreadable counts a record that the decoder refused. What it meant is not
// known, so later records may contradict the state.
func (s *State) Unreadable(offset, at int64) {
	if s.reach(offset, at) {
		s.cannotRead("record", "a record that can be read", "one that cannot")
		s.next = offset + 1
	}
}

func (s *State) cannotRead(field, expected, found string) {
	if s.fail(unreadable) {
		s.example(unreadable, field, expected, found)
	}
}

// reach makes offset the next one.
func (s *State) reach(offset, at int64) bool {
	if offset < s.next {
		return false
	}
	if offset > s.next {
		s.Gap(s.next, offset-1, "lost")
	}
	s.time = at
	return true
}

// Gap passes over offsets, both included, that have no record to apply. Reason
// "control" says that nothing happened there. With any other, what was there is
// unknown: the state is incomplete from then on, ids may jump, and every balance
// is unknown until a later record tells it. So it is where first is beyond Next.
func (s *State) Gap(first, last int64, reason string) {
	if last < s.next {
		return
	}
	hole := first > s.next
	s.next = last + 1
	if reason == "control" && !hole {
		return
	}
	s.complete, s.ordersFollow, s.tradesFollow = false, false, false
	for i := range s.accounts {
		a := &s.accounts[i]
		a.flags &^= totalKnown | splitKnown
		if a.flags&existing != 0 && !a.changed {
			a.changed = true
			s.changed.accounts = append(s.changed.accounts, int32(i))
		}
	}
	s.forgetJournal()
}

// forgetJournal ends what can be undone, where a new time begins; nor can any
// question be answered any more.
func (s *State) forgetJournal() {
	s.forgetOldest(s.journal.records.len())
	s.setQuestions(nil)
}

// beginOperation ends the operation before: its last order goes into the book
// if it rests, and then what it touched is checked.
func (s *State) beginOperation() {
	if s.op.put {
		s.rest(s.op.taker)
	}
	for _, id := range s.op.filled {
		if o := s.orders.find(id); o != nil && o.remain.Sign() <= 0 {
			s.close(o)
		}
	}
	badNegative, badFrozen := false, false
	for _, slot := range s.op.touched {
		a := &s.accounts[slot]
		a.touched = false
		if bad := a.flags&splitKnown != 0 && a.belowZero(); !bad {
			a.flags &^= owing
		} else if a.flags&owing == 0 {
			a.flags |= owing
			if badNegative = true; s.fail(negative) {
				s.example(negative, s.nameOf(slot), "nothing below 0", a.available().String()+" and "+a.frozen().String()+" frozen")
			}
		}
		if a.odd.IsZero() {
			a.flags &^= oddlyFrozen
		} else if a.flags&oddlyFrozen == 0 {
			a.flags |= oddlyFrozen
			if badFrozen = true; s.fail(frozenHeld) {
				s.example(frozenHeld, s.nameOf(slot), a.held.String()+" held by orders", a.frozen().String()+" frozen")
			}
		}
	}
	if !badNegative {
		s.pass(negative)
	}
	if !badFrozen {
		s.pass(frozenHeld)
	}
	s.op.reset()
}

// rest puts an order into its book when its operation is over. One that cannot
// rest has ended, even if that was lost, or the engine crashed in between.
func (s *State) rest(id int64) {
	o := s.orders.find(id)
	if o == nil || o.inBook {
		return
	}
	if !o.rests() {
		s.close(o)
		return
	}
	s.markets[o.market].books[o.side].insert(o)
	s.checkCrossing(o)
}

func (s *State) checkCrossing(o *order) {
	if best := s.markets[o.market].books[event.Ask+event.Bid-o.side].best(); best != nil && o.crosses(best) {
		s.crossing = o.id
	}
}

// uncross takes away what the newest order to rest would have met: the engine
// cannot have it any more. It waits until the next order shows that the engine
// did not crash in between: else the order's trades are only half told.
func (s *State) uncross() {
	o := s.orders.find(s.crossing)
	if s.crossing = 0; o == nil || !o.inBook {
		return
	}
	against := &s.markets[o.market].books[event.Ask+event.Bid-o.side]
	for best := against.best(); best != nil && o.crosses(best); best = against.best() {
		if best.doubted && s.learnOrder(best, false) {
			continue
		}
		s.vanish(best, s.nameOrder(o.id)+" rests, which would have met it")
	}
}

// takes reports whether an order is the one whose operation goes on.
func (s *State) takes(o *order) bool { return s.op.put && s.op.taker == o.id }

func (s *State) nameOf(slot int32) string {
	a := &s.accounts[slot]
	return fmt.Sprintf("user %d, %s", a.user, s.assets.names[a.asset])
}

func (s *State) user(u *event.User) {
	s.begin(stepNone, 0, 0)
	s.beginOperation()
	known := s.users[u.UserID]
	if known != nil && known.L1Address == string(u.L1Address) && known.L2Pubkey == string(u.L2Pubkey) {
		return
	}
	s.users[u.UserID] = &User{u.UserID, string(u.L1Address), string(u.L2Pubkey)}
}

func (s *State) transfer(t *event.Transfer) {
	asset, a := s.assets.of(t.Asset), t.Amount.Amount()
	if a.IsZero() { // too small to be shown: nothing has moved (wire 0.10)
		s.begin(stepNone, 0, 0)
		s.beginOperation()
		return
	}
	s.begin(stepTransfer, 0, 0)
	w := s.journal.words.next()
	*w = word{slot: s.slot(t.UserFrom, asset), other: s.slot(t.UserTo, asset), change: a}
	s.transferred(w)
}

func (s *State) transferred(w *word) {
	s.beginOperation()
	s.sub(w.slot, &w.change)
	s.add(w.other, &w.change)
}

// payment is a deposit or a withdrawal. The engine tells the balance after it.
func (s *State) payment(b *event.Balance, deposit bool) {
	s.begin(stepPayment, 0, 0)
	w := s.journal.words.next()
	*w = word{slot: s.slot(b.UserID, s.assets.of(b.Asset)), change: b.Change.Amount(), total: b.Balance.Amount(),
		first: b.Available.Amount(), frozen: b.Frozen.Amount(),
		split: b.Available.Text != nil && b.Frozen.Text != nil} // not before 2021-07-05
	s.checkSign(w.slot, w.change, deposit)
	if w.split {
		if sum := w.first.Add(w.frozen); sum.Equal(w.total) {
			s.pass(paymentSum)
		} else if s.fail(paymentSum) {
			s.example(paymentSum, s.nameOf(w.slot), sum.String(), w.total.String())
		}
	}
	s.paid(w)
}

func (s *State) paid(w *word) {
	s.beginOperation()
	m := s.keepMoney(s.touch(w.slot).asset)
	if w.change.Sign() >= 0 {
		m.Deposits = m.Deposits.Add(w.change)
	} else {
		m.Withdrawals = m.Withdrawals.Sub(w.change)
	}
	s.add(w.slot, &w.change)
	if w.split {
		s.toldSplit(w.slot, w.first, w.frozen, w.total)
	} else {
		s.toldTotal(w.slot, w.total, paymentBalance)
	}
}

func (s *State) checkSign(slot int32, change amount.Amount, deposit bool) {
	if change.Sign() > 0 == deposit && !change.IsZero() {
		s.pass(paymentSign)
		return
	}
	if s.fail(paymentSign) {
		expected := "a withdrawal's change, below 0"
		if deposit {
			expected = "a deposit's change, above 0"
		}
		s.example(paymentSign, s.nameOf(slot), expected, change.String())
	}
}
