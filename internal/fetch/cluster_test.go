package fetch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/thaliumx/persistor/internal/testenv"
)

// cluster is a Kafka that a test talks to: through this package's client, and
// through franz-go as the other opinion.
type cluster struct {
	t      *testing.T
	seeds  []string
	client *Client
	franz  *kgo.Client
	prefix string // of the names of topics on a shared Kafka
}

// onClusters runs a test on an in-process fake and on a real Kafka.
func onClusters(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Run("fake", func(t *testing.T) {
		c, _ := newFake(t)
		test(t, c)
	})
	onKafka(t, test)
}

// onKafka runs a test on a real Kafka.
func onKafka(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Run("kafka", func(t *testing.T) {
		c := newCluster(t, strings.Split(testenv.Kafka(t), ","))
		c.prefix = testenv.TopicPrefix(t)
		test(t, c)
	})
}

// newFake starts a fake of two brokers.
func newFake(t *testing.T, opts ...kfake.Opt) (*cluster, *kfake.Cluster) {
	t.Helper()
	fake, err := kfake.NewCluster(append(opts, kfake.NumBrokers(2),
		kfake.BrokerConfigs(map[string]string{"message.max.bytes": "20971520"}))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	return newCluster(t, fake.ListenAddrs()), fake
}

func newCluster(t *testing.T, seeds []string) *cluster {
	t.Helper()
	transport := &kafka.Transport{ClientID: "fetch-test", MetadataTopics: []string{"none"}, MetadataTTL: time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	c := &cluster{t: t, seeds: seeds, client: NewClient(transport, kafka.TCP(seeds...))}
	c.franz = c.newFranz()
	return c
}

func (c *cluster) newFranz(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.seeds...), kgo.ProducerBatchMaxBytes(16 << 20),
		kgo.BrokerMaxReadBytes(100 << 20), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(10 * time.Millisecond)}, opts...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(cl.Close)
	return cl
}

var topicNumber atomic.Int64

// topic makes a topic of its own for the test.
func (c *cluster) topic(partitions int32, configs ...string) string {
	c.t.Helper()
	name := fmt.Sprintf("%stopic-%d", c.prefix, topicNumber.Add(1))
	c.create(name, partitions, configs...)
	return name
}

func (c *cluster) create(name string, partitions int32, configs ...string) {
	c.t.Helper()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	// Records of tests are old: the broker's next look at retention, every ten
	// seconds, would take them.
	for _, kv := range append(configs, "max.message.bytes=20971520", "retention.ms=-1") {
		k, v, _ := strings.Cut(kv, "=")
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = k, &v
		topic.Configs = append(topic.Configs, config)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics, req.TimeoutMillis = append(req.Topics, topic), 30_000
	c.eventually("create "+name, func() error {
		resp, err := req.RequestWith(context.Background(), c.franz)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	})
	c.eventually("leaders of "+name, func() error {
		cluster, err := c.client.Metadata(context.Background(), []string{name})
		if err != nil {
			return err
		}
		for i := range partitions {
			if _, err := cluster.Leader(name, i); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *cluster) delete(name string) {
	req := kmsg.NewPtrDeleteTopicsRequest()
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &name
	req.TopicNames, req.Topics, req.TimeoutMillis = []string{name}, append(req.Topics, topic), 30_000
	if _, err := req.RequestWith(context.Background(), c.franz); err != nil {
		c.t.Errorf("delete topic %s: %v", name, err)
	}
}

// eventually repeats what takes a cluster a moment.
func (c *cluster) eventually(what string, try func() error) {
	c.t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if err = try(); err == nil {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	c.t.Fatalf("%s: %v", what, err)
}

// wants gives all partitions of topics from their beginning, and their metadata.
func (c *cluster) wants(topics ...string) ([]Want, *Cluster) {
	c.t.Helper()
	cluster, err := c.client.Metadata(context.Background(), topics)
	if err != nil {
		c.t.Fatal(err)
	}
	var wants []Want
	for _, topic := range cluster.Topics {
		if topic.Err != nil {
			c.t.Fatal(topic.Err)
		}
		for _, p := range topic.Partitions {
			wants = append(wants, Want{Topic: topic.Name, TopicID: topic.ID, Partition: p.ID})
		}
	}
	return wants, cluster
}

// fetchFrom asks the leader for one partition, again while the transport does
// not know the broker yet.
func (c *cluster) fetchFrom(leader int32, resp *Response, maxBytes int32, wants ...Want) {
	c.t.Helper()
	c.eventually("fetch", func() error {
		err := c.client.Fetch(context.Background(), &Request{Broker: leader, Partitions: wants,
			MinBytes: 1, MaxBytes: maxBytes, MaxWait: 200 * time.Millisecond}, resp)
		if err != nil && !Retriable(err) {
			c.t.Fatal(err)
		}
		return err
	})
}

// stored is a record, copied.
type stored struct {
	Offset, Time int64
	Key, Value   string
	Headers      string
}

func storedOf(r Record) stored {
	s := stored{r.Offset, r.Timestamp, text(r.Key), text(r.Value), ""}
	for k, v := range r.Headers.All() {
		s.Headers += fmt.Sprintf("%s=%s;", k, text(v))
	}
	return s
}

// readAll reads a partition from its beginning up to its last stable offset:
// records, and how many positions were gaps.
func (c *cluster) readAll(want Want, meta *Cluster, maxBytes int32) (all []stored, gaps int64) {
	c.t.Helper()
	leader, err := meta.Leader(want.Topic, want.Partition)
	if err != nil {
		c.t.Fatal(err)
	}
	var resp Response
	for {
		c.fetchFrom(leader, &resp, maxBytes, want)
		p := &resp.Partitions[0]
		for {
			kind, err := p.Next()
			if err != nil {
				c.t.Fatalf("at %d: %v", p.Position(), err)
			}
			if kind == Done {
				break
			}
			if kind == Gap {
				gaps += p.Gap.Last - p.Gap.First + 1
				continue
			}
			all = append(all, storedOf(p.Record))
		}
		want.Offset = p.Position()
		if want.Offset >= p.LastStable {
			return all, gaps
		}
	}
}

// readFranz reads n records of a partition with franz-go.
func (c *cluster) readFranz(want Want, n int) (all []stored) {
	c.t.Helper()
	cl := c.newFranz(kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(50<<20), kgo.FetchMaxPartitionBytes(20<<20),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{want.Topic: {want.Partition: kgo.NewOffset().AtStart()}}))
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for len(all) < n {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			c.t.Fatalf("franz-go after %d of %d records: %v", len(all), n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			s := stored{r.Offset, r.Timestamp.UnixMilli(), text(r.Key), text(r.Value), ""}
			for _, h := range r.Headers {
				s.Headers += fmt.Sprintf("%s=%s;", h.Key, text(h.Value))
			}
			all = append(all, s)
		})
	}
	return all
}

func (c *cluster) produce(cl *kgo.Client, records ...*kgo.Record) {
	c.t.Helper()
	if err := cl.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}

func isBrokerError(err error, codes ...kafka.Error) bool {
	for _, code := range codes {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}
