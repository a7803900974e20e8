package topics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/segmentio/kafka-go"
)

// Created says what Create did.
type Created struct {
	Made     []string // these are new
	Existed  []string // these were there and were left as they are
	Remained []Difference
}

// Create makes those topics of want that are missing, then checks them all.
// It changes no topic that exists, so it can be repeated; what such a topic has
// otherwise than documented is in Remained. The client's transport has to have
// the names of want among its MetadataTopics, or none at all.
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
	done.Remained, err = Check(ctx, client, want)
	return done, err
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
