package state

import (
	"maps"
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
	for seed := range seeds {
		cfg := exchange.DefaultConfig()
		cfg.Seed = seed
		faults(&cfg)
		x, log := settledLog(t, cfg, 2000)
		s := newPlayer(New(0)).play(t, log)
		want := truth(t, x, log)
		if len(apart(s.State, want)) == 0 {
			reached++
		}

		// Every debit that was never told is counted once, under the name that it
		// has for the judge, who has no crashes in his log. A crash is a rewind.
		// There is nothing else.
		found, judged := failures(s.State), failures(want)
		if found["rewind"] == 0 || found["rewind"] > int64(x.Stats().Crashes) {
			t.Errorf("seed %d: %d rewinds, %d crashes", seed, found["rewind"], x.Stats().Crashes)
		}
		delete(found, "rewind")
		if !maps.Equal(found, judged) {
			t.Errorf("seed %d: %v, by the judge %v", seed, found, judged)
		}
		adopted := int64(0)
		for _, m := range s.Money() {
			adopted += m.AdoptedTimes
		}
		debits += adopted
		if n := found["payment_balance"] + found["trade_balances_before"]; n != adopted || adopted > int64(x.Stats().SelfTransfers) {
			t.Errorf("seed %d: %v, %d self-transfers, %d adoptions", seed, found, x.Stats().SelfTransfers, adopted)
		}
		delete(found, "payment_balance")
		delete(found, "payment_available")
		delete(found, "trade_balances_before")
		if len(found) > 0 {
			t.Errorf("seed %d: also %v", seed, found)
		}

		about := silent(t, x.Phantoms(), log)
		for what, how := range answeredAs(s.State, want) {
			if !about[what] {
				t.Errorf("seed %d: %s: %s", seed, what, how)
			}
		}
		money(t, s.State)
	}
	if reached < int(seeds)/2 || debits == 0 {
		t.Errorf("the state was reached in %d of %d logs, %d debits were found", reached, seeds, debits)
	}
	t.Logf("the very state in %d of %d logs, one that the log allows in all; %d debits found", reached, seeds, debits)
}

// Lost records on top of it: the judge, who is told what the engine forgot, has
// the same gaps in his log, and comes to the same.
func TestEveryFaultAndLostRecords(t *testing.T) {
	seeds := seeds(t, 20, 1000)
	lost := 0
	for seed := range seeds {
		cfg := exchange.DefaultConfig()
		cfg.Seed, cfg.CrashEvery, cfg.Forget, cfg.LoseUnify, cfg.AllowSelfTrade, cfg.SelfTransfers = seed, 300, 40, 10, true, 0.1
		x, log := settledLog(t, cfg, 2000)
		s := newPlayer(New(0)).play(t, log)
		lost += x.Stats().LostUnify
		about, wrong := silent(t, x.Phantoms(), log), 0
		for what := range answeredAs(s.State, truth(t, x, log)) {
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
