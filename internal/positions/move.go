package positions

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// Move carries out a plan. The daemon may run meanwhile: its next batch fails at
// the ledger, and it goes on from what the ledger says then. Where the ledger was
// moved since the plan was made, the plan is made again and must come to the same.
func Move(ctx context.Context, conn *pgx.Conn, plan *Plan, prefix string, w Wish) (*Plan, error) {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		p := plan.Partition
		var err error
		p.Ledger, p.Begun, err = store.LockPosition(ctx, conn, p.Topic, p.ID)
		if err != nil {
			return err
		}
		fresh, err := MakePlan(p, prefix, w)
		if err != nil {
			return err
		}
		if fresh.action != plan.action {
			return refuse("the ledger was moved to offset %d meanwhile: look again, then decide", p.Ledger.Next)
		}
		plan = fresh
		m := mover{tx: tx, Plan: plan, topic: strings.TrimPrefix(p.Topic, prefix)}
		return m.run(ctx)
	})
	if err != nil {
		return nil, err
	}
	return plan, nil
}

// mover is a plan inside its transaction.
type mover struct {
	*Plan
	tx    pgx.Tx
	topic string // without prefix
}

func (m *mover) run(ctx context.Context) error {
	switch m.action {
	case stay:
	case begin, restart:
		return m.begin(ctx)
	case cutOff:
		if err := m.disown(ctx, m.Partition.Ledger.TopicID); err != nil {
			return err
		}
		return m.set(ctx, `next_offset = $3, high_offset = $3, first_offset = least(first_offset, $3)`)
	case back:
		// What is noted of the offsets that are read again dingir.advance takes back.
		return m.set(ctx, `next_offset = $3, first_offset = least(first_offset, $3)`)
	case forward:
		if err := m.fillGaps(ctx, m.Partition.Ledger); err != nil {
			return err
		}
		return m.set(ctx, `next_offset = $3, high_offset = greatest(high_offset, $3)`)
	}
	return nil
}

func (m *mover) exec(ctx context.Context, what, sql string, args ...any) error {
	if _, err := m.tx.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (m *mover) set(ctx context.Context, changes string) error {
	if m.forget {
		changes += ", last_offset = NULL, last_hash = NULL"
	}
	return m.exec(ctx, "move the ledger", "UPDATE dingir.ledger SET moves = moves + 1, "+changes+" WHERE topic = $1 AND partition = $2",
		m.Partition.Topic, m.Partition.ID, m.To)
}

// begin enters the partition, or another incarnation of its topic. Where that
// one was here before, the ledger comes back to it: what is stored of it counts,
// and is read again.
func (m *mover) begin(ctx context.Context) error {
	p := m.Partition
	var known bool
	err := m.tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM dingir.topics WHERE cluster_id = $1 AND topic_uuid = $2)", p.ClusterID, p.TopicUUID).Scan(&known)
	if err != nil {
		return fmt.Errorf("look for topic %s in dingir.topics: %w", p.Topic, err)
	}
	id, err := store.TopicID(ctx, m.tx, p.Topic, p.ClusterID, p.TopicUUID)
	if err != nil {
		return err
	}
	if known && m.forget {
		if err := m.disown(ctx, id); err != nil {
			return err
		}
	}
	first, high := m.To, m.To
	if known {
		err = m.tx.QueryRow(ctx, "SELECT coalesce(min(a), $3), coalesce(max(b) + 1, $3) FROM ("+m.covered()+") c", id, p.ID, m.To).Scan(&first, &high)
		if err != nil {
			return fmt.Errorf("look for what is stored of topic %s: %w", p.Topic, err)
		}
	}
	if high > p.High {
		return refuse("topic %s was here before, and what is stored of its partition %d goes up to offset %d, beyond its log's end at %d: it lost records that are stored; to go on with what it holds now add --accept-loss",
			p.Topic, p.ID, high, p.High)
	}
	if first < m.To {
		if err := m.fillGaps(ctx, store.Position{Log: store.Log{TopicID: id}, Next: first, High: high}); err != nil {
			return err
		}
	}
	if m.topic == topics.UnifyEvents && first > m.To {
		return refuse("%s cannot be moved below %d, where its archive begins", p.Topic, first)
	}
	return m.exec(ctx, "begin in the ledger", `
		INSERT INTO dingir.ledger (topic, partition, topic_id, first_offset, next_offset, high_offset)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (topic, partition) DO UPDATE SET topic_id = excluded.topic_id, first_offset = excluded.first_offset,
			next_offset = excluded.next_offset, high_offset = excluded.high_offset, last_offset = NULL, last_hash = NULL,
			moves = ledger.moves + 1`,
		p.Topic, p.ID, id, min(first, m.To), m.To, max(high, m.To))
}

// covered selects what is accounted for of the topic $1 and its partition $2, as
// ranges from a to b.
func (m *mover) covered() string {
	const gaps = " UNION ALL SELECT first_offset, last_offset FROM dingir.gaps WHERE topic_id = $1 AND partition = $2"
	if m.topic == topics.UnifyEvents {
		return "SELECT first_offset AS a, last_offset AS b FROM dingir.event_log WHERE topic_id = $1 AND $2::int = 0" + gaps
	}
	return `SELECT "offset" AS a, "offset" AS b FROM dingir.rejects WHERE topic_id = $1 AND partition = $2 AND resolved_at IS NULL
		UNION ALL SELECT "offset", "offset" FROM dingir.duplicates WHERE topic_id = $1 AND partition = $2
		UNION ALL SELECT src_offset, src_offset FROM dingir.` + topics.TableOf(m.topic) + ` WHERE src_topic = $1 AND src_partition = $2` + gaps
}

// fillGaps notes gaps for the offsets that are passed over from l on. Where they had been
// stored before the ledger was moved back, they are accounted for already.
func (m *mover) fillGaps(ctx context.Context, l store.Position) error {
	covered := m.covered()
	if m.topic == topics.UnifyEvents {
		if err := m.markIncomplete(ctx, l.Next); err != nil {
			return err
		}
	}
	if l.High <= l.Next {
		// Nothing beyond was ever read: no need to search the tables for it.
		covered = "SELECT NULL::bigint AS a, NULL::bigint AS b WHERE $1::smallint IS NULL AND $2::int IS NULL"
	}
	for _, part := range []struct {
		from, to int64
		reason   string
	}{
		{l.Next, min(m.To, max(m.Partition.LogStart, l.Next)), "expired"},
		{min(m.To, max(m.Partition.LogStart, l.Next)), m.To, "skipped"},
	} {
		if part.from >= part.to {
			continue
		}
		// A gap lies between the end of all that begins before it and the next
		// beginning.
		err := m.exec(ctx, "note gaps", `
			INSERT INTO dingir.gaps (topic, partition, first_offset, last_offset, reason, topic_id)
			SELECT $3, $2, after, before, $6, $1 FROM (
				SELECT max(b) OVER (ORDER BY a, b) + 1 AS after, lead(a) OVER (ORDER BY a, b) - 1 AS before FROM (
					SELECT $4::bigint - 1 AS a, $4::bigint - 1 AS b
					UNION ALL SELECT $5::bigint, $5::bigint
					UNION ALL SELECT greatest(a, $4), least(b, $5 - 1) FROM (`+covered+`) known WHERE b >= $4 AND a < $5
				) bounds
			) free WHERE after <= before`,
			l.TopicID, m.Partition.ID, m.Partition.Topic, part.from, part.to, part.reason)
		if err != nil {
			return err
		}
	}
	return nil
}

// markIncomplete notes that the state misses events that were passed over.
func (m *mover) markIncomplete(ctx context.Context, next int64) error {
	if m.To <= next {
		return nil
	}
	return m.exec(ctx, "mark the state as incomplete", `
		UPDATE dingir.state SET complete = false
		 WHERE next_offset < $1 AND topic_id IN (SELECT id FROM dingir.topics WHERE name = $2)`, m.To, m.Partition.Topic)
}
