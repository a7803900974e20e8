package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/failpoint"
)

// droppedError says that the server took fewer rows than it was sent, without an
// error, as with a trigger that returns NULL.
type droppedError struct {
	table       string
	sent, taken int64
}

// Error says so.
func (e *droppedError) Error() string {
	return fmt.Sprintf("copy %d rows into dingir.%s: the server took %d; does a trigger drop rows?", e.sent, e.table, e.taken)
}

// dropped compares what each COPY took with what it was sent, before the batch is
// committed. refused is an error of the class Unknown; err says that it cannot be
// found out.
func (b *Batch) dropped(ctx context.Context, conn *pgx.Conn, streams []tableID, copied []int64) (refused, err error) {
	if len(copied) != len(streams) {
		return nil, errors.New("the server ended a batch before its last COPY")
	}
	for i, id := range streams {
		missing := int64(b.rows[id].n) - copied[i]
		if missing != 0 && noted[id] != "" {
			if missing, err = b.unnoted(ctx, conn, id); err != nil {
				return nil, fmt.Errorf("look for what is noted in dingir.%s: %w", tables[id].name, err)
			}
		}
		if missing != 0 {
			failpoint.Hit("dropped")
			return &undecided{&droppedError{tables[id].name, int64(b.rows[id].n), copied[i]}}, nil
		}
	}
	return nil, nil
}

// noted tells, of the tables of notes, whether a row n notes what the batch notes
// as k: dingir.note_once leaves that out, and only that.
var noted = map[tableID]string{
	gapsTable:       "n.first_offset <= k.first AND n.last_offset >= k.last",
	rejectsTable:    `n."offset" = k.first`,
	duplicatesTable: `n."offset" = k.first`,
}

// unnoted counts the batch's notes of one table that are not in it.
func (b *Batch) unnoted(ctx context.Context, conn *pgx.Conn, id tableID) (n int64, err error) {
	t := &tables[id]
	last := 2 // the field with the last offset
	if id == gapsTable {
		last = 3
	}
	var topicIDs []int16
	var partitions []int32
	var from, to []int64
	for _, r := range b.rows[id].split(len(t.columns)) {
		topicIDs = append(topicIDs, int16(binary.BigEndian.Uint16(r.fields[len(t.columns)-1])))
		partitions = append(partitions, int32(binary.BigEndian.Uint32(r.fields[1])))
		from = append(from, int64(binary.BigEndian.Uint64(r.fields[2])))
		to = append(to, int64(binary.BigEndian.Uint64(r.fields[last])))
	}
	// What ends with ctx is the connection's deadline, which pgx would reset behind
	// a query of its own that ended with it.
	err = conn.QueryRow(context.WithoutCancel(ctx), "SELECT count(*) FROM unnest($1::smallint[], $2::int[], $3::bigint[], $4::bigint[]) k(topic_id, partition, first, last)"+
		" WHERE NOT EXISTS (SELECT FROM dingir."+t.name+" n WHERE n.topic_id = k.topic_id AND n.partition = k.partition AND "+noted[id]+")",
		topicIDs, partitions, from, to).Scan(&n)
	return n, err
}
