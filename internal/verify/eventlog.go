package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/store"
)

// readEventLog decodes each segment and notes what it covers. A segment covers
// its offsets without a hole: gaps begin a new one.
func (a *audit) readEventLog(ctx context.Context) error {
	const what = "read the event log"
	// The bytes of many segments at once would be too much for memory.
	rows, err := a.tx.Query(ctx, `SELECT topic_id, first_offset, last_offset, records FROM dingir.event_log ORDER BY topic_id, first_offset`)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (s segment, err error) {
		return s, r.Scan(&s.topicID, &s.First, &s.Last, &s.records)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, s := range list {
		p := a.partitions[log{s.topicID, 0}] // its total order has one partition
		if p == nil || p.table != "" {
			a.history[s.topicID] += int64(s.records)
			continue
		}
		var data []byte
		err := a.tx.QueryRow(ctx, "SELECT data FROM dingir.event_log WHERE topic_id = $1 AND first_offset = $2", s.topicID, s.First).Scan(&data)
		if err != nil {
			return fmt.Errorf("%s: segment at offset %d: %w", what, s.First, err)
		}
		p.Archived += int64(s.records)
		if err := s.check(data); err != nil {
			a.differ(p, EventLog, s.Range, err.Error())
		}
		a.inRange(p, s.Range, "a segment of the event log")
		p.tile(s.Range)
	}
	return nil
}

// tile notes that a segment covers a range. Segments and gaps are alike here:
// ranges that have to lie side by side.
func (p *partition) tile(r Range) { p.gaps = append(p.gaps, r) }

type segment struct {
	topicID int16
	Range
	records int32
}

// errFalse ends the decoding of a segment that is not what its row says.
var errFalse = errors.New("the segment is not what its row says")

// check decodes a segment and compares it with its row.
func (s segment) check(data []byte) error {
	if s.Last < s.First {
		return fmt.Errorf("%w: it ends before it begins", errFalse)
	}
	next, records := s.First, int32(0)
	err := store.ReadSegment(s.First, data, func(r store.Archived) error {
		if r.Offset != next {
			return fmt.Errorf("%w: offset %d stands where %d should", errFalse, r.Offset, next)
		}
		next, records = next+1, records+1
		return nil
	})
	switch {
	case err != nil:
		return err
	case next != s.Last+1:
		return fmt.Errorf("%w: it ends at offset %d", errFalse, next-1)
	case records != s.records:
		return fmt.Errorf("%w: it has %d records, not %d", errFalse, records, s.records)
	}
	return nil
}
