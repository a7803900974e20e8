package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// archive writes segments of so many records each, from an offset on, in one
// transaction.
func (r *rig) archive(conn *pgx.Conn, log Log, from int64, sizes ...int) (next int64) {
	r.t.Helper()
	b := NewBatch()
	p := b.Partition(log, from, 0)
	for _, n := range sizes {
		for range n {
			a := archivedAt(from)
			if err := b.Archive(p, a.Offset, a.Time, a.Key, a.Value, a.Headers); err != nil {
				r.t.Fatal(err)
			}
			b.Record(p, from, 1)
			from++
		}
		if err := b.closeSegment(); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := Write(r.t.Context(), conn, b); err != nil {
		r.t.Fatal(err)
	}
	return from
}

// archivedAt is the record at an offset, some with null or empty parts.
func archivedAt(offset int64) Archived {
	a := Archived{Offset: offset, Time: 1_700_000_000_000 + offset*3 - offset%7*10, Key: []byte("orders"), Headers: []byte{0}}
	a.Value = fmt.Appendf(nil, `{"event":"PUT","order":{"id":%d,"market":"BTC_USDT","price":"%d.25","signature":"%0128d"}}`, offset, offset*7919%100000, 0)
	switch offset % 50 {
	case 0:
		a.Key = nil
	case 1:
		a.Value = nil
	case 2:
		a.Value = []byte{}
	case 3:
		a.Headers = []byte{2, 2, 'k', 1}
	}
	return a
}

// segments reads what the event log has of a topic in one statement: it must be
// without a hole and as it was archived. It returns the number of segments.
func (r *rig) segments(conn *pgx.Conn, log Log) (segments int, first, next int64) {
	r.t.Helper()
	rows, err := conn.Query(r.t.Context(), `SELECT first_offset, last_offset, (extract(epoch FROM first_time) * 1000)::bigint, (extract(epoch FROM last_time) * 1000)::bigint, records, data
		FROM dingir.event_log WHERE topic_id = $1 ORDER BY first_offset`, log.TopicID)
	if err != nil {
		r.t.Fatal(err)
	}
	first = -1
	var from, to, earliest, latest int64
	var records int
	var data []byte
	_, err = pgx.ForEachRow(rows, []any{&from, &to, &earliest, &latest, &records, &data}, func() error {
		if first < 0 {
			first, next = from, from
		}
		if from != next {
			return fmt.Errorf("offset %d stands where %d should", from, next)
		}
		segments++
		n, low, high := 0, int64(1<<62), int64(0)
		err := ReadSegment(from, data, func(a Archived) error {
			if want := archivedAt(next); !reflect.DeepEqual(a, want) {
				return fmt.Errorf("%+v is %+v", want, a)
			}
			n, low, high = n+1, min(low, a.Time), max(high, a.Time)
			next++
			return nil
		})
		if err == nil && (n != records || to != next-1 || low != earliest || high != latest) {
			err = fmt.Errorf("segment %d to %d with %d records from %d to %d holds %d up to %d from %d to %d", from, to, records, earliest, latest, n, next-1, low, high)
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return segments, first, next
}

func (r *rig) merge(conn *pgx.Conn) (steps, merged int) {
	r.t.Helper()
	for {
		n, err := MergeSegments(r.t.Context(), conn)
		if err != nil {
			r.t.Fatal(err)
		}
		if n == 0 {
			return steps, merged
		}
		steps, merged = steps+1, merged+n
	}
}

func ones(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = 1
	}
	return out
}

// What is at rest is joined, what may still grow waits until it is worth it, and
// every record stays what it was.
func TestMergeSegments(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.unifyevents", 0, 10)
	next := r.archive(r.conn, log, 10, ones(40)...)
	if steps, _ := r.merge(r.conn); steps != 0 {
		t.Error("the end of the log is joined, though more will come")
	}
	// A gap closes the run, as does a large segment.
	b := NewBatch()
	p := b.Partition(log, next, 0)
	if err := b.Gap(p, next, next+4, "control"); err != nil {
		t.Fatal(err)
	}
	r.write(b)
	if steps, merged := r.merge(r.conn); steps != 1 || merged != 40 {
		t.Errorf("before a gap: %d steps, %d segments", steps, merged)
	}
	r.exec("UPDATE dingir.gaps SET first_offset = 100000, last_offset = 100004") // segments() knows no gaps
	r.exec("UPDATE dingir.ledger SET next_offset = $1", next)
	next = r.archive(r.conn, log, next, 3, 1, 2)
	next = r.archive(r.conn, log, next, 20_000) // large
	next = r.archive(r.conn, log, next, 5, 5)
	r.exec("DELETE FROM dingir.gaps")
	if steps, merged := r.merge(r.conn); steps != 1 || merged != 4 {
		t.Errorf("before a large segment: %d steps, %d segments", steps, merged)
	}
	if n, first, end := r.segments(r.conn, log); n != 4 || first != 10 || end != next {
		t.Errorf("%d segments, %d to %d", n, first, end)
	}
	if pos := r.position("p.unifyevents", 0); pos.Archived != next {
		t.Errorf("archived up to %d, want %d", pos.Archived, next)
	}
	// Another incarnation's are joined too; they are closed by being history.
	r.exec("UPDATE dingir.event_log SET topic_id = 77 WHERE first_offset < 50")
	r.exec("INSERT INTO dingir.event_log SELECT 50, 50 + last_offset - first_offset, first_time, last_time, records, topic_id, data FROM dingir.event_log WHERE topic_id = 77")
	if steps, merged := r.merge(r.conn); steps != 1 || merged != 2 {
		t.Errorf("history: %d steps, %d segments", steps, merged)
	}
}

// One-record batches, as a daemon writes that keeps up, take a multiple of what
// they should; joined, they take their share. The end of the log is joined once
// there is enough of it.
func TestMergeMakesTheArchiveSmall(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.unifyevents", 0, 0)
	next := r.archive(r.conn, log, 0, ones(4500)...)
	before := r.count("SELECT sum(octet_length(data)) FROM dingir.event_log")
	steps, merged := r.merge(r.conn)
	after := r.count("SELECT sum(octet_length(data)) FROM dingir.event_log")
	left, first, end := r.segments(r.conn, log)
	if steps == 0 || merged < 2000 || left != 4500-merged+steps || first != 0 || end != next {
		t.Errorf("%d steps joined %d segments, %d are left", steps, merged, left)
	}
	if after > before*2/3 {
		t.Errorf("%d bytes became %d", before, after)
	}
	var plan bytes.Buffer
	rows, err := r.conn.Query(t.Context(), "EXPLAIN SELECT topic_id, first_offset, last_offset, octet_length(data) FROM dingir.event_log WHERE octet_length(data) < "+fmt.Sprint(smallSegment)+" AND (topic_id, first_offset) > (0, 0) ORDER BY topic_id, first_offset LIMIT 10")
	if err != nil {
		t.Fatal(err)
	}
	var line string
	if _, err := pgx.ForEachRow(rows, []any{&line}, func() error { plan.WriteString(line + "\n"); return nil }); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plan.String(), "event_log_small") {
		t.Errorf("small segments are not found by their index:\n%s", plan.String())
	}
}

// A segment that cannot be read is left as it is.
func TestMergeLeavesWhatItCannotRead(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.unifyevents", 0, 0)
	r.archive(r.conn, log, 0, 2, 2, 2, 20_000)
	for name, damage := range map[string]string{
		"bytes":  "UPDATE dingir.event_log SET data = substr(data, 1, 30) WHERE first_offset = 2",
		"offset": "UPDATE dingir.event_log SET last_offset = 4 WHERE first_offset = 2",
	} {
		t.Run(name, func(t *testing.T) {
			tx, err := r.conn.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
			if _, err := tx.Exec(t.Context(), damage); err != nil {
				t.Fatal(err)
			}
			run := run{topicID: log.TopicID, first: 0, last: 5, segments: 3}
			if _, err := run.join(t.Context(), tx); err == nil {
				t.Error("it is joined")
			}
		})
	}
	if n, _, _ := r.segments(r.conn, log); n != 4 {
		t.Errorf("%d segments", n)
	}
}

// A daemon appends, two processes join, an operator cuts: every snapshot has
// every record once.
func TestMergeBesideOthers(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.unifyevents", 0, 0)
	const records = 1500
	appender, reader, cutter := r.connect(), r.connect(), r.connect()
	mergers := []*pgx.Conn{r.connect(), r.connect()}
	ctx, done := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() {
		defer done()
		for next := int64(0); next < records; {
			next = r.archive(appender, log, next, 1, 1, 2, 1, 40)
		}
	})
	var joined [2]int
	for i, conn := range mergers {
		work.Go(func() {
			for ctx.Err() == nil {
				n, err := mergeNow(t.Context(), conn) //nolint:contextcheck // a step that has begun ends
				if err != nil {
					t.Error(err)
					return
				}
				joined[i] += n
			}
		})
	}
	cuts := 0
	work.Go(func() {
		for ctx.Err() == nil {
			if cutSegment(t, cutter, log) { //nolint:contextcheck // a cut that has begun ends
				cuts++
			}
		}
	})
	looks := 0
	for ctx.Err() == nil {
		if _, first, _ := r.segments(reader, log); first > 0 {
			t.Errorf("the log begins at %d", first)
		}
		looks++
	}
	work.Wait()
	if _, first, next := r.segments(reader, log); first != 0 || next < records {
		t.Errorf("%d to %d", first, next)
	}
	t.Logf("joined %v, cut %d times, %d looks", joined, cuts, looks)
	if joined[0]+joined[1] == 0 || cuts == 0 || looks < 3 {
		t.Errorf("joined %v, cut %d times, %d looks: nothing was shown", joined, cuts, looks)
	}
}

// mergeNow is MergeSegments with the end of the log taken for closed.
func mergeNow(ctx context.Context, conn *pgx.Conn) (merged int, err error) {
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var ours bool
		if err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock("+segmentsLock+")").Scan(&ours); err != nil || !ours {
			return err
		}
		var r run
		rows, err := tx.Query(ctx, "SELECT topic_id, min(first_offset), max(last_offset) FROM (SELECT * FROM dingir.event_log ORDER BY first_offset DESC LIMIT 20) t GROUP BY topic_id")
		if err != nil {
			return err
		}
		if r, err = pgx.CollectOneRow(rows, func(row pgx.CollectableRow) (r run, err error) { return r, row.Scan(&r.topicID, &r.first, &r.last) }); err != nil {
			if errors.Is(err, pgx.ErrNoRows) {
				return nil
			}
			return err
		}
		merged, err = r.join(ctx, tx)
		return err
	})
	return merged, err
}

// cutSegment splits the last segment with more than one record, as positions set does
// when a log lost its end.
func cutSegment(t *testing.T, conn *pgx.Conn, log Log) bool {
	done := false
	err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		if err := LockSegments(t.Context(), tx); err != nil {
			return err
		}
		var first, last int64
		var data []byte
		err := tx.QueryRow(t.Context(), "SELECT first_offset, last_offset, data FROM dingir.event_log WHERE records > 1 ORDER BY first_offset DESC LIMIT 1").Scan(&first, &last, &data)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		below, others, err := SplitSegment(first, data, (first+last+1)/2)
		if err != nil {
			return err
		}
		if _, err = tx.Exec(t.Context(), "DELETE FROM dingir.event_log WHERE first_offset = $1", first); err != nil {
			return err
		}
		done = true
		return errors.Join(InsertSegment(t.Context(), tx, log.TopicID, below), InsertSegment(t.Context(), tx, log.TopicID, others))
	})
	if err != nil {
		t.Error(err)
	}
	return done
}
