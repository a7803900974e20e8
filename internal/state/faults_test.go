package state

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/exchange"
)

// The judge of a reconstruction over crashes is a reader who is told what the
// engine forgot: he skips those records, and reads the rest by the plain rules.

// truth is the state of that reader.
func truth(t testing.TB, x *exchange.Exchange, log []record) *State {
	t.Helper()
	var told []record
	for i, r := range log {
		if !forgotten(x.Phantoms(), i) || string(r.key) == "registeruser" {
			told = append(told, r)
		}
	}
	return newPlayer(New(0)).play(t, told).State
}

func forgotten(phantoms []exchange.Range, offset int) bool {
	return slices.ContainsFunc(phantoms, func(p exchange.Range) bool { return uint64(offset) >= p.From && uint64(offset) < p.To })
}

// apart are where two states show something else, each with what it is about.
func apart(s, want *State) map[string]string {
	found := map[string]string{}
	balances := map[Holding]Balance{}
	for b := range want.Balances() {
		balances[Holding{b.UserID, b.Asset}] = b
	}
	for b := range s.Balances() {
		h := Holding{b.UserID, b.Asset}
		if w := balances[h]; !w.Available.Equal(b.Available) || !w.Frozen.Equal(b.Frozen) {
			found[fmt.Sprint(h)] = fmt.Sprintf("%s and %s, want %s and %s", b.Available, b.Frozen, w.Available, w.Frozen)
		}
		delete(balances, h)
	}
	for h, b := range balances {
		if !b.Available.IsZero() || !b.Frozen.IsZero() {
			found[fmt.Sprint(h)] = fmt.Sprintf("none, want %s and %s", b.Available, b.Frozen)
		}
	}
	for o := range s.orders.all() {
		if id := o.id; want.orders.find(id) == nil {
			found[fmt.Sprintf("order %d", id)] = "is open"
		}
	}
	for w := range want.orders.all() {
		id := w.id
		if o := s.orders.find(id); o == nil || !o.remain.Equal(w.remain) || !o.frozen.Equal(w.frozen) || !o.finishedQuote.Equal(w.finishedQuote) || !o.finishedFee.Equal(w.finishedFee) {
			found[fmt.Sprintf("order %d", id)] = "is not open, or otherwise"
		}
	}
	if s.LastOrderID() != want.LastOrderID() || s.LastTradeID() != want.LastTradeID() {
		found["ids"] = fmt.Sprintf("%d and %d, want %d and %d", s.LastOrderID(), s.LastTradeID(), want.LastOrderID(), want.LastTradeID())
	}
	return found
}

// answeredAs answers each open question as the exchange knows it, and returns
// what differs then: what the log has not decided is no fault of the reader's.
func answeredAs(s, want *State, differ func(s, want *State) map[string]string) map[string]string {
	s.begin(stepNone, 0, 0)
	found := differ(s, want)
	for range 2 {
		for _, q := range s.questions {
			best := q.now
			for _, a := range q.answers {
				s.answer(q, a)
				if d := differ(s, want); len(d) < len(found) {
					best, found = a, d
				}
			}
			s.answer(q, best)
		}
	}
	return found
}

// counted are where two states show something else or have counted otherwise,
// but for crashes.
func counted(s, want *State) map[string]string {
	found := apart(s, want)
	for i := range s.checks {
		if n, wanted := s.checks[i].failed, want.checks[i].failed; n != wanted && check(i) != rewind {
			found[checkNames[i]] = fmt.Sprintf("failed %d times, want %d", n, wanted)
		}
	}
	return found
}

// silent is what only crashes concern that no id shows: the engine forgot
// nothing but payments, transfers and cancels. What it tells later must be right
// all the same; of the rest, nobody can know.
func silent(t testing.TB, phantoms []exchange.Range, log []record) map[string]bool {
	t.Helper()
	about := map[string]bool{}
	var d event.Decoder
	var u event.Unify
	quiet := func(p exchange.Range) bool {
		return !slices.ContainsFunc(log[p.From:p.To], func(r record) bool { return strings.HasPrefix(string(r.value), `{"event":"PUT"`) })
	}
	for i, r := range log {
		in := slices.IndexFunc(phantoms, func(p exchange.Range) bool { return uint64(i) >= p.From && uint64(i) < p.To })
		if in >= 0 && !quiet(phantoms[in]) {
			continue
		}
		if err := d.Unify(r.key, r.value, &u); err != nil {
			t.Fatal(err)
		}
		switch u.Kind {
		case event.KindDeposit, event.KindWithdraw:
			// It tells the balance, if it is not forgotten itself.
			about[fmt.Sprint(Holding{u.Balance.UserID, string(u.Balance.Asset)})] = in >= 0
		case event.KindTransfer:
			if in >= 0 {
				about[fmt.Sprint(Holding{u.Transfer.UserFrom, string(u.Transfer.Asset)})] = true
				about[fmt.Sprint(Holding{u.Transfer.UserTo, string(u.Transfer.Asset)})] = true
			}
		case event.KindOrder:
			about[fmt.Sprintf("order %d", u.Order.ID)] = in >= 0
			if in >= 0 {
				about[fmt.Sprint(Holding{u.Order.UserID, string(u.Order.Base)})] = true
				about[fmt.Sprint(Holding{u.Order.UserID, string(u.Order.Quote)})] = true
			}
		case event.KindUnknown, event.KindTrade, event.KindBalance, event.KindUser: // a trade is never silent
		}
	}
	return about
}

// shown is how many crashes the ids of the orders show.
func shown(t testing.TB, log []record) (count int) {
	t.Helper()
	var d event.Decoder
	var u event.Unify
	last := int64(0)
	for _, r := range log {
		if err := d.Unify(r.key, r.value, &u); err != nil {
			t.Fatal(err)
		}
		if u.Kind != event.KindOrder || u.Order.Action != event.Put {
			continue
		}
		if u.Order.ID <= last {
			count++
		}
		last = u.Order.ID
	}
	return count
}

// settledLog is a log that ends some time after its last crash: until the next
// order, no id can show it.
func settledLog(t testing.TB, cfg exchange.Config, operations int) (*exchange.Exchange, []record) {
	t.Helper()
	for extra := range 100 {
		x, log := simulate(t, cfg, operations+extra)
		last := uint64(0)
		for _, p := range x.Phantoms() {
			last = p.To
		}
		for _, r := range log[last:] {
			if strings.HasPrefix(string(r.value), `{"event":"PUT"`) {
				return x, log
			}
		}
	}
	t.Fatal("no order after the last crash")
	return nil, nil
}

// seeds are those of the exchanges that a test simulates. PERSISTOR_STATE asks
// for many ("full"), or for certain ones ("1000-1999").
func seeds(t testing.TB, usually, full uint64) (all []uint64) {
	t.Helper()
	first, last := uint64(0), usually-1
	switch asked := os.Getenv("PERSISTOR_STATE"); {
	case asked == "full":
		last = full - 1
	case asked != "":
		if _, err := fmt.Sscanf(asked, "%d-%d", &first, &last); err != nil {
			t.Fatalf("PERSISTOR_STATE=%s: %v", asked, err)
		}
	case testing.Short():
		last = 2
	}
	for seed := first; seed <= last; seed++ {
		all = append(all, seed)
	}
	return all
}

func failures(s *State) map[string]int64 {
	found := map[string]int64{}
	for _, c := range s.Checks() {
		if c.Failed > 0 {
			found[c.Name] = c.Failed
		}
	}
	return found
}

func TestCrashes(t *testing.T) {
	tests := map[string]func(*exchange.Config){
		"few operations":  func(c *exchange.Config) { c.CrashEvery, c.Forget = 100, 3 },
		"operations":      func(c *exchange.Config) { c.CrashEvery, c.Forget = 300, 40 },
		"many operations": func(c *exchange.Config) { c.CrashEvery, c.Forget = 1200, 500 },
		"two users":       func(c *exchange.Config) { c.Users, c.CrashEvery, c.Forget = 2, 200, 30 },
		"panics":          func(c *exchange.Config) { c.Users, c.AllowSelfTrade = 5, true },
		"everything but lost": func(c *exchange.Config) {
			c.CrashEvery, c.Forget, c.LoseTopics, c.AllowSelfTrade, c.Duplicates, c.Foreign = 300, 40, 20, true, 0.1, 0.2
		},
	}
	tests["at random"] = func(c *exchange.Config) {
		random := rand.New(rand.NewPCG(c.Seed, 77))
		*c = randomConfig(random)
		c.CrashEvery = 60 + random.IntN(500)
		c.Forget = 1 + random.IntN(c.CrashEvery/2)
		c.AllowSelfTrade = random.IntN(2) == 0
	}
	seeds := seeds(t, 12, 500)
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			reached, crashes := 0, 0
			for _, seed := range seeds {
				cfg := exchange.DefaultConfig()
				cfg.Seed = seed
				change(&cfg)
				x, log := settledLog(t, cfg, 5*cfg.Users+1900)
				s := newPlayer(New(0)).play(t, log)
				want := truth(t, x, log)
				if found := differences(want, x.State()); len(found) > 0 {
					t.Fatalf("seed %d: the judge himself is wrong: %v", seed, found)
				}
				if len(apart(s.State, want)) == 0 {
					reached++
				}
				crashes += len(x.Phantoms())
				found, about := failures(s.State), silent(t, x.Phantoms(), log)
				// A crash is a rewind, if the ids or anything else shows it; nothing
				// else is out of order.
				for check, n := range found {
					if check != "rewind" {
						t.Errorf("seed %d: %s failed %d times: %+v", seed, check, n, s.Checks()[slices.Index(CheckNames(), check)].Examples)
					}
				}
				if n := int(found["rewind"]); n > x.Stats().Crashes || n < shown(t, log) {
					t.Errorf("seed %d: %d rewinds, %d crashes, of which ids show %d", seed, n, x.Stats().Crashes, shown(t, log))
				}
				for what, how := range answeredAs(s.State, want, apart) {
					if !about[what] {
						t.Errorf("seed %d: %s: %s", seed, what, how)
					}
				}
			}
			if crashes < len(seeds) || reached < len(seeds)/2 {
				t.Errorf("the state was reached in %d of %d logs, with %d crashes", reached, len(seeds), crashes)
			}
			t.Logf("the very state in %d of %d logs, one that the log allows in all; %d crashes", reached, len(seeds), crashes)
		})
	}
}

// deposited is a deposit of USDT, after which nothing of it is frozen.
func deposited(user int, change, balance string) string {
	return fmt.Sprintf("deposits {\"timestamp\":1631097273.0,\"user_id\":%d,\"asset\":\"USDT\",\"business\":\"deposit\",\"change\":%q,\"balance\":%q,\"balance_available\":%q,\"balance_frozen\":\"0\",\"detail\":\"{}\"}\n", user, change, balance, balance)
}

func transferred(from, to int, amount string) string {
	return fmt.Sprintf("internaltransfer {\"time\":1631097274.2,\"user_from\":%d,\"user_to\":%d,\"asset\":\"USDT\",\"amount\":%q,\"signature\":\"\"}\n", from, to, amount)
}

// bid is the PUT of an order for one ETH.
func bid(id, user int, price string) string {
	return fmt.Sprintf("orders {\"event\":\"PUT\",\"order\":{\"id\":%d,\"base\":\"ETH\",\"quote\":\"USDT\",\"market\":\"ETH_USDT\",\"type\":\"LIMIT\",\"side\":\"BID\",\"user\":%d,\"post_only\":false,\"price\":%q,\"amount\":\"1\",\"maker_fee\":\"0\",\"taker_fee\":\"0\",\"create_time\":1631097282.0,\"remain\":\"1\",\"frozen\":\"0\",\"finished_base\":\"0\",\"finished_quote\":\"0\",\"finished_fee\":\"0\",\"update_time\":1631097282.0},\"base\":\"ETH\",\"quote\":\"USDT\"}\n", id, user, price)
}

func TestOverlappingCrashes(t *testing.T) {
	tests := map[string]struct{ log, want string }{
		// The engine forgot the deposit of 5 and the first transfer from user 2, of
		// which the deposit of 50 tells in the middle of what it may have forgotten
		// in the next crash: only the other transfer.
		"learned in between": {
			deposited(2, "100", "100") + deposited(9, "100", "100") + bid(1, 9, "1") +
				deposited(1, "5", "5") + transferred(2, 3, "1") + bid(2, 9, "1") + deposited(2, "10", "110") + bid(3, 9, "1") +
				transferred(2, 4, "2") + deposited(1, "50", "50") + bid(4, 9, "1") + deposited(2, "1", "111"),
			"1 USDT 50+0; 2 USDT 111+0; 3 USDT 0+0; 4 USDT 0+0; 9 USDT 96+4; rewind 2",
		},
		// It forgot order 2, and was told of the deposit of 5, before it forgot both:
		// the order's id shows one crash.
		"twice the same": {
			deposited(1, "100", "100") + deposited(9, "100", "100") + bid(1, 9, "1") +
				bid(2, 1, "10") + deposited(1, "5", "105") + transferred(9, 8, "1") + bid(2, 9, "1") + deposited(1, "1", "101"),
			"1 USDT 101+0; 8 USDT 1+0; 9 USDT 97+2; rewind 1",
		},
		// That user 2's transfer was forgotten tells nothing of what user 1 has, only
		// that it is less: the transfer to user 3 was forgotten, too.
		"taught, not told": {
			deposited(1, "100", "100") + deposited(2, "100", "100") + deposited(8, "100", "100") + deposited(9, "100", "100") + bid(1, 9, "1") +
				bid(2, 9, "1") + transferred(2, 1, "5") + bid(2, 8, "1") +
				transferred(1, 3, "7") + bid(3, 9, "1") + deposited(2, "1", "101") + bid(4, 9, "1") + deposited(3, "1", "1"),
			"1 USDT 100+0; 2 USDT 101+0; 3 USDT 1+0; 8 USDT 99+1; 9 USDT 97+3; rewind 2",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newPlayer(New(0)).play(t, parse(test.log))
			got := ""
			for b := range s.Balances() {
				got += fmt.Sprintf("%d %s %s+%s; ", b.UserID, b.Asset, b.Available, b.Frozen)
			}
			found := failures(s.State)
			got += fmt.Sprintf("rewind %d", found["rewind"])
			if delete(found, "rewind"); got != test.want || len(found) > 0 {
				t.Errorf("got %s, also %v, want %s", got, found, test.want)
			}
			money(t, s.State)
		})
	}
}

// A trade tells that an order's id is another user's by now, and then a crash undoes
// it: the order that had the id is what it was, and not what the other one became.
func TestAnIdThatTwoOrdersHaveInOneRecord(t *testing.T) {
	inner := strings.TrimSuffix(strings.TrimPrefix(bid(1, 4, "3"), `orders {"event":"PUT","order":`), ",\"base\":\"ETH\",\"quote\":\"USDT\"}\n")
	trade := `trades {"id":1,"timestamp":1631097290.0,"market":"ETH_USDT","base":"ETH","quote":"USDT","price":"3","amount":"0.5","quote_amount":"1.5",` +
		`"ask_user_id":9,"ask_order_id":7,"ask_role":"MAKER","ask_fee":"0","bid_user_id":4,"bid_order_id":1,"bid_role":"TAKER","bid_fee":"0","ask_order":null,"bid_order":` + inner + "}\n"
	p := newPlayer(New(0)).play(t, parse(deposited(3, "100", "100")+bid(1, 3, "10")+bid(2, 3, "20")+trade))
	if o := p.orders.find(1); o == nil || o.user != 4 || o.finishedBase.IsZero() {
		t.Fatalf("order 1 is %+v after the trade, want user 4's", o)
	}
	p.play(t, parse(deposited(3, "100", "100")+bid(1, 3, "10")+bid(2, 3, "20")+trade+bid(2, 5, "20")))
	o := p.orders.find(1)
	if o == nil || o.user != 3 || !o.finishedBase.IsZero() || o.frozen.String() != "10" {
		t.Errorf("order 1 is %+v after the crash, want user 3's as it was", o)
	}
	for b := range p.Balances() {
		if b.UserID == 3 && (b.Available.String() != "90" || b.Frozen.String() != "10") {
			t.Errorf("user 3 has %s and %s frozen, want 90 and 10", b.Available, b.Frozen)
		}
	}
	money(t, p.State)
}

// A debit that unifyevents is never told of shows when the engine next tells the
// balance, and then is set right.
func TestSelfTransfers(t *testing.T) {
	for seed := range uint64(6) {
		cfg := exchange.DefaultConfig()
		cfg.Seed, cfg.SelfTransfers = seed, 0.2
		x, log := simulate(t, cfg, 3000)
		s := newPlayer(New(0)).play(t, log)
		found := failures(s.State)
		adopted := int64(0)
		for _, m := range s.Money() {
			adopted += m.AdoptedTimes
			if m.Adopted.Sign() > 0 {
				t.Errorf("seed %d: %s %s adopted, more than there was", seed, m.Adopted, m.Asset)
			}
		}
		// Every adoption is one failure of the balance, whoever told it.
		if n := found["payment_balance"] + found["trade_balances_before"]; n != adopted {
			t.Errorf("seed %d: %v, %d adoptions", seed, found, adopted)
		}
		if n := int64(x.Stats().SelfTransfers); adopted == 0 || adopted > n {
			t.Errorf("seed %d: %d adoptions for %d self-transfers", seed, adopted, n)
		}
		delete(found, "payment_balance")
		delete(found, "trade_balances_before")
		if len(found) > 0 {
			t.Errorf("seed %d: also %v", seed, found)
		}
		money(t, s.State)
	}
}

// Where records are lost, the engine's word brings the state back to the truth
// as far as it is heard: after enough trade, that is nearly everything.
func TestLostRecords(t *testing.T) {
	for seed := range uint64(6) {
		cfg := exchange.DefaultConfig()
		cfg.Seed, cfg.CrashEvery, cfg.LoseUnify = seed, 700, 15
		x, log := simulate(t, cfg, 3500)
		s := newPlayer(New(0)).play(t, log)
		if x.Stats().LostUnify == 0 {
			t.Fatal("nothing was lost")
		}
		found := failures(s.State)
		if found["put_id"]+found["trade_id"] == 0 || found["rewind"] > 0 {
			t.Errorf("seed %d: %v", seed, found)
		}
		wrong := differences(s.State, x.State())
		if len(wrong) > 25 {
			t.Errorf("seed %d: %d differences, such as %v", seed, len(wrong), wrong[:5])
		}
		t.Logf("seed %d: %d records lost, %d differences: %v", seed, x.Stats().LostUnify, len(wrong), found)
		money(t, s.State)
	}
}

// What is in doubt follows from the open questions alone, as for a reader of a
// snapshot, who knows nothing else.
func TestDoubtsFollowFromTheQuestions(t *testing.T) {
	marked, answered := 0, 0
	for seed := range uint64(3) {
		cfg := exchange.DefaultConfig()
		cfg.Seed, cfg.CrashEvery, cfg.Forget, cfg.LoseUnify, cfg.AllowSelfTrade, cfg.SelfTransfers = seed, 120, 25, 8, true, 0.05
		_, log := simulate(t, cfg, 2500)
		s := newPlayer(New(0))
		for n := range log {
			s.play(t, log[:n+1])
			slots := map[int32]bool{}
			for _, q := range s.questions {
				if !q.open() {
					answered++
					continue
				}
				for k := range q.slots {
					slots[q.slots[k].slot] = true
				}
			}
			for i := range s.accounts {
				if a := &s.accounts[i]; a.doubted != slots[int32(i)] {
					t.Fatalf("seed %d, offset %d: %s is doubted: %v", seed, n, s.nameOf(int32(i)), a.doubted)
				} else if a.doubted {
					marked++
				}
			}
			for o := range s.orders.all() {
				if o.doubted != s.isDoubted(o.id) {
					t.Fatalf("seed %d, offset %d: order %d is doubted: %v", seed, n, o.id, o.doubted)
				} else if o.doubted {
					marked++
				}
			}
		}
	}
	if marked == 0 || answered == 0 {
		t.Errorf("%d in doubt, %d questions answered", marked, answered)
	}
}

func TestSnapshotAndTailOverFaults(t *testing.T) {
	for seed := range uint64(3) {
		cfg := exchange.DefaultConfig()
		cfg.Seed, cfg.CrashEvery, cfg.Forget, cfg.LoseUnify, cfg.AllowSelfTrade, cfg.SelfTransfers = seed, 120, 25, 8, true, 0.05
		_, log := simulate(t, cfg, 2500)
		random := rand.New(rand.NewPCG(seed, 9))
		offsets := make([]int, 60)
		for i := range offsets {
			offsets[i] = random.IntN(len(log))
		}
		chain(t, log, offsets)
	}
}

// cancelled is the FINISH of an order that rests.
func cancelled(put string) string {
	price := put[strings.Index(put, `"price":`)+len(`"price":`):]
	price, _, _ = strings.Cut(price, ",")
	return strings.NewReplacer(`"PUT"`, `"FINISH"`, `"frozen":"0"`, `"frozen":`+price).Replace(put)
}
