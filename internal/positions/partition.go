// Package positions shows where each partition stands, in the ledger beside
// Kafka, and moves the ledger when an operator wants it.
package positions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/store"
)

// Partition is one partition as the ledger and Kafka have it.
type Partition struct {
	Topic string // full name
	ID    int32

	Begun  bool // whether the ledger knows it
	Ledger store.Position

	Present   bool // whether Kafka has it
	ClusterID string
	TopicUUID [16]byte
	LogStart  int64
	High      int64 // the high watermark
	Group     int64 // the group's committed offset; negative without one
	Err       error // why Kafka's side is not known
}

// Lag counts the offsets between the ledger and the log's end; -1 where that
// makes no sense.
func (p *Partition) Lag() int64 {
	if !p.Begun || !p.Present || p.Err != nil ||
		p.Ledger.ClusterID != p.ClusterID || p.Ledger.TopicUUID != p.TopicUUID || p.High < p.Ledger.Next {
		return -1
	}
	return p.High - p.Ledger.Next
}

// State says in words how the partition stands.
func (p *Partition) State() string {
	switch {
	case p.Err != nil:
		return "Kafka does not tell: " + p.Err.Error()
	case !p.Present && p.Begun:
		return "missing on Kafka"
	case !p.Present:
		return "missing"
	case !p.Begun:
		return "not started"
	case p.Ledger.ClusterID != p.ClusterID:
		return "another Kafka cluster"
	case p.Ledger.TopicUUID != p.TopicUUID:
		return "topic was made again"
	case p.LogStart > p.Ledger.Next:
		return "log start is beyond the ledger"
	case p.High < p.Ledger.Next:
		return "log ends before the ledger"
	case p.Ledger.High > p.Ledger.Next:
		return fmt.Sprintf("reading again, up to %d", p.Ledger.High)
	case p.Group > p.Ledger.Next:
		// It is a hint for lag tools and lags behind the ledger, if anything.
		return "ok, but somebody moved the group's offset; the ledger decides"
	}
	return "ok"
}

// Look returns all partitions of the named topics (full names), and those that
// only the ledger has, by topic and partition.
func Look(ctx context.Context, conn *pgx.Conn, client *kafka.Client, groupID string, names []string) ([]Partition, error) {
	ledger, err := store.Positions(ctx, conn)
	if err != nil {
		return nil, err
	}
	for _, l := range ledger {
		if !slices.Contains(names, l.Topic) {
			names = append(slices.Clip(names), l.Topic)
		}
	}
	list, err := ask(ctx, client, groupID, names)
	if err != nil {
		return nil, err
	}
	for _, l := range ledger {
		i := slices.IndexFunc(list, func(p Partition) bool { return p.Topic == l.Topic && p.ID == l.Partition })
		if i < 0 {
			i = len(list)
			list = append(list, Partition{Topic: l.Topic, ID: l.Partition, LogStart: -1, High: -1, Group: -1})
		}
		list[i].Begun, list[i].Ledger = true, l
	}
	slices.SortStableFunc(list, func(a, b Partition) int {
		if d := slices.Index(names, a.Topic) - slices.Index(names, b.Topic); d != 0 {
			return d
		}
		return int(a.ID) - int(b.ID)
	})
	return list, nil
}

// ask returns Kafka's side.
func ask(ctx context.Context, client *kafka.Client, groupID string, names []string) ([]Partition, error) {
	fetcher := fetch.NewClient(client.Transport, client.Addr)
	cluster, err := fetcher.Metadata(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("ask Kafka at %v for its topics: %w", client.Addr, err)
	}
	var list []Partition
	var wants []fetch.Want
	numbers := map[string][]int{}
	for _, t := range cluster.Topics {
		if t.Err != nil {
			continue // missing, or not for us to see: the ledger's side shows it
		}
		for _, p := range t.Partitions {
			list = append(list, Partition{Topic: t.Name, ID: p.ID, Present: true, ClusterID: cluster.ID, TopicUUID: t.ID, Group: -1})
			wants = append(wants, fetch.Want{Topic: t.Name, TopicID: t.ID, Partition: p.ID})
			numbers[t.Name] = append(numbers[t.Name], int(p.ID))
		}
	}
	if len(list) == 0 {
		return nil, nil
	}
	// The error joins those that each partition has of its own.
	marks, _ := fetcher.Watermarks(ctx, cluster, wants)
	for i, m := range marks {
		list[i].LogStart, list[i].High, list[i].Err = m.LogStart, m.HighWatermark, m.Err
	}
	if groupID == "" {
		return list, nil
	}
	answer, err := groupOffsets(ctx, client, &kafka.OffsetFetchRequest{GroupID: groupID, Topics: numbers})
	if err != nil {
		return nil, fmt.Errorf("ask Kafka at %v for the offsets of group %s: %w", client.Addr, groupID, err)
	}
	for topic, partitions := range answer.Topics {
		for _, o := range partitions {
			for i := range list {
				if list[i].Topic == topic && int(list[i].ID) == o.Partition && o.Error == nil {
					list[i].Group = o.CommittedOffset
				}
			}
		}
	}
	return list, nil
}

// coordinatorPatience is time for a new cluster to make the topic of offsets, and
// for a restarted broker to read it.
const coordinatorPatience = 20 * time.Second

// groupOffsets waits for the group's coordinator, if it has just been chosen.
func groupOffsets(ctx context.Context, client *kafka.Client, request *kafka.OffsetFetchRequest) (*kafka.OffsetFetchResponse, error) {
	for begun := time.Now(); ; {
		answer, err := client.OffsetFetch(ctx, request)
		if err == nil {
			err = answer.Error
		}
		var code kafka.Error
		if !errors.As(err, &code) || !code.Temporary() || time.Since(begun) > coordinatorPatience {
			return answer, err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
