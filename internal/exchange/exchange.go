package exchange

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Exchange is a running exchange: an engine, users who keep it busy, and the
// faults that befall it. It is not safe for concurrent use.
type Exchange struct {
	cfg       Config
	engine    *engine
	out       *recorder
	clock     int64 // microseconds since the epoch
	work      *workload
	crashes   *crashes
	producers *producers
	// unify is the number of records put out to unifyevents: the offset of the
	// next one, on a topic that begins with this exchange.
	unify uint64
	stats Stats
}

// Stats count what happened, so that a test can see that its fault did.
type Stats struct {
	Operations    int // steps taken
	Refused       int // operations that the engine refused, without a message
	SelfTransfers int // debits that unifyevents was never told of
	Crashes       int // restarts, panics among them
	Panics        int // restarts after a self-trade
	Forgotten     int // operations that a restarted engine did not know
	LostUnify     int // records that never reached unifyevents
	LostTopics    int // records that never reached another topic
	Duplicates    int // records sent twice
	Foreign       int // records of the backend
}

// Range is a range of offsets on unifyevents, without its end.
type Range struct{ From, To uint64 }

// New makes an exchange, before its first operation.
func New(cfg Config) (*Exchange, error) {
	assets, markets, err := cfg.compile()
	if err != nil {
		return nil, fmt.Errorf("exchange configuration: %w", err)
	}
	x := &Exchange{cfg: cfg, clock: cfg.Start.UnixMicro(), out: &recorder{documented: cfg.Documented}}
	x.engine = newEngine(assets, markets, x.readClock, x.out)
	x.engine.selfTrade = cfg.AllowSelfTrade
	x.work = newWorkload(x)
	faults := newRandom(cfg.Seed, streamFaults)
	x.crashes = newCrashes(x, faults)
	x.producers = &producers{x: x, random: faults}
	return x, nil
}

// readClock is a reading of the engine's clock. Work takes time, so no two
// readings are equal.
func (x *Exchange) readClock() int64 {
	x.clock += 1 + x.work.random.Int64N(4)
	return x.clock
}

// AdvanceTo lets the simulated time pass until t; it never goes back.
func (x *Exchange) AdvanceTo(t time.Time) { x.clock = max(x.clock, t.UnixMicro()) }

// Step executes one operation and returns its messages in the order of
// emission, with what the faults make of them. There are none where the engine
// refuses the operation.
func (x *Exchange) Step() []Message {
	number := x.stats.Operations
	x.crashes.beforeOperation(number)
	x.clock += x.work.random.Int64N(2*x.cfg.Interval.Microseconds() + 1)
	x.work.operate(number)
	messages := x.out.take()
	x.stats.Operations++
	if len(messages) == 0 {
		x.stats.Refused++
	}
	messages = x.producers.send(messages, number)
	x.crashes.afterOperation()
	return messages
}

// State is the exchange's own state after the operations so far: the truth that
// a reader of its log is measured by.
func (x *Exchange) State() State { return x.engine.state() }

// Stats are the counts so far.
func (x *Exchange) Stats() Stats { return x.stats }

// NextOffset is the number of records put out to unifyevents so far.
func (x *Exchange) NextOffset() uint64 { return x.unify }

// Phantoms are the records on unifyevents of operations that the engine forgot
// in a crash. The true state is that of the log without them, but for
// registrations: the engine finds its users again in its `account` table.
func (x *Exchange) Phantoms() []Range { return x.crashes.phantoms }

// compile reads the configuration's texts.
func (c Config) compile() ([]asset, []*market, error) {
	if err := c.Validate(); err != nil {
		return nil, nil, err
	}
	index := map[string]int{}
	assets := make([]asset, len(c.Assets))
	for i, a := range c.Assets {
		index[a.Name] = i
		assets[i] = asset{name: a.Name, savePrec: uint8(a.SavePrec), showPrec: uint8(a.ShowPrec), priced: -1}
	}
	markets := make([]*market, len(c.Markets))
	for i, m := range c.Markets {
		markets[i] = &market{index: i, name: m.Name(), baseName: m.Base, quoteName: m.Quote, base: index[m.Base], quote: index[m.Quote],
			pricePrec: uint8(m.PricePrec), amountPrec: uint8(m.AmountPrec)}
		if m.Quote == "USDT" {
			assets[index[m.Base]].priced = i
		}
	}
	return assets, markets, nil
}

// streams of random numbers: the faults draw from their own, so that switching
// one on changes nothing in what the users do.
const (
	streamWork = iota + 1
	streamFaults
)

func newRandom(seed uint64, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }
