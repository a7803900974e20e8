package state

import (
	"errors"
	"slices"
	"testing"

	"github.com/thaliumx/persistor/internal/event"
)

// slice is a state as the engine would save it.
func slice(s *State) *Slice {
	out := &Slice{LastOrderID: s.LastOrderID(), LastTradeID: s.LastTradeID()}
	for b := range s.Balances() {
		if !b.Available.IsZero() || !b.Frozen.IsZero() {
			out.Balances = append(out.Balances, b)
		}
	}
	out.Orders = slices.Collect(s.OpenOrders())
	return out
}

func TestImport(t *testing.T) {
	log := dump(t, "engine-1.unify.jsonl.xz")
	whole := newPlayer(New(0)).play(t, log[:20_000])
	for whole.Provisional() {
		whole.play(t, log[:whole.Next()+1])
	}
	at := whole.Next()
	imported := slice(whole.State)

	// Into a state that has read the log for a while already, and into one that
	// begins there.
	for _, base := range []int64{at - 3000, at} {
		s := newPlayer(New(base)).play(t, log[:at])
		if err := s.Import(imported); err != nil {
			t.Fatal(err)
		}
		if !s.Complete() || s.Next() != at {
			t.Errorf("complete %v, next %d", s.Complete(), s.Next())
		}
		money(t, s.State)
		same(t, restored(t, snapshotOf(t, s.State)), s.State)
		s.play(t, log)
		noMismatch(t, s.State)
		money(t, s.State)
		want := parseState(t, openTestdata(t, "engine-1.state.json.gz"))
		for b := range s.Balances() {
			if !b.Known {
				t.Errorf("user %d %s is not known", b.UserID, b.Asset)
			}
		}
		want.Users = nil // a slice has none
		clear(s.users)
		sameAsTold(t, s.State, want)
	}

	other := newPlayer(New(0)).play(t, log[:at-2000])
	if err := other.Import(imported); !errors.Is(err, ErrOtherMoment) {
		t.Errorf("at another moment: %v", err)
	}
	imported.Orders[0].Side = event.NoSide
	if err := New(at).Import(imported); err == nil {
		t.Error("an order without a side is taken")
	}
}
