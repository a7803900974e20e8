package exchange

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"testing"
)

func withFaults(change func(*Config)) Config {
	cfg := DefaultConfig()
	change(&cfg)
	return cfg
}

func TestDuplicates(t *testing.T) {
	cfg := withFaults(func(c *Config) { c.Duplicates = 0.1 })
	x, messages := run(t, cfg, 3000)
	_, plain := run(t, DefaultConfig(), 3000)
	seen := map[string]int{}
	for _, m := range messages {
		if m.Topic != UnifyTopic {
			seen[m.Topic+string(m.Value)]++
		} else if seen["u"+string(m.Value)]++; seen["u"+string(m.Value)] > 1 {
			t.Errorf("repeated on unifyevents: %s", m.Value)
		}
	}
	twice := 0
	for key, n := range seen {
		if n == 2 {
			twice++
		} else if n > 2 {
			t.Errorf("%d times: %s", n, key)
		}
	}
	if twice != x.Stats().Duplicates || len(messages)-len(plain) != twice || twice < len(plain)/30 {
		t.Errorf("%d records are there twice, %d counted, %d more than without", twice, x.Stats().Duplicates, len(messages)-len(plain))
	}
}

func TestForeign(t *testing.T) {
	x, messages := run(t, withFaults(func(c *Config) { c.Foreign = 0.2 }), 2000)
	found := 0
	for _, m := range messages {
		if m.Key != nil {
			continue
		}
		found++
		var v struct {
			Event string `json:"event"`
			Data  struct {
				ID       string  `json:"id"`
				Quantity float64 `json:"quantity"`
			} `json:"data"`
		}
		if err := json.Unmarshal(m.Value, &v); err != nil || v.Event != "order.created" || len(v.Data.ID) != 36 || v.Data.Quantity <= 0 {
			t.Fatalf("%v: %s", err, m.Value)
		}
		if m.Topic != "orders" || len(m.Headers) != 1 || string(m.Headers[0].Value) != strconv.Itoa(len(m.Value)) {
			t.Fatalf("%s, headers %v", m.Topic, m.Headers)
		}
	}
	if found == 0 || found != x.Stats().Foreign {
		t.Errorf("%d foreign records, %d counted", found, x.Stats().Foreign)
	}
}

func TestDocumented(t *testing.T) {
	_, messages := run(t, withFaults(func(c *Config) { c.Documented = true }), 2000)
	_, plain := run(t, DefaultConfig(), 2000)
	shapes := map[string]*regexp.Regexp{
		"trades": regexp.MustCompile(`^\{"id":"trade_\d+","timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z","market":"[A-Z]+_USDT","price":"[\d.]+","amount":"[\d.]+","quote_amount":"[\d.]+","taker_side":"(buy|sell)","maker_order_id":"order_\d+","taker_order_id":"order_\d+"\}$`),
		"orders": regexp.MustCompile(`^\{"event":"ORDER_[A-Z_]+","order":\{"id":"order_\d+","user_id":\d+,"market":"[A-Z]+_USDT","side":"(buy|sell)","type":"(limit|market)","price":"[\d.]+","amount":"[\d.]+","filled_amount":"[\d.]+","status":"[a-z_]+","created_at":"[^"]+Z"\}\}$`),
	}
	events := map[string]int{}
	for i, m := range messages {
		shape := shapes[m.Topic]
		if shape == nil {
			if !bytes.Equal(m.Value, plain[i].Value) {
				t.Fatalf("%s differs from the engine's: %s", m.Topic, m.Value)
			}
			continue
		}
		if !shape.Match(m.Value) {
			t.Fatalf("%s: %s", m.Topic, m.Value)
		}
		if m.Topic == "orders" {
			var v struct {
				Event string `json:"event"`
			}
			if err := json.Unmarshal(m.Value, &v); err != nil {
				t.Fatal(err)
			}
			events[v.Event]++
			continue
		}
		// The taker is the younger order; its side must agree with its role.
		var v struct {
			Maker string `json:"maker_order_id"`
			Taker string `json:"taker_order_id"`
			Side  string `json:"taker_side"`
		}
		var engine struct {
			AskID   uint64 `json:"ask_order_id"`
			BidID   uint64 `json:"bid_order_id"`
			AskRole string `json:"ask_role"`
		}
		if err := json.Unmarshal(m.Value, &v); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(plain[i].Value, &engine); err != nil {
			t.Fatal(err)
		}
		want := [3]string{"order_" + strconv.FormatUint(engine.AskID, 10), "order_" + strconv.FormatUint(engine.BidID, 10), "buy"}
		if engine.AskRole == "TAKER" {
			want = [3]string{want[1], want[0], "sell"}
		}
		if got := [3]string{v.Maker, v.Taker, v.Side}; got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	if len(events) != 4 {
		t.Errorf("order events: %v", events)
	}
}

// ids collects the contents under which each order and trade id was used.
func ids(t *testing.T, log []Message) (reused int) {
	t.Helper()
	seen := map[string]string{}
	for _, m := range log {
		var v struct {
			ID    uint64 `json:"id"`
			Event string `json:"event"`
			Order struct {
				ID uint64 `json:"id"`
			} `json:"order"`
		}
		key := string(m.Key)
		if key != "trades" && key != "orders" {
			continue
		}
		if err := json.Unmarshal(m.Value, &v); err != nil {
			t.Fatal(err)
		}
		if key == "orders" {
			if v.Event != "PUT" {
				continue
			}
			v.ID = v.Order.ID
		}
		name := key + strconv.FormatUint(v.ID, 10)
		if before, ok := seen[name]; ok && before != string(m.Value) {
			reused++
		}
		seen[name] = string(m.Value)
	}
	return reused
}

func TestCrashesReuseIDs(t *testing.T) {
	cfg := withFaults(func(c *Config) { c.CrashEvery, c.Forget = 200, 50 })
	x, messages := run(t, cfg, 4000)
	stats := x.Stats()
	if stats.Crashes < 5 || stats.Forgotten < stats.Crashes || stats.Forgotten > 50*stats.Crashes {
		t.Fatalf("%+v", stats)
	}
	log := onUnify(messages)
	if reused := ids(t, log); reused < stats.Crashes {
		t.Errorf("%d ids were used again in %d crashes", reused, stats.Crashes)
	}
	if _, plain := run(t, DefaultConfig(), 4000); ids(t, onUnify(plain)) != 0 {
		t.Error("ids were used again without a crash")
	}
	phantoms := x.Phantoms()
	if len(phantoms) == 0 || len(phantoms) > stats.Crashes {
		t.Fatalf("%d ranges of phantoms for %d crashes", len(phantoms), stats.Crashes)
	}
	for i, p := range phantoms {
		if p.From >= p.To || p.To > uint64(len(log)) || (i > 0 && p.From <= phantoms[i-1].To) {
			t.Errorf("phantoms %v", phantoms)
		}
	}
	// Reading the phantoms too must not reach the state: they are no harmless
	// repetitions.
	if r := read(t, log, nil); len(r.differences(x.State())) == 0 {
		t.Error("the phantoms make no difference")
	}
}

func TestRestartChangesDigitsButNotNumbers(t *testing.T) {
	x, _ := run(t, DefaultConfig(), 2000)
	before := x.State()
	x.engine.reload()
	after := x.State()
	if len(before.OpenOrders) == 0 {
		t.Fatal("no open order")
	}
	for user, row := range before.Balances {
		for asset, b := range row {
			if after.Balances[user][asset] != b {
				t.Errorf("user %d %s: %v became %v", user, asset, b, after.Balances[user][asset])
			}
		}
	}
	changed := 0
	for i, o := range before.OpenOrders {
		a := after.OpenOrders[i]
		for _, pair := range [][2]string{{o.Price, a.Price}, {o.Amount, a.Amount}, {o.Remain, a.Remain}, {o.Frozen, a.Frozen}, {o.MakerFee, a.MakerFee}} {
			if must(t, pair[0]).compare(must(t, pair[1])) != 0 {
				t.Errorf("order %d: %s became %s", o.ID, pair[0], pair[1])
			}
			if pair[0] != pair[1] {
				changed++
			}
		}
	}
	if changed == 0 {
		t.Error("no scale changed")
	}
}

func TestSelfTradePanics(t *testing.T) {
	x, messages := run(t, withFaults(func(c *Config) { c.AllowSelfTrade, c.Users = true, 5 }), 2000)
	stats := x.Stats()
	if stats.Panics == 0 || stats.Panics != stats.Crashes || stats.Forgotten != stats.Panics {
		t.Fatalf("%+v", stats)
	}
	// Half of an operation: after PUT and balance changes no trade, no FINISH, but
	// the same order id again.
	if ids(t, onUnify(messages)) == 0 {
		t.Error("no id was used again")
	}
}

func TestLostSuffixes(t *testing.T) {
	tests := map[string]struct {
		change       func(*Config)
		unify, other bool
	}{
		"unify":  {func(c *Config) { c.LoseUnify = 20 }, true, false},
		"topics": {func(c *Config) { c.LoseTopics = 20 }, false, true},
		"both":   {func(c *Config) { c.LoseUnify, c.LoseTopics = 20, 5 }, true, true},
	}
	_, plain := run(t, DefaultConfig(), 3000)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			x, messages := run(t, withFaults(func(c *Config) { c.CrashEvery = 200; test.change(c) }), 3000)
			stats := x.Stats()
			if stats.Crashes == 0 || (stats.LostUnify > 0) != test.unify || (stats.LostTopics > 0) != test.other {
				t.Fatalf("%+v", stats)
			}
			if uint64(len(onUnify(messages))) != x.NextOffset() {
				t.Errorf("next offset %d, %d records", x.NextOffset(), len(onUnify(messages)))
			}
			r := read(t, onUnify(messages), nil)
			if differs := len(r.differences(x.State())) > 0; differs != test.unify {
				t.Errorf("a reader of unifyevents differs: %v", differs)
			}
			if len(messages) > len(plain) {
				t.Errorf("%d messages, more than the %d without losses", len(messages), len(plain))
			}
		})
	}
}

func TestMarketOrders(t *testing.T) {
	count := func(cfg Config) (n int) {
		_, messages := run(t, cfg, 2000)
		for _, m := range onUnify(messages) {
			if bytes.Contains(m.Value, []byte(`"type":"MARKET"`)) {
				n++
			}
		}
		return n
	}
	if count(DefaultConfig()) == 0 {
		t.Error("no market order")
	}
	if n := count(withFaults(func(c *Config) { c.MarketOrders = false })); n > 0 {
		t.Errorf("%d market orders, forbidden", n)
	}
}

// What the reader's reference has to cope with must occur in a default run.
func TestVariety(t *testing.T) {
	_, messages := run(t, DefaultConfig(), 20_000)
	wanted := map[string]string{
		"rebate":                      `"(ask|bid)_fee":"-0\.\d+"`,
		"charged fee":                 `"ask_fee":"[1-9]`,
		"order signature":             `"post_only":false,"signature":"[0-9a-f]*[1-9a-f]`,
		"post-only":                   `"post_only":true`,
		"refused post-only":           `"event":"FINISH".*"post_only":true.*"frozen":"0","finished_base":"0"`,
		"cancel":                      `"event":"FINISH".*"frozen":"[\d.]*[1-9]`,
		"market bid out of funds":     `"event":"FINISH".*"type":"MARKET","side":"BID".*"remain":"[\d.]*[1-9]`,
		"later trade of both orders":  `"ask_order":null,"bid_order":null`,
		"transfer of nothing":         `"user_to":\d+,"asset":"[A-Z]+","amount":"0\.000000`,
		"noisy transfer time":         `"time":\d+\.\d{7}`,
		"escaped business":            `"business":"b\x{fc}ro \\"7\\"\\n"`,
		"largest business_id":         `"business_id":18446744073709\d{6}`,
		"detail":                      `"detail":"\{\\"id\\":\d+,\\"key\\":\\"value\\"\}"`,
		"deposit without a signature": `"business":"deposit".*"signature":""`,
	}
	for name, pattern := range wanted {
		expression := regexp.MustCompile(pattern)
		found := false
		for _, m := range messages {
			if expression.Match(m.Value) {
				found = true
				break
			}
		}
		if !found {
			t.Errorf("%s: nothing matches %s", name, pattern)
		}
	}
	for _, m := range messages {
		if !json.Valid(m.Value) {
			t.Fatalf("%s: no JSON: %s", m.Topic, m.Value)
		}
	}
}
