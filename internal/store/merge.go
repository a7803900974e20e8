package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// merge takes out of the batch the rows that are stored already, by this or
// another position, and notes the other positions as duplicates. It runs after
// a COPY was refused as a duplicate: asking first would cost every batch what
// only few need.
//
// An equal identity with other columns is a hash collision: *BadRecords.
func merge(ctx context.Context, conn *pgx.Conn, b *Batch) error {
	bad := &BadRecords{}
	for id := range tableCount {
		if tables[id].key == 0 || b.rows[id].n == 0 {
			continue
		}
		if err := b.mergeTable(ctx, conn, id, bad); err != nil {
			return err
		}
	}
	if len(bad.Records) > 0 {
		return bad
	}
	return nil
}

func (b *Batch) mergeTable(ctx context.Context, conn *pgx.Conn, id tableID, bad *BadRecords) error {
	t := &tables[id]
	list := b.rows[id].split(len(t.columns))
	known, err := stored(ctx, conn, t, list)
	if err != nil {
		return fmt.Errorf("look for %d rows in dingir.%s: %w", len(list), t.name, err)
	}
	kept := list[:0]
	for _, r := range list {
		key := identity(r, t.key)
		other, there := known[key]
		if !there {
			known[key] = r // a second one in this batch is a duplicate of the first
			kept = append(kept, r)
			continue
		}
		src := r.source()
		if !r.same(other, t) {
			bad.Records = append(bad.Records, BadRecord{Source: src, Reason: "hash collision: dingir." + t.name +
				" has a row of the same identity and content_hash with other content"})
			continue
		}
		p := b.progressOf(src)
		p.Duplicates++
		if b.merged == nil {
			b.merged = map[Source]bool{}
		}
		b.merged[src] = true
		if other.source() != src {
			b.duplicateRow(p.Log, src.Offset, t.name)
		}
	}
	b.rows[id].join(kept)
	return nil
}

// progressOf finds the partition that a row of this batch came from.
func (b *Batch) progressOf(s Source) *Progress {
	for _, p := range b.progress {
		if p.TopicID == s.TopicID && p.Partition == s.Partition {
			return p
		}
	}
	panic(fmt.Sprintf("store: a row of topic id %d partition %d, which this batch does not move", s.TopicID, s.Partition))
}

// join makes the stream of the given rows, which were split from it.
func (r *rows) join(list []row) {
	at := len(copyHeader)
	for _, w := range list {
		at += copy(r.buf[at:], w.raw) // never overtakes: rows only move forward
	}
	r.buf, r.n = r.buf[:at], len(list)
}

// identity is a row's identity as bytes. Fields are preceded by their length,
// so that no two identities run together.
func identity(r row, key int) string {
	var b []byte
	for _, f := range r.fields[:key] {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
	}
	return string(b)
}

// stored returns the rows of the table that have the identity of one of the
// list's, by identity, as the bytes that COPY would send.
func stored(ctx context.Context, conn *pgx.Conn, t *table, list []row) (map[string]row, error) {
	args := keyArrays(t, list)
	var on, unnest []string
	for i, kind := range t.types {
		column := t.columns[i]
		unnest = append(unnest, fmt.Sprintf("$%d::%s[]", i+1, kind))
		on = append(on, fmt.Sprintf("t.%s = k.%s", column, column))
	}
	if t.time >= 0 {
		// Bounds that are known at once exclude chunks.
		column := t.columns[t.time]
		on = append(on, fmt.Sprintf("t.%s >= $%d AND t.%s <= $%d", column, len(args)+1, column, len(args)+2))
		low, high := timeBounds(list, t.time)
		args = append(args, low, high)
	}
	sql := fmt.Sprintf("SELECT t.%s FROM unnest(%s) AS k(%s) JOIN dingir.%s t ON %s",
		strings.Join(t.columns, ", t."), strings.Join(unnest, ", "),
		strings.Join(t.columns[:t.key], ", "), t.name, strings.Join(on, " AND "))
	result, err := conn.Query(ctx, sql, append([]any{pgx.QueryResultFormats{pgx.BinaryFormatCode}}, args...)...)
	if err != nil {
		return nil, err
	}
	defer result.Close()
	known := make(map[string]row, len(list))
	for result.Next() {
		values := result.RawValues()
		r := row{fields: make([][]byte, len(values))}
		for i, v := range values {
			if v != nil {
				r.fields[i] = append(make([]byte, 0, len(v)), v...)
			}
		}
		known[identity(r, t.key)] = r
	}
	return known, result.Err()
}

// keyArrays collects the list's identities as one array a column.
func keyArrays(t *table, list []row) []any {
	args := make([]any, 0, t.key+2)
	for i, kind := range t.types {
		switch kind {
		case "bigint":
			a := make([]int64, len(list))
			for j, r := range list {
				a[j] = int64(binary.BigEndian.Uint64(r.fields[i]))
			}
			args = append(args, a)
		case "timestamptz":
			a := make([]time.Time, len(list))
			for j, r := range list {
				a[j] = timestampOf(r.fields[i])
			}
			args = append(args, a)
		default:
			a := make([]string, len(list))
			for j, r := range list {
				a[j] = string(r.fields[i])
			}
			args = append(args, a)
		}
	}
	return args
}

func timeBounds(list []row, field int) (low, high time.Time) {
	for i, r := range list {
		at := timestampOf(r.fields[field])
		if i == 0 || at.Before(low) {
			low = at
		}
		if i == 0 || at.After(high) {
			high = at
		}
	}
	return low, high
}

// timestampOf decodes a binary timestamptz.
func timestampOf(field []byte) time.Time {
	return time.UnixMicro(int64(binary.BigEndian.Uint64(field)) + int64(postgresEpoch)).UTC()
}
