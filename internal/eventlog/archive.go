package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/thaliumx/persistor/internal/store"
)

// Archive is the event log in the database: its segments, and the gaps that
// the ledger has noted, of one incarnation of unifyevents.
//
// Outside a transaction it reads some segments a statement, so it holds no
// snapshot for long; segments may be merged meanwhile. A Read has the session
// to itself until it returns: the sink must not use it either.
type Archive struct {
	session store.Querier
	topicID int16
}

// NewArchive reads what is archived of the incarnation of unifyevents that has
// this id in dingir.topics.
func NewArchive(session store.Querier, topicID int16) *Archive {
	return &Archive{session: session, topicID: topicID}
}

// ErrNoArchive says that the ledger has never heard of the topic.
var ErrNoArchive = errors.New("nothing is archived yet")

// Current is the ledger's entry of unifyevents: which incarnation it belongs
// to and what is accounted for. topic is the full name. The error is
// ErrNoArchive where there is no entry.
func Current(ctx context.Context, session store.Querier, topic string) (store.Position, error) {
	p, found, err := store.PositionOf(ctx, session, topic, 0)
	if err == nil && !found {
		err = fmt.Errorf("topic %s: %w", topic, ErrNoArchive)
	}
	return p, err
}

const archive = "the archive"

// Bounds are those of the newest part without a hole: what lies below one, as
// after a part of the archive was deleted, cannot be reached.
func (a *Archive) Bounds(ctx context.Context) (first, next int64, err error) {
	// The newest tile that does not begin where the one before it ends. Only a
	// hole counts here: reading finds an overlap.
	err = a.one(ctx, `
		WITH tiles AS (`+tiles+`)
		SELECT coalesce((SELECT first_offset FROM (
				SELECT first_offset, max(last_offset) OVER (ORDER BY first_offset, last_offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM tiles) t
			WHERE before IS NULL OR before + 1 < first_offset ORDER BY first_offset DESC LIMIT 1), 0),
			coalesce((SELECT max(last_offset) + 1 FROM tiles), 0)`, nil, &first, &next)
	return first, next, err
}

const tiles = `SELECT first_offset, last_offset FROM dingir.event_log WHERE topic_id = $1
	UNION ALL SELECT first_offset, last_offset FROM dingir.gaps WHERE topic_id = $1 AND partition = 0`

// end is the second of the bounds, at once.
func (a *Archive) end(ctx context.Context) (next int64, err error) {
	err = a.one(ctx, `SELECT coalesce(greatest(
		(SELECT last_offset FROM dingir.event_log WHERE topic_id = $1 ORDER BY first_offset DESC LIMIT 1),
		(SELECT last_offset FROM dingir.gaps WHERE topic_id = $1 AND partition = 0 ORDER BY first_offset DESC LIMIT 1)) + 1, 0)`, nil, &next)
	return next, err
}

// Beyond tells whether the archive has a record later than a moment.
func (a *Archive) Beyond(ctx context.Context, t time.Time) (yes bool, err error) {
	err = a.one(ctx, "SELECT EXISTS (SELECT FROM dingir.event_log WHERE topic_id = $1 AND last_time > $2)", []any{t}, &yes)
	return yes, err
}

// holed tells whether offsets are missing between the tiles of a range.
func (a *Archive) holed(ctx context.Context, from, until int64) (yes bool, err error) {
	err = a.one(ctx, `
		WITH tiles AS (`+tiles+`)
		SELECT EXISTS (SELECT FROM (
			SELECT first_offset, max(last_offset) OVER (ORDER BY first_offset, last_offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
			  FROM tiles WHERE last_offset >= $2 AND first_offset < $3) t
			WHERE before + 1 < first_offset)`, []any{from, until}, &yes)
	return yes, err
}

// one asks for a row about the archive's topic, $1, and perhaps offsets, from $2 on.
func (a *Archive) one(ctx context.Context, sql string, args []any, into ...any) error {
	rows, err := a.session.Query(ctx, sql, append([]any{a.topicID}, args...)...)
	if err != nil {
		return fmt.Errorf("look what the archive has: %w", err)
	}
	defer rows.Close()
	if rows.Next() {
		err = rows.Scan(into...)
	}
	rows.Close()
	if err = errors.Join(err, rows.Err()); err != nil {
		return fmt.Errorf("look what the archive has: %w", err)
	}
	return nil
}

// Read delivers [from, until) of the archive.
func (a *Archive) Read(ctx context.Context, from, until int64, sink Sink) error {
	until, err := a.settle(ctx, from, until)
	if err != nil || from >= until {
		return err
	}
	reading := a.start(ctx, from, until)
	defer reading.close()
	return reading.deliver(sink)
}

// settle checks the range against the bounds, and replaces End.
func (a *Archive) settle(ctx context.Context, from, until int64) (int64, error) {
	next, err := a.end(ctx)
	if err != nil {
		return 0, err
	}
	if until == End {
		until = next
	}
	if from >= until && from <= next {
		return until, nil
	}
	var covered bool
	if until <= next {
		err = a.one(ctx, "SELECT EXISTS (SELECT FROM ("+tiles+") t WHERE first_offset <= $2 AND last_offset >= $2)", []any{from}, &covered)
	}
	if err != nil || covered {
		return until, err
	}
	first, next, err := a.Bounds(ctx)
	if err != nil {
		return 0, err
	}
	return 0, &RangeError{Source: archive, From: from, Until: until, First: first, Next: next}
}

// A statement reads about statementBytes: what is left of it when the sink ends
// early is read for nothing, since a cancelled one would cost the session.
const (
	statementBytes = 16 << 20
	firstTiles     = 8
	mostTiles      = 4096
)

// start reads ahead from an offset that is covered.
func (a *Archive) start(ctx context.Context, from, until int64) *ahead {
	return readAhead(ctx, archive, from, until, func(_ context.Context, f *filler) error {
		reader := archiveReader{Archive: a, filler: f, limit: firstTiles}
		for f.next < f.until {
			before := f.next
			if err := reader.some(ctx); err != nil {
				return err
			}
			if f.next == before {
				return nil // the filler knows what is missing
			}
		}
		return nil
	})
}

// archiveReader is one reading of the archive.
type archiveReader struct {
	*Archive
	*filler
	segments store.SegmentReader
	limit    int // tiles in the next statement
}

// The sub-queries find the tile that the offset is in, which the index cannot,
// since it knows beginnings only.
const someSQL = `
	(SELECT first_offset, last_offset, ''::text AS reason, data FROM dingir.event_log
	  WHERE topic_id = $1 AND first_offset < $3 AND first_offset >= coalesce(
		(SELECT max(first_offset) FROM dingir.event_log WHERE topic_id = $1 AND first_offset <= $2), $2)
	  ORDER BY first_offset LIMIT $4)
	UNION ALL
	(SELECT first_offset, last_offset, reason, NULL FROM dingir.gaps
	  WHERE topic_id = $1 AND partition = 0 AND first_offset < $3 AND first_offset >= coalesce(
		(SELECT max(first_offset) FROM dingir.gaps WHERE topic_id = $1 AND partition = 0 AND first_offset <= $2), $2)
	  ORDER BY first_offset LIMIT $4)
	ORDER BY first_offset LIMIT $4`

// some reads on from the filler's next offset. A tile may begin below it: one
// that was merged since the last statement, or the first of all.
func (r *archiveReader) some(ctx context.Context) error {
	rows, err := r.session.Query(ctx, someSQL, r.topicID, r.next, r.until, r.limit)
	if err != nil {
		return fmt.Errorf("read the archive: %w", err)
	}
	defer rows.Close()
	var first, last int64
	var reason string
	var data pgtype.DriverBytes // the connection's own memory
	begun, size := false, 1
	_, err = pgx.ForEachRow(rows, []any{&first, &last, &reason, &data}, func() error {
		size += len(data)
		switch {
		case first < r.next && begun:
			return fmt.Errorf("offset %d is there twice; `persistor verify` tells more", first)
		case last < r.next:
			return nil
		}
		begun = true
		if reason != "" {
			return r.gap(first, last, reason)
		}
		return r.segment(first, last, data)
	})
	r.limit = max(firstTiles, min(r.limit*statementBytes/size, mostTiles))
	if _, hole := errors.AsType[*HoleError](err); err != nil && !hole && !errors.Is(err, errFull) {
		return fmt.Errorf("read the archive from offset %d on: %w", r.next, err)
	}
	return err
}

// segment hands on the records of one.
func (r *archiveReader) segment(first, last int64, data []byte) error {
	if err := r.segments.Reset(first, data); err != nil {
		return err
	}
	var a store.Archived
	for {
		ok, err := r.segments.Next(&a)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := r.record((*Record)(&a)); err != nil {
			return err
		}
	}
	if r.next != last+1 {
		return fmt.Errorf("the segment at offset %d ends at %d, not at %d as its row says", first, r.next-1, last)
	}
	return nil
}
