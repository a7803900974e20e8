package exchange

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// run takes steps and returns all messages.
func run(t testing.TB, cfg Config, operations int) (*Exchange, []Message) {
	t.Helper()
	x, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var all []Message
	for range operations {
		all = append(all, x.Step()...)
	}
	return x, all
}

func onUnify(messages []Message) (unify []Message) {
	for _, m := range messages {
		if m.Topic == UnifyTopic {
			unify = append(unify, m)
		}
	}
	return unify
}

// read applies the log, without the records in a range of phantoms that are no
// registrations.
func read(t testing.TB, log []Message, phantoms []Range) *reader {
	r := newReader(t)
	for i, m := range log {
		skip := false
		for _, p := range phantoms {
			skip = skip || (uint64(i) >= p.From && uint64(i) < p.To)
		}
		if !skip || string(m.Key) == "registeruser" {
			r.apply(m)
		}
	}
	return r
}

func report(t *testing.T, what string, found []string) {
	t.Helper()
	if len(found) > 0 {
		t.Errorf("%s: %d differences, such as %s", what, len(found), strings.Join(found[:min(3, len(found))], "; "))
	}
}

func TestReaderReachesTheState(t *testing.T) {
	tests := map[string]func(*Config){
		"default":              func(*Config) {},
		"no market orders":     func(c *Config) { c.MarketOrders = false },
		"two users":            func(c *Config) { c.Users = 2 },
		"many users":           func(c *Config) { c.Users = 300 },
		"a second quote asset": func(c *Config) { c.Markets = append(c.Markets, ethInBTC()) },
		"duplicates":           func(c *Config) { c.Duplicates = 0.1 },
		"foreign":              func(c *Config) { c.Foreign = 0.2 },
		"documented":           func(c *Config) { c.Documented = true },
		"lost topics":          func(c *Config) { c.CrashEvery, c.LoseTopics = 300, 20 },
		"crashes":              func(c *Config) { c.CrashEvery, c.Forget = 300, 40 },
		"self-trades":          func(c *Config) { c.AllowSelfTrade = true },
		"everything but lost": func(c *Config) {
			c.CrashEvery, c.Forget, c.LoseTopics, c.AllowSelfTrade, c.Duplicates, c.Foreign = 300, 40, 20, true, 0.1, 0.2
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(8) {
				cfg := DefaultConfig()
				cfg.Seed = seed
				change(&cfg)
				x, messages := run(t, cfg, cfg.opening()+1500)
				log := onUnify(messages)
				if uint64(len(log)) != x.NextOffset() {
					t.Errorf("seed %d: %d records on unifyevents, counted %d", seed, len(log), x.NextOffset())
				}
				r := read(t, log, x.Phantoms())
				report(t, fmt.Sprintf("seed %d: state", seed), r.differences(x.State()))
				report(t, fmt.Sprintf("seed %d: money", seed), r.money())
				if len(r.mismatches) > 0 {
					t.Errorf("seed %d: cross-checks fail: %v", seed, r.mismatches)
				}
				if r.trades < 100 {
					t.Errorf("seed %d: only %d trades", seed, r.trades)
				}
			}
		})
	}
}

func ethInBTC() Market {
	return Market{Base: "ETH", Quote: "BTC", PricePrec: 4, AmountPrec: 4, Price: "0.0775", MaxAmount: "1",
		MakerFees: []string{"-0.0005"}, TakerFees: []string{"0.0013"}}
}

// The reader finds the reader's test: each mutant of the log must be noticed.
func TestReaderNoticesWhatIsMissing(t *testing.T) {
	cfg := DefaultConfig()
	x, messages := run(t, cfg, 2000)
	log := onUnify(messages)
	for _, key := range []string{"registeruser", "deposits", "withdraws", "internaltransfer", "orders", "trades"} {
		for i, m := range log {
			if i < 300 && string(m.Key) != "registeruser" || string(m.Key) != key {
				continue
			}
			r := read(t, append(append([]Message{}, log[:i]...), log[i+1:]...), nil)
			if len(r.mismatches) == 0 && len(r.differences(x.State())) == 0 {
				t.Errorf("%s at %d is missing and nothing differs", key, i)
			}
			break
		}
	}
}

func TestSelfTransferIsHiddenUntilAPaymentTells(t *testing.T) {
	cfg := DefaultConfig()
	cfg.SelfTransfers = 0.3
	x, messages := run(t, cfg, 3000)
	if x.Stats().SelfTransfers == 0 {
		t.Fatal("no transfer to oneself")
	}
	r := read(t, onUnify(messages), nil)
	if r.mismatches["payment available"] == 0 {
		t.Error("no payment told of the debit")
	}
	// Whatever is still hidden shows at the next payment.
	for id := range uint32(cfg.Users) {
		for asset := range cfg.Assets {
			x.work.deposit(id+1, asset, newDecimal(1, 0))
		}
	}
	for _, m := range onUnify(x.out.take()) {
		r.apply(m)
	}
	var traders []string
	for _, difference := range r.differences(x.State()) {
		var user uint32
		if _, err := fmt.Sscanf(difference, "user %d", &user); err != nil || user <= uint32(cfg.Users) {
			traders = append(traders, difference)
		}
	}
	report(t, "state", traders)
	report(t, "money", r.money())
}

func TestKindsHaveTheEnginesProportions(t *testing.T) {
	// Counts of the recorded run, without its opening of 20 registrations and 80
	// deposits.
	want := map[string]float64{"trades": 7215, "balances": 32427 - 80, "orders": 27622, "deposits": 1201, "withdraws": 716, "internaltransfer": 785, "registeruser": 168}
	cfg := DefaultConfig()
	x, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for n := range 30_000 {
		for _, m := range x.Step() {
			switch {
			case n < cfg.opening():
			case m.Topic == UnifyTopic:
				got[string(m.Key)]++
			case m.Topic == "balances":
				got["balances"]++
			}
		}
	}
	for kind := range want {
		ours, theirs := got[kind]/got["trades"], want[kind]/want["trades"]
		t.Logf("%-16s %.3f per trade, engine %.3f (%+.0f%%)", kind, ours, theirs, 100*(ours/theirs-1))
		if math.Abs(ours/theirs-1) > 0.15 {
			t.Errorf("%s: %.3f per trade, the engine has %.3f", kind, ours, theirs)
		}
	}
}

func TestSameSeedSameMessages(t *testing.T) {
	cfg := DefaultConfig()
	cfg.CrashEvery, cfg.Forget, cfg.LoseUnify, cfg.LoseTopics = 200, 30, 10, 10
	cfg.Duplicates, cfg.Foreign, cfg.SelfTransfers, cfg.AllowSelfTrade = 0.05, 0.05, 0.1, true
	a, first := run(t, cfg, 2000)
	b, second := run(t, cfg, 2000)
	if !reflect.DeepEqual(first, second) || !reflect.DeepEqual(a.State(), b.State()) || a.Stats() != b.Stats() {
		t.Error("two runs of one seed differ")
	}
	cfg.Seed++
	if _, other := run(t, cfg, 2000); reflect.DeepEqual(first, other) {
		t.Error("two seeds give the same run")
	}
}

func TestMessagesKeepTheirBytes(t *testing.T) {
	x, err := New(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	var kept []Message
	var copies [][]byte
	for range 1000 {
		for _, m := range x.Step() {
			kept = append(kept, m)
			copies = append(copies, bytes.Clone(m.Value))
		}
	}
	for i, m := range kept {
		if !bytes.Equal(m.Value, copies[i]) {
			t.Fatalf("message %d was overwritten", i)
		}
	}
}

func TestEmission(t *testing.T) {
	cfg := DefaultConfig()
	_, messages := run(t, cfg, 3000)
	known := map[string]bool{}
	for _, topic := range Topics() {
		known[topic] = true
	}
	seen := map[string]int{}
	last := time.Time{}
	for i, m := range messages {
		seen[m.Topic]++
		if !known[m.Topic] {
			t.Fatalf("topic %s", m.Topic)
		}
		if m.Time.Nanosecond()%1_000_000 != 0 || m.Time.Before(last) || m.Time.Before(cfg.Start) {
			t.Fatalf("message %d: time %s after %s", i, m.Time, last)
		}
		last = m.Time
		if m.Topic != UnifyTopic {
			if m.Key == nil || len(m.Key) > 0 || m.Headers != nil {
				t.Fatalf("message %d on %s: key %q, headers %v", i, m.Topic, m.Key, m.Headers)
			}
			continue
		}
		// T comes right before U, but for what is on unifyevents alone.
		if key := string(m.Key); key != "deposits" && key != "withdraws" {
			if before := messages[i-1]; before.Topic != key || !bytes.Equal(before.Value, m.Value) {
				t.Fatalf("message %d: %s on unifyevents after one on %s", i, key, before.Topic)
			}
		} else if messages[i-1].Topic != "balances" {
			t.Fatalf("message %d: %s not after its balance change", i, key)
		}
	}
	if len(seen) != len(known) {
		t.Errorf("topics seen: %v", maps.Keys(seen))
	}
}

func TestAdvanceTo(t *testing.T) {
	x, err := New(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	later := DefaultConfig().Start.Add(time.Hour)
	x.AdvanceTo(later)
	x.AdvanceTo(DefaultConfig().Start)
	if got := x.Step()[0].Time; got.Before(later) || got.After(later.Add(time.Second)) {
		t.Errorf("time %s, want %s", got, later)
	}
}

func BenchmarkStep(b *testing.B) {
	x, err := New(DefaultConfig())
	if err != nil {
		b.Fatal(err)
	}
	records, size := 0, 0
	for b.Loop() {
		for _, m := range x.Step() {
			records++
			size += len(m.Value)
		}
	}
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(size)/b.Elapsed().Seconds()/1e6, "MB/s")
}
