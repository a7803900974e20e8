package harness

import (
	"context"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/store"
)

// logged is a record of the event log, as hashes.
type logged struct {
	hash, keyHash int64
	time          int64 // ms
}

func readAccounts(ctx context.Context, tx pgx.Tx) (*accounts, error) {
	a := &accounts{
		ledger: map[Place]position{}, stored: map[source][]stored{},
		hashes: map[string]map[int64]bool{}, log: map[int64]logged{},
	}
	for _, read := range []func(context.Context, pgx.Tx) error{a.readLedger, a.readRows, a.readNotes, a.readGaps, a.readLog, a.readState} {
		if err := read(ctx, tx); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// each calls fn for each row of the answer, scanned into the targets.
func each(ctx context.Context, tx pgx.Tx, sql string, targets []any, fn func() error) error {
	rows, err := tx.Query(ctx, sql)
	if err == nil {
		_, err = pgx.ForEachRow(rows, targets, fn)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

func (a *accounts) readLedger(ctx context.Context, tx pgx.Tx) error {
	var place Place
	var pos position
	return each(ctx, tx, "SELECT topic, partition, topic_id, first_offset, next_offset FROM dingir.ledger",
		[]any{&place.Topic, &place.Partition, &pos.topicID, &pos.first, &pos.next}, func() error {
			a.ledger[place] = pos
			return nil
		})
}

func (a *accounts) readRows(ctx context.Context, tx pgx.Tx) error {
	for _, table := range tableOf {
		a.hashes[table] = map[int64]bool{}
		clock := "time"
		if table == "users" {
			clock = "registered_at"
		}
		var src source
		e := stored{as: "row in " + table}
		err := each(ctx, tx, "SELECT src_topic, src_partition, src_offset, content_hash, (extract(epoch FROM "+clock+")*1000000)::bigint FROM dingir."+table,
			[]any{&src.topicID, &src.partition, &src.offset, &e.hash, &e.time}, func() error {
				a.stored[src] = append(a.stored[src], e)
				a.hashes[table][e.hash] = true
				return nil
			})
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *accounts) readNotes(ctx context.Context, tx pgx.Tx) error {
	var src source
	reject := stored{as: "reject"}
	err := each(ctx, tx, `SELECT topic_id, partition, "offset", key, value FROM dingir.rejects WHERE resolved_at IS NULL`,
		[]any{&src.topicID, &src.partition, &src.offset, &reject.key, &reject.value}, func() error {
			a.stored[src] = append(a.stored[src], reject)
			reject.key, reject.value = nil, nil // the next ones are scanned into memory of their own
			return nil
		})
	if err != nil {
		return err
	}
	duplicate := stored{as: "duplicate"}
	return each(ctx, tx, `SELECT topic_id, partition, "offset", table_name FROM dingir.duplicates`,
		[]any{&src.topicID, &src.partition, &src.offset, &duplicate.table}, func() error {
			a.stored[src] = append(a.stored[src], duplicate)
			return nil
		})
}

func (a *accounts) readGaps(ctx context.Context, tx pgx.Tx) error {
	var src source
	var last int64
	return each(ctx, tx, "SELECT topic_id, partition, first_offset, last_offset FROM dingir.gaps",
		[]any{&src.topicID, &src.partition, &src.offset, &last}, func() error {
			for ; src.offset <= last; src.offset++ {
				a.stored[src] = append(a.stored[src], stored{as: "gap"})
			}
			return nil
		})
}

func (a *accounts) readLog(ctx context.Context, tx pgx.Tx) error {
	var first int64
	var data []byte
	return each(ctx, tx, "SELECT first_offset, data FROM dingir.event_log", []any{&first, &data}, func() error {
		return store.ReadSegment(first, data, func(r store.Archived) error {
			if _, there := a.log[r.Offset]; there {
				a.twice = append(a.twice, r.Offset)
			}
			a.log[r.Offset] = logged{int64(xxhash.Sum64(r.Value)), keyHash(r.Key, r.Value), r.Time}
			return nil
		})
	})
}

// keyHash tells keys apart, null from empty included, and null from empty
// values, which the value's own hash does not.
func keyHash(key, value []byte) int64 {
	h := int64(xxhash.Sum64(key))
	if key == nil {
		h ^= 1
	}
	if value == nil {
		h ^= 2
	}
	return h
}
