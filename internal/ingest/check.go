package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// Refusal is a partition that the daemon would halt.
type Refusal struct {
	Topic     string
	Partition int32
	Halt      *Halt
}

// Check compares the ledger with the cluster's topics as the daemon does before
// the first record, and changes nothing.
func Check(ctx context.Context, client *fetch.Client, cluster *fetch.Cluster, conn *pgx.Conn, topicPrefix string) ([]Refusal, error) {
	var list []Refusal
	for i := range cluster.Topics {
		t := &cluster.Topics[i]
		if t.Err != nil {
			continue
		}
		if t.Name == topicPrefix+topics.UnifyEvents {
			err := checkUnify(ctx, conn, t)
			if h, halts := errors.AsType[*Halt](err); halts {
				list = append(list, Refusal{t.Name, 0, h})
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		for _, p := range t.Partitions {
			err := checkPartition(ctx, client, cluster, conn, fetch.Want{Topic: t.Name, TopicID: t.ID, Partition: p.ID})
			if h, halts := errors.AsType[*Halt](err); halts {
				list = append(list, Refusal{t.Name, p.ID, h})
			} else if err != nil {
				return nil, fmt.Errorf("compare %s partition %d with the ledger: %w", t.Name, p.ID, err)
			}
		}
	}
	return list, nil
}

// checkUnify looks whether there can be a state, and whether it is ours.
func checkUnify(ctx context.Context, conn *pgx.Conn, t *fetch.Topic) error {
	if h := ordered(t); h != nil {
		return h
	}
	err := store.CheckStateOwner(ctx, conn, t.Name)
	if other, is := errors.AsType[*store.OtherStateError](err); is {
		return &Halt{Reason: other.Error(), Remedy: other.Remedy()}
	}
	return err
}

func checkPartition(ctx context.Context, client *fetch.Client, cluster *fetch.Cluster, conn *pgx.Conn, want fetch.Want) error {
	pos, begun, err := store.PositionOf(ctx, conn, want.Topic, want.Partition)
	if err != nil || !begun {
		return err
	}
	// The ledger first, as in admit.
	marks, err := client.Watermarks(ctx, cluster, []fetch.Want{want})
	if err != nil {
		return err
	}
	return fits(ctx, client, cluster, pos, want, marks[0])
}
