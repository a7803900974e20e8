package ingest

import (
	"context"
	"time"

	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// settleTime is how long an audit waits for what is on its way.
const settleTime = 20 * time.Second

// settled waits until everything is stored that is on unifyevents and balances
// now, whoever stores it, and tells whether that came to be in time.
func (d *Daemon) settled(ctx context.Context) (bool, error) {
	prefix := d.Options.Kafka.TopicPrefix
	cluster, err := d.kafka.Metadata(ctx, []string{prefix + topics.UnifyEvents, prefix + topics.Balances})
	if err != nil {
		return false, err
	}
	var wants []fetch.Want
	for _, t := range cluster.Topics {
		if t.Err != nil {
			return false, nil // there is nothing to compare with
		}
		for _, p := range t.Partitions {
			wants = append(wants, fetch.Want{Topic: t.Name, TopicID: t.ID, Partition: p.ID})
		}
	}
	marks, err := d.kafka.Watermarks(ctx, cluster, wants)
	if err != nil {
		return false, err
	}
	conn, err := store.Connect(ctx, d.Options.Database)
	if err != nil {
		return false, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for deadline := time.Now().Add(settleTime); ; {
		ledger, err := store.Positions(ctx, conn)
		if err != nil {
			return false, err
		}
		if passed(ledger, wants, marks) {
			return true, nil
		}
		if time.Now().After(deadline) || !sleep(ctx, time.Second) {
			return false, nil
		}
	}
}

// passed tells whether the ledger has reached all the marks.
func passed(ledger []store.Position, wants []fetch.Want, marks []fetch.Watermarks) bool {
	reached := map[fetch.Want]bool{}
	for _, pos := range ledger {
		for i, w := range wants {
			if pos.Topic == w.Topic && pos.Partition == w.Partition && pos.TopicUUID == w.TopicID && pos.Next >= marks[i].HighWatermark {
				reached[w] = true
			}
		}
	}
	return len(reached) == len(wants)
}
