package state

import (
	"slices"
	"sort"

	"github.com/thaliumx/persistor/internal/event"
)

// book is one side of a market: asks by rising price, bids by falling price,
// equal prices by age. The best order is the last one, near which nearly
// everything happens.
type book struct {
	orders []*order
}

// after reports whether a is matched after b.
func after(a, b *order) bool {
	c := a.price.Cmp(&b.price)
	if c == 0 {
		return a.id > b.id
	}
	return (c > 0) == (a.side == event.Ask)
}

func (k *book) place(o *order) int {
	// From the end on, by doubling steps: most orders are near the best.
	n := len(k.orders)
	low, high := 0, n
	for step := 1; n-step >= 0; step *= 2 {
		if after(k.orders[n-step], o) {
			low = n - step + 1
			break
		}
		high = n - step
	}
	return low + sort.Search(high-low, func(i int) bool { return !after(k.orders[low+i], o) })
}

func (k *book) insert(o *order) {
	k.orders = slices.Insert(k.orders, k.place(o), o)
	o.inBook = true
}

func (k *book) remove(o *order) {
	at := k.place(o)
	k.orders = slices.Delete(k.orders, at, at+1)
	o.inBook = false
}

func (k *book) best() *order {
	if len(k.orders) == 0 {
		return nil
	}
	return k.orders[len(k.orders)-1]
}

// crosses reports whether an order of the other side would meet it.
func (o *order) crosses(other *order) bool {
	c := o.price.Cmp(&other.price)
	return c == 0 || (c > 0) == (o.side == event.Bid)
}
