package eventlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/store"
)

// Every range of an archive with segments of all sizes and gaps comes back as
// it was, cut where asked.
func TestArchiveReadsEveryRange(t *testing.T) {
	r := newRig(t, 100)
	r.archive(1)   // 100
	r.archive(20)  // 101 to 120
	r.gap(5, Lost) // 121 to 125
	r.archive(3)   // 126 to 128
	r.gap(1, Control)
	r.gap(2, Control) // 130, 131
	r.archive(9)      // 132 to 140
	a := NewArchive(r.conn, r.log.TopicID)
	first, next, err := a.Bounds(t.Context())
	if err != nil || first != 100 || next != 141 {
		t.Fatalf("bounds %d, %d, %v", first, next, err)
	}
	for from := first; from <= next; from++ {
		for _, until := range []int64{from, from + 1, (from + next + 1) / 2, next, End} {
			if until > next && until != End {
				continue
			}
			c, err := read(t, a, from, until)
			if until == End {
				until = next
			}
			if err != nil || c.next != until {
				t.Fatalf("[%d, %d): %v, up to %d", from, until, err, c.next)
			}
		}
	}
	c, err := read(t, a, 123, 131)
	if err != nil || !slices.Equal(c.gaps, []string{"123-125 lost", "129-129 control", "130-130 control"}) {
		t.Errorf("gaps %q, %v", c.gaps, err)
	}
}

func TestArchiveSaysWhatItHasNot(t *testing.T) {
	r := newRig(t, 100)
	a := NewArchive(r.conn, r.log.TopicID)
	if first, next, err := a.Bounds(t.Context()); err != nil || first != next {
		t.Errorf("empty: bounds %d, %d, %v", first, next, err)
	}
	if _, err := read(t, a, 0, End); err != nil {
		t.Errorf("empty: %v", err)
	}
	var out *RangeError
	if _, err := read(t, a, 100, 101); !errors.As(err, &out) {
		t.Errorf("empty: %v", err)
	}
	for range 5 {
		r.archive(10)
	}
	for _, ask := range [][2]int64{{99, 110}, {0, End}, {149, 151}, {150, 151}, {151, End}} {
		if _, err := read(t, a, ask[0], ask[1]); !errors.As(err, &out) || out.First != 100 || out.Next != 150 {
			t.Errorf("%v: %v", ask, err)
		}
	}
	// A segment is gone: what is above can be read, what is below says so.
	r.exec("DELETE FROM dingir.event_log WHERE first_offset = 120")
	if first, next, err := a.Bounds(t.Context()); err != nil || first != 130 || next != 150 {
		t.Errorf("a hole: bounds %d, %d, %v", first, next, err)
	}
	var hole *HoleError
	c, err := read(t, a, 105, 145)
	if !errors.As(err, &hole) || hole.First != 120 || hole.Last != 129 || c.next != 120 || !strings.Contains(err.Error(), "offsets 120 to 129 are missing") {
		t.Errorf("a hole: %v, up to %d", err, c.next)
	}
	if _, err := read(t, a, 105, 120); err != nil {
		t.Errorf("below the hole: %v", err)
	}
	if _, err := read(t, a, 125, 145); !errors.As(err, &out) || out.First != 130 {
		t.Errorf("from inside the hole: %v", err)
	}
	// A gap explains it; one that overlaps does not.
	r.exec("INSERT INTO dingir.gaps (topic, partition, first_offset, last_offset, reason, topic_id) VALUES ($1, 0, 120, 129, 'lost', $2)", unify, r.log.TopicID)
	if c, err := read(t, a, 105, 145); err != nil || len(c.gaps) != 1 {
		t.Errorf("explained: %v, %q", err, c.gaps)
	}
	r.exec("UPDATE dingir.gaps SET last_offset = 131")
	if _, err := read(t, a, 105, 145); err == nil || !strings.Contains(err.Error(), "offset 130 is there twice") {
		t.Errorf("an overlap: %v", err)
	}
	r.exec("DELETE FROM dingir.gaps")
	r.exec("UPDATE dingir.event_log SET last_offset = 141 WHERE first_offset = 130")
	if _, err := read(t, a, 130, 145); err == nil || !strings.Contains(err.Error(), "not at 141") {
		t.Errorf("a row that lies: %v", err)
	}
	r.exec("UPDATE dingir.event_log SET data = substr(data, 1, 40) WHERE first_offset = 130")
	if _, err := read(t, a, 130, 145); err == nil || !strings.Contains(err.Error(), "offset 130") {
		t.Errorf("damage: %v", err)
	}
}

func TestArchiveReadsMoreThanOneStatement(t *testing.T) {
	r := newRig(t, 0)
	// One segment's bytes under many offsets: its records count from its own.
	r.archive(1)
	r.exec(`INSERT INTO dingir.event_log SELECT n, n, first_time, last_time, 1, topic_id, data FROM dingir.event_log, generate_series(1, $1) n`, 2*mostTiles+7)
	n := 0
	err := NewArchive(r.conn, r.log.TopicID).Read(t.Context(), 0, End, counter(func() { n++ }))
	if err != nil || n != 2*mostTiles+8 {
		t.Errorf("%d records, %v", n, err)
	}
}

// counter is a sink that only counts.
type counter func()

func (c counter) Record(*Record) error           { c(); return nil }
func (c counter) Gap(int64, int64, string) error { c(); return nil }

// The sink may stop, fail, or see its context end; the session is usable after
// all but the last.
func TestArchiveEndsEarly(t *testing.T) {
	r := newRig(t, 0)
	for range 30 {
		r.archive(100)
	}
	a := NewArchive(r.conn, r.log.TopicID)
	c := &collector{t: t, stopAt: 150}
	if err := a.Read(t.Context(), 0, End, c); err != nil || c.next != 150 {
		t.Errorf("stopped at %d: %v", c.next, err)
	}
	broken := errors.New("broken")
	if err := a.Read(t.Context(), 0, End, failing{broken}); !errors.Is(err, broken) {
		t.Errorf("failed: %v", err)
	}
	if _, err := read(t, a, 0, End); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Read(ctx, 0, End, c); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Record(*Record) error           { return f.err }
func (f failing) Gap(int64, int64, string) error { return f.err }

// The statement must find the tiles through their indexes: an archive has many.
func TestArchiveReadsByIndex(t *testing.T) {
	r := newRig(t, 0)
	r.archive(1)
	r.exec(`INSERT INTO dingir.event_log SELECT n, n, first_time, last_time, 1, topic_id, data FROM dingir.event_log, generate_series(1, 50000) n`)
	r.exec("ANALYZE dingir.event_log")
	rows, err := r.conn.Query(t.Context(), "EXPLAIN "+someSQL, r.log.TopicID, 40_000, 50_000, 1000)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(plan); strings.Contains(text, "Seq Scan on event_log") || !strings.Contains(text, "Index") {
		t.Error(strings.Join(plan, "\n"))
	}
}

// Segments are joined while they are read: nothing is missed, nothing comes twice.
func TestArchiveIsReadWhileItIsJoined(t *testing.T) {
	r := newRig(t, 0)
	r.archive(1)
	const segments = 20_000
	r.exec(`INSERT INTO dingir.event_log SELECT n, n, first_time, last_time, 1, topic_id, data FROM dingir.event_log, generate_series(1, $1) n`, segments-1)
	other := r.connect()
	next, merged := int64(0), 0
	err := NewArchive(r.conn, r.log.TopicID).Read(t.Context(), 0, End, checking(func(offset int64) error {
		if offset != next {
			return fmt.Errorf("offset %d comes where %d should", offset, next)
		}
		if next++; next%1500 == 1 { // the first steps join what is behind, the later ones what is ahead
			n, err := store.MergeSegments(t.Context(), other)
			merged += n
			return err
		}
		return nil
	}))
	if err != nil || next != segments || merged < 1000 {
		t.Errorf("%d records, %d segments joined, %v", next, merged, err)
	}
}

// checking is a sink that looks at offsets.
type checking func(offset int64) error

func (c checking) Record(r *Record) error { return c(r.Offset) }

func (c checking) Gap(first, last int64, reason string) error {
	return fmt.Errorf("a gap from %d to %d, %s", first, last, reason)
}
