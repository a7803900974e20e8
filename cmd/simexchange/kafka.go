package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/exchange"
)

const (
	// batchBytes keeps a batch below a broker's usual limit of 1 MB: these values
	// shrink to a quarter or less.
	batchBytes = 2 << 20
	// stickyFor is how long the engine's producer stays with a partition that it
	// has drawn for records with an empty key (wire 1.1).
	stickyFor = 2 * time.Millisecond
	// requestTimeout bounds one request, patience how long a partition that
	// cannot be written is tried again.
	requestTimeout = 10 * time.Second
	patience       = time.Minute
)

// cluster writes to Kafka: one stream per partition, each in order.
type cluster struct {
	client *kafka.Client
	hangUp func()
	topics map[string]*partitions
	ctx    context.Context
	fail   context.CancelCauseFunc
	wg     sync.WaitGroup
}

// partitions chooses a topic's partition as the engine's producer does. It draws
// from the seed and sees only simulated time, so the choice is repeatable.
type partitions struct {
	streams []*stream
	random  *rand.Rand
	current int
	drawnAt time.Time
}

func newPartitions(seed, topic uint64) *partitions {
	return &partitions{random: rand.New(rand.NewPCG(seed, topic))}
}

func (p *partitions) choose(m *exchange.Message) *stream {
	if len(m.Key) > 0 {
		return p.streams[crc32.ChecksumIEEE(m.Key)%uint32(len(p.streams))]
	}
	if m.Time.Sub(p.drawnAt) >= stickyFor {
		p.drawnAt = m.Time
		p.current = p.random.IntN(len(p.streams))
	}
	return p.streams[p.current]
}

// dialKafka looks the topics up; none is ever created here.
func dialKafka(ctx context.Context, brokers []string, prefix string, seed uint64) (_ *cluster, err error) {
	transport := &kafka.Transport{ClientID: "simexchange", DialTimeout: 5 * time.Second}
	client := &kafka.Client{Addr: kafka.TCP(brokers...), Transport: transport, Timeout: requestTimeout}
	defer func() {
		if err != nil {
			transport.CloseIdleConnections()
		}
	}()
	var names []string
	for _, topic := range exchange.Topics() {
		names = append(names, prefix+topic)
	}
	transport.MetadataTopics = names
	metadata, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: names})
	if err != nil {
		return nil, fmt.Errorf("ask %s for its topics: %w", strings.Join(brokers, ","), err)
	}
	// The streams outlive an interrupt: what has been generated is still written.
	own, fail := context.WithCancelCause(context.WithoutCancel(ctx))
	c := &cluster{client: client, hangUp: transport.CloseIdleConnections, topics: map[string]*partitions{}, ctx: own, fail: fail}
	var missing []string
	for i, t := range metadata.Topics {
		if t.Error != nil || len(t.Partitions) == 0 {
			missing = append(missing, t.Name)
			continue
		}
		p := newPartitions(seed, uint64(i))
		for n := range t.Partitions {
			p.streams = append(p.streams, &stream{cluster: c, topic: t.Name, partition: n, batches: make(chan []exchange.Message, 1)})
		}
		c.topics[strings.TrimPrefix(t.Name, prefix)] = p
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("topics are missing on %s: %s; create them first (persistor topics create)",
			strings.Join(brokers, ","), strings.Join(missing, ", "))
	}
	for _, s := range c.topics[exchange.UnifyTopic].streams {
		if s.next, err = s.firstEnd(ctx); err != nil {
			return nil, err
		}
		s.exact = true
	}
	for _, p := range c.topics {
		for _, s := range p.streams {
			c.wg.Go(s.run)
		}
	}
	return c, nil
}

func (c *cluster) write(messages []exchange.Message) error {
	for i := range messages {
		if err := c.topics[messages[i].Topic].choose(&messages[i]).add(messages[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) send() error {
	for _, p := range c.topics {
		for _, s := range p.streams {
			if err := s.send(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *cluster) close() error {
	err := c.send()
	for _, p := range c.topics {
		for _, s := range p.streams {
			close(s.batches)
		}
	}
	c.wg.Wait()
	if failed := context.Cause(c.ctx); failed != nil {
		err = failed
	}
	c.fail(nil)
	c.hangUp()
	return err
}

// stream writes one partition. add and send are the caller's side, run is the
// other.
type stream struct {
	cluster   *cluster
	topic     string
	partition int
	pending   []exchange.Message
	bytes     int
	batches   chan []exchange.Message

	// exact streams must not repeat a batch whose fate is unknown, as the engine's
	// idempotent producer would not: next is the offset where it belongs.
	exact bool
	next  int64
}

func (s *stream) add(m exchange.Message) error {
	s.pending = append(s.pending, m)
	s.bytes += len(m.Value) + 16
	if s.bytes < batchBytes {
		return nil
	}
	return s.send()
}

func (s *stream) send() error {
	if len(s.pending) == 0 {
		return nil
	}
	select {
	case s.batches <- s.pending:
		s.pending, s.bytes = make([]exchange.Message, 0, len(s.pending)), 0
		return nil
	case <-s.cluster.ctx.Done():
		return context.Cause(s.cluster.ctx)
	}
}

func (s *stream) run() {
	for batch := range s.batches {
		if s.cluster.ctx.Err() != nil {
			continue // another stream has failed; drain
		}
		if err := s.deliver(batch); err != nil {
			s.cluster.fail(fmt.Errorf("write %d records to %s/%d: %w", len(batch), s.topic, s.partition, err))
		}
	}
}

// deliver writes a batch, trying again for a while where that may help.
func (s *stream) deliver(batch []exchange.Message) error {
	deadline := time.Now().Add(patience)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := s.produce(batch)
		var code kafka.Error
		if err == nil || (errors.As(err, &code) && !code.Temporary()) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(wait):
		case <-s.cluster.ctx.Done():
			return err
		}
		if !s.exact {
			continue
		}
		end, failed := s.end(s.cluster.ctx)
		switch {
		case failed != nil || end == s.next:
			// Unreachable still, or the batch is not there.
		case end == s.next+int64(len(batch)):
			s.next = end
			return nil
		default:
			return fmt.Errorf("outcome unknown, and somebody else has written: end offset %d, want %d: %w", end, s.next, err)
		}
	}
}

func (s *stream) produce(batch []exchange.Message) error {
	records := make([]kafka.Record, len(batch))
	for i := range batch {
		m := &batch[i]
		records[i] = kafka.Record{Time: m.Time, Key: kafka.NewBytes(m.Key), Value: kafka.NewBytes(m.Value)}
		for _, h := range m.Headers {
			records[i].Headers = append(records[i].Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
	}
	answer, err := s.cluster.client.Produce(s.cluster.ctx, &kafka.ProduceRequest{Topic: s.topic, Partition: s.partition,
		RequiredAcks: kafka.RequireAll, Compression: kafka.Snappy, Records: kafka.NewRecordReader(records...)})
	if err == nil {
		err = answer.Error
	}
	if err == nil {
		s.next = answer.BaseOffset + int64(len(batch))
	}
	return err
}

// end asks for the partition's end offset.
func (s *stream) end(ctx context.Context) (int64, error) {
	answer, err := s.cluster.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{s.topic: {kafka.LastOffsetOf(s.partition)}}})
	if err != nil {
		return 0, fmt.Errorf("ask for the end of %s/%d: %w", s.topic, s.partition, err)
	}
	partitions := answer.Topics[s.topic]
	if err = errors.New("no answer"); len(partitions) > 0 {
		err = partitions[0].Error
	}
	if err != nil {
		return 0, fmt.Errorf("ask for the end of %s/%d: %w", s.topic, s.partition, err)
	}
	return partitions[0].LastOffset, nil
}

// firstEnd is end for a topic that may have been made just now: brokers name a
// partition's leader a moment before it takes up its office.
func (s *stream) firstEnd(ctx context.Context) (int64, error) {
	deadline := time.Now().Add(patience)
	for {
		end, err := s.end(ctx)
		var code kafka.Error
		if !errors.As(err, &code) || !code.Temporary() || time.Now().After(deadline) {
			return end, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}
