package verify

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ledger reads the ledger as the snapshot has it.
func (a *audit) ledger(ctx context.Context) ([]Partition, error) {
	rows, err := a.tx.Query(ctx, `SELECT topic, partition, topic_id, first_offset, next_offset, high_offset
		FROM dingir.ledger ORDER BY topic, partition`)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (p Partition, err error) {
		return p, r.Scan(&p.Topic, &p.Partition, &p.TopicID, &p.FirstOffset, &p.NextOffset, &p.HighOffset)
	})
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return list, nil
}

func (a *audit) readLedger(ctx context.Context) (err error) {
	a.state.Ledger, err = a.ledger(ctx)
	return err
}

// readUnresolved notes which rejects are unresolved as the audit begins: one
// that is stored meanwhile may be missed among the rows.
func (a *audit) readUnresolved(ctx context.Context) (err error) {
	a.state.Unresolved, err = a.notes(ctx, aReject)
	return err
}

// notes reads the positions of the unresolved rejects or the duplicates.
func (a *audit) notes(ctx context.Context, k kind) (map[log]*set, error) {
	query := `SELECT topic_id, partition, "offset" FROM dingir.duplicates`
	if k == aReject {
		query = `SELECT topic_id, partition, "offset" FROM dingir.rejects WHERE resolved_at IS NULL`
	}
	found := map[log]*set{}
	err := stream(ctx, a.tx.Conn(), query, func(b []byte) error {
		// The count of columns, then an int2, an int4 and an int8 behind their lengths.
		l := log{int16(binary.BigEndian.Uint16(b[6:])), int32(binary.BigEndian.Uint32(b[12:]))}
		if found[l] == nil {
			found[l] = &set{}
		}
		found[l].add(int64(binary.BigEndian.Uint64(b[20:])))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the %ss: %w", k, err)
	}
	for _, s := range found {
		s.pack()
	}
	return found, nil
}

// readGaps reads the gaps of a partition of the ledger, each with its reason.
func (a *audit) readGaps(ctx context.Context, take func(log, Range)) error {
	rows, err := a.tx.Query(ctx, "SELECT topic_id, partition, first_offset, last_offset FROM dingir.gaps")
	if err != nil {
		return fmt.Errorf("read the gaps: %w", err)
	}
	var l log
	var r Range
	_, err = pgx.ForEachRow(rows, []any{&l.TopicID, &l.Partition, &r.First, &r.Last}, func() error {
		take(l, r)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the gaps: %w", err)
	}
	return nil
}

// readTiles reads what the segments of the event log cover.
func (a *audit) readTiles(ctx context.Context, take func(topicID int16, r Range, records int64)) error {
	rows, err := a.tx.Query(ctx, "SELECT topic_id, first_offset, last_offset, records FROM dingir.event_log ORDER BY topic_id, first_offset")
	if err != nil {
		return fmt.Errorf("read the event log: %w", err)
	}
	var id int16
	var r Range
	var records int64
	_, err = pgx.ForEachRow(rows, []any{&id, &r.First, &r.Last, &records}, func() error {
		take(id, r, records)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the event log: %w", err)
	}
	return nil
}
