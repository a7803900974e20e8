package state

import "github.com/thaliumx/persistor/internal/amount"

// What the engine tells of a balance is checked, and where it differs, the
// engine is believed (wire 4.2): else the error would stay for ever.

// equal counts the comparison of an amount of an account.
func (s *State) equal(c check, what string, slot int32, expected, found *amount.Amount) bool {
	if expected.Same(found) {
		s.pass(c)
		return true
	}
	if s.fail(c) {
		s.example(c, what+" of "+s.nameOf(slot), expected.String(), found.String())
	}
	return false
}

// toldSplit hears of an account's available and frozen, after an operation.
func (s *State) toldSplit(slot int32, available, frozen, total amount.Amount) {
	a := &s.accounts[slot]
	if a.flags&splitKnown == 0 {
		s.learn(slot, available.Add(frozen), &frozen)
		s.pin(slot, available, frozen, total)
		return
	}
	if a.doubted || !a.available().Equal(available) || !a.frozen().Equal(frozen) {
		s.accountFor(slot, available.Add(frozen), &frozen)
		s.explainFrozen(slot, frozen)
	}
	// One thing counts once: what is available follows from the others.
	was, held := a.available(), a.frozen()
	ok := s.equal(paymentBalance, "balance", slot, &a.total, &total)
	ok = s.equal(paymentFrozen, "frozen", slot, &held, &frozen) && ok
	if ok = ok && s.equal(paymentAvailable, "available", slot, &was, &available); !ok {
		s.adopt(slot, available, frozen)
		if a := &s.accounts[slot]; !a.odd.IsZero() {
			a.flags |= oddlyFrozen // it has been counted
		}
	}
}

// pin takes over what was not known.
func (s *State) pin(slot int32, available, frozen, total amount.Amount) {
	a := &s.accounts[slot]
	if a.flags&totalKnown != 0 {
		s.equal(paymentBalance, "balance", slot, &a.total, &total)
	}
	s.adopt(slot, available, frozen)
	a = &s.accounts[slot]
	a.flags |= totalKnown | splitKnown
	if !a.odd.IsZero() {
		a.flags |= oddlyFrozen // orders of the time before the log
	}
}

// toldTotal hears of an account's available and frozen together.
func (s *State) toldTotal(slot int32, total amount.Amount, c check) {
	a := &s.accounts[slot]
	if a.flags&totalKnown == 0 {
		s.learn(slot, total, nil)
		s.adopt(slot, total.Sub(a.frozen()), a.frozen())
		s.accounts[slot].flags |= totalKnown
		return
	}
	if a.doubted || !a.total.Equal(total) {
		s.accountFor(slot, total, nil)
	}
	if !s.equal(c, "balance", slot, &a.total, &total) {
		s.adopt(slot, total.Sub(a.frozen()), a.frozen())
	}
}

// explainFrozen looks for orders that the engine has no more, where it tells
// that less is frozen than the open orders hold: all of them if nothing is
// frozen, else the one that accounts for the difference, if it is only one.
func (s *State) explainFrozen(slot int32, frozen amount.Amount) {
	missing := s.accounts[slot].held.Sub(frozen)
	if missing.Sign() <= 0 {
		return
	}
	var gone []*order
	for _, o := range s.ordersOf(slot) {
		if frozen.IsZero() || o.frozen.Equal(missing) {
			gone = append(gone, o)
		}
	}
	if !frozen.IsZero() && len(gone) != 1 {
		return
	}
	for _, o := range gone {
		s.vanish(o, "frozen "+frozen.String()+" in all")
	}
}

// vanish takes away an order that the engine cannot have any more.
func (s *State) vanish(o *order, because string) {
	if s.fail(vanishedOrder) {
		s.example(vanishedOrder, s.nameOrder(o.id), "open, with "+o.frozen.String()+" frozen", because)
	}
	s.close(o)
}

// close releases what an order has frozen, and takes it away. The order's own
// progress stays as it is, and so needs not be kept: an undo only has to open it
// again.
func (s *State) close(o *order) {
	if !o.frozen.IsZero() {
		s.touch(o.holds()).held.Minus(&o.frozen)
	}
	s.remove(o)
}
