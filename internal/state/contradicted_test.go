package state

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/event"
)

func repeat(n int, one func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(one(i))
	}
	return b.String()
}

// contradictions are logs that fill the journal with operations without ids, very
// many of which may have been forgotten, and the payments that contradict it.
func contradictions() map[string][2]string {
	const n = journalRecords
	full := func(i int) string { return deposited(2+i, "100000", "100000") }
	return map[string][2]string{
		"one user's transfers": {
			deposited(1, "1000000", "1000000") + repeat(n, func(i int) string { return transferred(1, 2+i%40, "2") }),
			deposited(1, "1", "967000"),
		},
		"many users' transfers": {
			repeat(1000, full) + repeat(n, func(i int) string { return transferred(2+i%1000, 2+i*7%1000, "2") }),
			repeat(40, func(i int) string { return deposited(2+i, "1", "7") }),
		},
		// Each transfer would account for it, if the users it came from had not been
		// told since what they have.
		"transfers of what is missing": {
			repeat(40, full) + repeat(n-80, func(i int) string { return transferred(2+i%40, 1, "1") }) +
				repeat(40, func(i int) string { return deposited(2+i, "1", fmt.Sprint(100_001-(n-41-i)/40)) }),
			deposited(1, "1", fmt.Sprint(n-80)),
		},
		// Back and forth: half of all rows would.
		"transfers to and fro": {
			repeat(2, full) + full(7) + repeat(n-10, func(i int) string { return transferred(2+i%2, 3-i%2, "1") }) +
				bid(1, 9, "1") + deposited(3, "1", "100001"),
			deposited(2, "1", "100000"),
		},
		// Here it is the payments in between that contradict it.
		"transfers and payments": {
			full(0) + full(7) + repeat(n/2-10, func(i int) string {
				return transferred(2, 1, "1") + deposited(2, "2", fmt.Sprint(100_001+i))
			}) + bid(1, 9, "1") + deposited(2, "1", fmt.Sprint(100_001+n/2-10)),
			deposited(1, "1", fmt.Sprint(n/2-10)),
		},
		"payments of many users": {
			repeat(10_000, full),
			repeat(200, func(i int) string { return deposited(2+i, "1", "9") }),
		},
	}
}

// What contradicts the state must be found out in passing: others wait for it.
func TestContradictedPaymentsAreCheap(t *testing.T) {
	const most = int64(400 * time.Millisecond) // for all of them, some 20 times what it takes
	for name, logs := range contradictions() {
		t.Run(name, func(t *testing.T) {
			full, all := parse(logs[0]), parse(logs[0]+logs[1])
			s := newPlayer(New(0)).play(t, full)
			if s.Mismatches() > 0 {
				t.Fatal(failures(s.State))
			}
			before := cpu(t)
			s.play(t, all)
			took, n := cpu(t)-before, len(all)-len(full)
			t.Logf("%d payments, %v each", n, time.Duration(took/int64(n)))
			if found := failures(s.State); len(found) != 1 || found["payment_balance"] != int64(n) {
				t.Errorf("%v", found)
			}
			if took > most {
				t.Errorf("%v in all", time.Duration(took))
			}
		})
	}
}

// A trade has to tell of an order whose first trade it is (wire 4.2).
func TestATradeThatHidesAnOrder(t *testing.T) {
	log := dump(t, "engine-1.unify.jsonl.xz")
	for _, hidden := range []func(*event.Trade) **event.Order{
		func(t *event.Trade) **event.Order { return &t.AskOrder }, func(t *event.Trade) **event.Order { return &t.BidOrder }} {
		p, trades, hid := newPlayer(New(0)), 0, 0
		for i := range log {
			if err := p.decoder.Unify(log[i].key, log[i].value, &p.unify); err != nil {
				t.Fatal(err)
			}
			if u := &p.unify; u.Kind == event.KindTrade {
				if o := hidden(&u.Trade); *o != nil && trades > 0 && hid < 100 {
					*o = nil
					hid++
				}
				trades++
			}
			p.Apply(int64(i), 0, &p.unify)
		}
		if hid != 100 {
			t.Fatalf("%d orders hidden", hid)
		}
		for _, c := range p.Checks() {
			want := int64(0)
			if c.Name == "trade_order_present" {
				want = int64(hid)
			}
			if c.Failed != want {
				t.Errorf("%s failed %d times, with %d orders hidden: %v", c.Name, c.Failed, hid, c.Examples)
			}
		}
	}
}
