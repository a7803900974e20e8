package replay_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/harness"
)

// Duplicates, rejects and gaps, and the tables of the state, are compared and
// repaired like the rows.
func TestAccountingAndStateAreRepaired(t *testing.T) {
	s := newScene(t, 4000, func(c *exchange.Config) { c.Duplicates, c.Foreign = 0.05, 0.05 })
	before, state := s.content(), s.state()
	for _, change := range []string{
		// Duplicates: one is gone, one names another table, two are forged: of a row, and of nothing.
		"DELETE FROM dingir.duplicates WHERE ctid = (SELECT min(ctid) FROM dingir.duplicates)",
		"UPDATE dingir.duplicates SET table_name = 'users' WHERE ctid = (SELECT max(ctid) FROM dingir.duplicates WHERE topic LIKE '%trades')",
		`INSERT INTO dingir.duplicates (topic, partition, "offset", table_name, topic_id)
			SELECT l.topic, l.partition, t.src_offset, 'trades', l.topic_id FROM dingir.trades t JOIN dingir.ledger l ON (l.topic_id, l.partition) = (t.src_topic, t.src_partition) LIMIT 1`,
		`INSERT INTO dingir.duplicates (topic, partition, "offset", table_name, topic_id) SELECT topic, partition, 9999999, 'trades', topic_id FROM dingir.ledger WHERE topic LIKE '%trades' LIMIT 1`,
		// Rejects: one is gone, one is resolved by hand, one has other bytes, one is forged.
		"DELETE FROM dingir.rejects WHERE id = (SELECT min(id) FROM dingir.rejects)",
		"UPDATE dingir.rejects SET resolved_at = now() WHERE id = (SELECT min(id) FROM dingir.rejects)",
		"UPDATE dingir.rejects SET value = 'x' WHERE id = (SELECT max(id) FROM dingir.rejects)",
		`INSERT INTO dingir.rejects (topic, partition, "offset", record_time, value, headers, reason, topic_id)
			SELECT l.topic, l.partition, t.src_offset, now(), 'x', '[]', 'forged', l.topic_id FROM dingir.balance_changes t JOIN dingir.ledger l ON (l.topic_id, l.partition) = (t.src_topic, t.src_partition) LIMIT 1`,
		// A gap over rows, and one beyond the ledger.
		`INSERT INTO dingir.gaps (topic, partition, first_offset, last_offset, reason, topic_id) SELECT topic, partition, 3, 5, 'skipped', topic_id FROM dingir.ledger WHERE topic LIKE '%.orders' AND partition = 1`,
		`INSERT INTO dingir.gaps (topic, partition, first_offset, last_offset, reason, topic_id) SELECT topic, partition, 5000000, 5000003, 'lost', topic_id FROM dingir.ledger WHERE topic LIKE '%.orders' AND partition = 2`,
		// And one over what the archive has.
		`INSERT INTO dingir.gaps (topic, partition, first_offset, last_offset, reason, topic_id) SELECT topic, partition, 5, 9, 'lost', topic_id FROM dingir.ledger WHERE topic LIKE '%.unifyevents'`,
		// The state.
		"DELETE FROM dingir.balances WHERE (user_id, asset) = (SELECT user_id, asset FROM dingir.balances ORDER BY 1, 2 LIMIT 1)",
		"UPDATE dingir.balances SET frozen = frozen + 1 WHERE (user_id, asset) = (SELECT user_id, asset FROM dingir.balances ORDER BY 1, 2 LIMIT 1)",
		"INSERT INTO dingir.balances (user_id, known, asset, available, frozen) VALUES (77777, true, 'GOLD', 1, 0)",
		"DELETE FROM dingir.open_orders WHERE order_id = (SELECT min(order_id) FROM dingir.open_orders)",
		"UPDATE dingir.open_orders SET remain = remain / 2 WHERE order_id = (SELECT max(order_id) FROM dingir.open_orders)",
		"UPDATE dingir.state SET last_order_id = 1",
	} {
		if n := s.exec(change); n != 1 {
			t.Fatalf("%d rows: %s", n, change)
		}
	}
	report := s.replay(0, "--yes")
	for name, want := range map[string][3]int64{ // missing, different, surplus
		"duplicates": {1, 1, 2}, "rejects": {2, 1, 1}, "gaps": {0, 0, 3},
		"balances": {1, 1, 1}, "open_orders": {1, 1, 0}, "state": {0, 1, 0},
		"trades": {}, "order_events": {}, "balance_changes": {}, "users": {},
	} {
		have := s.table(report, name)
		if got := [3]int64{have.Missing, have.Different, have.Surplus}; got != want {
			t.Errorf("dingir.%s: missing, different, surplus %v, want %v: %+v", name, got, want, have)
		}
	}
	for name, want := range map[string][]string{
		"balances":    {"missing user_id ", "different user_id ", ": frozen is ", "surplus user_id 77777, asset GOLD"},
		"open_orders": {"missing order_id ", "different order_id ", ": remain is "},
		"state":       {"different last_order_id is 1, should be "},
	} {
		said := ""
		for _, e := range s.table(report, name).Examples {
			said += e.Kind + " " + e.Detail + "\n"
		}
		for _, part := range want {
			if !strings.Contains(said, part) {
				t.Errorf("dingir.%s: no %q among the examples:\n%s", name, part, said)
			}
		}
	}
	// A reject that is nobody's is not deleted, but resolved.
	s.exec("DELETE FROM dingir.rejects WHERE reason = 'forged' AND resolved_at IS NOT NULL")
	s.same(before, s.content())
	s.same(state, s.state())
	if again := s.replay(0, "--dry-run"); again.Differences != 0 {
		t.Errorf("afterwards: %+v", again)
	}
	if list := s.Account(); len(list) > 0 {
		t.Errorf("%d violations, the first: %s", len(list), list[0])
	}
	s.verify()
}

// What the archive has lost comes from the topic, if that still has it.
func TestArchiveIsFilled(t *testing.T) {
	s := newScene(t, 2000, nil, "PERSISTOR_BATCH_RECORDS=100")
	log := s.read("to_jsonb(t) - 'data'", "event_log")
	if n := s.exec(`DELETE FROM dingir.event_log WHERE first_offset IN
		(SELECT first_offset FROM (SELECT first_offset, row_number() OVER (ORDER BY first_offset) AS n FROM dingir.event_log) x WHERE n IN (1, 3, 4))`); n != 3 {
		t.Fatalf("%d segments of %d deleted", n, len(log["event_log"]))
	}
	report := s.replay(0, "--yes")
	if table := s.table(report, "event_log"); table.Missing == 0 || report.Differences != table.Missing {
		t.Errorf("%+v", report)
	}
	if again := s.replay(0, "--dry-run"); again.Differences != 0 {
		t.Errorf("afterwards: %+v", again)
	}
	if list := s.Account(); len(list) > 0 {
		t.Errorf("%d violations, the first: %s", len(list), list[0])
	}
	s.verify()
}

// What both the archive and the topic have is compared: nothing is repaired by an
// archive that somebody has altered. Without its segment the topic's records count.
func TestAnAlteredArchiveIsNotBelieved(t *testing.T) {
	s := newScene(t, 2000, nil, "PERSISTOR_BATCH_RECORDS=100")
	before, log := s.content(), s.read("to_jsonb(t)", "event_log")
	if n := s.exec(`UPDATE dingir.event_log a SET data = b.data FROM (SELECT *, row_number() OVER (ORDER BY first_offset) AS n FROM dingir.event_log WHERE records = 100) a2,
			(SELECT *, row_number() OVER (ORDER BY first_offset) AS n FROM dingir.event_log WHERE records = 100) b
		WHERE a2.n = 1 AND b.n = 2 AND a.first_offset = a2.first_offset`); n != 1 {
		t.Fatalf("%d of %d segments altered", n, len(log["event_log"]))
	}
	exit, output := s.Command("replay", "--from-earliest", "--yes", "--prune")
	remedy := regexp.MustCompile("`(DELETE FROM dingir.event_log [^`]+)`").FindStringSubmatch(output)
	if exit != 1 || remedy == nil || !strings.Contains(output, "differs from the archive from offset ") {
		t.Fatalf("exit %d: %s", exit, output)
	}
	s.same(before, s.content())
	if n := s.exec(remedy[1]); n != 1 {
		t.Fatalf("%d rows: %s", n, remedy[1])
	}
	if report := s.replay(0, "--yes"); s.table(report, "event_log").Missing != 1 || report.Differences != 1 {
		t.Errorf("%+v", report)
	}
	s.same(before, s.content())
	s.verify()
}

// A state that was made while the archive had a hole is made anew once it has not.
func TestAFilledArchiveMakesTheStateWhole(t *testing.T) {
	settings := []string{"PERSISTOR_BATCH_RECORDS=100", "PERSISTOR_SNAPSHOT_RECORDS=100"}
	s := newScene(t, 6000, nil, settings...)
	if n := s.exec("DELETE FROM dingir.event_log WHERE first_offset IN (SELECT first_offset FROM dingir.event_log ORDER BY 1 OFFSET 2 LIMIT 2)"); n != 2 {
		t.Fatalf("%d segments deleted", n)
	}
	s.exec("DELETE FROM dingir.state_snapshots")
	complete := func(want bool) {
		t.Helper()
		daemon := s.Start(settings...)
		harness.Until(t, time.Minute, fmt.Sprintf("the state is complete: %t", want), func() bool {
			return s.read("complete", "state")["state"][0] == fmt.Sprint(want)
		})
		if daemon.Term(); daemon.Wait(30*time.Second) != 0 {
			t.Fatal("the daemon fails")
		}
	}
	complete(false)
	if s.exec("UPDATE dingir.state_snapshots SET latest_time = latest_time") == 0 {
		t.Fatal("no snapshot was made with the hole")
	}
	s.replay(0, "--yes")
	complete(true)
	if list := s.Account(); len(list) > 0 {
		t.Errorf("%d violations, the first: %s", len(list), list[0])
	}
	s.verify()
}

// Records that the engine's crashes took from a topic come from unifyevents, and
// those that they took from unifyevents stay.
func TestRecordsOnOneTopicOnly(t *testing.T) {
	s := newScene(t, 6000, func(c *exchange.Config) {
		c.CrashEvery, c.Forget, c.LoseUnify, c.LoseTopics = 200, 4, 30, 10
	})
	before := s.content()
	report := s.replay(3, "--dry-run")
	var missing, others int64
	for _, table := range report.Tables {
		missing += table.Missing
		others += table.Different + table.Surplus
	}
	if missing == 0 || others != 0 {
		t.Fatalf("%d missing, %d others: %+v", missing, others, report)
	}
	s.replay(0, "--yes")
	after := s.content()
	for table, rows := range before {
		at := map[string]bool{}
		for _, row := range after[table] {
			at[row] = true
		}
		for _, row := range rows {
			if !at[row] {
				t.Errorf("dingir.%s has lost %s", table, row)
			}
		}
	}
	var added int64
	err := s.conn.QueryRow(t.Context(), `SELECT count(*) FROM (SELECT src_topic FROM dingir.trades UNION ALL SELECT src_topic FROM dingir.order_events
		UNION ALL SELECT src_topic FROM dingir.internal_transfers UNION ALL SELECT src_topic FROM dingir.users) r JOIN dingir.topics t ON t.id = src_topic AND t.name LIKE '%unifyevents'`).Scan(&added)
	if err != nil || added != missing {
		t.Errorf("%d rows have a position on unifyevents, %d were missing; %v", added, missing, err)
	}
	if again := s.replay(0, "--dry-run"); again.Differences != 0 {
		t.Errorf("afterwards: %+v", again)
	}

	// Once they have expired, nobody can tell what is on a topic of its own only
	// from what is forged: it is listed, and stays.
	s.expire(0.9, "trades", "orders", "internaltransfer", "registeruser")
	before = s.content()
	last := s.replay(0, "--yes")
	var surplus int64
	for _, table := range last.Tables {
		surplus += table.Surplus
		if table.Missing+table.Different > 0 {
			t.Errorf("%+v", table)
		}
	}
	if surplus == 0 {
		t.Errorf("no row is on a topic of its own only: %+v", last)
	}
	s.same(before, s.content())
}

// A part of the log leaves the rest alone.
func TestUntil(t *testing.T) {
	s := newScene(t, 4000, func(c *exchange.Config) { c.Duplicates = 0.02 })
	var middle int64
	if err := s.conn.QueryRow(t.Context(), "SELECT next_offset / 2 FROM dingir.ledger WHERE topic = $1", s.Prefix+"unifyevents").Scan(&middle); err != nil {
		t.Fatal(err)
	}
	good := s.content()
	s.damage()
	half := s.replay(0, "--yes", "--prune", "--until-offset", fmt.Sprint(middle))
	whole := s.replay(0, "--yes", "--prune")
	for table := range clocks {
		a, b := s.table(half, table), s.table(whole, table)
		if table != "users" && (a.Missing == 0 || b.Missing == 0) {
			t.Errorf("dingir.%s: %d missing below offset %d, %d behind", table, a.Missing, middle, b.Missing)
		}
		if a.Equal >= b.Equal {
			t.Errorf("dingir.%s: %d equal below offset %d, %d in all", table, a.Equal, middle, b.Equal)
		}
	}
	s.same(good, s.content())
	s.verify()
}

// state is everything in the tables of the state, as text.
func (s *scene) state() map[string][]string {
	s.t.Helper()
	return s.read("to_jsonb(t)", "balances", "open_orders", "state")
}
