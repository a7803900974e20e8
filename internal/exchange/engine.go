package exchange

import (
	"maps"
	"slices"
	"time"
)

// asset and market are the configuration with its texts read. They never
// change, so all copies of an engine share them.
type asset struct {
	name     string
	savePrec uint8
	showPrec uint8
	priced   int // the market that prices it in USDT, or -1
}

type market struct {
	index                     int
	name, baseName, quoteName string
	base, quote               int
	pricePrec, amountPrec     uint8
}

// User is what the engine knows of one.
type User struct {
	L1Address string `json:"l1_address"`
	L2Pubkey  string `json:"l2_pubkey"`
}

// trading is what a market has that changes.
type trading struct {
	sides     [2]book
	lastPrice decimal // of the last trade; 0 after a start
}

// engine executes one operation at a time and puts out its messages, as the
// matching engine does.
type engine struct {
	assets  []asset
	markets []*market
	// selfTrade is what the engine calls disable_self_trade, negated.
	selfTrade bool
	// now reads the clock, in microseconds. The engine reads it several times
	// in an operation.
	now func() int64
	out *recorder

	users       map[uint32]User
	lastUser    uint32
	accounts    accounts
	trading     []trading
	lastOrder   uint64
	lastTrade   uint64
	transfersMs int64
	transfers   map[transferKey]bool
	scratch     trade
	// panicked is set when the engine broke off in the middle of an operation.
	panicked bool
}

// transferKey is how the engine recognises a balance change that it has booked:
// it has neither sign nor sender (wire 0.11). Transfers use the millisecond as
// business_id.
type transferKey struct {
	user  uint32
	asset int
}

func newEngine(assets []asset, markets []*market, now func() int64, out *recorder) *engine {
	e := &engine{assets: assets, markets: markets, now: now, out: out, users: map[uint32]User{},
		accounts: accounts{assets: assets}, transfers: map[transferKey]bool{}, trading: make([]trading, len(markets))}
	for i := range e.trading {
		e.trading[i].sides = [2]book{{side: ask}, {side: bid}}
	}
	return e
}

// clone is a copy that shares nothing that changes.
func (e *engine) clone() *engine {
	copied := *e
	copied.users = maps.Clone(e.users)
	copied.accounts = e.accounts.clone()
	copied.transfers = maps.Clone(e.transfers)
	copied.trading = slices.Clone(e.trading)
	copied.scratch = trade{}
	for i := range copied.trading {
		for s := range copied.trading[i].sides {
			orders := slices.Clone(copied.trading[i].sides[s].orders)
			for k, o := range orders {
				again := *o
				orders[k] = &again
			}
			copied.trading[i].sides[s].orders = orders
		}
	}
	return &copied
}

// read reads the clock for a time that goes into a message, which is also about
// when the producer sends it.
func (e *engine) read() int64 {
	micros := e.now()
	e.out.time = time.UnixMilli(micros / 1000)
	return micros
}

func (e *engine) registerUser(u User) uint32 {
	e.read()
	e.lastUser++
	e.users[e.lastUser] = u
	e.out.user(u, e.lastUser)
	return e.lastUser
}

// priceOf is the market_price that balance records of an asset carry.
func (e *engine) priceOf(asset int) decimal {
	if priced := e.assets[asset].priced; priced >= 0 {
		return e.trading[priced].lastPrice
	}
	return decimal{}
}

// updateBalance is a deposit or, with a negative amount, a withdrawal. The
// amount is rounded already. Nothing happens where it is zero or not there.
func (e *engine) updateBalance(user uint32, asset int, business string, businessID uint64, amount decimal, detail, signature string) {
	micros := e.read()
	if amount.isZero() || e.accounts.of(user, asset).available.plus(amount).neg {
		return
	}
	after := e.accounts.addAvailable(user, asset, amount)
	c := change{micros: micros, user: user, businessID: businessID, asset: e.assets[asset].name, business: business,
		marketPrice: e.priceOf(asset), amount: amount, after: *after, detail: detail, signature: signature}
	e.out.balance(&c)
	e.out.transaction(&c)
}

// transfer moves an amount between users. To oneself, and to someone who had a
// transfer in the same millisecond, the engine debits and then stops at what it
// takes for a repetition (wire 0.11).
func (e *engine) transfer(from, to uint32, asset int, amount decimal, signature string) bool {
	micros := e.read()
	if e.accounts.of(from, asset).available.less(amount) {
		return false
	}
	if amount.isZero() {
		e.out.transfer(micros, from, to, e.assets[asset].name, amount, signature)
		return true
	}
	if ms := micros / 1000; ms != e.transfersMs {
		e.transfersMs = ms
		clear(e.transfers)
	}
	debit, credit := transferKey{from, asset}, transferKey{to, asset}
	if e.transfers[debit] {
		return false
	}
	e.transfers[debit] = true
	e.transferLeg(micros, from, asset, amount.negated(), e.priceOf(asset))
	if e.transfers[credit] {
		return false
	}
	e.transfers[credit] = true
	e.transferLeg(micros, to, asset, amount, decimal{})
	e.out.transfer(micros, from, to, e.assets[asset].name, amount, signature)
	return true
}

func (e *engine) transferLeg(micros int64, user uint32, asset int, amount, marketPrice decimal) {
	after := e.accounts.addAvailable(user, asset, amount)
	id := uint64(micros / 1000)
	e.out.balance(&change{micros: micros, user: user, businessID: id, asset: e.assets[asset].name, business: "transfer",
		marketPrice: marketPrice, amount: amount, after: *after, detail: idDetail(id)})
}

// cancel takes an order out of the book and gives back what it held.
func (e *engine) cancel(o *order) {
	e.read()
	e.cancelNow(o)
}

func (e *engine) cancelNow(o *order) {
	e.out.order(eventFinish, o)
	e.trading[o.market.index].sides[o.side].remove(o)
	e.accounts.release(o.user, o.holds(), o.frozen)
}

// cancelAll cancels a user's orders in a market, the oldest first.
func (e *engine) cancelAll(user uint32, m *market) {
	e.read()
	var mine []*order
	for s := range e.trading[m.index].sides {
		for _, o := range e.trading[m.index].sides[s].orders {
			if o.user == user {
				mine = append(mine, o)
			}
		}
	}
	slices.SortFunc(mine, func(a, b *order) int { return int(a.id) - int(b.id) })
	for _, o := range mine {
		e.cancelNow(o)
	}
}

// holds is the asset that an order's frozen amount is of.
func (o *order) holds() int {
	if o.side == ask {
		return o.market.base
	}
	return o.market.quote
}
