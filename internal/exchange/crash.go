package exchange

import (
	"math"
	"math/rand/v2"
)

// crashes ends the engine now and then and lets it start again with what it
// remembers (wire 5): operations may be missing from its operation log that are
// out as messages, and messages may be missing that it knows.
type crashes struct {
	x      *Exchange
	random *rand.Rand

	// A crash is planned ahead: the engine that will start again is put by when
	// the first operation to be forgotten begins.
	at         int // number of the first operation after the crash
	forgetFrom int // number of the first operation to be forgotten
	forgotten  *memory
	unify, own loss

	// guard is the engine before an operation that it may panic in.
	guard *memory

	phantoms []Range
}

func newCrashes(x *Exchange, random *rand.Rand) *crashes {
	never := loss{from: math.MaxInt}
	return &crashes{x: x, random: random, unify: never, own: never}
}

// memory is an engine to go back to, and where unifyevents was then.
type memory struct {
	engine *engine
	offset uint64
}

// loss is the end of a stream of records that never arrives: some of the last
// records of operation number from, and all later ones.
type loss struct {
	from   int
	losing bool
}

func (l *loss) takes(number int, random *rand.Rand) bool {
	l.losing = l.losing || number > l.from || (number == l.from && random.IntN(3) == 0)
	return l.losing
}

func (c *crashes) remember() *memory { return &memory{c.x.engine.clone(), c.x.unify} }

// beforeOperation plans a crash, begins its window, or lets it happen.
func (c *crashes) beforeOperation(number int) {
	if c.x.cfg.CrashEvery == 0 || number < c.x.cfg.opening() {
		return
	}
	if number == c.at {
		if c.forgotten == nil {
			c.forgotten = c.remember()
		}
		c.x.stats.Forgotten += number - c.forgetFrom
		c.restart(c.forgotten)
		c.forgotten = nil
	}
	if c.at <= number {
		c.plan(number)
	}
	if number == c.forgetFrom {
		c.forgotten = c.remember()
	}
}

// plan draws the next crash. Validate keeps its windows behind the crash before.
func (c *crashes) plan(number int) {
	cfg := &c.x.cfg
	c.at = number + cfg.CrashEvery/2 + 1 + c.random.IntN(cfg.CrashEvery)
	back := func(most, never int) int {
		if most == 0 {
			return never
		}
		return c.at - 1 - c.random.IntN(most)
	}
	c.forgetFrom = back(cfg.Forget, c.at)
	c.unify = loss{from: back(cfg.LoseUnify, math.MaxInt)}
	c.own = loss{from: back(cfg.LoseTopics, math.MaxInt)}
}

// guardPut puts an order. Where the engine might panic over it, what it knows is
// put by: restarted, it does not know the order, but half of that is out.
func (c *crashes) guardPut(o order, quoteLimit decimal) {
	if c.x.engine.selfTrade && c.x.engine.meetsOwner(&o) {
		c.guard = c.remember()
	}
	c.x.engine.put(o, quoteLimit)
}

// afterOperation restarts an engine that has panicked.
func (c *crashes) afterOperation() {
	if c.x.engine.panicked {
		c.x.stats.Panics++
		c.x.stats.Forgotten++
		c.restart(c.guard)
	}
	c.guard = nil
}

// restart lets an earlier engine go on, and notes as phantoms what has been put
// out since. Its users it reads from its own table, which is up to date, and
// then registers some of them again, so that ids jump.
func (c *crashes) restart(earlier *memory) {
	c.x.stats.Crashes++
	e := earlier.engine
	e.users, e.lastUser = c.x.engine.users, c.x.engine.lastUser+c.random.Uint32N(3)
	e.reload()
	c.x.engine = e

	from := earlier.offset
	for n := len(c.phantoms); n > 0 && c.phantoms[n-1].To >= from; n = len(c.phantoms) {
		from = min(from, c.phantoms[n-1].From)
		c.phantoms = c.phantoms[:n-1]
	}
	if from < c.x.unify {
		c.phantoms = append(c.phantoms, Range{from, c.x.unify})
	}
}

// reload is what the way through the engine's own tables does to what it knows:
// NUMERIC(30,8) for amounts, NUMERIC(30,4) for rates, whole seconds, and no last
// prices.
func (e *engine) reload() {
	e.transfersMs = 0
	clear(e.transfers)
	for _, row := range e.accounts.rows {
		for i := range row {
			row[i].available, row[i].frozen = stored(row[i].available, 8), stored(row[i].frozen, 8)
		}
	}
	for i := range e.trading {
		e.trading[i].lastPrice = decimal{}
		for _, k := range e.trading[i].sides {
			for _, o := range k.orders {
				o.reload()
			}
		}
	}
}

func (o *order) reload() {
	for _, d := range []*decimal{&o.price, &o.amount, &o.remain, &o.frozen, &o.finishedBase, &o.finishedQuote, &o.finishedFee} {
		*d = stored(*d, 8)
	}
	o.makerFee, o.takerFee = stored(o.makerFee, 4), stored(o.takerFee, 4)
	o.created, o.updated = wholeSeconds(o.created), wholeSeconds(o.updated)
	o.setHead()
}

// stored is a number as the engine reads it back: with the column's scale, but a
// plain 0.
func stored(d decimal, scale uint8) decimal {
	if d.isZero() {
		return decimal{}
	}
	return d.truncated(scale).scaledUp(scale)
}

func wholeSeconds(micros int64) int64 { return (micros + 500_000) / 1_000_000 * 1_000_000 }

// meetsOwner says that an order would cross one of its own user's.
func (e *engine) meetsOwner(o *order) bool {
	for _, maker := range e.trading[o.market.index].sides[1-o.side].orders {
		if maker.user == o.user && o.crosses(maker) {
			return true
		}
	}
	return false
}
