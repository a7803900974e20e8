package exchange

import (
	"slices"
	"sort"
)

type side uint8

const (
	ask side = iota
	bid
)

// order is an order as the engine keeps it. head is its JSON up to and
// including the field before `remain`, which never changes: an order is written
// some three times in its life.
type order struct {
	id                                       uint64
	user                                     uint32
	market                                   *market
	side                                     side
	isMarket, postOnly                       bool
	signature                                string
	price, amount, makerFee, takerFee        decimal
	created, updated                         int64 // microseconds since the epoch
	remain, frozen                           decimal
	finishedBase, finishedQuote, finishedFee decimal
	head                                     []byte
}

// book is one side of a market. The best order is the last, so that matching
// takes from the end.
type book struct {
	side   side
	orders []*order
}

// worse says that a is matched after b: by price, then by age.
func (k *book) worse(a, b *order) bool {
	c := a.price.compare(b.price)
	if c == 0 {
		return a.id > b.id
	}
	return (c > 0) == (k.side == ask)
}

func (k *book) best() *order {
	if len(k.orders) == 0 {
		return nil
	}
	return k.orders[len(k.orders)-1]
}

// place is the index of o, or where it belongs.
func (k *book) place(o *order) int {
	return sort.Search(len(k.orders), func(i int) bool { return !k.worse(k.orders[i], o) })
}

func (k *book) insert(o *order) { k.orders = slices.Insert(k.orders, k.place(o), o) }

func (k *book) remove(o *order) {
	at := k.place(o)
	k.orders = slices.Delete(k.orders, at, at+1)
}
