package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/thaliumx/persistor/internal/failpoint"
)

// Position is where one partition stands, as the ledger has it.
type Position struct {
	Log
	First, Next int64 // [First, Next) is accounted for

	// High is the furthest that Next ever was.
	High int64

	// Moves counts how often an operator moved it.
	Moves int64

	// LastOffset and LastHash are the last record stored: LastOffset is
	// negative where there is none to compare with.
	LastOffset, LastHash int64

	// Archived is the offset behind the event log's last record; 0 without any.
	Archived int64

	// ClusterID and TopicUUID identify the log that the offsets belong to.
	ClusterID string
	TopicUUID [16]byte
}

const selectPosition = `
SELECT l.topic, l.topic_id, l.partition, l.first_offset, l.next_offset, l.high_offset, l.moves,
       coalesce(l.last_offset, -1), coalesce(l.last_hash, 0), t.cluster_id, t.topic_uuid,
       coalesce((SELECT last_offset + 1 FROM dingir.event_log e WHERE e.topic_id = l.topic_id ORDER BY first_offset DESC LIMIT 1), 0)
  FROM dingir.ledger l JOIN dingir.topics t ON t.id = l.topic_id`

func scanPosition(row pgx.CollectableRow) (Position, error) {
	var p Position
	err := row.Scan(&p.Topic, &p.TopicID, &p.Partition, &p.First, &p.Next, &p.High, &p.Moves,
		&p.LastOffset, &p.LastHash, &p.ClusterID, &p.TopicUUID, &p.Archived)
	return p, err
}

// Positions returns the whole ledger, by topic and partition.
func Positions(ctx context.Context, conn *pgx.Conn) ([]Position, error) {
	rows, err := conn.Query(ctx, selectPosition+" ORDER BY l.topic, l.partition")
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanPosition)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return list, nil
}

// Querier is a session with the database, or a transaction in one.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// PositionOf returns one partition's position; found is false where the
// partition was never begun.
func PositionOf(ctx context.Context, session Querier, topic string, partition int32) (p Position, found bool, err error) {
	rows, err := session.Query(ctx, selectPosition+" WHERE l.topic = $1 AND l.partition = $2", topic, partition)
	if err == nil {
		p, err = pgx.CollectExactlyOneRow(rows, scanPosition)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return Position{}, false, nil
	}
	if err != nil {
		return Position{}, false, fmt.Errorf("read the ledger of %s partition %d: %w", topic, partition, err)
	}
	return p, true, nil
}

// LockPosition reads one partition's position behind whoever is about to move
// it: it waits for a transaction in flight (lock_timeout bounds the wait:
// SQLSTATE 55P03). found is false where the partition was never begun.
func LockPosition(ctx context.Context, conn *pgx.Conn, topic string, partition int32) (p Position, found bool, err error) {
	// Two statements: after a wait for a lock the first one's sub-queries would
	// still see what was there before it.
	if _, err = conn.Exec(ctx, "SELECT FROM dingir.ledger WHERE topic = $1 AND partition = $2 FOR UPDATE", topic, partition); err != nil {
		return Position{}, false, fmt.Errorf("read the ledger of %s partition %d: %w", topic, partition, err)
	}
	return PositionOf(ctx, conn, topic, partition)
}

// Begin enters a partition that the ledger does not know, at its log's start.
// Where another process was quicker, its entry stays. Each statement is a
// transaction of its own: a process that freezes between them holds nothing.
func Begin(ctx context.Context, conn *pgx.Conn, topic string, partition int32, clusterID string, topicUUID [16]byte, start int64) error {
	if start < 0 {
		return fmt.Errorf("enter %s partition %d in the ledger: its log start is not known", topic, partition)
	}
	id, err := TopicID(ctx, conn, topic, clusterID, topicUUID)
	if err != nil {
		return err
	}
	failpoint.Hit("beginning")
	_, err = conn.Exec(ctx, `
		INSERT INTO dingir.ledger (topic, partition, topic_id, first_offset, next_offset, high_offset)
		VALUES ($1, $2, $3, $4, $4, $4) ON CONFLICT DO NOTHING`, topic, partition, id, start)
	if err != nil {
		return fmt.Errorf("enter %s partition %d in the ledger: %w", topic, partition, err)
	}
	return nil
}

// querier is a session or a transaction.
type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// TopicID returns the id of one incarnation of a topic, which it enters in
// dingir.topics if it is new.
func TopicID(ctx context.Context, q querier, topic, clusterID string, topicUUID [16]byte) (int16, error) {
	var id int16
	const look = "SELECT id FROM dingir.topics WHERE cluster_id = $1 AND topic_uuid = $2"
	err := q.QueryRow(ctx, look, clusterID, topicUUID).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		_, err = q.Exec(ctx, `INSERT INTO dingir.topics (name, cluster_id, topic_uuid) VALUES ($1, $2, $3)
			ON CONFLICT DO NOTHING`, topic, clusterID, topicUUID)
		if err == nil {
			err = q.QueryRow(ctx, look, clusterID, topicUUID).Scan(&id)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("enter topic %s in dingir.topics: %w", topic, err)
	}
	return id, nil
}

// PendingRejects counts the rejects of the topics, named in full, that wait for
// an operator: unresolved and not foreign.
func PendingRejects(ctx context.Context, conn *pgx.Conn, topics []string) (int64, error) {
	var n int64
	err := conn.QueryRow(ctx, "SELECT count(*) FROM dingir.rejects WHERE resolved_at IS NULL AND reason <> 'foreign' AND topic = ANY ($1)", topics).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count the pending rejects: %w", err)
	}
	return n, nil
}
