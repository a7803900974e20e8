package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/s2"
)

// Slice is the engine's own state, taken over at an offset of unifyevents: what
// engine.Slice wrote, compressed.
type Slice struct {
	TopicID int16
	Next    int64     // the first offset that is not in it
	Latest  time.Time // the latest timestamp of a record below
	Data    []byte
}

// NewSlice compresses what write writes.
func NewSlice(topicID int16, next int64, latest time.Time, write func(io.Writer) error) (Slice, error) {
	var out bytes.Buffer
	zw := s2.NewWriter(&out, s2.WriterConcurrency(1))
	err := errors.Join(write(zw), zw.Close())
	if err != nil {
		return Slice{}, fmt.Errorf("compress the engine's slice: %w", err)
	}
	return Slice{topicID, next, latest, out.Bytes()}, nil
}

// Reader gives what was written.
func (s *Slice) Reader() io.Reader { return s2.NewReader(bytes.NewReader(s.Data)) }

// SliceAt returns the newest slice of the topic that holds no record at or
// beyond next, nor one with a timestamp after at unless that is zero.
func SliceAt(ctx context.Context, session Querier, topicID int16, next int64, at time.Time) (s Slice, found bool, err error) {
	rows, err := session.Query(ctx, `SELECT topic_id, next_offset, latest_time, data FROM dingir.engine_slices
		WHERE topic_id = $1 AND next_offset <= $2 AND ($3::timestamptz IS NULL OR latest_time <= $3) ORDER BY next_offset DESC LIMIT 1`,
		topicID, next, nullTime(at))
	if err == nil {
		s, err = pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (s Slice, err error) {
			return s, row.Scan(&s.TopicID, &s.Next, &s.Latest, &s.Data)
		})
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return Slice{}, false, nil
	}
	if err != nil {
		return Slice{}, false, fmt.Errorf("read a slice of the engine: %w", err)
	}
	return s, true, nil
}

func nullTime(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}

// ErrMoved says that an operator has moved the ledger meanwhile.
var ErrMoved = errors.New("the ledger was moved meanwhile")

// PutSlice takes over a slice that was placed in the archive as the ledger of
// the topic had it after so many moves. Snapshots behind it were made without
// it and go; daemons restore the state within seconds, as after any move. conn
// must have no transaction open.
func PutSlice(ctx context.Context, conn *pgx.Conn, topic string, moves int64, s Slice) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "UPDATE dingir.ledger SET moves = moves + 1 WHERE topic = $1 AND partition = 0 AND topic_id = $2 AND moves = $3",
			topic, s.TopicID, moves)
		if err == nil && tag.RowsAffected() != 1 {
			err = ErrMoved
		}
		if err != nil {
			return err
		}
		if _, err = tx.Exec(ctx, "DELETE FROM dingir.state_snapshots WHERE topic_id = $1 AND next_offset >= $2", s.TopicID, s.Next); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO dingir.engine_slices (topic_id, next_offset, latest_time, data) VALUES ($1, $2, $3, $4)
			ON CONFLICT (topic_id, next_offset) DO UPDATE SET latest_time = excluded.latest_time, data = excluded.data, imported_at = now()`,
			s.TopicID, s.Next, s.Latest, s.Data)
		return err
	})
	if err != nil {
		return fmt.Errorf("take over the engine's slice at offset %d: %w", s.Next, err)
	}
	return nil
}
