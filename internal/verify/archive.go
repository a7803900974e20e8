package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/store"
)

// archiveReader reads the event log and makes rows of it.
type archiveReader struct {
	decoder event.Decoder
	unify   event.Unify // the record decoded last
	imager  store.Imager
}

// segment is a row of the event log, without its data.
type segment struct {
	topicID int16
	Range
	records          int32
	earliest, latest time.Time // of its records' timestamps
}

// errFalse says that a segment is not what its row says.
var errFalse = errors.New("the segment is not what its row says")

// segments reads the segments that have to do with a slot, and calls take with
// each record in it. What is wrong with a segment goes to damaged, and the rest
// of it is passed over.
func segments(ctx context.Context, conn *pgx.Conn, in slot, take func(store.Archived) error, damaged func(damage)) error {
	// The segment that the slot begins in may begin before it: segments are
	// merged now and then.
	rows, err := conn.Query(ctx, `
		SELECT first_offset, last_offset, records, first_time, last_time, data FROM dingir.event_log
		 WHERE topic_id = $1 AND first_offset < $3 AND last_offset >= $2 AND first_offset >= coalesce(
		       (SELECT max(first_offset) FROM dingir.event_log WHERE topic_id = $1 AND first_offset <= $2), $2)
		 ORDER BY first_offset`, in.TopicID, in.From, in.Until)
	if err != nil {
		return err
	}
	var data pgtype.DriverBytes // the connection's own memory
	s := segment{topicID: in.TopicID}
	_, err = pgx.ForEachRow(rows, []any{&s.First, &s.Last, &s.records, &s.earliest, &s.latest, &data}, func() error {
		var own error // of take, not of the segment
		err := s.read(data, func(r store.Archived) error {
			if r.Offset < in.From || r.Offset >= in.Until {
				return nil
			}
			own = take(r)
			return own
		})
		if err == nil || own != nil {
			return own
		}
		if s.First >= in.From { // else the slot before has told
			damaged(damage{in.TopicID, s.Range, err.Error()})
		}
		return nil
	})
	return err
}

// read decodes a segment and compares it with its row.
func (s *segment) read(data []byte, take func(store.Archived) error) error {
	if s.Last < s.First {
		return fmt.Errorf("%w: it ends before it begins", errFalse)
	}
	next, records := s.First, int32(0)
	var earliest, latest int64
	err := store.ReadSegment(s.First, data, func(r store.Archived) error {
		if r.Offset != next {
			return fmt.Errorf("%w: offset %d stands where %d should", errFalse, r.Offset, next)
		}
		if records == 0 {
			earliest, latest = r.Time, r.Time
		}
		earliest, latest = min(earliest, r.Time), max(latest, r.Time)
		next, records = next+1, records+1
		return take(r)
	})
	switch {
	case err != nil:
		return err
	case next != s.Last+1:
		return fmt.Errorf("%w: it ends at offset %d", errFalse, next-1)
	case records != s.records:
		return fmt.Errorf("%w: it has %d records, not %d", errFalse, records, s.records)
	case int64(store.ClampTime(earliest)) != s.earliest.UnixMicro() || int64(store.ClampTime(latest)) != s.latest.UnixMicro():
		return fmt.Errorf("%w: its records are of other times", errFalse)
	}
	return nil
}

// scanArchive reads slots of the event log.
func (s *scanner) scanArchive(ctx context.Context, u *unit) (err error) {
	since := int64(0)
	if !s.audit.options.Since.IsZero() {
		since = s.audit.options.Since.UnixMicro()
	}
	var r *rebuild
	if u.State {
		if r, err = s.audit.rebuilt(ctx, s.conn, u.From, s.audit.state.Exchange.Gaps); err != nil {
			return err
		}
	}
	damaged := func(d damage) {
		s.tally.Damaged = append(s.tally.Damaged, d)
		if r != nil {
			r.damaged(d)
		}
	}
	for n := u.FirstSlot; n < u.EndSlot; n++ {
		in := s.audit.state.Slots[n]
		err := segments(ctx, s.conn, in, func(rec store.Archived) error {
			addSpan(s.tally.Archived, in.TopicID, span{1, rec.Time, rec.Time})
			e := s.decode(rec)
			if r != nil {
				r.apply(rec.Offset, rec.Time, e)
			}
			if e == nil {
				s.tally.Unreadable[in.TopicID]++
				return nil
			}
			id, row := s.row(in.TopicID, rec)
			if row.time < since {
				return nil
			}
			key := id.bucketKey(&row)
			s.tally.Buckets[id].at(key).record(s.audit.digest(id, &row), n)
			return nil
		}, damaged)
		if err != nil {
			return err
		}
	}
	if r != nil {
		return s.checkSnapshot(ctx, u, r)
	}
	return nil
}

// row makes the row that the record just decoded is in its table. It is valid
// until the next call.
func (a *archiveReader) row(topicID int16, r store.Archived) (tableID, record) {
	src := store.Source{TopicID: topicID, Offset: r.Offset, Hash: int64(xxhash.Sum64(r.Value))}
	shape, image := a.imager.Unify(src, store.ClampTime(r.Time), &a.unify)
	id := tableID(shape)
	return id, id.parse(image)
}
