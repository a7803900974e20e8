package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// unit is a part of the work that is done in one go and in a snapshot of its
// own, so that none is held for long. What it looks at below the ledger's
// positions cannot change meanwhile: rows of closed positions stay as they are.
type unit struct {
	// A range of one table's pages, or the whole chunk where it is compressed.
	Table         tableID
	Schema, Chunk string // "" for the archive
	Pages         pageRange
	Compressed    bool
	Begin, End    time.Time // of the chunk; zero for a table without
	Older         bool      // all of it is before Since: looked at in need only

	// Slots of the archive, without EndSlot. With State the state is rebuilt from
	// the snapshot at From, or from nothing where that is negative, and compared
	// with the one at Until.
	FirstSlot, EndSlot int32
	State              bool
	From, Until        int64
}

// pageRange are pages of a table, without Until; the last one has none.
type pageRange struct{ From, Until int64 }

// slot is a range of offsets of the archive, without Until.
type slot struct {
	TopicID     int16
	From, Until int64
}

const (
	// unitPages are 1 GiB, some five million rows, half a minute of work: what a
	// chunk should not exceed.
	unitPages = 1 << 30 / 8192

	// slotRecords is how finely the archive is found again by what is in it.
	slotRecords = 1 << 16

	// margin is how much earlier than asked for the archive is read: what a
	// record says and when it was sent are not the same moment.
	margin = time.Hour
)

// planTables lists the units of all tables that hold records.
func (a *audit) planTables(ctx context.Context) error {
	for id := range tableCount {
		var list []unit
		var err error
		if id == users {
			list, err = a.planUsers(ctx)
		} else {
			list, err = a.planChunks(ctx, id)
		}
		if err != nil {
			return fmt.Errorf("look how dingir.%s is stored: %w", hot[id].name, err)
		}
		a.state.Units = append(a.state.Units, list...)
	}
	return nil
}

// planUsers is for the one table that is no hypertable.
func (a *audit) planUsers(ctx context.Context) ([]unit, error) {
	var pages int64
	err := a.tx.QueryRow(ctx, "SELECT pg_relation_size('dingir.users') / current_setting('block_size')::int").Scan(&pages)
	if err != nil {
		return nil, err
	}
	return cut(unit{Table: users, Schema: "dingir", Chunk: "users"}, pages, a.options.pages), nil
}

func (a *audit) planChunks(ctx context.Context, id tableID) ([]unit, error) {
	rows, err := a.tx.Query(ctx, `
		SELECT chunk_schema, chunk_name, range_start, range_end, coalesce(is_compressed, false),
		       pg_relation_size(format('%I.%I', chunk_schema, chunk_name)::regclass) / current_setting('block_size')::int
		  FROM timescaledb_information.chunks
		 WHERE hypertable_schema = 'dingir' AND hypertable_name = $1 ORDER BY range_start`, hot[id].name)
	if err != nil {
		return nil, err
	}
	var list []unit
	u := unit{Table: id}
	var pages int64
	_, err = pgx.ForEachRow(rows, []any{&u.Schema, &u.Chunk, &u.Begin, &u.End, &u.Compressed, &pages}, func() error {
		u.Older = !u.End.After(a.options.Since)
		list = append(list, cut(u, pages, a.options.pages)...)
		return nil
	})
	return list, err
}

// cut divides a chunk. The last part has no end, since pages may be added.
func cut(u unit, pages, each int64) (list []unit) {
	if u.Compressed {
		return []unit{u}
	}
	for from := int64(0); ; from += each {
		u.Pages = pageRange{from, from + each}
		if u.Pages.Until >= pages {
			u.Pages.Until = 0
			return append(list, u)
		}
		list = append(list, u)
	}
}

// planArchive divides the event log of all incarnations of unifyevents, that of
// the present one where snapshots of the state are.
func (a *audit) planArchive(ctx context.Context) (err error) {
	e := &a.state.Exchange
	if *e, err = a.exchange(ctx); err != nil {
		return err
	}
	const what = "look what the event log has"
	rows, err := a.tx.Query(ctx, `SELECT topic_id, first_offset, last_offset, records, last_time
		FROM dingir.event_log ORDER BY topic_id, first_offset`)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	p := slotPlan{each: a.options.records, cuts: e.Snapshots, cutID: e.TopicID}
	since := a.options.Since
	begun := map[int16]bool{}
	var s slot
	var last int64
	var records int32
	var latest time.Time
	_, err = pgx.ForEachRow(rows, []any{&s.TopicID, &s.From, &last, &records, &latest}, func() error {
		s.Until = last + 1
		switch {
		case since.IsZero(), begun[s.TopicID], !latest.Before(since.Add(-margin)):
			begun[s.TopicID] = true
			p.add(s, records)
		case s.TopicID == e.TopicID:
			p.skip(s, records)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	a.state.Slots = p.slots
	for first := 0; first < len(p.slots); {
		u := unit{FirstSlot: int32(first), EndSlot: int32(first) + 1}
		if s := p.slots[first]; s.TopicID == e.TopicID {
			u.From, u.Until, u.State = e.between(s.From)
			if (first == 0 || p.slots[first-1].TopicID != e.TopicID) && !since.IsZero() && s.From > max(u.From, e.Base) {
				u.State = false // what is before is not read
			}
			for u.State && int(u.EndSlot) < len(p.slots) && p.slots[u.EndSlot].TopicID == e.TopicID && p.slots[u.EndSlot].From < u.Until {
				u.EndSlot++
			}
		}
		a.state.Units = append(a.state.Units, u)
		first = int(u.EndSlot)
	}
	return nil
}

// between returns the snapshots before and behind an offset; false without one
// behind it.
func (e *exchangePlan) between(offset int64) (from, until int64, ok bool) {
	n, _ := slices.BinarySearch(e.Snapshots, offset+1)
	if from = -1; n > 0 {
		from = e.Snapshots[n-1]
	}
	if n == len(e.Snapshots) {
		return from, 0, false
	}
	return from, e.Snapshots[n], true
}

// slotPlan makes slots of segments.
type slotPlan struct {
	each    int32 // records in a slot, about
	slots   []slot
	records int32 // in the last one
	cuts    []int64
	cutID   int16 // the topic that the cuts are of

	skipped []slot // since the last cut, of one topic: taken if more follows
	counts  []int32
}

// skip passes over a segment that is too old, unless it lies behind the last
// snapshot before what is not.
func (p *slotPlan) skip(s slot, records int32) {
	n, _ := slices.BinarySearch(p.cuts, s.Until)
	cut := int64(-1)
	if n > 0 {
		cut = p.cuts[n-1]
	}
	keep := 0
	for keep < len(p.skipped) && p.skipped[keep].Until <= cut {
		keep++
	}
	p.skipped, p.counts = append(p.skipped[keep:], s), append(p.counts[keep:], records)
}

func (p *slotPlan) add(s slot, records int32) {
	if len(p.skipped) > 0 && p.skipped[0].TopicID == s.TopicID {
		skipped, counts := p.skipped, p.counts
		p.skipped = nil
		for i, one := range skipped {
			p.add(one, counts[i])
		}
	}
	for s.TopicID == p.cutID && len(p.cuts) > 0 && p.cuts[0] < s.Until {
		cut := p.cuts[0]
		p.cuts = p.cuts[1:]
		if cut > s.From {
			p.put(slot{s.TopicID, s.From, cut}, 0)
			s.From = cut
		}
		p.records = p.each // the next one begins anew
	}
	p.put(s, records)
}

func (p *slotPlan) put(s slot, records int32) {
	n := len(p.slots)
	if n > 0 && p.slots[n-1].TopicID == s.TopicID && p.records < p.each {
		p.slots[n-1].Until = s.Until
		p.records += records
		return
	}
	p.slots, p.records = append(p.slots, s), records
}

// String names the unit for errors.
func (u unit) String() string {
	switch {
	case u.Chunk == "":
		return "the event log"
	case u.Table == users:
		return "dingir.users"
	}
	return fmt.Sprintf("dingir.%s, chunk %s", hot[u.Table].name, u.Chunk)
}

// query selects the unit's rows.
func (u unit) query() string {
	from := pgx.Identifier{u.Schema, u.Chunk}.Sanitize()
	where := ""
	switch {
	case u.Compressed:
		// Not all of a compressed chunk is in its own pages.
		from = "dingir." + hot[u.Table].name
		where = fmt.Sprintf(" WHERE time >= '%s' AND time < '%s'", u.Begin.UTC().Format(time.RFC3339Nano), u.End.UTC().Format(time.RFC3339Nano))
	case u.Pages.From == 0 && u.Pages.Until == 0:
	case u.Pages.Until == 0:
		where = fmt.Sprintf(" WHERE ctid >= '(%d,0)'", u.Pages.From)
	default:
		where = fmt.Sprintf(" WHERE ctid >= '(%d,0)' AND ctid < '(%d,0)'", u.Pages.From, u.Pages.Until)
	}
	return "SELECT " + u.Table.columns() + " FROM " + from + where
}
