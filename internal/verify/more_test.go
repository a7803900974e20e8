package verify

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/topics"
)

// payment returns a deposit of unifyevents that has not come yet.
func payment(id string) []byte {
	return []byte(`{"timestamp":1767607200.0,"user_id":9000,"asset":"ETH","business":"deposit","change":"1","balance":"` + id +
		`","balance_available":"` + id + `","balance_frozen":"0","detail":"{\"id\":` + id + `}"}`)
}

// TestDepositOnBothTopics has one deposit come on its own topic first, and one
// on unifyevents.
func TestDepositOnBothTopics(t *testing.T) {
	f := newFeed(t, func(*exchange.Config) {}).operate(200)
	at := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	own := exchange.Message{Topic: topics.Deposits, Key: []byte{}, Value: payment("1"), Time: at}
	unify := exchange.Message{Topic: topics.UnifyEvents, Key: []byte(topics.Deposits), Value: payment("1"), Time: at}
	for range 2 {
		f.record(own)
		f.flush()
		f.record(unify)
		f.flush()
		own.Value, unify.Value = payment("2"), payment("2")
		own, unify = unify, own
	}
	r := f.verify()
	if r.Total != 0 || len(r.Findings) != 0 || r.table("deposits").Rows != r.table("deposits").Records {
		t.Errorf("%v %v %+v", r.Differences, r.Findings, r.table("deposits"))
	}
	f.sql("DELETE FROM dingir.duplicates WHERE topic LIKE '%unifyevents'")
	same(t, "differences", f.verify().Differences, []string{"missing: dingir.deposits 2026-01-05T10:00:00Z topic x.unifyevents partition 0 offset "})
}

// gap passes over offsets of unifyevents.
func (f *feed) gap(offsets int64, reason string) {
	f.t.Helper()
	l := f.logs[topics.UnifyEvents][0]
	p := f.batch.Partition(l.Log, l.expected, 0)
	if err := f.batch.Gap(p, l.next, l.next+offsets-1, reason); err != nil {
		f.t.Fatal(err)
	}
	f.state.Gap(l.next, l.next+offsets-1, reason)
	l.next += offsets
	l.sent = append(l.sent, make([]exchange.Message, offsets)...)
}

// TestGaps has gaps in unifyevents, in the middle of a batch, at its end, and
// where snapshots are.
func TestGaps(t *testing.T) {
	f := newFeed(t, func(*exchange.Config) {})
	f.snapshots = 1
	for n, reason := range []string{eventlog.Control, eventlog.Control, eventlog.Skipped, eventlog.Lost, eventlog.Control} {
		f.operate(100)
		for range 30 {
			for _, m := range f.x.Step() {
				f.record(m)
			}
		}
		f.gap(int64(n+1), reason)
		if n%2 == 0 {
			f.flush()
		}
	}
	f.operate(100)
	for _, parts := range []func(*Options){func(*Options) {}, func(o *Options) { o.records = 50 }} {
		r := f.verify(parts)
		if r.Total != 0 || len(r.Findings) != 0 || r.State.Snapshots < 8 || r.State.Complete || !r.State.Checked {
			t.Errorf("%v %v %+v", r.Differences, r.Findings, r.State)
		}
	}
	// What a hole in the log leaves of the state nobody can tell.
	f.sql("DELETE FROM dingir.gaps WHERE reason = 'skipped'")
	r := f.verify()
	same(t, "differences", r.Differences, []string{"missing: topic x.unifyevents partition 0 offsets "})
	if len(r.Findings) != 1 || r.Findings[0].Kind != Unchecked {
		t.Errorf("findings %v", r.Findings)
	}
}

// TestOlderRows audits tables that are older than the event log: what cannot be
// compared is counted and listed nowhere.
func TestOlderRows(t *testing.T) {
	f := days(t)
	all := f.verify()
	var cut int64
	err := f.conn.QueryRow(t.Context(), `DELETE FROM dingir.event_log WHERE first_offset < (SELECT first_offset FROM dingir.event_log ORDER BY first_offset OFFSET 2 LIMIT 1)
		RETURNING (SELECT first_offset FROM dingir.event_log ORDER BY first_offset OFFSET 2 LIMIT 1)`).Scan(&cut)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.conn.Exec(t.Context(), "UPDATE dingir.ledger SET first_offset = $1 WHERE topic = 'x.unifyevents'", cut); err != nil {
		t.Fatal(err)
	}
	f.sql(`DELETE FROM dingir.deposits WHERE src_offset < (SELECT first_offset FROM dingir.ledger WHERE topic = 'x.unifyevents');
		DELETE FROM dingir.withdrawals WHERE src_offset < (SELECT first_offset FROM dingir.ledger WHERE topic = 'x.unifyevents');
		DELETE FROM dingir.rejects WHERE topic = 'x.unifyevents' AND "offset" < (SELECT first_offset FROM dingir.ledger WHERE topic = 'x.unifyevents');
		DELETE FROM dingir.state_snapshots; DELETE FROM dingir.state; TRUNCATE dingir.balances, dingir.open_orders`)
	r := f.verify()
	if r.Total != 0 || r.table("trades").Earlier == 0 || r.table("order_events").Earlier == 0 ||
		r.table("trades").OnlyInTable > all.table("trades").OnlyInTable+1 {
		t.Errorf("%v %v", r.Differences, r.Tables)
	}
	for _, d := range r.Findings {
		if d.Kind == Unchecked && !strings.Contains(d.Detail, "not written the state yet") {
			t.Error(d)
		}
	}
}

// TestWholeChunk reads chunks by their pages and, as a compressed one has to be
// read, through the hypertable. (The edition at hand cannot compress.)
func TestWholeChunk(t *testing.T) {
	f := days(t)
	a := &audit{conn: f.conn, options: Options{pages: unitPages}}
	var units []unit
	err := a.snapshot(t.Context(), func() (err error) {
		units, err = a.planChunks(t.Context(), orderEvents)
		return err
	})
	if err != nil || len(units) < 4 {
		t.Fatalf("%d units, %v", len(units), err)
	}
	rows := 0
	for _, u := range units {
		read := func(u unit) map[uint64]int {
			found := map[uint64]int{}
			if err := stream(t.Context(), f.conn, u.query(), func(image []byte) error {
				found[digestOf(image)]++
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return found
		}
		pages := read(u)
		u.Compressed = true
		if whole := read(u); len(pages) == 0 || !maps.Equal(pages, whole) {
			t.Errorf("%s: %d rows in its pages, %d through the hypertable", u, len(pages), len(whole))
		}
		rows += len(pages)
	}
	if r := f.verify(); int64(rows) != r.table("order_events").Rows {
		t.Errorf("%d rows in chunks, %d in all", rows, r.table("order_events").Rows)
	}
}
