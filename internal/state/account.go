package state

import (
	"github.com/thaliumx/persistor/internal/amount"
)

// account is one user's balance of one asset. Accounts are never removed: one
// whose making was undone only stops to exist.
type account struct {
	holdings
	user    int64
	kept    uint64 // the serial at which it was kept last
	asset   int32
	changed bool // since the last Committed
	written bool // there is a row of it
	touched bool // in the operation that goes on
	doubted bool // a question is open about it
}

// holdings are what changes in an account, and is put back when a record is
// undone.
type holdings struct {
	available, frozen amount.Amount
	// held is the sum of what its open orders have frozen. It is frozen, but for
	// orders that the state does not know.
	held  amount.Amount
	flags accountFlags
}

type accountFlags uint8

const (
	existing    accountFlags = 1 << iota // it ever held anything
	totalKnown                           // available + frozen is sure
	splitKnown                           // and each of them
	oddlyFrozen                          // frozen is not held, and that has been counted
	owing                                // something is below 0, and that has been counted
)

func (h *holdings) total() amount.Amount {
	sum := h.available
	sum.Plus(&h.frozen)
	return sum
}

// slot finds the account of a user and an asset, or opens it.
func (s *State) slot(user int64, asset int32) int32 {
	key := uint64(user)<<32 | uint64(uint32(asset))
	if i, ok := s.slots[key]; ok {
		return i
	}
	i := int32(len(s.accounts))
	a := account{user: user, asset: asset}
	if s.complete {
		a.flags = totalKnown | splitKnown
	}
	s.accounts = append(s.accounts, a)
	s.slots[key] = i
	return i
}

// touch prepares an account for a change: what it was is kept for an undo.
func (s *State) touch(slot int32) *account {
	a := &s.accounts[slot]
	s.keepAccount(slot, a)
	a.flags |= existing
	if !a.touched {
		a.touched = true
		s.op.touched = append(s.op.touched, slot)
	}
	s.accountChanged(slot, a)
	return a
}

func (s *State) accountChanged(slot int32, a *account) {
	if !a.changed {
		a.changed = true
		s.changed.accounts = append(s.changed.accounts, slot)
	}
}

// addAvailable changes what is available.
func (s *State) addAvailable(slot int32, by amount.Amount) {
	if by.IsZero() {
		return
	}
	a := s.touch(slot)
	a.available.Plus(&by)
}

// freeze moves an amount from available to frozen, or back if it is negative.
func (s *State) freeze(slot int32, by amount.Amount) {
	if by.IsZero() {
		return
	}
	a := s.touch(slot)
	a.available.Minus(&by)
	a.frozen.Plus(&by)
}

// adopt replaces the state's own reckoning by the engine's word.
func (s *State) adopt(slot int32, available, frozen amount.Amount) {
	a := s.touch(slot)
	by := available.Add(frozen).Sub(a.total())
	if !by.IsZero() {
		s.keepMoney(a.asset).adopt(by)
	}
	a.available, a.frozen = available, frozen
}

func (m *Money) adopt(by amount.Amount) {
	m.Adopted = m.Adopted.Add(by)
	m.AdoptedTimes++
}

// keepMoney prepares an asset's account for a change.
func (s *State) keepMoney(asset int32) *Money {
	for int(asset) >= len(s.money) {
		s.money = append(s.money, Money{Asset: s.assets.names[len(s.money)]})
	}
	m := &s.money[asset]
	s.journal.keepMoney(asset, m)
	return m
}
