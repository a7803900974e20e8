package verify

import (
	"context"
	"fmt"
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

	// Slots of the archive, without EndSlot.
	FirstSlot, EndSlot int32
}

// pageRange are pages of a table, without Until; the last one has none.
type pageRange struct{ From, Until int64 }

// slot is a range of offsets of the archive, without Until.
type slot struct {
	TopicID     int16
	From, Until int64
}

const (
	// unitPages are 64 MiB, half a million rows: seconds of work.
	unitPages = 64 << 20 / 8192

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
	return cut(unit{Table: users, Schema: "dingir", Chunk: "users"}, pages), nil
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
		list = append(list, cut(u, pages)...)
		return nil
	})
	return list, err
}

// cut divides a chunk. The last part has no end, since pages may be added.
func cut(u unit, pages int64) (list []unit) {
	if u.Compressed {
		return []unit{u}
	}
	for from := int64(0); ; from += unitPages {
		u.Pages = pageRange{from, from + unitPages}
		if u.Pages.Until >= pages {
			u.Pages.Until = 0
			return append(list, u)
		}
		list = append(list, u)
	}
}

// planArchive divides the event log of all incarnations of unifyevents.
func (a *audit) planArchive(ctx context.Context) error {
	const what = "look what the event log has"
	rows, err := a.tx.Query(ctx, `SELECT topic_id, first_offset, last_offset, records, last_time
		FROM dingir.event_log ORDER BY topic_id, first_offset`)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	var s slot
	var last int64
	var records, inSlot int32
	var latest time.Time
	open := false
	var first slot
	_, err = pgx.ForEachRow(rows, []any{&s.TopicID, &s.From, &last, &records, &latest}, func() error {
		if latest.Before(a.options.Since.Add(-margin)) && !a.options.Since.IsZero() {
			return nil
		}
		if n := len(a.state.Slots); open && first.TopicID == s.TopicID && inSlot < slotRecords {
			a.state.Slots[n-1].Until = max(a.state.Slots[n-1].Until, last+1)
		} else {
			first, open, inSlot = s, true, 0
			s.Until = last + 1
			a.state.Slots = append(a.state.Slots, s)
		}
		inSlot += records
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for i := range a.state.Slots {
		a.state.Units = append(a.state.Units, unit{FirstSlot: int32(i), EndSlot: int32(i) + 1})
	}
	return nil
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
