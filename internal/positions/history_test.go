package positions

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/testenv"
	"github.com/thaliumx/persistor/internal/verify"
)

// log is one partition in a database of its own, and what Kafka says of it.
type log struct {
	t    *testing.T
	o    store.Options
	conn *pgx.Conn
	Partition
}

// newLog begins the ledger of a topic at offset 0 of a log that is empty yet.
func newLog(t *testing.T, topic string) *log {
	t.Helper()
	t.Parallel()
	l := &log{t: t, o: store.Options{URL: testenv.Database(t), SynchronousCommit: true},
		Partition: Partition{Topic: topic, Present: true, ClusterID: "c", TopicUUID: [16]byte{1}}}
	if _, err := store.Migrate(t.Context(), l.o); err != nil {
		t.Fatal(err)
	}
	var err error
	if l.conn, err = store.Connect(t.Context(), l.o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.conn.Close(context.Background()) })
	if err := store.Begin(t.Context(), l.conn, topic, 0, "c", l.TopicUUID, 0); err != nil {
		t.Fatal(err)
	}
	l.look()
	return l
}

// look reads the ledger.
func (l *log) look() {
	l.t.Helper()
	var err error
	if l.Ledger, l.Begun, err = store.LockPosition(l.t.Context(), l.conn, l.Topic, 0); err != nil {
		l.t.Fatal(err)
	}
}

// store takes one batch of the records that a text tells of, one a letter: a
// transfer (t), a reject (r), a record of the event log (e); a gap (-).
func (l *log) store(text string) {
	l.t.Helper()
	l.look()
	b := store.NewBatch()
	p := b.Partition(l.Ledger.Log, l.Ledger.Next, l.Ledger.Archived)
	for i, kind := range text {
		offset := l.Ledger.Next + int64(i)
		var err error
		switch kind {
		case 't':
			b.Transfer(store.Source{TopicID: p.TopicID, Offset: offset, Hash: offset}, &event.Transfer{
				Time: 1_700_000_000_000_000, UserFrom: offset, UserTo: 2, Asset: event.Text("ETH"), Amount: event.Decimal{Text: []byte("1")}})
		case 'r':
			b.Reject(p, store.RejectedRecord{Offset: offset, Reason: "bad"})
		case 'e':
			err = b.Archive(p, offset, 1_700_000_000_000+offset, []byte("k"), []byte("v"), nil)
		case '-':
			err = b.Gap(p, offset, offset, "control")
		}
		if err != nil {
			l.t.Fatal(err)
		}
		if kind != '-' {
			b.Record(p, offset, offset)
		}
	}
	if err := store.Write(l.t.Context(), l.conn, b); err != nil {
		l.t.Fatal(err)
	}
	l.look()
	l.High = max(l.High, l.Ledger.Next)
}

// move moves the ledger.
func (l *log) move(w Wish) {
	l.t.Helper()
	l.look()
	plan, err := MakePlan(l.Partition, "p.", w)
	if err == nil {
		_, err = Move(l.t.Context(), l.conn, plan, "p.", w)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.look()
}

// holds checks what a query of text returns, line by line.
func (l *log) holds(want, sql string) {
	l.t.Helper()
	rows, err := l.conn.Query(l.t.Context(), sql)
	if err != nil {
		l.t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		l.t.Fatal(err)
	}
	if got := strings.Join(lines, ", "); got != want {
		l.t.Errorf("%s\n%s, want %s", sql, got, want)
	}
}

const (
	archive = "SELECT format('%s: %s-%s', topic_id, first_offset, last_offset) FROM dingir.event_log ORDER BY topic_id, first_offset"
	gaps    = "SELECT format('%s: %s-%s %s', topic_id, first_offset, last_offset, reason) FROM dingir.gaps ORDER BY topic_id, first_offset"
	rows    = "SELECT format('%s: %s', src_topic, src_offset) FROM dingir.internal_transfers ORDER BY src_topic, src_offset"
	ledger  = "SELECT format('%s: %s-%s high %s last %s', topic_id, first_offset, next_offset, high_offset, coalesce(last_offset::text, 'none')) FROM dingir.ledger"
)

// clean checks that everything is accounted for.
func (l *log) clean() {
	l.t.Helper()
	report, err := verify.Verify(l.t.Context(), verify.Options{Database: l.o})
	if err != nil || report.Total != 0 {
		l.t.Errorf("%+v, %v", report.Differences, err)
	}
}

// A segment across the cut is the kept log's below it, the lost one's above.
func TestTruncatedInsideASegment(t *testing.T) {
	l := newLog(t, "p.unifyevents")
	l.store("eee")
	l.store("eeee")
	l.store("ee")
	l.High = 5
	l.move(Wish{Offset: "latest", AcceptLoss: true})
	l.holds("1: 0-2, 1: 3-4, 2: 5-6, 2: 7-8", archive)
	l.holds("1: 0-5 high 5 last none", ledger)
	l.clean()
	l.store("eee")
	l.holds("1: 0-2, 1: 3-4, 1: 5-7, 2: 5-6, 2: 7-8", archive)
	l.clean()
}

// A log that was rewritten is read again from where it differs: what is stored
// of the former records is history's, and the others find their places free.
func TestRewritten(t *testing.T) {
	l := newLog(t, "p.internaltransfer")
	l.store("ttr---rtt")
	const notes = `SELECT format('%s: %s %s', topic_id, "offset", resolved_at IS NULL) FROM dingir.rejects ORDER BY 1`
	l.move(Wish{Offset: "4", AcceptLoss: true})
	l.holds("1: 0-4 high 4 last none", ledger)
	l.holds("1: 0, 1: 1, 2: 7, 2: 8", rows)
	l.holds("1: 2 t, 2: 6 t", notes)
	l.holds("1: 3-3 control, 2: 4-4 control, 2: 5-5 control", gaps)
	l.clean()
	l.store("r-ttt") // two transfers that were there are here again, and one before them
	l.holds("1: 0-9 high 9 last 8", ledger)
	l.holds("1: 0, 1: 1, 1: 6, 2: 7, 2: 8", rows)
	l.holds("1: 2 t, 1: 4 t, 2: 6 t", notes)
	l.holds("1: 7, 1: 8", `SELECT format('%s: %s', topic_id, "offset") FROM dingir.duplicates ORDER BY 1`)
	l.clean()
	// And once more, with duplicates in it, from before the first.
	l.move(Wish{Offset: "earliest", AcceptLoss: true})
	l.holds("1: 0-0 high 0 last none", ledger)
	l.holds("2: 7, 2: 8, 3: 0, 3: 1, 3: 6", rows)
	l.clean()
}

func TestRewrittenEventLog(t *testing.T) {
	l := newLog(t, "p.unifyevents")
	l.store("eee--ee")
	l.move(Wish{Offset: "1", AcceptLoss: true})
	l.holds("1: 0-0, 2: 1-2, 2: 5-6", archive)
	l.clean()
	l.store("-eeeee")
	l.holds("1: 0-0, 1: 2-6, 2: 1-2, 2: 5-6", archive)
	l.clean()
	// What it began with may differ as well.
	l.move(Wish{Offset: "earliest", AcceptLoss: true})
	l.store("eeeeeee")
	l.holds("1: 0-6, 2: 1-2, 2: 5-6, 3: 0-0, 3: 2-6", archive)
	l.clean()
}
