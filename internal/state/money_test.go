package state

import (
	"slices"
	"testing"

	"github.com/thaliumx/persistor/internal/amount"
)

// money checks what must always hold of a state, by sums of its own.
func money(t testing.TB, s *State) {
	t.Helper()
	for _, problem := range moneyProblems(s) {
		t.Errorf("at %d: %s", s.Next(), problem)
	}
}

func moneyProblems(s *State) (problems []string) {
	held := map[int32]amount.Amount{}
	n := 0
	for o := range s.orders.all() {
		if n++; s.orders.find(o.id) != o {
			problems = append(problems, "an order under another id")
		}
		held[o.holds()] = held[o.holds()].Add(o.frozen)
	}
	if n != s.OrderCount() {
		problems = append(problems, "the orders are not as many as are counted")
	}
	sums := make([]amount.Amount, len(s.assets.names))
	for i := range s.accounts {
		a := &s.accounts[i]
		if a.touched != slices.Contains(s.op.touched, int32(i)) {
			problems = append(problems, s.nameOf(int32(i))+" is touched, or not, and should be otherwise")
		}
		sums[a.asset] = sums[a.asset].Add(a.total)
		if !a.held.Equal(held[int32(i)]) {
			problems = append(problems, s.nameOf(int32(i))+": "+a.held.String()+" held, orders hold "+held[int32(i)].String())
		}
		if a.flags&existing == 0 && (!a.available().IsZero() || !a.frozen().IsZero()) {
			problems = append(problems, s.nameOf(int32(i))+": something, but it does not exist")
		}
	}
	for i, sum := range sums {
		want := amount.Amount{}
		if i < len(s.money) {
			m := &s.money[i]
			want = m.Deposits.Sub(m.Withdrawals).Sub(m.Fees).Add(m.Adopted)
		}
		if !sum.Equal(want) {
			problems = append(problems, s.assets.names[i]+": "+sum.String()+" in all, want "+want.String())
		}
	}
	for i := range s.markets {
		for side, k := range s.markets[i].books {
			for at, o := range k.orders {
				if s.orders.find(o.id) != o || !o.inBook || int(o.side) != side || int(o.market) != i || at > 0 && !after(k.orders[at-1], o) {
					problems = append(problems, s.markets[i].name+": the book is out of order at "+s.nameOrder(o.id))
				}
			}
		}
	}
	for o := range s.orders.all() {
		if o.inBook != o.rests() && !s.takes(o) {
			problems = append(problems, s.nameOrder(o.id)+" is in the book or not, and should be otherwise")
		}
	}
	return problems
}
