package verify

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/thaliumx/persistor/internal/store"
)

const (
	// groupEntries and groupRanges bound what is looked at row by row at a time.
	groupEntries = 50_000
	groupRanges  = 50

	// maxUnmatched bounds the memory for what is on one side only; more is
	// counted and not looked at any further.
	maxUnmatched = 50_000
)

// entry is a row of a table, or what a record of the archive would be there.
type entry struct {
	record
	digest    uint64 // without its position
	matched   bool
	elsewhere bool // a record whose row is of another position

	heard, sound bool // a row: Kafka was asked for its record, and that says what the row does
}

func (id tableID) entry(r *record) entry {
	r.image = slices.Clone(r.image)
	return entry{record: *r, digest: id.digest(slices.Clone(r.image))}
}

// comparison is that of one table with the archive.
type comparison struct {
	*audit
	id      tableID
	table   Table
	reader  archiveReader
	rejects map[int64]bool // hashes of values that are rejects; nil until needed

	rows, records []entry // that found no counterpart so far
}

// compare looks for what the tables and the archive do not agree about: the
// buckets that are not equal, row by row.
func (a *audit) compare(ctx context.Context) error {
	for id := range tableCount {
		t := a.state.Tally
		c := comparison{audit: a, id: id, table: Table{Table: hot[id].name, Rows: t.Times[id].Count, Unproven: t.Unproven[id]}}
		if hot[id].archived {
			if err := c.resolve(ctx); err != nil {
				return fmt.Errorf("compare dingir.%s with the event log: %w", hot[id].name, err)
			}
		}
		if id == balanceChanges {
			c.judgeUnproven(ctx)
		}
		a.report.Tables = append(a.report.Tables, c.table)
	}
	return nil
}

func (c *comparison) resolve(ctx context.Context) error {
	all := &c.state.Tally.Buckets[c.id]
	archived := c.archived()
	group := map[int64]bool{}
	var entries int64
	flush := func() error {
		if len(group) == 0 {
			return nil
		}
		err := c.snapshot(ctx, func() error { return c.group(ctx, group) })
		group, entries = map[int64]bool{}, 0
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(all.Of)) {
		b := all.Of[n]
		c.table.Records += b.Records
		switch {
		case b.equal():
			continue
		case b.Records == 0 && !hot[c.id].live && (archived.Count == 0 || b.Latest < archived.First*1000):
			c.table.Earlier += b.Rows
			continue
		case b.Records == 0 && !hot[c.id].live && b.Earliest > (archived.Last+1)*1000:
			c.table.Later += b.Rows
			continue
		}
		if entries += b.Rows + b.Records; len(group) == groupRanges || (len(group) > 0 && entries > groupEntries) {
			if err := flush(); err != nil {
				return err
			}
			entries = b.Rows + b.Records
		}
		group[n] = true
	}
	if err := flush(); err != nil {
		return err
	}
	return c.snapshot(ctx, func() error { return c.conclude(ctx) })
}

// archived is when the records of the archive were sent, in ms.
func (a *audit) archived() (s span) {
	for _, one := range a.state.Tally.Archived {
		s.add(one)
	}
	return s
}

// group compares some buckets row by row.
func (c *comparison) group(ctx context.Context, group map[int64]bool) error {
	rows, err := c.readRows(ctx, group)
	if err != nil {
		return err
	}
	var slots []slot
	all := &c.state.Tally.Buckets[c.id]
	wanted := make([]bool, len(c.state.Slots))
	for n := range group {
		for _, r := range all.Of[n].Slots {
			for i := r.First; i < r.End; i++ {
				wanted[i] = true
			}
		}
	}
	for i, s := range c.state.Slots {
		if wanted[i] {
			slots = append(slots, s)
		}
	}
	records, err := c.readRecords(ctx, group, slots)
	if err != nil {
		return err
	}
	c.match(ctx, rows, records)
	if slices.ContainsFunc(rows, func(e entry) bool { return !e.matched && c.asked(e) }) {
		// What a row was made of may have been archived since the audit began.
		more, err := c.readRecords(ctx, group, c.tails())
		if err != nil {
			return err
		}
		c.match(ctx, rows, more)
	}
	for _, e := range rows {
		if !e.matched && c.asked(e) {
			c.unmatchedRow(e)
		}
	}
	for _, e := range records {
		if !e.matched && c.asked(e) {
			c.unmatchedRecord(e)
		}
	}
	return nil
}

// asked tells whether the entry is of the time that was asked for.
func (c *comparison) asked(e entry) bool {
	return c.options.Since.IsZero() || e.time >= c.options.Since.UnixMicro()
}

func (c *comparison) unmatchedRow(e entry) {
	if len(c.rows) < maxUnmatched {
		c.rows = append(c.rows, e)
		return
	}
	c.table.OnlyInTable++
}

func (c *comparison) unmatchedRecord(e entry) {
	if len(c.records) < maxUnmatched {
		c.records = append(c.records, e)
		return
	}
	c.table.OnlyInLog++
}

// readRows reads the rows of some buckets.
func (c *comparison) readRows(ctx context.Context, group map[int64]bool) (list []entry, err error) {
	var where []string
	all := &c.state.Tally.Buckets[c.id]
	for _, n := range slices.Sorted(maps.Keys(group)) {
		first, last := all.keys(n)
		if hot[c.id].byID {
			where = append(where, fmt.Sprintf("%s BETWEEN %d AND %d", c.id.key(), first, last))
			continue
		}
		at := func(seconds int64) string { return time.Unix(seconds, 0).UTC().Format("'2006-01-02 15:04:05Z'") }
		where = append(where, fmt.Sprintf("time >= %s AND time < %s", at(first), at(last+1)))
	}
	query := "SELECT " + c.id.columns() + " FROM dingir." + hot[c.id].name + " WHERE " + strings.Join(where, " OR ")
	err = stream(ctx, c.tx.Conn(), query, func(image []byte) error {
		r := c.id.parse(image)
		list = append(list, c.id.entry(&r))
		return nil
	})
	return list, err
}

// readRecords makes rows of the records of some buckets.
func (c *comparison) readRecords(ctx context.Context, group map[int64]bool, slots []slot) (list []entry, err error) {
	shift := c.state.Tally.Buckets[c.id].Shift
	for _, s := range slots {
		err := segments(ctx, c.tx.Conn(), s, func(r store.Archived) error {
			if c.reader.decode(r) == nil {
				return nil
			}
			if id, row := c.reader.row(s.TopicID, r); id == c.id && group[id.bucketKey(&row)>>shift] {
				list = append(list, id.entry(&row))
			}
			return nil
		}, func(damage) {}) // it was told before
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// tails are what has been archived since the audit began.
func (c *comparison) tails() []slot {
	ends := map[int16]int64{}
	for _, s := range c.state.Slots {
		ends[s.TopicID] = max(ends[s.TopicID], s.Until)
	}
	var tails []slot
	for id := range c.unify {
		if c.unify[id] {
			tails = append(tails, slot{id, ends[id], math.MaxInt64})
		}
	}
	return tails
}

// rejected tells whether a record's value is among the unresolved rejects.
func (c *comparison) rejected(ctx context.Context, hash int64) (bool, error) {
	if c.rejects == nil {
		c.rejects = map[int64]bool{}
		err := stream(ctx, c.tx.Conn(), "SELECT value FROM dingir.rejects WHERE resolved_at IS NULL AND reason <> 'foreign' AND value IS NOT NULL",
			func(b []byte) error {
				c.rejects[int64(xxhash.Sum64(b[6:]))] = true
				return nil
			})
		if err != nil {
			return false, fmt.Errorf("read the rejects: %w", err)
		}
	}
	return c.rejects[hash], nil
}
