package state

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/thaliumx/persistor/internal/exchange"
)

// table is what somebody has who writes the changes only.
type table struct {
	balances map[Holding]string
	orders   map[int64]string
}

func (b *table) write(t *testing.T, s *State) {
	t.Helper()
	c := s.Changes()
	seen := map[Holding]bool{}
	for v := range c.Balances {
		h := Holding{v.UserID, v.Asset}
		if seen[h] {
			t.Fatalf("%v twice in one writing", h)
		}
		seen[h] = true
		b.balances[h] = fmt.Sprint(v.Available, v.Frozen, v.Known)
	}
	for h := range c.GoneBalances {
		if _, there := b.balances[h]; !there || seen[h] {
			t.Fatalf("%v is gone, but was not there", h)
		}
		delete(b.balances, h)
	}
	orders := map[int64]bool{}
	for v := range c.Orders {
		if orders[v.ID] {
			t.Fatalf("order %d twice in one writing", v.ID)
		}
		orders[v.ID] = true
		b.orders[v.ID] = fmt.Sprint(v)
	}
	for id := range c.GoneOrders {
		if _, there := b.orders[id]; !there || orders[id] {
			t.Fatalf("order %d is gone, but was not there", id)
		}
		delete(b.orders, id)
	}
	s.Committed()
}

func all(s *State) *table {
	b := &table{map[Holding]string{}, map[int64]string{}}
	for v := range s.Balances() {
		b.balances[Holding{v.UserID, v.Asset}] = fmt.Sprint(v.Available, v.Frozen, v.Known)
	}
	for v := range s.OpenOrders() {
		b.orders[v.ID] = fmt.Sprint(v)
	}
	return b
}

func (b *table) equal(t *testing.T, want *table) {
	t.Helper()
	if !maps.Equal(b.balances, want.balances) || !maps.Equal(b.orders, want.orders) {
		t.Fatalf("%d balances and %d orders written, want %d and %d, or others", len(b.balances), len(b.orders), len(want.balances), len(want.orders))
	}
}

func TestChangesAreAllThatChanges(t *testing.T) {
	cfg := exchange.DefaultConfig()
	cfg.CrashEvery, cfg.Forget, cfg.LoseUnify, cfg.SelfTransfers = 150, 30, 10, 0.1
	_, log := simulate(t, cfg, 3000)
	random := rand.New(rand.NewPCG(3, 4))
	p, written := newPlayer(New(0)), &table{map[Holding]string{}, map[int64]string{}}
	rewound := int64(0)
	for at := 0; at < len(log); {
		at = min(at+1+random.IntN(40), len(log))
		p.play(t, log[:at])
		written.write(t, p.State)
		written.equal(t, all(p.State))
		if random.IntN(20) == 0 {
			// A restart: everything counts as changed, until it is said to be written.
			p = newPlayer(restored(t, snapshotOf(t, p.State)))
			fresh := &table{map[Holding]string{}, map[int64]string{}}
			fresh.write(t, p.State)
			fresh.equal(t, written)
		}
	}
	for _, c := range p.Checks() {
		if c.Name == "rewind" {
			rewound = c.Failed
		}
	}
	if rewound < 5 {
		t.Errorf("only %d rewinds", rewound)
	}
}

func TestChangesDoNotPileUp(t *testing.T) {
	_, log := simulate(t, exchange.DefaultConfig(), 5000)
	p := newPlayer(New(0)).play(t, log)
	if n := len(slices.Collect(p.Changes().Orders)); n != p.OrderCount() || len(p.changed.orders) > 2*n+200 {
		t.Errorf("%d orders listed, %d told, %d open", len(p.changed.orders), n, p.OrderCount())
	}
}
