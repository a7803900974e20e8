package exchange

import (
	"math"
	"math/rand/v2"
	"strconv"
)

// workload is what the users do. The shares of the operations are those of the
// engine's recorded run, so that the kinds of records have its proportions.
type workload struct {
	x          *Exchange
	random     *rand.Rand
	users      []uint32 // registered, in order; the first cfg.Users are the traders
	businessID uint64
	pairs      []pair
	openings   []decimal // per asset
}

// pair is a market as the users see it: amounts count the last decimal that the
// market allows.
type pair struct {
	middle, low, high    int64 // the wandering price and its bounds
	maxAmount            int64
	makerFees, takerFees []decimal
}

func newWorkload(x *Exchange) *workload {
	w := &workload{x: x, random: newRandom(x.cfg.Seed, streamWork)}
	parse := func(text string) decimal {
		d, err := parseDecimal(text)
		if err != nil {
			panic(err) // Validate has read it
		}
		return d
	}
	for _, a := range x.cfg.Assets {
		w.openings = append(w.openings, parse(a.Opening))
	}
	for i, c := range x.cfg.Markets {
		m := x.engine.markets[i]
		middle := max(1, units(parse(c.Price), m.pricePrec))
		p := pair{middle: middle, low: max(1, middle/2), high: 2 * middle, maxAmount: max(1, units(parse(c.MaxAmount), m.amountPrec))}
		for _, rate := range c.MakerFees {
			p.makerFees = append(p.makerFees, parse(rate))
		}
		for _, rate := range c.TakerFees {
			p.takerFees = append(p.takerFees, parse(rate))
		}
		w.pairs = append(w.pairs, p)
	}
	return w
}

// units is a number in units of its decimals; Validate bounds it.
func units(d decimal, prec uint8) int64 {
	return int64(d.truncated(prec).scaledUp(prec).lo)
}

// operate does the operation of the given number.
func (w *workload) operate(number int) {
	traders, assets := w.x.cfg.Users, len(w.openings)
	switch {
	case number < traders:
		w.register()
		return
	case number < w.x.cfg.opening():
		at := number - traders
		w.deposit(w.users[at/assets], at%assets, w.openings[at%assets])
		return
	}
	switch share := w.random.IntN(1000); {
	case share < 660:
		w.order()
	case share < 664:
		w.x.engine.cancelAll(w.user(), w.market())
	case share < 870:
		w.cancel()
	case share < 917:
		user, asset := w.user(), w.random.IntN(assets)
		w.deposit(user, asset, w.amount(asset))
	case share < 953:
		w.withdraw()
	case share < 992:
		w.transfer()
	default:
		w.register()
	}
}

// user is mostly one of the first, who have means; the others are seldom heard
// of again.
func (w *workload) user() uint32 {
	if w.random.IntN(20) == 0 {
		return w.users[w.random.IntN(len(w.users))]
	}
	return w.users[w.random.IntN(w.x.cfg.Users)]
}

func (w *workload) market() *market {
	return w.x.engine.markets[w.random.IntN(len(w.x.engine.markets))]
}

func (w *workload) register() {
	u := User{L1Address: "0x" + w.hex(20), L2Pubkey: "0x" + w.hex(32)}
	w.users = append(w.users, w.x.engine.registerUser(u))
}

// hex is n random bytes.
func (w *workload) hex(n int) string {
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 2*n)
	for len(b) < 2*n {
		for word, k := w.random.Uint64(), 0; k < 16 && len(b) < 2*n; k++ {
			b = append(b, digits[word&15])
			word >>= 4
		}
	}
	return string(b)
}

// amount is a random amount to move, without trailing zeros: from the smallest
// that the asset knows to some hundreds of it, small ones as often as large
// ones. At most a fifth of the opening deposit, so that few users run dry.
func (w *workload) amount(asset int) decimal {
	prec := w.x.engine.assets[asset].showPrec
	largest := max(1, units(w.openings[asset], prec)/5)
	n := int64(math.Exp(w.random.Float64() * math.Log(float64(largest))))
	return newDecimal(max(1, n), prec).stripped()
}

// businesses are the caller's free texts; all but two are rare, and what an
// escaping mistake would break.
var businesses = []string{"b\u00fcro \"7\"\n", "tab\there", "\u5165\u91d1 \U0001F4B0", "slash\\", ""}

func (w *workload) business(usual string) string {
	if w.random.IntN(250) == 0 {
		return businesses[w.random.IntN(len(businesses))]
	}
	return usual
}

// nextID is a business_id. Some callers count down from the largest there is.
func (w *workload) nextID() uint64 {
	w.businessID++
	if w.random.IntN(500) == 0 {
		return math.MaxUint64 - w.businessID
	}
	return w.businessID
}

func (w *workload) deposit(user uint32, asset int, amount decimal) {
	id := w.nextID()
	detail := idDetail(id)
	if w.random.IntN(16) == 0 || len(w.users) == w.x.cfg.Users {
		detail = `{"id":` + strconv.FormatUint(id, 10) + `,"key":"value"}`
	}
	w.x.engine.updateBalance(user, asset, w.business("deposit"), id, amount, detail, "")
}

func (w *workload) withdraw() {
	user, asset := w.user(), w.random.IntN(len(w.openings))
	amount, id := w.amount(asset), w.nextID()
	w.x.engine.updateBalance(user, asset, w.business("withdraw"), id, amount.negated(), idDetail(id), w.hex(64))
}

func (w *workload) transfer() {
	from, to, asset := w.user(), w.user(), w.random.IntN(len(w.openings))
	amount := w.amount(asset)
	if w.random.IntN(300) == 0 {
		amount = decimal{scale: w.x.engine.assets[asset].showPrec} // too small to show (wire 0.10)
	}
	self := w.random.Float64() < w.x.cfg.SelfTransfers
	for to == from {
		to = w.users[w.random.IntN(len(w.users))]
	}
	if self {
		to = from
	}
	// Two transfers of one millisecond collide in the engine. Only those that
	// were asked for shall.
	if ms := w.x.engine.transfersMs; w.x.clock/1000 <= ms {
		w.x.clock = (ms + 1) * 1000
	}
	moved := w.x.engine.transfer(from, to, asset, amount, w.hex(64))
	if self && !moved && len(w.x.out.messages) > 0 {
		w.x.stats.SelfTransfers++
	}
}

// cancel cancels one of the open orders of a market, if there is any.
func (w *workload) cancel() {
	start := w.random.IntN(2 * len(w.pairs))
	for k := range 2 * len(w.pairs) {
		at := (start + k) % (2 * len(w.pairs))
		if orders := w.x.engine.trading[at/2].sides[at%2].orders; len(orders) > 0 {
			w.x.engine.cancel(orders[w.random.IntN(len(orders))])
			return
		}
	}
}

// order puts an order. Who has not the means for it deposits instead.
func (w *workload) order() {
	m := w.market()
	p := &w.pairs[m.index]
	w.wander(p)
	o := order{user: w.user(), market: m, side: side(w.random.IntN(2)), signature: noSignature,
		amount:   newDecimal(1+w.random.Int64N(p.maxAmount), m.amountPrec),
		makerFee: p.makerFees[w.random.IntN(len(p.makerFees))], takerFee: p.takerFees[w.random.IntN(len(p.takerFees))]}
	if w.random.IntN(10) == 0 {
		o.signature = w.hex(64)
	}
	var limit decimal
	switch kind := w.random.IntN(100); {
	case kind < 15 && w.x.cfg.MarketOrders:
		o.isMarket = true
		if w.random.IntN(6) == 0 {
			limit = newDecimal(p.middle, m.pricePrec).times(o.amount).times(newDecimal(1+w.random.Int64N(9), 1)).truncated(w.x.engine.assets[m.quote].savePrec)
		}
	default:
		o.postOnly = kind >= 93
		o.price = newDecimal(w.price(p), m.pricePrec)
	}
	asset := o.holds()
	if !o.isMarket && !w.x.engine.accepts(&o) {
		w.deposit(o.user, asset, w.openings[asset])
		return
	}
	w.x.crashes.guardPut(o, limit)
}

// wander moves the price a little.
func (w *workload) wander(p *pair) {
	step := max(1, p.middle/20_000)
	p.middle = min(max(p.middle+w.random.Int64N(2*step+1)-step, p.low), p.high)
}

// price is near the middle for most orders and further off for some.
func (w *workload) price(p *pair) int64 {
	spread := max(2, p.middle/1000)
	if w.random.IntN(4) == 0 {
		spread = max(4, p.middle/150)
	}
	return max(1, p.middle+w.random.Int64N(2*spread+1)-spread)
}
