package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/event"
)

// Snapshot is the exchange's state at one offset of unifyevents, as
// state.WriteSnapshot wrote it.
type Snapshot struct {
	TopicID int16
	Next    int64     // the first offset that is not in it
	Latest  time.Time // the latest timestamp of a record in it; zero without any
	Data    []byte
}

// NewSnapshot is the snapshot that write writes.
func NewSnapshot(topicID int16, next int64, latest time.Time, write func(io.Writer) error) (Snapshot, error) {
	var out bytes.Buffer
	if err := write(&out); err != nil {
		return Snapshot{}, fmt.Errorf("write a snapshot of the state at offset %d: %w", next, err)
	}
	return Snapshot{TopicID: topicID, Next: next, Latest: latest, Data: out.Bytes()}, nil
}

// Reader gives what was written, for state.ReadSnapshot.
func (s *Snapshot) Reader() io.Reader { return bytes.NewReader(s.Data) }

// SnapshotAt returns the newest snapshot of the topic that holds no record at
// or beyond next, if there is one.
func SnapshotAt(ctx context.Context, session Querier, topicID int16, next int64) (s Snapshot, found bool, err error) {
	return readSnapshot(session.Query(ctx, selectSnapshot+" WHERE topic_id = $1 AND next_offset <= $2 ORDER BY next_offset DESC LIMIT 1", topicID, next))
}

// SnapshotBefore returns the newest snapshot of the topic that holds no record
// with a timestamp after at, if there is one.
func SnapshotBefore(ctx context.Context, session Querier, topicID int16, at time.Time) (s Snapshot, found bool, err error) {
	return readSnapshot(session.Query(ctx, selectSnapshot+" WHERE topic_id = $1 AND (latest_time <= $2 OR latest_time IS NULL) ORDER BY next_offset DESC LIMIT 1", topicID, at))
}

const selectSnapshot = "SELECT topic_id, next_offset, latest_time, data FROM dingir.state_snapshots"

func readSnapshot(rows pgx.Rows, err error) (s Snapshot, found bool, _ error) {
	if err == nil {
		s, err = pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (s Snapshot, err error) {
			var latest *time.Time
			err = row.Scan(&s.TopicID, &s.Next, &latest, &s.Data)
			if latest != nil {
				s.Latest = *latest
			}
			return s, err
		})
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return Snapshot{}, false, nil
	}
	if err != nil {
		return Snapshot{}, false, fmt.Errorf("read a snapshot of the state: %w", err)
	}
	return s, true, nil
}

// Snapshot has the batch store a snapshot of the state that it writes.
func (b *Batch) Snapshot(s Snapshot) {
	r := &b.rows[snapshotsTable]
	r.begin(len(tables[snapshotsTable].columns))
	r.int16(s.TopicID)
	r.int64(s.Next)
	if s.Latest.IsZero() {
		r.null()
	} else {
		r.time(event.Micros(s.Latest.UnixMicro()))
	}
	r.bytes(s.Data)
}

// PutSnapshot stores a snapshot that was made of the archive as the ledger of
// the topic had it after so many moves of an operator. Where it has been moved
// since, what the snapshot holds may be history: it is not stored. It must not be
// called inside a batch's transaction.
func PutSnapshot(ctx context.Context, conn *pgx.Conn, topic string, moves int64, s Snapshot) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// Whoever moves the ledger takes back snapshots behind this lock.
		var valid bool
		err := tx.QueryRow(ctx, `SELECT topic_id = $2 AND moves = $3 FROM dingir.ledger WHERE topic = $1 AND partition = 0 FOR SHARE`,
			topic, s.TopicID, moves).Scan(&valid)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && !valid {
			return nil
		}
		if err != nil {
			return err
		}
		var latest *time.Time
		if !s.Latest.IsZero() {
			latest = &s.Latest
		}
		_, err = tx.Exec(ctx, `INSERT INTO dingir.state_snapshots (topic_id, next_offset, latest_time, data)
			VALUES ($1, $2, $3, $4)
			ON CONFLICT (topic_id, next_offset) DO UPDATE SET latest_time = excluded.latest_time, data = excluded.data`, s.TopicID, s.Next, latest, s.Data)
		return err
	})
	if err != nil {
		return fmt.Errorf("store a snapshot of the state at offset %d: %w", s.Next, err)
	}
	return nil
}

// StateRow is what balances and open_orders cover.
type StateRow struct {
	TopicID                  int16
	Base, Next               int64
	Complete, Provisional    bool
	LastOrderID, LastTradeID int64
	Mismatches               int64
	Latest                   time.Time // the latest timestamp of a record in it; zero without any
}

// Same tells whether two rows say the same.
func (r StateRow) Same(other StateRow) bool { return len(r.Differences(other)) == 0 }

// Differences are the columns in which the row says something else than wanted.
func (r StateRow) Differences(wanted StateRow) (list []string) {
	for _, c := range [...]struct {
		column     string
		have, want any
	}{{"topic_id", r.TopicID, wanted.TopicID}, {"base_offset", r.Base, wanted.Base}, {"next_offset", r.Next, wanted.Next},
		{"complete", r.Complete, wanted.Complete}, {"provisional", r.Provisional, wanted.Provisional},
		{"last_order_id", r.LastOrderID, wanted.LastOrderID}, {"last_trade_id", r.LastTradeID, wanted.LastTradeID},
		{"mismatches", r.Mismatches, wanted.Mismatches},
		{"latest_time", r.Latest.UTC().Format(time.RFC3339Nano), wanted.Latest.UTC().Format(time.RFC3339Nano)}} {
		if c.have != c.want {
			list = append(list, fmt.Sprintf("%s is %v, should be %v", c.column, c.have, c.want))
		}
	}
	return list
}

// ReadStateRow returns the row of dingir.state; found is false before the first.
func ReadStateRow(ctx context.Context, session Querier) (r StateRow, found bool, err error) {
	rows, err := session.Query(ctx, `SELECT topic_id, base_offset, next_offset, complete, provisional, last_order_id, last_trade_id, mismatches, latest_time
		FROM dingir.state`)
	if err == nil {
		r, err = pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (r StateRow, err error) {
			var latest *time.Time
			err = row.Scan(&r.TopicID, &r.Base, &r.Next, &r.Complete, &r.Provisional, &r.LastOrderID, &r.LastTradeID, &r.Mismatches, &latest)
			if latest != nil {
				r.Latest = *latest
			}
			return r, err
		})
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return StateRow{}, false, nil
	}
	if err != nil {
		return StateRow{}, false, fmt.Errorf("read dingir.state: %w", err)
	}
	return r, true, nil
}
