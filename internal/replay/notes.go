package replay

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/eventlog"
)

// compareNotes finds out which duplicates, rejects and gaps there should be
// once the rows are as planned.
func (r *run) compareNotes(ctx context.Context, tx pgx.Tx) error {
	steps := []step{{"begin", `CREATE TABLE {schema}.rows_final (topic_id smallint, partition int, "offset" bigint);
		CREATE TABLE {schema}.duplicates_due (topic_id smallint, partition int, "offset" bigint, table_name text)`}}
	for _, s := range r.shapes {
		steps = append(steps,
			// A position of unifyevents need not have a row where the table has a topic of its own.
			step{"list the rows to be", s.sql(`INSERT INTO {schema}.rows_final SELECT s.topic_id, s.partition, s."offset" FROM
				(SELECT f.*, f.topic_id AS src_topic FROM {final} f) s WHERE {home}`)},
			// Each record that was read is a row, or a duplicate of one.
			step{"list the duplicates to be", s.sql(`INSERT INTO {schema}.duplicates_due
				SELECT s.src_topic, s.src_partition, s.src_offset, '{t}' FROM {s} s
				  JOIN {schema}.zones z ON z.class = 'read' AND z.topic_id = s.src_topic AND z.partition = s.src_partition AND s.src_offset >= z.first AND s.src_offset < z.until
				 WHERE {home} AND NOT EXISTS (SELECT FROM {final} f WHERE (f.topic_id, f.partition, f."offset") = (s.src_topic, s.src_partition, s.src_offset))
				   AND NOT EXISTS (SELECT FROM {schema}.later w WHERE (w.topic_id, w.partition, w."offset") = (s.src_topic, s.src_partition, s.src_offset))`)})
	}
	steps = append(steps, step{"learn the sizes", "ANALYZE {schema}.rows_final; ANALYZE {schema}.duplicates_due"},
		step{"compare the duplicates", duplicatesSQL}, step{"compare the rejects", rejectsSQL})
	plain := r.shapes[0]
	for _, st := range steps {
		if _, err := tx.Exec(ctx, plain.sql(st.sql)); err != nil {
			return fmt.Errorf("%s: %w", st.what, err)
		}
	}
	return r.compareGaps(ctx, tx)
}

// zoneOfNote is where a duplicate or a reject d stands: NULL for history.
const zoneOfNote = `
	  JOIN (SELECT DISTINCT topic_id FROM {schema}.zones) c ON c.topic_id = d.topic_id
	  LEFT JOIN {schema}.zones z ON z.topic_id = d.topic_id AND z.partition = d.partition AND d."offset" >= z.first AND d."offset" < z.until
	  LEFT JOIN {schema}.later w ON (w.topic_id, w.partition, w."offset") = (d.topic_id, d.partition, d."offset")
	  LEFT JOIN {schema}.rows_final f ON (f.topic_id, f.partition, f."offset") = (d.topic_id, d.partition, d."offset")`

const duplicatesSQL = `
CREATE TABLE {schema}.duplicates_plan AS
SELECT 'missing' AS kind, e.topic_id, e.partition, e."offset", e.table_name
  FROM {schema}.duplicates_due e LEFT JOIN dingir.duplicates d ON (d.topic_id, d.partition, d."offset") = (e.topic_id, e.partition, e."offset")
 WHERE d.topic_id IS NULL
 UNION ALL
SELECT CASE WHEN e.topic_id IS NULL THEN 'surplus' ELSE 'different' END, d.topic_id, d.partition, d."offset", coalesce(e.table_name, d.table_name)
  FROM dingir.duplicates d` + zoneOfNote + `
  LEFT JOIN {schema}.duplicates_due e ON (d.topic_id, d.partition, d."offset") = (e.topic_id, e.partition, e."offset")
 WHERE CASE WHEN e.topic_id IS NOT NULL THEN d.table_name <> e.table_name
            WHEN z.class IS NULL THEN true
            WHEN z.class = 'read' THEN w.topic_id IS NULL
            ELSE z.class = 'expired' AND f.topic_id IS NOT NULL END`

// A reject that is resolved belongs to a row. One that is nobody's is resolved,
// not deleted: it may be the only copy of something.
const rejectsSQL = `
CREATE TABLE {schema}.rejects_plan AS
SELECT 'missing' AS kind, d.id, s.topic_id, s.partition, s."offset"
  FROM {schema}.rejects s
  JOIN {schema}.zones z ON z.class = 'read' AND z.topic_id = s.topic_id AND z.partition = s.partition AND s."offset" >= z.first AND s."offset" < z.until
  LEFT JOIN {schema}.later w ON (w.topic_id, w.partition, w."offset") = (s.topic_id, s.partition, s."offset")
  LEFT JOIN dingir.rejects d ON (d.topic_id, d.partition, d."offset") = (s.topic_id, s.partition, s."offset")
 WHERE w.topic_id IS NULL AND (d.id IS NULL OR d.resolved_at IS NOT NULL)
 UNION ALL
SELECT CASE WHEN s.topic_id IS NULL THEN 'surplus' ELSE 'different' END, d.id, d.topic_id, d.partition, d."offset"
  FROM dingir.rejects d` + zoneOfNote + `
  LEFT JOIN {schema}.rejects s ON (d.topic_id, d.partition, d."offset") = (s.topic_id, s.partition, s."offset")
 WHERE d.resolved_at IS NULL
   AND CASE WHEN w.topic_id IS NOT NULL OR z.class = 'later' THEN false
            WHEN s.topic_id IS NOT NULL THEN (d.key, d.value, d.headers, d.record_time) IS DISTINCT FROM (s.key, s.value, s.headers, s.record_time)
            WHEN z.class IS NULL OR z.class = 'read' THEN true
            ELSE z.class = 'expired' AND f.topic_id IS NOT NULL END`

// gap is a row of dingir.gaps, or one to be.
type gap struct {
	first, last int64
	reason      string
}

// compareGaps finds out which gaps there should be. Those of unifyevents are a
// part of its archive: they stay where no segment is, and those in holes come in.
func (r *run) compareGaps(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "CREATE TABLE "+Schema+".gaps_plan (kind text, topic text, partition int, first_offset bigint, last_offset bigint, reason text, topic_id smallint)"); err != nil {
		return fmt.Errorf("compare the gaps: %w", err)
	}
	var plan [][]any
	for _, s := range r.spans {
		changes, err := r.gapsOf(ctx, tx, s)
		if err != nil {
			return fmt.Errorf("compare the gaps of topic %s partition %d: %w", s.Topic, s.Partition, err)
		}
		for _, c := range changes {
			plan = append(plan, []any{c.kind, s.Topic, s.Partition, c.first, c.last, c.reason, s.TopicID})
		}
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{Schema, "gaps_plan"}, []string{"kind", "topic", "partition", "first_offset", "last_offset", "reason", "topic_id"}, pgx.CopyFromRows(plan))
	if err != nil {
		return fmt.Errorf("compare the gaps: %w", err)
	}
	return nil
}

// gapChange is a gap to be deleted or added.
type gapChange struct {
	kind string // surplus: a row to delete; missing: one to add; trimmed: one to add in place of a deleted one
	gap
}

func readGaps(ctx context.Context, tx pgx.Tx, table string, s *span) ([]gap, error) {
	rows, err := tx.Query(ctx, "SELECT first_offset, last_offset, reason FROM "+table+" WHERE topic_id = $1 AND partition = $2 ORDER BY 1, 2", s.TopicID, s.Partition)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (g gap, err error) {
		return g, row.Scan(&g.first, &g.last, &g.reason)
	})
}

func (r *run) gapsOf(ctx context.Context, tx pgx.Tx, s *span) ([]gapChange, error) {
	live, err := readGaps(ctx, tx, "dingir.gaps", s)
	if err != nil {
		return nil, err
	}
	control, err := readGaps(ctx, tx, Schema+".gaps", s)
	if err != nil {
		return nil, err
	}
	if s.unify() {
		taken, err := archived(ctx, tx, s)
		if err != nil {
			return nil, err
		}
		changes := plannedGaps(live, []gap{{0, forever, ""}}, positions{taken: taken})
		for _, g := range control {
			changes = append(changes, gapChange{"missing", g})
		}
		return changes, nil
	}
	// What may be in a gap: what is not known to be something else.
	free := freeRanges{next: s.First}
	for _, c := range control {
		free.add(max(c.first, s.start), min(c.last, s.read-1), c.reason)
	}
	for _, h := range s.holes {
		free.add(h[0], min(h[1], s.read-1), eventlog.Lost)
	}
	free.add(s.First, s.start-1, eventlog.Lost)
	free.add(s.Next, max(s.High, s.Next)-1, "") // read again just now: as it is
	taken, err := r.accounted(ctx, tx, s)
	if err != nil {
		return nil, err
	}
	return plannedGaps(live, free.list, taken), nil
}

// archived lists what segments have of where gaps of unifyevents are.
func archived(ctx context.Context, tx pgx.Tx, s *span) (ranges [][2]int64, err error) {
	rows, err := tx.Query(ctx, `SELECT DISTINCT l.first_offset, l.last_offset FROM dingir.event_log l
		  JOIN dingir.gaps g ON g.topic_id = l.topic_id AND g.partition = $2 AND g.first_offset <= l.last_offset AND g.last_offset >= l.first_offset
		 WHERE l.topic_id = $1 ORDER BY 1, 2`, s.TopicID, s.Partition)
	if err != nil {
		return nil, err
	}
	var first, last int64
	_, err = pgx.ForEachRow(rows, []any{&first, &last}, func() error {
		ranges = append(ranges, [2]int64{first, last})
		return nil
	})
	return ranges, err
}

// accounted lists the positions that will be a row, a duplicate or a reject, of
// those that nobody can look at any more, and those outside the run's range,
// which stay in the gap that they are in.
func (r *run) accounted(ctx context.Context, tx pgx.Tx, s *span) (positions, error) {
	rows, err := tx.Query(ctx, r.shapes[0].sql(`
		SELECT a."offset", kept FROM (
			SELECT "offset", false AS kept FROM {schema}.rows_final WHERE (topic_id, partition) = ($1, $2)
			UNION ALL
			SELECT "offset", false FROM dingir.duplicates d WHERE (topic_id, partition) = ($1, $2)
			   AND NOT EXISTS (SELECT FROM {schema}.duplicates_plan p WHERE (p.topic_id, p.partition, p."offset") = ($1, $2, d."offset") AND p.kind = 'surplus')
			UNION ALL
			SELECT "offset", false FROM dingir.rejects d WHERE (topic_id, partition) = ($1, $2) AND resolved_at IS NULL
			   AND NOT EXISTS (SELECT FROM {schema}.rejects_plan p WHERE p.id = d.id AND p.kind = 'surplus')
			UNION ALL
			SELECT w."offset", true FROM {schema}.later w JOIN dingir.gaps g ON (g.topic_id, g.partition) = (w.topic_id, w.partition) AND w."offset" BETWEEN g.first_offset AND g.last_offset
			 WHERE (w.topic_id, w.partition) = ($1, $2)) a
		  LEFT JOIN {schema}.zones z ON z.class = 'expired' AND z.topic_id = $1 AND z.partition = $2 AND a."offset" >= z.first AND a."offset" < z.until
		 WHERE z.topic_id IS NOT NULL OR kept
		 ORDER BY 1`), s.TopicID, s.Partition)
	if err != nil {
		return positions{}, err
	}
	var p positions
	var offset int64
	var kept bool
	_, err = pgx.ForEachRow(rows, []any{&offset, &kept}, func() error {
		if kept {
			p.kept = appendRange(p.kept, offset)
		} else {
			p.taken = appendRange(p.taken, offset)
		}
		return nil
	})
	return p, err
}

// positions are runs of offsets, both ends included, in ascending order.
type positions struct{ taken, kept [][2]int64 }

func appendRange(list [][2]int64, offset int64) [][2]int64 {
	if n := len(list); n > 0 && offset <= list[n-1][1]+1 {
		list[n-1][1] = max(list[n-1][1], offset)
		return list
	}
	return append(list, [2]int64{offset, offset})
}

// freeRanges collects ranges that may be, or have to be, gaps.
type freeRanges struct {
	next int64
	list []gap
}

func (f *freeRanges) add(first, last int64, reason string) {
	if first <= last {
		f.list = append(f.list, gap{first, last, reason})
	}
}

// plannedGaps compares the gaps that there are with those that there should
// be: every position of the free ranges that is not taken is in exactly one gap,
// and no other position is. A free range without a reason may have gaps, but
// need not. A gap that is right in part keeps its reason there.
func plannedGaps(live, free []gap, p positions) (changes []gapChange) {
	slices.SortFunc(free, func(a, b gap) int { return cmp.Compare(a.first, b.first) })
	var allowed, due []gap
	for _, f := range free {
		pieces := without(f, p.taken)
		allowed = append(allowed, pieces...)
		if f.reason != "" {
			due = append(due, pieces...)
		}
	}
	for _, k := range p.kept {
		allowed = append(allowed, gap{k[0], k[1], ""})
	}
	slices.SortFunc(allowed, func(a, b gap) int { return cmp.Compare(a.first, b.first) })
	var covered [][2]int64
	end := int64(-1) // behind the gaps kept so far
	for _, g := range live {
		var pieces []gap
		for _, a := range overlapping(allowed, g) {
			first, last := max(a.first, g.first, end), min(a.last, g.last)
			if first > last {
				continue
			}
			if n := len(pieces); n > 0 && pieces[n-1].last == first-1 {
				pieces[n-1].last = last
			} else {
				pieces = append(pieces, gap{first, last, g.reason})
			}
			end = last + 1
			covered = append(covered, [2]int64{first, last})
		}
		if len(pieces) == 1 && pieces[0] == g {
			continue
		}
		changes = append(changes, gapChange{"surplus", g})
		for _, piece := range pieces {
			changes = append(changes, gapChange{"trimmed", piece})
		}
	}
	for _, d := range due {
		for _, missing := range without(d, covered) {
			changes = append(changes, gapChange{"missing", missing})
		}
	}
	return changes
}

// without returns what is left of a range outside the others, which ascend.
func without(g gap, others [][2]int64) (left []gap) {
	at := g.first
	i, _ := slices.BinarySearchFunc(others, g.first, func(o [2]int64, first int64) int { return cmp.Compare(o[1], first) })
	for ; i < len(others) && others[i][0] <= g.last; i++ {
		if others[i][0] > at {
			left = append(left, gap{at, others[i][0] - 1, g.reason})
		}
		at = max(at, others[i][1]+1)
	}
	if at <= g.last {
		left = append(left, gap{at, g.last, g.reason})
	}
	return left
}

// overlapping returns those of the ascending ranges that share a position with g.
func overlapping(list []gap, g gap) []gap {
	i, _ := slices.BinarySearchFunc(list, g.first, func(o gap, first int64) int { return cmp.Compare(o.last, first) })
	j := i
	for j < len(list) && list[j].first <= g.last {
		j++
	}
	return list[i:j]
}
