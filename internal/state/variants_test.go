package state

import (
	"fmt"
	"strings"
	"testing"

	"github.com/thaliumx/persistor/internal/exchange"
)

// parse reads records as text, one a line: key, space, value.
func parse(text string) (log []record) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		log = append(log, record{[]byte(key), []byte(value)})
	}
	return log
}

// show is the balances and open orders in short.
func show(s *State) string {
	var parts []string
	for b := range s.Balances() {
		parts = append(parts, fmt.Sprintf("%d %s %s+%s", b.UserID, b.Asset, b.Available, b.Frozen))
	}
	for o := range s.OpenOrders() {
		parts = append(parts, fmt.Sprintf("order %d %s left, %s frozen", o.ID, o.Remain, o.Frozen))
	}
	return strings.Join(parts, "; ")
}

// early is the engine of 2021-03 (wire 1.10): deposits under another key and
// without their parts, PUT after the trades and only for what rests, FINISH of
// orders that were never put, and the newest of equal bids matched first.
const early = `
balances {"timestamp":1616062167.0,"user_id":0,"asset":"USDT","business":"deposit","change":"1000","balance":"1000","detail":"{\"id\":0}"}
balances {"timestamp":1616062167.0,"user_id":1,"asset":"ETH","business":"deposit","change":"50","balance":"50","detail":"{\"id\":1}"}
balances {"timestamp":1616062167.0,"user_id":1,"asset":"ETH","business":"withdraw","change":"-10","balance":"40","detail":"{\"id\":2}"}
orders {"event":"PUT","order":{"id":1,"market":"ETH_USDT","type":"LIMIT","side":"BID","user":0,"create_time":1616062167.1,"update_time":1616062167.1,"price":"10","amount":"4","taker_fee":"0","maker_fee":"0","remain":"4","frozen":"0","finished_base":"0","finished_quote":"0","finished_fee":"0"},"base":"ETH","quote":"USDT"}
orders {"event":"FINISH","order":{"id":2,"market":"ETH_USDT","type":"LIMIT","side":"ASK","user":0,"create_time":1616062167.2,"update_time":1616062167.2,"price":"9","amount":"1","taker_fee":"0","maker_fee":"0","remain":"1","frozen":"0","finished_base":"0","finished_quote":"0","finished_fee":"0"},"base":"ETH","quote":"USDT"}
orders {"event":"PUT","order":{"id":3,"market":"ETH_USDT","type":"LIMIT","side":"BID","user":0,"create_time":1616062167.3,"update_time":1616062167.3,"price":"10","amount":"3","taker_fee":"0","maker_fee":"0","remain":"3","frozen":"0","finished_base":"0","finished_quote":"0","finished_fee":"0"},"base":"ETH","quote":"USDT"}
trades {"id":1,"timestamp":1616062167.4,"market":"ETH_USDT","base":"ETH","quote":"USDT","price":"10","amount":"3","quote_amount":"30","ask_user_id":1,"ask_order_id":4,"ask_role":"TAKER","ask_fee":"0","bid_user_id":0,"bid_order_id":3,"bid_role":"MAKER","bid_fee":"0","state_before":{"ask_order_state":{"price":"8","amount":"9","finished_base":"0","finished_quote":"0"},"bid_order_state":{"price":"10","amount":"3","finished_base":"0","finished_quote":"0"},"balance":{"bid_user_base":"0","bid_user_quote":"1000","ask_user_base":"40","ask_user_quote":"0"}},"state_after":{"ask_order_state":{"price":"8","amount":"9","finished_base":"3","finished_quote":"30"},"bid_order_state":{"price":"10","amount":"3","finished_base":"3","finished_quote":"30"},"balance":{"bid_user_base":"3","bid_user_quote":"970","ask_user_base":"37","ask_user_quote":"30"}}}
trades {"id":2,"timestamp":1616062167.5,"market":"ETH_USDT","base":"ETH","quote":"USDT","price":"10","amount":"4","quote_amount":"40","ask_user_id":1,"ask_order_id":4,"ask_role":"TAKER","ask_fee":"0","bid_user_id":0,"bid_order_id":1,"bid_role":"MAKER","bid_fee":"0","state_before":{"ask_order_state":{"price":"8","amount":"9","finished_base":"3","finished_quote":"30"},"bid_order_state":{"price":"10","amount":"4","finished_base":"0","finished_quote":"0"},"balance":{"bid_user_base":"3","bid_user_quote":"970","ask_user_base":"37","ask_user_quote":"30"}},"state_after":{"ask_order_state":{"price":"8","amount":"9","finished_base":"7","finished_quote":"70"},"bid_order_state":{"price":"10","amount":"4","finished_base":"4","finished_quote":"40"},"balance":{"bid_user_base":"7","bid_user_quote":"930","ask_user_base":"33","ask_user_quote":"70"}}}
orders {"event":"FINISH","order":{"id":3,"market":"ETH_USDT","type":"LIMIT","side":"BID","user":0,"create_time":1616062167.3,"update_time":1616062167.4,"price":"10","amount":"3","taker_fee":"0","maker_fee":"0","remain":"0","frozen":"0","finished_base":"3","finished_quote":"30","finished_fee":"0"},"base":"ETH","quote":"USDT"}
orders {"event":"FINISH","order":{"id":1,"market":"ETH_USDT","type":"LIMIT","side":"BID","user":0,"create_time":1616062167.1,"update_time":1616062167.5,"price":"10","amount":"4","taker_fee":"0","maker_fee":"0","remain":"0","frozen":"0","finished_base":"4","finished_quote":"40","finished_fee":"0"},"base":"ETH","quote":"USDT"}
orders {"event":"PUT","order":{"id":4,"market":"ETH_USDT","type":"LIMIT","side":"ASK","user":1,"create_time":1616062167.4,"update_time":1616062167.5,"price":"8","amount":"9","taker_fee":"0","maker_fee":"0","remain":"2","frozen":"0","finished_base":"7","finished_quote":"70","finished_fee":"0"},"base":"ETH","quote":"USDT"}
trades {"id":3,"timestamp":1616062167.6,"market":"ETH_USDT","base":"ETH","quote":"USDT","price":"8","amount":"1","quote_amount":"8","ask_user_id":1,"ask_order_id":4,"ask_role":"MAKER","ask_fee":"0.5","bid_user_id":0,"bid_order_id":5,"bid_role":"TAKER","bid_fee":"-0.1","state_before":{"ask_order_state":{"price":"8","amount":"9","finished_base":"7","finished_quote":"70"},"bid_order_state":{"price":"9","amount":"1","finished_base":"0","finished_quote":"0"},"balance":{"bid_user_base":"7","bid_user_quote":"930","ask_user_base":"33","ask_user_quote":"70"}},"state_after":{"ask_order_state":{"price":"8","amount":"9","finished_base":"8","finished_quote":"78"},"bid_order_state":{"price":"9","amount":"1","finished_base":"1","finished_quote":"8"},"balance":{"bid_user_base":"8","bid_user_quote":"922","ask_user_base":"32","ask_user_quote":"77.5"}}}
orders {"event":"UPDATE","order":{"id":4,"market":"ETH_USDT","type":"LIMIT","side":"ASK","user":1,"create_time":1616062167.4,"update_time":1616062167.6,"price":"8","amount":"9","taker_fee":"0","maker_fee":"0","remain":"1","frozen":"1","finished_base":"8","finished_quote":"78","finished_fee":"0.5"},"base":"ETH","quote":"USDT"}
orders {"event":"FINISH","order":{"id":5,"market":"ETH_USDT","type":"LIMIT","side":"BID","user":0,"create_time":1616062167.6,"update_time":1616062167.6,"price":"9","amount":"1","taker_fee":"0","maker_fee":"0","remain":"0","frozen":"0","finished_base":"1","finished_quote":"8","finished_fee":"-0.1"},"base":"ETH","quote":"USDT"}
`

func TestEarlyEngine(t *testing.T) {
	s := newPlayer(New(0)).play(t, parse(early))
	noMismatch(t, s.State)
	money(t, s.State)
	const want = "0 ETH 8+0; 0 USDT 922+0; 1 ETH 31+1; 1 USDT 77.5+0; order 4 1 left, 1 frozen"
	if got := show(s.State); got != want || s.LastOrderID() != 5 || s.LastTradeID() != 3 || s.Provisional() {
		t.Errorf("got %s, ids %d and %d", got, s.LastOrderID(), s.LastTradeID())
	}
	if checks := s.Checks()[tradeMakerBest]; checks.Passed != 3 {
		t.Errorf("%+v", checks)
	}
}

func TestRecordsThatAreNotTheEngines(t *testing.T) {
	log := parse(`
trades {"id":"trade_1","timestamp":"2026-01-05T09:00:00.000Z","market":"ETH_USDT","price":"1","amount":"2","quote_amount":"2","taker_side":"buy","maker_order_id":"order_1","taker_order_id":"order_2"}
orders {"event":"ORDER_CREATED","order":{"id":"order_1","user_id":1,"market":"ETH_USDT","side":"buy","type":"limit","price":"1","amount":"2","filled_amount":"0","status":"open","created_at":"2026-01-05T09:00:00.000Z"}}
internaltransfer {"time":1.8e9,"user_from":1,"user_to":2,"asset":"USDT","amount":"0.000000"}`)
	s := newPlayer(New(0))
	for i := range log {
		if err := s.decoder.Unify(log[i].key, log[i].value, &s.unify); err != nil {
			s.Unreadable(int64(i), 0)
			continue
		}
		s.Apply(int64(i), 0, &s.unify)
	}
	s.Unreadable(3, 0)
	if got := failures(s.State)["unreadable"]; got < 3 || show(s.State) != "" || s.Next() != 4 {
		t.Errorf("%d unreadable, next %d: %s", got, s.Next(), show(s.State))
	}
}

// The program was installed when the exchange had long been running.
func TestLogThatBeginsLater(t *testing.T) {
	log := dump(t, "engine-1.unify.jsonl.xz")
	truth := newPlayer(New(0)).play(t, log)
	for _, base := range []int{700, 9_000, 21_111} {
		s := newPlayer(New(int64(base)))
		s.play(t, log)
		if s.Complete() || s.Base() != int64(base) {
			t.Fatalf("complete %v, base %d", s.Complete(), s.Base())
		}
		noMismatch(t, s.State)
		right := map[Holding]Balance{}
		for b := range truth.Balances() {
			right[Holding{b.UserID, b.Asset}] = b
		}
		known, unknown := 0, 0
		for b := range s.Balances() {
			if !b.Known {
				unknown++
				continue
			}
			known++
			if w := right[Holding{b.UserID, b.Asset}]; !w.Available.Equal(b.Available) || !w.Frozen.Equal(b.Frozen) {
				t.Errorf("base %d, user %d %s: %s and %s, want %s and %s", base, b.UserID, b.Asset, b.Available, b.Frozen, w.Available, w.Frozen)
			}
		}
		if known < len(right)/3 {
			t.Errorf("base %d: only %d of %d balances are known", base, known, len(right))
		}
		for w := range truth.orders.all() {
			if o := s.orders.find(w.id); o == nil || !o.remain.Equal(w.remain) || !o.frozen.Equal(w.frozen) {
				t.Errorf("base %d: order %d is not open, or otherwise", base, w.id)
			}
		}
		money(t, s.State)
		t.Logf("base %d: %d balances known, %d not, of %d", base, known, unknown, len(right))
	}
}

func TestGaps(t *testing.T) {
	log := dump(t, "real-2021-09.unify.jsonl.gz")
	whole := newPlayer(New(0)).play(t, log)

	// Nothing happened in a control gap: the same log, at other offsets.
	s := newPlayer(New(0))
	shift := int64(0)
	for i := range log {
		if i%7 == 3 {
			s.Gap(s.Next(), s.Next()+1, "control")
			shift += 2
		}
		if err := s.decoder.Unify(log[i].key, log[i].value, &s.unify); err != nil {
			t.Fatal(err)
		}
		s.Apply(int64(i)+shift, 0, &s.unify)
	}
	if show(s.State) != show(whole.State) || !s.Complete() || s.Next() != int64(len(log))+shift || s.Passed() != realChecks {
		t.Errorf("after control gaps: complete %v, next %d, %s", s.Complete(), s.Next(), show(s.State))
	}

	// What was in a lost gap is unknown, and so is every balance until it is told.
	for _, announced := range []bool{true, false} {
		s = newPlayer(New(0)).play(t, log[:100])
		if announced {
			s.Gap(100, 119, "lost")
		}
		if err := s.decoder.Unify(log[120].key, log[120].value, &s.unify); err != nil {
			t.Fatal(err)
		}
		s.Apply(120, 0, &s.unify)
		if s.Complete() || s.Next() != 121 {
			t.Errorf("complete %v, next %d", s.Complete(), s.Next())
		}
		for b := range s.Balances() {
			if b.Known {
				t.Errorf("user %d %s is known", b.UserID, b.Asset)
			}
		}
		s.play(t, log)
		money(t, s.State)
		if found := failures(s.State); found["put_id"]+found["trade_id"] > 0 {
			t.Errorf("ids may jump over a gap: %v", found)
		}
	}

	// What was applied already is passed over.
	s = newPlayer(New(0)).play(t, log)
	s.Apply(5, 0, &s.unify)
	s.Gap(3, 50, "lost")
	same(t, s.State, whole.State)
}

// The same record twice is no rewind of the engine.
func TestRepeatedRecords(t *testing.T) {
	log := dump(t, "real-2021-09.unify.jsonl.gz")
	var twice []record
	want := int64(0)
	for _, r := range log {
		twice = append(twice, r)
		if string(r.key) == "trades" || strings.HasPrefix(string(r.value), `{"event":"PUT"`) {
			twice = append(twice, r)
			want++
		}
	}
	s := newPlayer(New(0)).play(t, twice)
	if got := failures(s.State); len(got) != 1 || got["repeated"] != want {
		t.Errorf("got %v, want %d repeated", got, want)
	}
	if whole := newPlayer(New(0)).play(t, log); show(s.State) != show(whole.State) {
		t.Errorf("got %s", show(s.State))
	}
}

// A record that comes again is counted also where the journal forgets the first at
// that very moment.
func TestRepeatOfTheOldest(t *testing.T) {
	_, log := simulate(t, exchange.DefaultConfig(), 10_000)
	s := newPlayer(New(0))
	r, n := &s.journal.records, journalRecords
	for ; r.len() < journalRecords+chunk && n < len(log); n++ {
		s.play(t, log[:n+1])
	}
	first := r.tail
	for r.at(first).kind != stepPut {
		first++
	}
	if r.len() != journalRecords+chunk || first >= r.tail+chunk {
		t.Fatalf("the journal has %d records, the first PUT is at %d of %d", r.len(), first, r.tail)
	}
	offset := r.at(first).offset
	s.play(t, append(log[:n:n], log[offset]))
	if found := failures(s.State); len(found) != 1 || found["repeated"] != 1 {
		t.Errorf("%v", found)
	}
	if got, want := s.checks[repeated].examples[0].Found, fmt.Sprintf("again, as at offset %d", offset); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if r.tail == 0 {
		t.Error("nothing was forgotten")
	}
}

// An engine whose tables were wiped begins again with id 1, which no journal
// reaches back to.
func TestRewindBeyondTheJournal(t *testing.T) {
	cfg := exchange.DefaultConfig()
	_, first := simulate(t, cfg, 10_000)
	cfg.Seed = 77
	x, second := simulate(t, cfg, 2500)
	if len(first) < journalRecords+1000 {
		t.Fatalf("%d records are too few", len(first))
	}
	s := newPlayer(New(0)).play(t, append(first, second...))
	found := failures(s.State)
	if found["rewind_beyond_journal"] != 1 || found["put_id"] > 0 {
		t.Errorf("%v", found)
	}
	// The orders are the new engine's; of its balances, all that it told.
	for _, o := range x.State().OpenOrders {
		if s.orders.find(int64(o.ID)) == nil {
			t.Errorf("order %d is not open", o.ID)
		}
	}
	if s.OrderCount() != len(x.State().OpenOrders) || s.LastOrderID() != int64(x.State().LastOrderID) {
		t.Errorf("%d orders, last id %d", s.OrderCount(), s.LastOrderID())
	}
	money(t, s.State)
}
