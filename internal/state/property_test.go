package state

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/exchange"
)

// randomConfig is some exchange, without faults.
func randomConfig(random *rand.Rand) exchange.Config {
	cfg := exchange.DefaultConfig()
	cfg.Seed = random.Uint64()
	cfg.Users = 2 + random.IntN(30)
	cfg.MarketOrders = random.IntN(3) > 0
	if random.IntN(2) == 0 {
		cfg.Markets = append(cfg.Markets, exchange.Market{Base: "ETH", Quote: "BTC", PricePrec: 4, AmountPrec: 4, Price: "0.0775", MaxAmount: "1",
			MakerFees: []string{"-0.0005"}, TakerFees: []string{"0.0013"}})
	}
	for i := range cfg.Markets {
		cfg.Markets[i].TakerFees = append(cfg.Markets[i].TakerFees, fmt.Sprintf("0.00%d", random.IntN(99)))
	}
	return cfg
}

// A rule changes a state after a record has been applied; nil is the package as
// it is. It lets a test break a rule on purpose.
type rule func(s *State, u *event.Unify)

// firstProblem applies a log and returns the first thing that must not be, with
// the number of records applied by then; "" if there is none.
func firstProblem(log []record, broken rule, also func(*State) []string) (problem string, applied int) {
	p := newPlayer(New(0))
	for i := range log {
		if err := p.decoder.Unify(log[i].key, log[i].value, &p.unify); err != nil {
			p.Unreadable(int64(i), 0)
		} else {
			p.Apply(int64(i), 0, &p.unify)
			if broken != nil {
				broken(p.State, &p.unify)
			}
		}
		found := moneyProblems(p.State)
		if also != nil {
			found = append(found, also(p.State)...)
		}
		if len(found) > 0 {
			return found[0], i + 1
		}
	}
	return "", len(log)
}

// shrink looks for a small log that still has a problem: it leaves out ever
// smaller parts, as long as one can be left out.
func shrink(log []record, hasProblem func([]record) bool) []record {
	for size := len(log) / 2; size > 0; size /= 2 {
		for from := 0; from+size <= len(log); {
			without := append(append([]record{}, log[:from]...), log[from+size:]...)
			if hasProblem(without) {
				log = without
			} else {
				from += size
			}
		}
	}
	return log
}

// report shrinks a log that has a problem, and prints what is left of it.
func report(t *testing.T, log []record, also func(*State) []string) {
	t.Helper()
	_, applied := firstProblem(log, nil, also)
	small := shrink(log[:applied], func(l []record) bool {
		p, _ := firstProblem(l, nil, also)
		return p != ""
	})
	problem, _ := firstProblem(small, nil, also)
	var b strings.Builder
	for _, r := range small {
		fmt.Fprintf(&b, "\n%s %s", r.key, r.value)
	}
	t.Fatalf("%s, after:%s", problem, b.String())
}

// sound is what holds besides of a log that has no fault in it.
func sound(s *State) (problems []string) {
	if s.Mismatches() > 0 {
		for _, c := range s.Checks() {
			if c.Failed > 0 {
				problems = append(problems, fmt.Sprintf("%s: %+v", c.Name, c.Examples))
			}
		}
	}
	for i := range s.accounts {
		a := &s.accounts[i]
		if a.available().Sign() < 0 || a.frozen().Sign() < 0 || !a.odd.IsZero() {
			problems = append(problems, fmt.Sprintf("%s: %s and %s, %s held", s.nameOf(int32(i)), a.available(), a.frozen(), a.held))
		}
	}
	for i := range s.money {
		if m := &s.money[i]; !m.Adopted.IsZero() || m.AdoptedTimes > 0 {
			problems = append(problems, fmt.Sprintf("%s %s adopted", m.Adopted, m.Asset))
		}
	}
	return problems
}

func TestInvariantsOfSoundExchanges(t *testing.T) {
	for seed := range uint64(8) {
		cfg := randomConfig(rand.New(rand.NewPCG(seed, 1)))
		_, log := simulate(t, cfg, 5*cfg.Users+700)
		if problem, _ := firstProblem(log, nil, sound); problem != "" {
			report(t, log, sound)
		}
	}
}

// mangled is a log with records missing, repeated, displaced, or of another
// exchange: money still neither appears nor vanishes but by the engine's word.
func mangled(t testing.TB, random *rand.Rand) []record {
	cfg := randomConfig(random)
	cfg.CrashEvery, cfg.Forget, cfg.LoseUnify, cfg.AllowSelfTrade, cfg.SelfTransfers = 100, 20, 20, true, 0.1
	if random.IntN(2) == 0 { // so few and so often that ids come back all the time, to other users
		cfg.Users, cfg.CrashEvery, cfg.Forget, cfg.AllowSelfTrade = 2+random.IntN(5), 60+random.IntN(60), 1+random.IntN(25), random.IntN(3) == 0
	}
	_, log := simulate(t, cfg, 5*cfg.Users+700)
	other := randomConfig(random)
	_, foreign := simulate(t, other, 5*other.Users+300)
	for range 1 + random.IntN(60) {
		at, to := random.IntN(len(log)), random.IntN(len(log))
		switch random.IntN(4) {
		case 0:
			log = append(log[:at:at], log[min(len(log), at+1+random.IntN(20)):]...)
		case 1:
			log = append(log[:at:at], append([]record{log[to%len(log)]}, log[at:]...)...)
		case 2:
			log[at], log[to] = log[to], log[at]
		case 3:
			log[at] = foreign[random.IntN(len(foreign))]
		}
	}
	return log
}

func TestInvariantsOfMangledLogs(t *testing.T) {
	for _, seed := range seeds(t, 40, 2000) {
		log := mangled(t, rand.New(rand.NewPCG(seed, 2)))
		if problem, _ := firstProblem(log, nil, nil); problem != "" {
			t.Logf("seed %d", seed)
			report(t, log, nil)
		}
	}
}

// The shrinking is worth something only if it finds what is wrong: here, a rule
// that forgets to charge the bid's fee.
func TestShrinkingFindsTheRecord(t *testing.T) {
	free := func(s *State, u *event.Unify) {
		if u.Kind != event.KindTrade || u.Trade.BidFee.Text == nil {
			return
		}
		slot := s.slot(u.Trade.BidUserID, s.assets.of(u.Trade.Base))
		if by := u.Trade.BidFee.Amount(); by.Sign() > 0 {
			s.accounts[slot].total.Plus(&by)
		}
	}
	cfg := exchange.DefaultConfig()
	_, log := simulate(t, cfg, 1500)
	problem, applied := firstProblem(log, free, nil)
	if problem == "" {
		t.Fatal("the broken rule is not noticed")
	}
	small := shrink(log[:applied], func(l []record) bool {
		p, _ := firstProblem(l, free, nil)
		return p != ""
	})
	if len(small) > 2 || string(small[len(small)-1].key) != "trades" {
		t.Errorf("%d records are left of %d, the last of %s", len(small), applied, small[len(small)-1].key)
	}
	if p, _ := firstProblem(small, nil, nil); p != "" {
		t.Errorf("by the right rule there is a problem, too: %s", p)
	}
	t.Logf("%d records, of which %d are left: %s", applied, len(small), problem)
}
