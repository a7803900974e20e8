package replay

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/store"
)

// findHoles looks for offsets of the run's range of unifyevents that the archive
// has lost: neither a segment nor a gap has them. What the topic still has of
// them is archived anew.
func (r *run) findHoles(ctx context.Context) error {
	s := r.unifySpan()
	if s == nil {
		return nil
	}
	rows, err := r.conn.Query(ctx, `SELECT first_offset, last_offset FROM dingir.event_log WHERE topic_id = $1 AND last_offset >= $2 AND first_offset < $3
		UNION ALL SELECT first_offset, last_offset FROM dingir.gaps WHERE topic_id = $1 AND partition = 0 AND last_offset >= $2 AND first_offset < $3 ORDER BY 1`,
		s.TopicID, s.start, s.end)
	if err != nil {
		return fmt.Errorf("look for holes in the archive: %w", err)
	}
	next := s.start
	var first, last int64
	if _, err := pgx.ForEachRow(rows, []any{&first, &last}, func() error {
		if first > next {
			r.holes = append(r.holes, [2]int64{next, first - 1})
		}
		next = max(next, last+1)
		return nil
	}); err != nil {
		return fmt.Errorf("look for holes in the archive: %w", err)
	}
	if next < s.end {
		r.holes = append(r.holes, [2]int64{next, s.end - 1})
	}
	return nil
}

// inHole tells whether the archive lacks an offset.
func inHole(holes [][2]int64, offset int64) bool {
	i, _ := slices.BinarySearchFunc(holes, offset, func(h [2]int64, at int64) int { return cmp.Compare(h[1], at) })
	return i < len(holes) && holes[i][0] <= offset
}

// archiveGap stages what of a gap of unifyevents lies in holes of the archive.
func (st *stager) archiveGap(s *span, first, last int64, reason string) error {
	for _, hole := range st.holes {
		if a, b := max(hole[0], first), min(hole[1], last); a <= b {
			if err := st.batch.Gap(st.partition(s), a, b, reason); err != nil {
				return err
			}
		}
	}
	return nil
}

// repairArchive puts in the segments that were made of the topic. The caller
// holds the ledger. anew says that the archive is whole by that: what was made
// without them, the state and its snapshots, daemons make anew, as after an
// operator's move. Where something is lacking still, snapshots may know of it.
func (r *run) repairArchive(ctx context.Context, tx pgx.Tx) (anew bool, err error) {
	if len(r.holes) == 0 {
		return false, nil
	}
	if err := store.LockSegments(ctx, tx); err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, "INSERT INTO dingir.event_log SELECT * FROM "+Schema+".event_log"); err != nil {
		return false, fmt.Errorf("repair the event log: %w", err)
	}
	s := r.unifySpan()
	first, next, err := eventlog.NewArchive(tx, s.TopicID).Bounds(ctx)
	if err != nil || first > s.First || next < s.Next {
		return false, err
	}
	_, err = tx.Exec(ctx, "DELETE FROM dingir.state_snapshots WHERE topic_id = $1 AND next_offset > $2", s.TopicID, r.holes[0][0])
	if err == nil {
		_, err = tx.Exec(ctx, "UPDATE dingir.ledger SET moves = moves + 1 WHERE topic = $1 AND partition = $2", s.Topic, s.Partition)
	}
	if err != nil {
		return false, fmt.Errorf("have the state made anew: %w", err)
	}
	return true, nil
}

// summarizeArchive counts segments.
func (r *run) summarizeArchive(ctx context.Context) error {
	if r.unifySpan() == nil {
		return nil
	}
	t := Table{Name: "event_log"}
	err := r.conn.QueryRow(ctx, "SELECT (SELECT count(*) FROM dingir.event_log WHERE topic_id = $1), (SELECT count(*) FROM "+Schema+".event_log)", r.unifyID()).
		Scan(&t.Equal, &t.Missing)
	if err != nil {
		return fmt.Errorf("count the segments of the event log: %w", err)
	}
	for _, hole := range r.holes[:min(len(r.holes), examples)] {
		t.Examples = append(t.Examples, Example{Missing, fmt.Sprintf("offsets %d to %d, which the topic still has", hole[0], hole[1])})
	}
	r.add(t)
	return nil
}
