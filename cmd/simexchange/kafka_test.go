package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/thaliumx/persistor/internal/exchange"
)

// partitionsOf are the platform's partition counts.
var partitionsOf = map[string]int32{"trades": 6, "orders": 6, "balances": 3, "internaltransfer": 3, "registeruser": 3, "unifyevents": 1}

const prefix = "test-"

// fakeCluster serves Kafka's protocol in this process, with the platform's
// topics but for those named.
func fakeCluster(t *testing.T, without ...string) *kfake.Cluster {
	t.Helper()
	opts := []kfake.Opt{kfake.NumBrokers(1)}
	for topic, n := range partitionsOf {
		if !strings.Contains(strings.Join(without, " "), topic) {
			opts = append(opts, kfake.SeedTopics(n, prefix+topic))
		}
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

// readAll reads a topic with another client library, until it has n records.
func readAll(t *testing.T, cluster *kfake.Cluster, topic string, n int) (records []*kgo.Record) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics(prefix+topic), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for len(records) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%s: %d of %d records: %v", topic, len(records), n, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

const start = "2026-01-05T09:00:00Z"

// expected are the records of an exchange with the options that the tests use.
func expected(t *testing.T, change func(*exchange.Config), operations int) (byTopic map[string][]exchange.Message) {
	t.Helper()
	cfg := exchange.DefaultConfig()
	cfg.Start, _ = time.Parse(time.RFC3339, start)
	change(&cfg)
	x, err := exchange.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	byTopic = map[string][]exchange.Message{}
	for range operations {
		for _, m := range x.Step() {
			byTopic[m.Topic] = append(byTopic[m.Topic], m)
		}
	}
	return byTopic
}

func TestRecordsArriveAsTheEngineSendsThem(t *testing.T) {
	cluster := fakeCluster(t)
	stateFile := filepath.Join(t.TempDir(), "state.json")
	var stdout bytes.Buffer
	err := command(t.Context(), []string{"--brokers", strings.Join(cluster.ListenAddrs(), ","), "--topic-prefix", prefix, "--start", start,
		"--operations", "3000", "--foreign", "0.1", "--duplicates", "0.05", "--state", stateFile}, &stdout, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := expected(t, func(c *exchange.Config) { c.Foreign, c.Duplicates = 0.1, 0.05 }, 3000)
	for topic, messages := range want {
		got := readAll(t, cluster, topic, len(messages))
		if len(got) != len(messages) {
			t.Errorf("%s: %d records, want %d", topic, len(got), len(messages))
		}
		inOrder := partitionsOf[topic] == 1
		left := map[string]int{}
		for _, m := range messages {
			left[string(m.Value)]++
		}
		perPartition := map[int32]int{}
		for i, r := range got {
			perPartition[r.Partition]++
			if left[string(r.Value)]--; left[string(r.Value)] < 0 {
				t.Fatalf("%s: too often or never sent: %s", topic, r.Value)
			}
			foreign := bytes.HasPrefix(r.Value, []byte(`{"event":"order.created"`))
			switch {
			case foreign && (r.Key != nil || len(r.Headers) != 1 || r.Headers[0].Key != "messageSize"):
				t.Fatalf("foreign record with key %q and headers %v", r.Key, r.Headers)
			case !foreign && topic != "unifyevents" && (r.Key == nil || len(r.Key) > 0 || len(r.Headers) > 0):
				t.Fatalf("%s: key %q (null: %v)", topic, r.Key, r.Key == nil)
			}
			if !inOrder {
				continue
			}
			if m := messages[i]; !bytes.Equal(r.Value, m.Value) || !bytes.Equal(r.Key, m.Key) || !r.Timestamp.Equal(m.Time) {
				t.Fatalf("%s/%d: %s %s %s, want %s %s %s", topic, i, r.Timestamp, r.Key, r.Value, m.Time, m.Key, m.Value)
			}
		}
		if len(perPartition) != int(partitionsOf[topic]) && len(messages) > 100 {
			t.Errorf("%s: records on %d partitions", topic, len(perPartition))
		}
		if !strings.Contains(stdout.String(), topic) {
			t.Errorf("the summary lacks %s:\n%s", topic, stdout.String())
		}
	}
	if state, err := os.ReadFile(stateFile); err != nil || !bytes.Contains(state, []byte(`"last_trade_id"`)) {
		t.Errorf("state: %v, %s", err, state)
	}
}

func TestPartitionsAreStickyForTwoMilliseconds(t *testing.T) {
	place := func() (places []int) {
		p := testPartitions(6)
		at := time.UnixMilli(1_800_000_000_000)
		for range 3000 {
			for k := range 3 {
				m := exchange.Message{Topic: "trades", Key: []byte{}, Time: at.Add(time.Duration(k%2) * time.Millisecond)}
				places = append(places, p.choose(&m).partition)
			}
			at = at.Add(2 * time.Millisecond)
		}
		return places
	}
	first, seen := place(), map[int]int{}
	for i, partition := range first {
		seen[partition]++
		if i%3 > 0 && partition != first[i-1] {
			t.Fatalf("record %d changes the partition within 2 ms", i)
		}
	}
	for partition := range 6 {
		if seen[partition] < 1000 {
			t.Errorf("partition %d has %d of 9000 records", partition, seen[partition])
		}
	}
	for i, partition := range place() {
		if partition != first[i] {
			t.Fatal("the same seed chooses other partitions")
		}
	}
	// Keys that are there are hashed as librdkafka does (wire 0.15).
	three := testPartitions(3)
	for key, want := range map[string]int{"trades": 1, "internaltransfer": 1, "orders": 2, "registeruser": 2, "deposits": 0, "withdraws": 0} {
		if got := three.choose(&exchange.Message{Key: []byte(key)}).partition; got != want {
			t.Errorf("key %s: partition %d, want %d", key, got, want)
		}
	}
}

func testPartitions(n int) *partitions {
	p := newPartitions(1, 0)
	for i := range n {
		p.streams = append(p.streams, &stream{partition: i})
	}
	return p
}

func TestMissingTopicsAreNamed(t *testing.T) {
	cluster := fakeCluster(t, "orders", "unifyevents")
	err := command(t.Context(), []string{"--brokers", cluster.ListenAddrs()[0], "--topic-prefix", prefix, "--records", "10"}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "missing") || !strings.Contains(err.Error(), "test-orders") ||
		!strings.Contains(err.Error(), "test-unifyevents") || strings.Contains(err.Error(), "test-trades") {
		t.Errorf("got %v", err)
	}
}

func TestUnreachableBroker(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	err = command(t.Context(), []string{"--brokers", listener.Addr().String(), "--records", "10"}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), listener.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

// faulty loses requests to a topic, or the answers to them.
type faulty struct {
	kafka.RoundTripper
	topic          string
	requests, lost atomic.Int32
	answers        bool
}

func (f *faulty) RoundTrip(ctx context.Context, addr net.Addr, request kafka.Request) (kafka.Response, error) {
	p, ok := request.(*produce.Request)
	if !ok || p.Topics[0].Topic != f.topic || f.requests.Add(1)%2 == 0 {
		return f.RoundTripper.RoundTrip(ctx, addr, request)
	}
	f.lost.Add(1)
	if f.answers {
		if _, err := f.RoundTripper.RoundTrip(ctx, addr, request); err != nil {
			return nil, err
		}
	}
	return nil, io.ErrUnexpectedEOF
}

func TestUnifyHasNoRepetitionsAfterLostAnswers(t *testing.T) {
	for name, answers := range map[string]bool{"requests lost": false, "answers lost": true} {
		t.Run(name, func(t *testing.T) {
			fake := fakeCluster(t)
			c, err := dialKafka(t.Context(), fake.ListenAddrs(), prefix, 1)
			if err != nil {
				t.Fatal(err)
			}
			f := &faulty{RoundTripper: c.client.Transport, topic: prefix + exchange.UnifyTopic, answers: answers}
			c.client.Transport = f
			want := expected(t, func(*exchange.Config) {}, 1500)[exchange.UnifyTopic]
			for i, m := range want {
				if err := c.write([]exchange.Message{m}); err != nil {
					t.Fatal(err)
				}
				if i%500 == 499 {
					if err := c.send(); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := c.close(); err != nil {
				t.Fatal(err)
			}
			if f.lost.Load() < 3 {
				t.Fatalf("only %d faults", f.lost.Load())
			}
			got := readAll(t, fake, exchange.UnifyTopic, len(want))
			if len(got) != len(want) {
				t.Fatalf("%d records, want %d", len(got), len(want))
			}
			for i := range want {
				if !bytes.Equal(got[i].Value, want[i].Value) {
					t.Fatalf("record %d: %s, want %s", i, got[i].Value, want[i].Value)
				}
			}
		})
	}
}

func TestSomebodyElseOnUnifyIsNoticed(t *testing.T) {
	fake := fakeCluster(t)
	c, err := dialKafka(t.Context(), fake.ListenAddrs(), prefix, 1)
	if err != nil {
		t.Fatal(err)
	}
	c.client.Transport = &faulty{RoundTripper: c.client.Transport, topic: prefix + exchange.UnifyTopic}
	client, err := kgo.NewClient(kgo.SeedBrokers(fake.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: prefix + exchange.UnifyTopic, Value: []byte("{}")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := c.write(expected(t, func(*exchange.Config) {}, 100)[exchange.UnifyTopic]); err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("got %v", err)
	}
}

// A topic that was made a moment ago has a leader that does not lead yet.
func TestNewTopicsAreWaitedFor(t *testing.T) {
	fake := fakeCluster(t)
	var refused atomic.Int32
	fake.ControlKey(int16(kmsg.ListOffsets), func(request kmsg.Request) (kmsg.Response, error, bool) {
		if refused.Add(1) > 3 {
			return nil, nil, false
		}
		fake.KeepControl()
		answer := request.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, asked := range request.(*kmsg.ListOffsetsRequest).Topics {
			topic := kmsg.NewListOffsetsResponseTopic()
			topic.Topic = asked.Topic
			for _, p := range asked.Partitions {
				partition := kmsg.NewListOffsetsResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, int16(kafka.NotLeaderForPartition)
				topic.Partitions = append(topic.Partitions, partition)
			}
			answer.Topics = append(answer.Topics, topic)
		}
		return answer, nil, true
	})
	c, err := dialKafka(t.Context(), fake.ListenAddrs(), prefix, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil || refused.Load() < 3 {
		t.Errorf("%v after %d refusals", err, refused.Load())
	}
}
