package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrResolved says that nothing is left to do about a reject, ErrNoReject that
// there is none of that id.
var (
	ErrResolved = errors.New("it is resolved already")
	ErrNoReject = errors.New("there is no such reject")
)

// Stored is a reject as its row has it. A nil key or value is null.
type Stored struct {
	ID int64
	Log
	Offset int64
	Time   time.Time // the record's timestamp
	Key    []byte
	Value  []byte
}

// Redriven says what became of a reject.
type Redriven struct {
	Table     string // that has its row now; "" for a record that fills none
	Duplicate bool   // the row was there already, from the same or another position
}

// Redrive tries to store a reject: decode adds its row to the batch. In one
// transaction the row goes in and the reject is resolved, so its position is
// accounted for once at any time. An error of decode is returned as it is,
// *BadRecords means that the database refuses the row still; the reject stays then.
func Redrive(ctx context.Context, conn *pgx.Conn, id int64, decode func(Stored, *Batch) error) (Redriven, error) {
	var done Redriven
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		r, resolved := Stored{ID: id}, false
		// Who reads the position again resolves the reject too: one waits here
		// for the other.
		err := tx.QueryRow(ctx, `SELECT topic, topic_id, partition, "offset", record_time, key, value,
			resolved_at IS NOT NULL FROM dingir.rejects WHERE id = $1 FOR UPDATE`, id).
			Scan(&r.Topic, &r.TopicID, &r.Partition, &r.Offset, &r.Time, &r.Key, &r.Value, &resolved)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return ErrNoReject
		case err != nil:
			return fmt.Errorf("read reject %d: %w", id, err)
		case resolved:
			return ErrResolved
		}
		b := NewBatch()
		if err := decode(r, b); err != nil {
			return err
		}
		for _, table := range b.streams() {
			done.Table = tables[table].name
			if done.Duplicate, err = b.insert(ctx, tx, table, r); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "UPDATE dingir.rejects SET resolved_at = now() WHERE id = $1", id); err != nil {
			return fmt.Errorf("resolve reject %d: %w", id, err)
		}
		return nil
	})
	if err != nil {
		return Redriven{}, err
	}
	return done, nil
}

// insert copies the one row of a table inside a transaction; duplicate tells
// that it was there already, which is noted where it came from another position.
func (b *Batch) insert(ctx context.Context, tx pgx.Tx, id tableID, r Stored) (duplicate bool, err error) {
	t := &tables[id]
	sent, copied := int64(b.rows[id].n), int64(0)
	err = pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error {
		stream := io.MultiReader(bytes.NewReader(b.rows[id].buf), bytes.NewReader(copyTrailer))
		tag, err := inner.Conn().PgConn().CopyFrom(ctx, stream, t.copySQL)
		copied = tag.RowsAffected()
		return err
	})
	switch Classify(err) {
	case Duplicate:
	case BadRow:
		return false, &BadRecords{Records: []BadRecord{{
			Source:   Source{TopicID: r.TopicID, Partition: r.Partition, Offset: r.Offset},
			Reason:   fmt.Sprintf("dingir.%s refuses it: %v", t.name, err),
			SQLState: SQLState(err),
		}}}
	default:
		if err != nil {
			return false, fmt.Errorf("copy reject %d into dingir.%s: %w", r.ID, t.name, err)
		}
		if copied != sent {
			return false, &droppedError{t.name, sent, copied}
		}
		return false, nil
	}
	list := b.rows[id].split(len(t.columns))
	known, err := stored(ctx, tx.Conn(), t, list)
	if err != nil {
		return false, fmt.Errorf("look for the row of reject %d in dingir.%s: %w", r.ID, t.name, err)
	}
	row := list[0]
	other, there := known[identity(row, t.key)]
	if !there {
		return false, fmt.Errorf("the row of reject %d was in dingir.%s and is gone: try again", r.ID, t.name)
	}
	if !row.same(other, t) {
		return false, &BadRecords{Records: []BadRecord{{Source: row.source(),
			Reason: "hash collision: dingir." + t.name + " has a row of the same identity and content_hash with other content"}}}
	}
	from := other.source()
	if from.TopicID == r.TopicID && from.Partition == r.Partition && from.Offset == r.Offset {
		return true, nil
	}
	_, err = tx.Exec(ctx, `INSERT INTO dingir.duplicates (topic, partition, "offset", table_name, topic_id) VALUES ($1, $2, $3, $4, $5)`,
		r.Topic, r.Partition, r.Offset, t.name, r.TopicID)
	if err != nil {
		return false, fmt.Errorf("note the duplicate of reject %d: %w", r.ID, err)
	}
	return true, nil
}
