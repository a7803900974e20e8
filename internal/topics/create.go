package topics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
)

// Created says what Create did.
type Created struct {
	Made     []string // these are new
	Existed  []string // these were there and were left as they are
	Remained []Difference
}

// patience is how long the brokers may take to show a topic that the controller
// has created: usually some 10 ms, more on a cluster under load.
const patience = 15 * time.Second

// Create makes those topics of want that are missing, waits until brokers show
// them with leaders, and compares them all. It changes no topic that exists, so it
// can be repeated; what such a topic has otherwise than documented is in Remained.
// The client's transport has to have the names of want among its MetadataTopics,
// or none at all: kafka-go waits for a new topic to appear there.
func Create(ctx context.Context, client *kafka.Client, want []Topic, replicationFactor int) (Created, error) {
	var done Created
	have, err := describe(ctx, client, Names(want))
	if err != nil {
		return done, err
	}
	req := &kafka.CreateTopicsRequest{}
	for _, t := range want {
		if _, ok := have[t.Name]; ok {
			done.Existed = append(done.Existed, t.Name)
			continue
		}
		req.Topics = append(req.Topics, kafka.TopicConfig{
			Topic:             t.Name,
			NumPartitions:     t.Partitions,
			ReplicationFactor: replicationFactor,
			ConfigEntries:     documentedConfig(t),
		})
	}
	if len(req.Topics) > 0 {
		res, err := client.CreateTopics(ctx, req)
		if err != nil {
			return done, fmt.Errorf("create %s on Kafka at %v: %w", plural(len(req.Topics), "topic"), client.Addr, err)
		}
		if err := done.record(req, res); err != nil {
			return done, err
		}
	}
	if have, err = shown(ctx, client, want); err != nil {
		return done, err
	}
	done.Remained = compare(want, have)
	return done, nil
}

// shown waits until all of want exist and have leaders.
func shown(ctx context.Context, client *kafka.Client, want []Topic) (map[string]existing, error) {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		have, err := describe(bounded, client, Names(want))
		if err != nil && bounded.Err() == nil {
			return nil, err
		}
		late := slices.IndexFunc(want, func(t Topic) bool { return !have[t.Name].led })
		if err == nil && late < 0 {
			return have, nil
		}
		select {
		case <-bounded.Done():
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("topic %s should be there, but for %v Kafka at %v has shown it without a leader or not at all: look at its brokers, then try again",
				want[max(late, 0)].Name, patience, client.Addr)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// record sorts the broker's answers. All topics are looked at before the first
// refusal is returned, so that Made is complete.
func (c *Created) record(req *kafka.CreateTopicsRequest, res *kafka.CreateTopicsResponse) error {
	var refused error
	for _, t := range req.Topics {
		switch err := res.Errors[t.Topic]; {
		case err == nil:
			c.Made = append(c.Made, t.Topic)
		case errors.Is(err, kafka.TopicAlreadyExists):
			// Somebody else created it since we looked.
			c.Existed = append(c.Existed, t.Topic)
		case refused == nil:
			refused = fmt.Errorf("create topic %s (%s, %s): %w", t.Topic,
				plural(t.NumPartitions, "partition"), plural(t.ReplicationFactor, "replica"), err)
		}
	}
	slices.Sort(c.Existed)
	return refused
}

func documentedConfig(t Topic) []kafka.ConfigEntry {
	entries := []kafka.ConfigEntry{{ConfigName: "segment.bytes", ConfigValue: strconv.Itoa(SegmentBytes)}}
	for _, s := range compared(t) {
		entries = append(entries, kafka.ConfigEntry{ConfigName: s.key, ConfigValue: s.value})
	}
	return entries
}
