package eventlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/testenv"
)

// topic is one on the shared Kafka, and a client that writes to it.
type topic struct {
	t       *testing.T
	name    string
	brokers string
	next    int64
	log     *Kafka
}

func newTopic(t *testing.T, partitions int) *topic {
	t.Helper()
	return newTopicOn(t, testenv.Kafka(t), testenv.TopicPrefix(t)+"unifyevents", partitions)
}

func newTopicOn(t *testing.T, brokers, name string, partitions int) *topic {
	t.Helper()
	k := &topic{t: t, name: name, brokers: brokers}
	// The made records are old.
	testenv.CreateTopic(t, k.brokers, k.name, partitions, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "-1"})
	transport := &kafka.Transport{MetadataTopics: []string{k.name}}
	t.Cleanup(transport.CloseIdleConnections)
	k.log = NewKafka(fetch.NewClient(transport, kafka.TCP(strings.Split(k.brokers, ",")...)), k.name)
	return k
}

func (k *topic) client(options ...kgo.Opt) *kgo.Client {
	k.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(k.brokers, ",")...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.SnappyCompression()), kgo.ProducerLinger(time.Millisecond),
	}, options...)...)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(client.Close)
	return client
}

// produce writes the made records of the next n offsets.
func (k *topic) produce(client *kgo.Client, n int) {
	k.t.Helper()
	var records []*kgo.Record
	for range n {
		records = append(records, k.record(made(k.next)))
		k.next++
	}
	k.write(client, records...)
}

func (k *topic) write(client *kgo.Client, records ...*kgo.Record) {
	k.t.Helper()
	if err := client.ProduceSync(k.t.Context(), records...).FirstErr(); err != nil {
		k.t.Fatal(err)
	}
}

func (k *topic) record(r Record) *kgo.Record {
	out := &kgo.Record{Topic: k.name, Key: r.Key, Value: r.Value, Timestamp: time.UnixMilli(r.Time)}
	for key, value := range fetch.Headers(r.Headers).All() {
		out.Headers = append(out.Headers, kgo.RecordHeader{Key: string(key), Value: value})
	}
	return out
}

// ends waits until the topic ends where it should.
func (k *topic) ends() {
	k.t.Helper()
	for {
		_, next, err := k.log.Bounds(k.t.Context())
		if err != nil {
			k.t.Fatal(err)
		}
		if next == k.next {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-k.t.Context().Done():
			k.t.Fatalf("the topic ends at %d, not at %d", next, k.next)
		}
	}
}

// deleteBelow is retention that went on up to an offset.
func (k *topic) deleteBelow(client *kgo.Client, offset int64) {
	k.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 30_000
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = k.name
	partition := kmsg.NewDeleteRecordsRequestTopicPartition()
	partition.Offset = offset
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	answer, err := req.RequestWith(k.t.Context(), client)
	if err == nil {
		err = kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

// Committed, aborted and plain records: every range comes as franz-go wrote it,
// markers and what was aborted as gaps.
func TestKafkaReadsEveryRange(t *testing.T) {
	t.Parallel()
	k := newTopic(t, 1)
	plain := k.client()
	k.produce(plain, 30)
	txn := k.client(kgo.TransactionalID(k.name))
	transaction := func(end kgo.TransactionEndTry) {
		if err := txn.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		k.produce(txn, 4)
		if err := txn.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
		k.next++ // the marker, which the broker writes a little later
		k.ends()
	}
	transaction(kgo.TryCommit)
	k.produce(plain, 5)
	transaction(kgo.TryAbort)
	k.produce(plain, 11)

	first, next, err := k.log.Bounds(t.Context())
	if err != nil || first != 0 || next != k.next {
		t.Fatalf("bounds %d, %d, %v, want 0, %d", first, next, err, k.next)
	}
	for from := int64(0); from <= next; from += 3 {
		for _, until := range []int64{from, min(from+1, next), (from + next + 1) / 2, next, End} {
			c, err := read(t, k.log, from, until)
			if err != nil || c.next != min(until, next) {
				t.Fatalf("[%d, %d): %v, up to %d", from, until, err, c.next)
			}
		}
	}
	c, err := read(t, k.log, 30, 46)
	if err != nil || !slices.Equal(c.gaps, []string{"34-34 control", "40-43 control", "44-44 control"}) {
		t.Errorf("gaps %q, %v", c.gaps, err)
	}
	var out *RangeError
	if _, err := read(t, k.log, 0, next+1); !errors.As(err, &out) || out.Next != next {
		t.Errorf("beyond the end: %v", err)
	}
	k.deleteBelow(plain, 33)
	if _, err := read(t, k.log, 32, End); !errors.As(err, &out) || out.First != 33 {
		t.Errorf("below the start: %v", err)
	}
	if c, err := read(t, k.log, 33, End); err != nil || c.next != next {
		t.Errorf("from the start: %v, up to %d", err, c.next)
	}
}

// A reading ends where the topic did when it began.
func TestKafkaEndsWhereItEnded(t *testing.T) {
	t.Parallel()
	k := newTopic(t, 1)
	client := k.client()
	k.produce(client, 20)
	n := 0
	err := k.log.Read(t.Context(), 0, End, counter(func() {
		if n++; n == 1 {
			k.produce(client, 20)
		}
	}))
	if err != nil || n != 20 || k.next != 40 {
		t.Errorf("%d records, %v", n, err)
	}
}

func TestKafkaWantsOnePartition(t *testing.T) {
	t.Parallel()
	k := newTopic(t, 3)
	var refused *PartitionsError
	if _, err := read(t, k.log, 0, End); !errors.As(err, &refused) || refused.Partitions != 3 {
		t.Errorf("%v", err)
	}
	missing := NewKafka(k.log.client, k.name+".none")
	begun := time.Now()
	if _, _, err := missing.Bounds(t.Context()); !errors.Is(err, kafka.UnknownTopicOrPartition) || time.Since(begun) > patience/2 {
		t.Errorf("a topic that is not there: %v after %v", err, time.Since(begun))
	}
}

// The topic loses what is being read: retention is faster than the reader, or
// somebody makes the topic again.
func TestKafkaLosesWhatIsRead(t *testing.T) {
	t.Parallel()
	k := newTopic(t, 1)
	client := k.client(kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range 8 {
		for range 8 { // random bytes: an answer has fetchBytes of them at most
			r := &kgo.Record{Topic: k.name, Value: make([]byte, 900<<10)}
			k.write(client, r)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := k.log.Read(ctx, 0, End, counter(cancel)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	lost := false
	var out *RangeError
	err := k.log.Read(t.Context(), 0, End, counter(func() {
		if !lost {
			lost = true
			k.deleteBelow(client, 63)
		}
	}))
	if !errors.As(err, &out) || out.First != 63 || out.From == 0 {
		t.Errorf("expired: %v", err)
	}
}

// The broker is killed while the topic is read, and comes back: the reading goes
// on where it was.
func TestKafkaGoesAwayForAWhile(t *testing.T) {
	t.Parallel()
	server := testenv.OwnKafka(t)
	k := newTopicOn(t, server.Brokers(), "unifyevents", 1)
	client := k.client(kgo.ProducerBatchCompression(kgo.NoCompression()))
	const records = 48
	for range records { // more than an answer and what is read ahead
		k.write(client, &kgo.Record{Topic: k.name, Value: make([]byte, 900<<10)})
	}
	k.log.patience = 5 * time.Minute // a server starts slowly on a busy machine
	n := 0
	err := k.log.Read(t.Context(), 0, End, checking(func(offset int64) error {
		if offset != int64(n) {
			return fmt.Errorf("offset %d comes where %d should", offset, n)
		}
		if n++; n == 1 {
			server.Kill() // with its connections
			server.Start()
		}
		return nil
	}))
	if err != nil || n != records {
		t.Errorf("%d records, %v", n, err)
	}
}
