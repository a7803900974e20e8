package positions

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// disown gives what is stored of records that the log of the topic's incarnation
// id lost to another that is no more: other records get their offsets. It reads the
// topic's tables once, since no index leads to positions: writing would pay for
// it, all the time.
func (m *mover) disown(ctx context.Context, id int16) error {
	var lost int16
	err := m.tx.QueryRow(ctx, `INSERT INTO dingir.topics (name, cluster_id, topic_uuid) VALUES ($1, $2, gen_random_uuid()) RETURNING id`,
		m.Partition.Topic, m.Partition.ClusterID+" (lost)").Scan(&lost)
	if err != nil {
		return fmt.Errorf("enter the lost part of topic %s: %w", m.Partition.Topic, err)
	}
	part := m.Partition.ID
	if err := m.exec(ctx, "give the rest of a gap to history", `INSERT INTO dingir.gaps (topic, partition, first_offset, last_offset, reason, topic_id)
		SELECT topic, partition, $3, last_offset, reason, $4 FROM dingir.gaps
		WHERE topic_id = $1 AND partition = $2 AND first_offset < $3 AND last_offset >= $3`, id, part, m.To, lost); err != nil {
		return err
	}
	if err := m.exec(ctx, "trim a gap", `UPDATE dingir.gaps SET last_offset = $3 - 1
		WHERE topic_id = $1 AND partition = $2 AND first_offset < $3 AND last_offset >= $3`, id, part, m.To); err != nil {
		return err
	}
	for _, t := range []string{"trades", "order_events", "balance_changes", "deposits", "withdrawals", "internal_transfers", "users"} {
		if own := topics.TableOf(m.topic); own != "" && own != t {
			continue
		}
		if err := m.exec(ctx, "give lost rows of dingir."+t+" to history", "UPDATE dingir."+t+` SET src_topic = $4
			WHERE src_topic = $1 AND src_partition = $2 AND src_offset >= $3`, id, part, m.To, lost); err != nil {
			return err
		}
	}
	for _, t := range []struct{ name, offset string }{{"rejects", `"offset"`}, {"duplicates", `"offset"`}, {"gaps", "first_offset"}} {
		if err := m.exec(ctx, "give lost "+t.name+" to history", "UPDATE dingir."+t.name+` SET topic_id = $4
			WHERE topic_id = $1 AND partition = $2 AND `+t.offset+` >= $3`, id, part, m.To, lost); err != nil {
			return err
		}
	}
	if m.topic != topics.UnifyEvents {
		return nil
	}
	if err := m.splitSegment(ctx, id, lost); err != nil {
		return err
	}
	if err := m.exec(ctx, "take back snapshots of the state", "DELETE FROM dingir.state_snapshots WHERE topic_id = $1 AND next_offset > $2", id, m.To); err != nil {
		return err
	}
	if err := m.exec(ctx, "give slices of the engine to history", "UPDATE dingir.engine_slices SET topic_id = $3 WHERE topic_id = $1 AND next_offset > $2", id, m.To, lost); err != nil {
		return err
	}
	return m.exec(ctx, "give the lost event log to history",
		"UPDATE dingir.event_log SET topic_id = $3 WHERE topic_id = $1 AND first_offset >= $2", id, m.To, lost)
}

// splitSegment divides the segment of the event log that goes on across the cut,
// if there is one: what it holds from there on is the lost topic's.
func (m *mover) splitSegment(ctx context.Context, id, lost int16) error {
	if err := store.LockSegments(ctx, m.tx); err != nil {
		return err
	}
	var first int64
	var data []byte
	err := m.tx.QueryRow(ctx, "SELECT first_offset, data FROM dingir.event_log WHERE topic_id = $1 AND first_offset < $2 AND last_offset >= $2",
		id, m.To).Scan(&first, &data)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the event log's segment with offset %d: %w", m.To, err)
	}
	kept, rest, err := store.SplitSegment(first, data, m.To)
	if err != nil {
		return err
	}
	if err := m.exec(ctx, "take a segment out of the event log", "DELETE FROM dingir.event_log WHERE topic_id = $1 AND first_offset = $2", id, first); err != nil {
		return err
	}
	if err := store.InsertSegment(ctx, m.tx, id, kept); err != nil {
		return err
	}
	return store.InsertSegment(ctx, m.tx, lost, rest)
}
