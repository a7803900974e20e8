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
	total amount.Amount // available and frozen
	held  amount.Amount // the sum of what its open orders have frozen
	odd   amount.Amount // frozen beyond what is held: 0, but for orders that the state does not know
	flags accountFlags
}

type accountFlags uint8

const (
	existing    accountFlags = 1 << iota // it ever held anything
	totalKnown                           // the total is sure
	splitKnown                           // and what of it is frozen
	oddlyFrozen                          // odd is not 0, and that has been counted
	owing                                // something is below 0, and that has been counted
)

func (h *holdings) frozen() amount.Amount { return h.held.Add(h.odd) }

// belowZero reports whether available or frozen is.
func (h *holdings) belowZero() bool {
	if !h.odd.IsZero() {
		return h.available().Sign() < 0 || h.frozen().Sign() < 0
	}
	return h.total.Cmp(&h.held) < 0 || h.held.Sign() < 0
}

func (h *holdings) available() amount.Amount { return h.total.Sub(h.frozen()) }

const (
	recentBits  = 10
	recentSlots = 1 << recentBits
)

// slot finds the account of a user and an asset, or opens it.
func (s *State) slot(user int64, asset int32) int32 {
	key := uint64(user)<<32 | uint64(uint32(asset))
	recent := &s.recentSlot[key*golden>>(64-recentBits)]
	if i := *recent; int(i) < len(s.accounts) && s.accounts[i].user == user && s.accounts[i].asset == asset {
		return i
	}
	*recent = s.slotOf(key, user, asset)
	return *recent
}

func (s *State) slotOf(key uint64, user int64, asset int32) int32 {
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
	if a.kept == s.serial && a.touched && a.changed && a.flags&existing != 0 {
		return a // by this record already
	}
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

// add adds to the total, and so to what is available.
func (s *State) add(slot int32, by *amount.Amount) {
	if !by.IsZero() {
		s.touch(slot).total.Plus(by)
	}
}

// sub takes from the total.
func (s *State) sub(slot int32, by *amount.Amount) {
	if !by.IsZero() {
		s.touch(slot).total.Minus(by)
	}
}

// adopt replaces the state's own reckoning by the engine's word.
func (s *State) adopt(slot int32, available, frozen amount.Amount) {
	a := s.touch(slot)
	total := available.Add(frozen)
	if by := total.Sub(a.total); !by.IsZero() {
		s.keepMoney(a.asset).adopt(by)
	}
	a.total, a.odd = total, frozen.Sub(a.held)
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
