package exchange

import (
	"errors"
	"fmt"
	"time"
)

// Asset is something that users hold.
type Asset struct {
	Name string
	// SavePrec is the number of decimals that balances and fees keep; the
	// engine's own tables have at most 8.
	SavePrec int
	// ShowPrec is the number of decimals that deposits, withdrawals and
	// transfers are rounded to.
	ShowPrec int
	// Opening is every user's first deposit, as written in the request.
	Opening string
}

// Market trades one asset against another.
type Market struct {
	Base, Quote string
	// PricePrec and AmountPrec are the decimals of an order's price and
	// amount. Their sum must not exceed the quote asset's SavePrec, so that a
	// trade's value is never rounded.
	PricePrec, AmountPrec int
	// Price is where the market opens; it wanders from there.
	Price string
	// MaxAmount is the largest order in units of the base asset.
	MaxAmount string
	// MakerFees and TakerFees are the rates that orders ask for; each order
	// draws one of each. Negative rates are rebates: reported, never paid
	// (wire 0.9).
	MakerFees, TakerFees []string
}

// Name is how the engine calls the market.
func (m Market) Name() string { return m.Base + "_" + m.Quote }

// Config describes an exchange. Two exchanges of equal configuration produce
// the same messages.
type Config struct {
	Seed uint64
	// Users are registered at the opening; more register as time goes by.
	Users   int
	Assets  []Asset
	Markets []Market
	// Start is the simulated time of the first operation.
	Start time.Time
	// Interval is the mean simulated time between two operations.
	Interval time.Duration

	// MarketOrders allows orders without a price. The platform's configuration
	// forbids them, but the engine's code has them.
	MarketOrders bool
	// AllowSelfTrade lets an order meet its own user's order. The engine then
	// panics in the middle of the operation (wire 3) and is restarted here.
	AllowSelfTrade bool
	// SelfTransfers is the share of transfers that go to the sender himself:
	// the engine debits them and never tells unifyevents (wire 0.11).
	SelfTransfers float64

	// Documented puts trades and orders on their own topics in the shape of
	// the platform's documentation instead of the engine's.
	Documented bool
	// Foreign is the number of the backend's own records on `orders` per
	// record of the engine there (wire 1.11).
	Foreign float64
	// Duplicates is the share of per-topic records that the producer sends
	// twice (wire 5).
	Duplicates float64

	// CrashEvery is the mean number of operations between two crashes of the
	// engine, 0 for none.
	CrashEvery int
	// Forget is the largest number of last operations that the restarted
	// engine does not know, although their messages are out.
	Forget int
	// LoseUnify and LoseTopics are the largest numbers of last operations whose
	// records a crash takes from unifyevents, and from the other topics; of the
	// first of them some records may have arrived.
	LoseUnify, LoseTopics int
}

// DefaultConfig is an exchange without faults: the assets, markets and fee
// rates of the engine's run that the project keeps as a reference.
func DefaultConfig() Config {
	makers := []string{"-0.0002", "0", "0.0005", "0.0010"}
	takers := []string{"0", "0.0007", "0.001", "0.0025"}
	free := []string{"0"}
	return Config{
		Seed:  1,
		Users: 20,
		Assets: []Asset{
			{Name: "USDT", SavePrec: 8, ShowPrec: 6, Opening: "500000.0"},
			{Name: "ETH", SavePrec: 8, ShowPrec: 8, Opening: "100"},
			{Name: "BTC", SavePrec: 8, ShowPrec: 8, Opening: "10"},
			{Name: "UNI", SavePrec: 6, ShowPrec: 6, Opening: "10000"},
		},
		Markets: []Market{
			{Base: "ETH", Quote: "USDT", PricePrec: 2, AmountPrec: 4, Price: "3335.00", MaxAmount: "1", MakerFees: makers, TakerFees: takers},
			{Base: "BTC", Quote: "USDT", PricePrec: 2, AmountPrec: 5, Price: "43000.00", MaxAmount: "0.2", MakerFees: makers, TakerFees: takers},
			{Base: "UNI", Quote: "USDT", PricePrec: 3, AmountPrec: 4, Price: "23.000", MaxAmount: "20", MakerFees: free, TakerFees: free},
		},
		Start: time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC),
		// Some operations share a millisecond and most a second, which is what
		// matters to a reader.
		Interval:     2 * time.Millisecond,
		MarketOrders: true,
	}
}

// opening is the number of operations with which the exchange opens: every
// user's registration and first deposits.
func (c Config) opening() int { return c.Users * (1 + len(c.Assets)) }

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	var problems []error
	refuse := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	if c.Users < 2 || c.Users > 1_000_000 {
		refuse("users: %d is not between 2 and 1,000,000", c.Users)
	}
	if year := c.Start.UTC().Year(); year < 2000 || year > 2098 {
		refuse("start: %s leaves the years 2000 to 2098", c.Start.UTC().Format(time.RFC3339))
	}
	if c.Interval < time.Microsecond || c.Interval > time.Hour {
		refuse("interval: %s is not between 1µs and 1h", c.Interval)
	}
	shares := []struct {
		name  string
		value float64
	}{{"self transfers", c.SelfTransfers}, {"foreign", c.Foreign}, {"duplicates", c.Duplicates}}
	for _, share := range shares {
		if !(share.value >= 0 && share.value <= 1) {
			refuse("%s: %v is not between 0 and 1", share.name, share.value)
		}
	}
	counts := []struct {
		name  string
		value int
	}{{"crash every", c.CrashEvery}, {"forget", c.Forget}, {"lose unify", c.LoseUnify}, {"lose topics", c.LoseTopics}}
	for _, count := range counts {
		if count.value < 0 {
			refuse("%s: %d is negative", count.name, count.value)
		}
	}
	if c.CrashEvery == 0 && c.Forget+c.LoseUnify+c.LoseTopics > 0 {
		refuse("crash every: what a crash forgets or loses is set, but no crash is")
	}
	if window := max(c.Forget, c.LoseUnify, c.LoseTopics); c.CrashEvery > 0 && c.CrashEvery/2 < window {
		refuse("crash every: %d operations must be at least twice the %d that a crash forgets or loses", c.CrashEvery, window)
	}
	problems = append(problems, c.validateMarkets()...)
	return errors.Join(problems...)
}

func (c Config) validateMarkets() (problems []error) {
	refuse := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	amount := func(what, text string, most decimal) {
		d, err := parseDecimal(text)
		if err == nil && (d.neg || d.isZero() || !d.less(most)) {
			err = fmt.Errorf("%s is not between 0 and %s", text, most)
		}
		if err != nil {
			refuse("%s: %w", what, err)
		}
	}

	assets := map[string]Asset{}
	for _, a := range c.Assets {
		if _, twice := assets[a.Name]; twice || a.Name == "" {
			refuse("asset %q: empty or given twice", a.Name)
		}
		assets[a.Name] = a
		if a.SavePrec < 0 || a.SavePrec > 8 || a.ShowPrec < 0 || a.ShowPrec > a.SavePrec {
			refuse("asset %s: precisions %d (save) and %d (show) are not 8 >= save >= show >= 0", a.Name, a.SavePrec, a.ShowPrec)
		}
		amount("asset "+a.Name+": opening", a.Opening, newDecimal(1e10, 0))
	}
	if len(c.Markets) == 0 {
		refuse("markets: none given")
	}
	names := map[string]bool{}
	for _, m := range c.Markets {
		base, quote := assets[m.Base], assets[m.Quote]
		if base.Name == "" || quote.Name == "" || m.Base == m.Quote || names[m.Name()] {
			refuse("market %s: its assets are unknown or equal, or it is given twice", m.Name())
		}
		names[m.Name()] = true
		if m.PricePrec < 0 || m.AmountPrec < 0 || m.AmountPrec > base.SavePrec || m.PricePrec+m.AmountPrec > quote.SavePrec {
			refuse("market %s: %d decimals of price and %d of amount do not fit what %s (%d) and %s (%d) keep",
				m.Name(), m.PricePrec, m.AmountPrec, m.Base, base.SavePrec, m.Quote, quote.SavePrec)
		}
		amount("market "+m.Name()+": price", m.Price, newDecimal(1e9, 0))
		amount("market "+m.Name()+": max amount", m.MaxAmount, newDecimal(1e9, 0))
		if len(m.MakerFees) == 0 || len(m.TakerFees) == 0 {
			refuse("market %s: no maker or taker fee rates", m.Name())
		}
		for _, rate := range append(append([]string{}, m.MakerFees...), m.TakerFees...) {
			d, err := parseDecimal(rate)
			if err == nil && (d.scale > 4 || !newDecimal(-1, 1).less(d) || !d.less(newDecimal(1, 1))) {
				err = fmt.Errorf("%s has more than 4 decimals or is not between -0.1 and 0.1", rate)
			}
			if err != nil {
				refuse("market %s: fee: %w", m.Name(), err)
			}
		}
	}
	return problems
}
