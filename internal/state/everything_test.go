package state

import (
	"testing"

	"github.com/thaliumx/persistor/internal/exchange"
)

// All faults together: the state is the one that the log allows, and whatever
// contradicts is counted as what it is.
func TestEveryFaultAtOnce(t *testing.T) {
	faults := func(c *exchange.Config) {
		c.CrashEvery, c.Forget, c.AllowSelfTrade, c.SelfTransfers = 300, 40, true, 0.1
		c.LoseTopics, c.Duplicates, c.Foreign = 10, 0.1, 0.1
	}
	seeds := seeds(t, 20, 2000)
	reached, debits := 0, int64(0)
	for _, seed := range seeds {
		cfg := exchange.DefaultConfig()
		cfg.Seed = seed
		faults(&cfg)
		x, log := settledLog(t, cfg, 2000)
		s := newPlayer(New(0)).play(t, log)
		want := truth(t, x, log)
		if len(apart(s.State, want)) == 0 {
			reached++
		}

		// A crash is a rewind. So is a debit, to the judge, too, in whose log there
		// are no crashes, if it is just what would be missing had the engine
		// forgotten what it did before: nobody can tell.
		found, judged := failures(s.State)["rewind"], failures(want)["rewind"]
		if n := found - judged; n < int64(shown(t, log)) || n > int64(x.Stats().Crashes) {
			t.Errorf("seed %d: %d rewinds, %d by the judge, %d crashes, of which ids show %d", seed, found, judged, x.Stats().Crashes, shown(t, log))
		}
		// Every other debit that was never told is counted once, under the name
		// that it has for the judge. There is nothing else.
		about := silent(t, x.Phantoms(), log)
		for what, how := range answeredAs(s.State, want, counted) {
			if !about[what] {
				t.Errorf("seed %d: %s: %s", seed, what, how)
			}
		}
		fails, adopted := failures(s.State), int64(0)
		for _, m := range s.Money() {
			adopted += m.AdoptedTimes
		}
		debits += adopted
		if n := fails["payment_balance"] + fails["trade_balances_before"]; n != adopted || adopted > int64(x.Stats().SelfTransfers) {
			t.Errorf("seed %d: %v, %d self-transfers, %d adoptions", seed, fails, x.Stats().SelfTransfers, adopted)
		}
		delete(fails, "rewind")
		delete(fails, "payment_balance")
		delete(fails, "trade_balances_before")
		if len(fails) > 0 {
			t.Errorf("seed %d: also %v", seed, fails)
		}
		money(t, s.State)
	}
	if reached < len(seeds)/2 || debits == 0 {
		t.Errorf("the state was reached in %d of %d logs, %d debits were found", reached, len(seeds), debits)
	}
	t.Logf("the very state in %d of %d logs, one that the log allows in all; %d debits found", reached, len(seeds), debits)
}

// Lost records on top of it: the judge, who is told what the engine forgot, has
// the same gaps in his log, and comes to the same.
func TestEveryFaultAndLostRecords(t *testing.T) {
	seeds := seeds(t, 20, 1000)
	lost := 0
	for _, seed := range seeds {
		cfg := exchange.DefaultConfig()
		cfg.Seed, cfg.CrashEvery, cfg.Forget, cfg.LoseUnify, cfg.AllowSelfTrade, cfg.SelfTransfers = seed, 300, 40, 10, true, 0.1
		x, log := settledLog(t, cfg, 2000)
		s := newPlayer(New(0)).play(t, log)
		lost += x.Stats().LostUnify
		about, wrong := silent(t, x.Phantoms(), log), 0
		for what := range answeredAs(s.State, truth(t, x, log), apart) {
			if !about[what] {
				wrong++
			}
		}
		if wrong > 0 {
			t.Errorf("seed %d: %d differences from the judge", seed, wrong)
		}
		money(t, s.State)
	}
	if lost == 0 {
		t.Error("nothing was lost")
	}
}
