package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/zstd"
)

// Segments of one record each, as a daemon that keeps up writes them, take 52 %
// of the bytes of their records, segments of some hundred 13 %, and joined ones
// compressed by zstd 8 % (docs/benchmarks.md).
const (
	// smallSegment is the size in bytes below which a segment is worth joining;
	// the index event_log_small knows it too.
	smallSegment = 64 << 10

	// A run of small segments is joined once it has so many bytes or segments;
	// less is left at the end, where more will come.
	enoughBytes    = 512 << 10
	enoughSegments = 2048

	// One step takes no more than this: a fraction of a second.
	mostBytes    = 2 << 20
	mostSegments = 4096
	mostInflated = 32 << 20

	// mergeWindow is how far back zstd looks; a reader needs as much memory.
	mergeWindow = 4 << 20
)

// MergeSegments joins one run of small adjacent segments of the event log into
// one segment, if there is a run that is worth it, and returns how many it
// joined: 0 means that there is nothing to do for now, or that somebody else is
// at it. Call it again until then.
//
// It is one transaction of a fraction of a second, and waits for nobody. Daemons
// may append meanwhile, readers see the segments either as they were or joined.
// conn must have no transaction open.
func MergeSegments(ctx context.Context, conn *pgx.Conn) (merged int, err error) {
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var ours bool
		if err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock("+segmentsLock+")").Scan(&ours); err != nil || !ours {
			return err
		}
		r, err := findRun(ctx, tx)
		if err != nil || r.segments < 2 {
			return err
		}
		merged, err = r.join(ctx, tx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("join segments of the event log: %w", err)
	}
	return merged, nil
}

// segmentsLock is held by whoever takes segments out of the event log or cuts
// them, so that no two do it at once. Adding at the end needs no lock.
const segmentsLock = "'dingir.event_log'::regclass::oid::int, 0"

// LockSegments waits until the transaction alone may take segments out of the
// event log, up to the session's lock_timeout (SQLSTATE 55P03).
func LockSegments(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock("+segmentsLock+")"); err != nil {
		return fmt.Errorf("lock the event log's segments: %w", err)
	}
	return nil
}

// run is adjacent small segments of one topic.
type run struct {
	topicID     int16
	first, last int64 // offsets, both included
	segments    int
	bytes       int
}

// add takes the next small segment; done tells that the run must be joined
// before it, and does not have it.
func (r *run) add(next run) (done bool) {
	if r.segments > 0 && next.topicID == r.topicID && next.first == r.last+1 {
		if r.full() {
			return true
		}
		r.last = next.last
		r.segments++
		r.bytes += next.bytes
		return false
	}
	if r.segments > 1 {
		return true // closed: nothing will ever come to it
	}
	*r = next
	return false
}

func (r *run) full() bool { return r.segments >= mostSegments || r.bytes >= mostBytes }

// enough is asked at the end of the log, where the run may go on growing.
func (r *run) enough() bool { return r.segments >= enoughSegments || r.bytes >= enoughBytes }

// findRun looks for the oldest run worth joining.
func findRun(ctx context.Context, tx pgx.Tx) (run, error) {
	const page = 2 * mostSegments
	var r run
	topicID, after := int16(-1), int64(-1)
	for {
		rows, err := tx.Query(ctx, `SELECT topic_id, first_offset, last_offset, octet_length(data) FROM dingir.event_log
			WHERE octet_length(data) < `+fmt.Sprint(smallSegment)+` AND (topic_id, first_offset) > ($1, $2)
			ORDER BY topic_id, first_offset LIMIT $3`, topicID, after, page)
		if err != nil {
			return run{}, err
		}
		n, done := 0, false
		next := run{segments: 1}
		_, err = pgx.ForEachRow(rows, []any{&next.topicID, &next.first, &next.last, &next.bytes}, func() error {
			n++
			topicID, after = next.topicID, next.first
			done = done || r.add(next)
			return nil
		})
		switch {
		case err != nil:
			return run{}, err
		case done || n < page && r.enough():
			return r, nil
		case n < page:
			return tailIfClosed(ctx, tx, r)
		}
	}
}

// tailIfClosed returns the last run if something follows it that is not small,
// or a gap: then it will not grow any more.
func tailIfClosed(ctx context.Context, tx pgx.Tx, r run) (run, error) {
	if r.segments < 2 {
		return run{}, nil
	}
	var closed bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM dingir.event_log WHERE topic_id = $1 AND first_offset > $2)
		OR EXISTS (SELECT FROM dingir.gaps WHERE topic_id = $1 AND partition = 0 AND first_offset > $2)
		OR NOT EXISTS (SELECT FROM dingir.ledger WHERE topic_id = $1)`, r.topicID, r.last).Scan(&closed)
	if err != nil || !closed {
		return run{}, err
	}
	return r, nil
}

// join replaces the run's segments by one that holds the same records.
func (r *run) join(ctx context.Context, tx pgx.Tx) (int, error) {
	joined, segments, err := r.collect(ctx, tx)
	if err != nil || segments < 2 {
		return 0, err
	}
	tag, err := tx.Exec(ctx, "DELETE FROM dingir.event_log WHERE topic_id = $1 AND first_offset BETWEEN $2 AND $3", r.topicID, joined.First, joined.Last)
	if err != nil {
		return 0, err
	}
	if n := tag.RowsAffected(); n != int64(segments) {
		return 0, fmt.Errorf("%d segments from offset %d to %d became %d meanwhile", segments, joined.First, joined.Last, n)
	}
	return segments, InsertSegment(ctx, tx, r.topicID, joined)
}

// InsertSegment adds a segment to the event log of a topic.
func InsertSegment(ctx context.Context, tx pgx.Tx, topicID int16, s Segment) error {
	_, err := tx.Exec(ctx, `INSERT INTO dingir.event_log (first_offset, last_offset, first_time, last_time, records, topic_id, data)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		s.First, s.Last, time.UnixMicro(int64(s.Earliest)), time.UnixMicro(int64(s.Latest)), s.Records, topicID, s.Data)
	if err != nil {
		return fmt.Errorf("put the segment of offsets %d to %d into the event log: %w", s.First, s.Last, err)
	}
	return nil
}

// collect compresses the run's records anew, or as many of its segments as a
// step may take.
func (r *run) collect(ctx context.Context, tx pgx.Tx) (joined Segment, segments int, err error) {
	out, err := newMergedSegment()
	if err != nil {
		return Segment{}, 0, err
	}
	rows, err := tx.Query(ctx, "SELECT first_offset, last_offset, data FROM dingir.event_log WHERE topic_id = $1 AND first_offset BETWEEN $2 AND $3 ORDER BY first_offset",
		r.topicID, r.first, r.last)
	if err != nil {
		return Segment{}, 0, err
	}
	var in SegmentReader
	before := recordsHash{Digest: xxhash.New()}
	next := r.first
	var first, last int64
	var data []byte
	_, err = pgx.ForEachRow(rows, []any{&first, &last, &data}, func() error {
		if segments > 1 && before.bytes > mostInflated {
			return nil
		}
		if first != next {
			return fmt.Errorf("offset %d stands where %d should", first, next)
		}
		segments++
		next = last + 1
		return in.each(first, data, func(a *Archived) error {
			before.add(a)
			return out.add(Log{}, a.Offset, a.Time, a.Key, a.Value, a.Headers)
		})
	})
	if err != nil {
		return Segment{}, 0, err
	}
	if joined, err = out.close(); err != nil {
		return Segment{}, 0, err
	}
	if joined.First != r.first || joined.Last != next-1 {
		return Segment{}, 0, fmt.Errorf("the segments from offset %d to %d hold offsets %d to %d", r.first, next-1, joined.First, joined.Last)
	}
	// It is about to be the only copy: it has to read as the others did.
	after := recordsHash{Digest: xxhash.New()}
	err = in.each(joined.First, joined.Data, func(a *Archived) error { after.add(a); return nil })
	if err == nil && after.Sum64() != before.Sum64() {
		err = errors.New("the joined segment does not read as its parts did")
	}
	return joined, segments, err
}

// recordsHash tells two lists of records apart.
type recordsHash struct {
	*xxhash.Digest
	bytes int
}

func (h *recordsHash) add(a *Archived) {
	var b [8]byte
	for _, n := range []int64{a.Offset, a.Time} {
		binary.LittleEndian.PutUint64(b[:], uint64(n))
		_, _ = h.Write(b[:]) // a hash takes everything
	}
	for _, part := range [][]byte{a.Key, a.Value, a.Headers} {
		n := int64(len(part))
		if part == nil {
			n = -1
		}
		binary.LittleEndian.PutUint64(b[:], uint64(n))
		_, _ = h.Write(b[:])
		_, _ = h.Write(part)
		h.bytes += len(part)
	}
}

// newMergedSegment is compressed by zstd, in the caller's time.
func newMergedSegment() (*segment, error) {
	zw, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(mergeWindow), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	return &segment{zw: zw, version: segmentZstd}, nil
}
