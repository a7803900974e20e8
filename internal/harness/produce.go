package harness

import (
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/topics"
)

// Record is a record to be produced. Topic is without prefix; a nil Key, Value
// or header value is null; a zero Time is now.
type Record struct {
	Topic     string
	Partition int32
	Key       []byte
	Value     []byte
	Headers   []exchange.Header
	Time      time.Time
}

// Exchange returns a simulated exchange whose records end about now: Kafka's
// retention removes what is older than a week.
func (s *Site) Exchange(change func(*exchange.Config)) *exchange.Exchange {
	s.t.Helper()
	cfg := exchange.DefaultConfig()
	cfg.Start = time.Now().Add(-time.Hour).Truncate(time.Second)
	// Tests move rows by seconds, which must not take them into another chunk.
	if midnight := cfg.Start.Truncate(24 * time.Hour).Add(24 * time.Hour); cfg.Start.Add(10 * time.Minute).After(midnight) {
		cfg.Start = cfg.Start.Add(-10 * time.Minute)
	}
	if change != nil {
		change(&cfg)
	}
	x, err := exchange.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return x
}

// stay is how many records in a row go to one partition, as with a producer
// that fills a batch before it turns to the next partition.
const stay = 20

// ProduceExchange lets the exchange work until it has put out so many records,
// spreads them over the topics' partitions, and returns when all are there.
func (s *Site) ProduceExchange(x *exchange.Exchange, records int) {
	s.t.Helper()
	partitions := map[string]int{}
	for _, topic := range topics.Consumed() {
		partitions[topic.Name] = topic.Partitions
	}
	for produced := 0; produced < records; {
		var chunk []Record
		for len(chunk) < 10_000 && produced < records {
			for _, m := range x.Step() {
				at := s.placed[m.Topic]
				s.placed[m.Topic]++
				chunk = append(chunk, Record{m.Topic, int32(at / stay % partitions[m.Topic]), m.Key, m.Value, m.Headers, m.Time})
				produced++
			}
		}
		s.Produce(chunk...)
	}
}

// Produce writes the records, in this order within each partition, and returns
// when all are there.
func (s *Site) Produce(records ...Record) {
	s.t.Helper()
	var failed error
	var mu sync.Mutex
	for _, r := range records {
		record := &kgo.Record{Topic: s.Prefix + r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: r.Time}
		for _, h := range r.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		s.kafka.Produce(s.t.Context(), record, func(_ *kgo.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			if failed == nil {
				failed = err
			}
		})
	}
	if err := s.kafka.Flush(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if failed != nil {
		s.t.Fatalf("produce: %v", failed)
	}
}

// Place is a partition of a topic, with the topic's name in full.
type Place struct {
	Topic     string
	Partition int32
}

// Offsets are the ends of the consumed topics' logs.
func (s *Site) Offsets() (start, end map[Place]int64) {
	s.t.Helper()
	const earliest, latest = -2, -1
	return s.listOffsets(earliest), s.listOffsets(latest)
}

func (s *Site) listOffsets(at int64) map[Place]int64 {
	s.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	req.IsolationLevel = 1 // read_committed: the end is the last stable offset
	for _, topic := range topics.Consumed() {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = s.Prefix + topic.Name
		for i := range topic.Partitions {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = int32(i), at
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	offsets := map[Place]int64{}
	for _, shard := range s.kafka.RequestSharded(s.t.Context(), req) {
		if shard.Err != nil {
			s.t.Fatalf("ask for the ends of %s: %v", strings.Join(topics.Names(topics.Consumed()), ", "), shard.Err)
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					s.t.Fatalf("ask for the end of %s partition %d: %v", t.Topic, p.Partition, err)
				}
				offsets[Place{t.Topic, p.Partition}] = p.Offset
			}
		}
	}
	return offsets
}
