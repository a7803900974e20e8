package state

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

// changes is what differs from what was last written.
type changes struct {
	accounts []int32
	orders   []*order       // nil where one is open no more
	struck   int            // so many of them
	gone     map[int64]bool // orders of which there is a row, and that are open no more
}

func (c *changes) setGone(id int64) {
	if c.gone == nil {
		c.gone = map[int64]bool{}
	}
	c.gone[id] = true
}

// strike takes an order off the list. Most orders begin and end between two
// writings, so what is struck is cleared away now and then.
func (c *changes) strike(at int) {
	c.orders[at] = nil
	if c.struck++; c.struck < 64+len(c.orders)/2 {
		return
	}
	kept := c.orders[:0]
	for _, o := range c.orders {
		if o != nil {
			o.listed = len(kept)
			kept = append(kept, o)
		}
	}
	clear(c.orders[len(kept):])
	c.orders, c.struck = kept, 0
}

// Holding names a balance.
type Holding struct {
	UserID int64
	Asset  string
}

// Changes are the rows that have to be written so that the tables have the
// state, if they had it at the last Committed.
type Changes struct {
	Balances     iter.Seq[Balance] // to be inserted or updated
	Orders       iter.Seq[Order]   // to be inserted or updated
	GoneBalances iter.Seq[Holding] // to be deleted
	GoneOrders   iter.Seq[int64]   // to be deleted
}

// Changes are what has changed since the last Committed, and what is changed
// until it is called. They may be read several times.
func (s *State) Changes() Changes {
	return Changes{
		Balances: func(yield func(Balance) bool) {
			for _, slot := range s.changed.accounts {
				if a := &s.accounts[slot]; a.flags&existing != 0 && !yield(s.balance(a)) {
					return
				}
			}
		},
		Orders: func(yield func(Order) bool) {
			for _, o := range s.changed.orders {
				if o != nil && !yield(s.view(o)) {
					return
				}
			}
		},
		GoneBalances: func(yield func(Holding) bool) {
			for _, slot := range s.changed.accounts {
				a := &s.accounts[slot]
				if a.flags&existing == 0 && a.written && !yield(Holding{a.user, s.assets.names[a.asset]}) {
					return
				}
			}
		},
		GoneOrders: func(yield func(int64) bool) {
			for _, id := range slices.Sorted(maps.Keys(s.changed.gone)) {
				if !yield(id) {
					return
				}
			}
		},
	}
}

// Committed says that the tables have the state as it is now.
func (s *State) Committed() {
	for _, slot := range s.changed.accounts {
		a := &s.accounts[slot]
		a.changed, a.written = false, a.flags&existing != 0
	}
	for _, o := range s.changed.orders {
		if o != nil {
			o.changed, o.written = false, true
		}
	}
	clear(s.changed.orders)
	s.changed.accounts, s.changed.orders, s.changed.struck = s.changed.accounts[:0], s.changed.orders[:0], 0
	clear(s.changed.gone)
}

func (s *State) balance(a *account) Balance {
	return Balance{UserID: a.user, Asset: s.assets.names[a.asset], Available: a.available(), Frozen: a.frozen(), Known: a.flags&splitKnown != 0}
}

// Users are all registered users, by id.
func (s *State) Users() iter.Seq[*User] {
	return func(yield func(*User) bool) {
		for _, id := range slices.Sorted(maps.Keys(s.users)) {
			if !yield(s.users[id]) {
				return
			}
		}
	}
}

// Balances are all balances that ever were anything, by user and asset.
func (s *State) Balances() iter.Seq[Balance] {
	return func(yield func(Balance) bool) {
		for _, slot := range s.sortedSlots() {
			if a := &s.accounts[slot]; a.flags&existing != 0 && !yield(s.balance(a)) {
				return
			}
		}
	}
}

func (s *State) sortedSlots() []int32 {
	slots := make([]int32, len(s.accounts))
	for i := range slots {
		slots[i] = int32(i)
	}
	slices.SortFunc(slots, func(x, y int32) int {
		a, b := &s.accounts[x], &s.accounts[y]
		return cmp.Or(cmp.Compare(a.user, b.user), cmp.Compare(s.assets.names[a.asset], s.assets.names[b.asset]))
	})
	return slots
}

// OpenOrders are all open orders, by id.
func (s *State) OpenOrders() iter.Seq[Order] {
	return func(yield func(Order) bool) {
		for _, o := range s.orders.byID() {
			if !yield(s.view(o)) {
				return
			}
		}
	}
}

// Money is the account of every asset, in the order in which they were seen.
func (s *State) Money() []Money { return slices.Clone(s.money) }
