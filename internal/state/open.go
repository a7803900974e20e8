package state

import (
	"cmp"
	"iter"
	"slices"
)

// openOrders are the open orders by id. Most end while few others have begun, and
// never get into a map.
type openOrders struct {
	recent [recentOrders]*order // by the lowest bits of the id
	older  map[int64]*order     // those whose place a later one has taken
	n      int
	newest int64 // none has had a greater id
}

const recentOrders = 4096 // a power of two

func (t *openOrders) place(id int64) **order { return &t.recent[id&(recentOrders-1)] }

// find finds an order, or nil.
func (t *openOrders) find(id int64) *order {
	if o := *t.place(id); o != nil && o.id == id {
		return o
	}
	if id > t.newest {
		return nil
	}
	return t.older[id]
}

// add adds an order whose id none of them has.
func (t *openOrders) add(o *order) {
	at := t.place(o.id)
	if *at != nil {
		t.older[(*at).id] = *at
	}
	*at = o
	t.n++
	t.newest = max(t.newest, o.id)
}

// remove takes one of them away.
func (t *openOrders) remove(o *order) {
	if at := t.place(o.id); *at == o {
		*at = nil
	} else {
		delete(t.older, o.id)
	}
	t.n--
}

// all are all of them, in no order.
func (t *openOrders) all() iter.Seq[*order] {
	return func(yield func(*order) bool) {
		for _, o := range t.recent {
			if o != nil && !yield(o) {
				return
			}
		}
		for _, o := range t.older {
			if !yield(o) {
				return
			}
		}
	}
}

// byID are all of them, by id.
func (t *openOrders) byID() []*order {
	return slices.SortedFunc(t.all(), func(a, b *order) int { return cmp.Compare(a.id, b.id) })
}
