package harness

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/thaliumx/persistor/internal/exchange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.Cleanup(Exit)) }

// early is a deposit or withdrawal as it was before it had a key of its own.
func early(business, change string) string {
	return `{"timestamp":1631097273.5,"user_id":1,"business_id":1,"asset":"USDT","business":"` + business + `","change":"` + change + `","balance":"5","detail":"{\"id\":1}"}`
}

// TestAccount damages what a daemon stored, and takes each damage back.
func TestAccount(t *testing.T) {
	s := New(t)
	s.ProduceExchange(s.Exchange(func(c *exchange.Config) { c.Foreign, c.Duplicates = 0.05, 0.05 }), 3000)
	s.Produce(
		Record{Topic: "trades", Value: []byte("not JSON"), Key: []byte{}},
		Record{Topic: "trades", Key: []byte("tombstone")},
		Record{Topic: "unifyevents", Key: []byte("unheard-of"), Value: []byte("{}")},
		Record{Topic: "unifyevents", Key: []byte("balances"), Value: []byte(early("deposit", "5"))},
		Record{Topic: "unifyevents", Key: []byte("balances"), Value: []byte(early("withdraw", "-5"))},
	)
	p := s.Start()
	s.WaitDrained(time.Minute)
	if status, body := p.Ready(); status != 200 {
		t.Errorf("/readyz: %d %s", status, body)
	}
	// A commit is counted a moment after it can be seen.
	Until(t, 10*time.Second, "3 records are counted as rejected", func() bool {
		n, _ := p.Metric("persistor_records_total", `outcome="rejected"`)
		return n >= 3
	})
	if status := p.Status(); len(status.Partitions) != 28 {
		t.Errorf("%d partitions in /api/status", len(status.Partitions))
	}
	p.Term()
	if code := p.Wait(30 * time.Second); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	if list := s.Account(); len(list) > 0 {
		t.Fatalf("%d violations of what should be right: %s", len(list), list[0])
	}
	if code, output := s.Command("verify"); code != 0 {
		t.Errorf("verify: exit code %d: %s", code, output)
	}
	conn := s.Connect()
	for _, test := range []struct {
		name   string
		damage string
		want   string
	}{
		{"row lost", "DELETE FROM dingir.trades WHERE (src_partition, src_offset) = (SELECT src_partition, src_offset FROM dingir.trades LIMIT 1)", "no row, reject"},
		{"another content", "UPDATE dingir.balance_changes SET content_hash = 1 WHERE (src_partition, src_offset) = (0, 5)", "content_hash 1"},
		{"another time", "UPDATE dingir.order_events SET time = time + '2 us' WHERE (src_partition, src_offset) = (0, 5)", "its row is of"},
		{"row of nothing", "UPDATE dingir.users SET src_offset = 1000000 WHERE (src_partition, src_offset) = (0, 3)", "but no record is there"},
		{"reject lost", "DELETE FROM dingir.rejects WHERE reason <> 'foreign' AND topic LIKE '%trades'", "no row, reject"},
		{"reject changed", `UPDATE dingir.rejects SET value = 'x' WHERE value = 'not JSON'`, "the reject's key or value"},
		{"null made empty", `UPDATE dingir.rejects SET value = '' WHERE value IS NULL`, "the reject's key or value"},
		{"duplicate besides", `INSERT INTO dingir.duplicates (topic, partition, "offset", table_name, topic_id)
			SELECT 't', src_partition, src_offset, 'trades', src_topic FROM dingir.trades LIMIT 1`, "row in trades and duplicate"},
		{"duplicate of nothing", "UPDATE dingir.duplicates SET table_name = 'deposits'", "where no row has its hash"},
		{"gap where a record is", `INSERT INTO dingir.gaps (topic, partition, first_offset, last_offset, reason, topic_id)
			SELECT 't', src_partition, src_offset, src_offset, 'lost', src_topic FROM dingir.trades LIMIT 1`, "row in trades and gap"},
		{"segment lost", "DELETE FROM dingir.event_log WHERE first_offset = 0", "not in the event log"},
		{"deposit lost", "DELETE FROM dingir.deposits WHERE src_offset < 100", "no row, reject"},
		{"ledger behind", "UPDATE dingir.ledger SET next_offset = next_offset - 1 WHERE next_offset > 0 AND topic LIKE '%orders'", "below the ledger"},
		{"ledger ahead", "UPDATE dingir.ledger SET next_offset = next_offset + 1 WHERE topic LIKE '%orders'", "no record is there, but"},
		{"a balance altered", "UPDATE dingir.balances SET available = available + 0.000001 WHERE (user_id, asset) = (SELECT user_id, asset FROM dingir.balances LIMIT 1)", "the log says"},
		{"a balance lost", "DELETE FROM dingir.balances WHERE (user_id, asset) = (SELECT user_id, asset FROM dingir.balances LIMIT 1)", "is missing"},
		{"an order not closed", "INSERT INTO dingir.open_orders SELECT -1, user_id, create_time, update_time, post_only, market, base, quote, side, type, price, amount, remain, frozen, finished_base, finished_quote, finished_fee, maker_fee, taker_fee, signature FROM dingir.open_orders LIMIT 1", "knows nothing of it"},
		{"an order's amount", "UPDATE dingir.open_orders SET remain = remain * 2", "the log says"},
		{"the state ahead", "UPDATE dingir.state SET next_offset = next_offset + 1", "the archive has"},
		{"the state of before", "UPDATE dingir.state SET mismatches = mismatches + 1, complete = false", "the log says"},
		{"partition unknown", "DELETE FROM dingir.ledger WHERE topic LIKE '%trades'", "but no record is there"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := conn.Exec(t.Context(), "CREATE SCHEMA kept"); err != nil {
				t.Fatal(err)
			}
			tables := []string{"trades", "order_events", "balance_changes", "deposits", "users", "rejects", "duplicates", "gaps", "event_log", "ledger", "balances", "open_orders", "state"}
			for _, table := range tables {
				if _, err := conn.Exec(t.Context(), "CREATE TABLE kept."+table+" AS TABLE dingir."+table); err != nil {
					t.Fatal(err)
				}
			}
			tag, err := conn.Exec(t.Context(), test.damage)
			if err != nil || tag.RowsAffected() == 0 {
				t.Fatalf("%v: %s", err, test.damage)
			}
			list := s.Account()
			if len(list) == 0 || !strings.Contains(strings.Join(list, "\n"), test.want) {
				t.Errorf("%d violations, none with %q: %v", len(list), test.want, list[:min(3, len(list))])
			}
			for _, table := range tables {
				back := "DELETE FROM dingir." + table + "; INSERT INTO dingir." + table + " OVERRIDING SYSTEM VALUE SELECT * FROM kept." + table
				if _, err := conn.Exec(t.Context(), back); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := conn.Exec(t.Context(), "DROP SCHEMA kept CASCADE"); err != nil {
				t.Fatal(err)
			}
		})
	}
	if list := s.Account(); len(list) > 0 {
		t.Errorf("%d violations after all damage was taken back: %s", len(list), list[0])
	}
}
