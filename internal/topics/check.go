package topics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/fetch"
)

// Difference is one way in which a cluster is not as documented.
type Difference struct {
	Topic  string
	What   string // such as "retention.ms is 86400000 (1d), documented 604800000 (7d)"
	Remedy string // what to do about it
	// Grave marks what makes the data wrong, where the others cost time,
	// space or history.
	Grave bool
}

// String is the whole difference in one line.
func (d Difference) String() string {
	grave := ""
	if d.Grave {
		grave = "GRAVE: "
	}
	return fmt.Sprintf("%s%s: %s: %s", grave, d.Topic, d.What, d.Remedy)
}

// Check compares the cluster with want and returns what differs, nil when
// nothing does. An error means that the comparison could not be made. The
// client's Timeout, which must be set, bounds each of two requests.
func Check(ctx context.Context, client *kafka.Client, want []Topic) ([]Difference, error) {
	have, err := describe(ctx, client, Names(want))
	if err != nil {
		return nil, err
	}
	return compare(want, have), nil
}

func compare(want []Topic, have map[string]existing) []Difference {
	var diffs []Difference
	for _, w := range want {
		h, ok := have[w.Name]
		if !ok {
			diffs = append(diffs, Difference{
				Topic:  w.Name,
				What:   "missing",
				Remedy: "create it (`persistor topics create` does, for development)",
			})
			continue
		}
		diffs = append(diffs, comparePartitions(w, h.partitions)...)
		diffs = append(diffs, compareConfig(w, h.config)...)
	}
	return diffs
}

// existing is a topic as the cluster has it.
type existing struct {
	partitions int
	led        bool // every partition has a leader
	config     map[string]string
}

// describe returns those of names that exist, as some broker knows them at this
// moment: kafka-go's own Metadata answers from a cache of some seconds.
func describe(ctx context.Context, client *kafka.Client, names []string) (map[string]existing, error) {
	bounded, cancel := context.WithTimeout(ctx, client.Timeout)
	defer cancel()
	cluster, err := fetch.NewClient(client.Transport, client.Addr).Metadata(bounded, names)
	if err != nil {
		return nil, fmt.Errorf("ask Kafka at %v for its topics: %w", client.Addr, err)
	}
	have := make(map[string]existing, len(names))
	for _, t := range cluster.Topics {
		switch {
		case errors.Is(t.Err, kafka.UnknownTopicOrPartition):
		case errors.Is(t.Err, kafka.LeaderNotAvailable), t.Err == nil:
			led := !slices.ContainsFunc(t.Partitions, func(p fetch.Partition) bool { return p.Leader < 0 })
			have[t.Name] = existing{partitions: len(t.Partitions), led: led && t.Err == nil}
		default:
			return nil, fmt.Errorf("ask Kafka at %v about topic %s: %w", client.Addr, t.Name, t.Err)
		}
	}
	if len(have) == 0 {
		return have, nil
	}

	req := &kafka.DescribeConfigsRequest{}
	for _, name := range names {
		if _, ok := have[name]; ok {
			req.Resources = append(req.Resources, kafka.DescribeConfigRequestResource{
				ResourceType: kafka.ResourceTypeTopic,
				ResourceName: name,
				ConfigNames:  comparedKeys(),
			})
		}
	}
	res, err := client.DescribeConfigs(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("ask Kafka at %v for its topics' configuration: %w", client.Addr, err)
	}
	for _, r := range res.Resources {
		if errors.Is(r.Error, kafka.UnknownTopicOrPartition) {
			// The broker that was asked here has not heard of it yet, or any more.
			delete(have, r.ResourceName)
			continue
		}
		if r.Error != nil {
			return nil, fmt.Errorf("ask Kafka at %v for the configuration of topic %s: %w", client.Addr, r.ResourceName, r.Error)
		}
		topic := have[r.ResourceName]
		topic.config = make(map[string]string, len(r.ConfigEntries))
		for _, e := range r.ConfigEntries {
			topic.config[e.ConfigName] = e.ConfigValue
		}
		have[r.ResourceName] = topic
	}
	return have, nil
}

func comparePartitions(want Topic, have int) []Difference {
	if have == want.Partitions {
		return nil
	}
	d := Difference{
		Topic: want.Name,
		What:  fmt.Sprintf("%s, documented %d", plural(have, "partition"), want.Partitions),
	}
	switch {
	case strings.HasSuffix(want.Name, UnifyEvents):
		d.Grave = true
		d.Remedy = "its total order is lost, so no state can be rebuilt from it; stop the engine, delete the topic, create it with one partition, and turn auto.create.topics.enable off"
	case have < want.Partitions:
		d.Remedy = fmt.Sprintf("kafka-topics.sh --alter --topic %s --partitions %d", want.Name, want.Partitions)
	default:
		d.Remedy = "Kafka cannot take partitions away; the daemon reads them all, so this may stay"
	}
	return []Difference{d}
}

// setting is one configuration key of a topic with its documented value.
type setting struct{ key, value string }

// cleanupPolicy is documented nowhere, since it is the broker's default: with any
// other it removes records that nobody has read. All of the engine's have one key.
const cleanupPolicy = "cleanup.policy"

// compared returns the settings that matter to a reader. segment.bytes is
// documented too, but only says how the broker keeps its files.
func compared(t Topic) []setting {
	return []setting{
		{"retention.ms", strconv.FormatInt(t.Retention.Milliseconds(), 10)},
		{"compression.type", Compression},
		{"max.message.bytes", strconv.Itoa(MaxMessageBytes)},
		{"message.timestamp.type", TimestampType},
		{cleanupPolicy, "delete"},
	}
}

func comparedKeys() []string {
	var keys []string
	for _, s := range compared(Topic{}) {
		keys = append(keys, s.key)
	}
	return keys
}

func compareConfig(want Topic, have map[string]string) []Difference {
	var diffs []Difference
	for _, s := range compared(want) {
		if have[s.key] == s.value {
			continue
		}
		diffs = append(diffs, Difference{
			Topic: want.Name, Grave: s.key == cleanupPolicy,
			What: fmt.Sprintf("%s is %s, documented %s", s.key, readable(s.key, have[s.key]), readable(s.key, s.value)),
			Remedy: fmt.Sprintf("kafka-configs.sh --alter --entity-type topics --entity-name %s --add-config %s=%s",
				want.Name, s.key, s.value),
		})
	}
	return diffs
}

// readable adds days to milliseconds, which nobody reads at a glance.
func readable(key, value string) string {
	if key != "retention.ms" {
		return value
	}
	ms, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil:
		return value
	case ms < 0:
		return value + " (for ever)"
	}
	days := float64(ms) / float64(day/time.Millisecond)
	return fmt.Sprintf("%s (%s)", value, plural(strconv.FormatFloat(days, 'f', -1, 64), "day"))
}

// plural is "1 day" or "2 days".
func plural[N int | string](n N, noun string) string {
	text := fmt.Sprint(n)
	if text != "1" {
		noun += "s"
	}
	return text + " " + noun
}

// AnyGrave says whether one of the differences makes the data wrong.
func AnyGrave(diffs []Difference) bool {
	return slices.ContainsFunc(diffs, func(d Difference) bool { return d.Grave })
}
