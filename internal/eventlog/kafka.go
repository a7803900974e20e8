package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/fetch"
)

// Kafka is the topic unifyevents, as far back as its retention reaches. Each
// reading pins the incarnation of the topic that it began with, and ends where
// the topic's committed end was then.
type Kafka struct {
	client   *fetch.Client
	topic    string
	patience time.Duration // how long nothing may come of what is there
}

// NewKafka reads the topic of this full name. The client's transport has to
// have it among its MetadataTopics.
func NewKafka(client *fetch.Client, topic string) *Kafka { return &Kafka{client, topic, patience} }

// PartitionsError says that the topic has another number of partitions than
// one: it has no total order.
type PartitionsError struct {
	Topic      string
	Partitions int
}

// Error says what follows and what to do.
func (e *PartitionsError) Error() string {
	return fmt.Sprintf("topic %s has %d partitions, and so no total order: nothing can be reconstructed from it; "+
		"the engine has to write to a topic that was created with one (`persistor topics create`)", e.Topic, e.Partitions)
}

// Incarnation is one life of a topic, as it was at some moment.
type Incarnation struct {
	ClusterID   string
	TopicID     [16]byte
	First, Next int64 // what is retained and readable
	leader      int32
}

const (
	// fetchBytes is asked for at once: so much that the way there and back does
	// not count.
	fetchBytes = 4 << 20
	fetchWait  = 500 * time.Millisecond

	// patience is time for a broker to be restarted and a leader to be elected.
	patience = 30 * time.Second
	pause    = 200 * time.Millisecond
)

// Bounds are the topic's first retained offset and the end of what is
// committed.
func (k *Kafka) Bounds(ctx context.Context) (first, next int64, err error) {
	i, err := k.Look(ctx)
	return i.First, i.Next, err
}

// Look asks for the topic's present incarnation. A partition without a leader
// is waited for, a cluster that cannot be reached is not.
func (k *Kafka) Look(ctx context.Context) (i Incarnation, err error) {
	for begun := time.Now(); ; {
		i, err = k.look(ctx)
		if code := kafka.Error(0); !errors.As(err, &code) || !fetch.Retriable(err) || code == kafka.UnknownTopicOrPartition || time.Since(begun) > k.patience {
			break
		}
		if err := wait(ctx); err != nil {
			return i, err
		}
	}
	if err != nil {
		return i, fmt.Errorf("look at topic %s: %w", k.topic, err)
	}
	return i, nil
}

func (k *Kafka) look(ctx context.Context) (Incarnation, error) {
	cluster, err := k.client.Metadata(ctx, []string{k.topic})
	if err != nil {
		return Incarnation{}, err
	}
	leader, err := cluster.Leader(k.topic, 0)
	if err != nil {
		return Incarnation{}, err
	}
	topic := cluster.Topic(k.topic)
	if n := len(topic.Partitions); n != 1 {
		return Incarnation{}, &PartitionsError{k.topic, n}
	}
	marks, err := k.client.Watermarks(ctx, cluster, []fetch.Want{{Topic: k.topic, TopicID: topic.ID}})
	if err != nil {
		return Incarnation{}, err
	}
	return Incarnation{cluster.ID, topic.ID, marks[0].LogStart, marks[0].LastStable, leader}, nil
}

// Read delivers [from, until) of the topic.
func (k *Kafka) Read(ctx context.Context, from, until int64, sink Sink) error {
	i, err := k.Look(ctx)
	if err != nil {
		return err
	}
	if until, err = k.settle(i, from, until); err != nil || from >= until {
		return err
	}
	reading := k.start(ctx, i, from, until)
	defer reading.close()
	return reading.deliver(sink)
}

// settle checks the range against the bounds, and replaces End.
func (k *Kafka) settle(i Incarnation, from, until int64) (int64, error) {
	if from < i.First || from > i.Next || until > i.Next && until != End {
		return 0, &RangeError{Source: k.source(), From: from, Until: until, First: i.First, Next: i.Next}
	}
	return min(until, i.Next), nil
}

func (k *Kafka) source() string { return "topic " + k.topic }

// start reads ahead what settle has approved of.
func (k *Kafka) start(ctx context.Context, i Incarnation, from, until int64) *ahead {
	return readAhead(ctx, k.source(), from, until, func(ctx context.Context, f *filler) error {
		r := kafkaReader{Kafka: k, filler: f, incarnation: i, progress: time.Now()}
		for f.next < f.until {
			before := f.next
			err := r.some(ctx)
			if f.next > before {
				r.progress = time.Now()
			}
			if err == nil {
				continue
			}
			if err = r.judge(ctx, err); err != nil {
				return err
			}
		}
		return nil
	})
}

// kafkaReader is one reading of the topic.
type kafkaReader struct {
	*Kafka
	*filler
	incarnation Incarnation
	answer      fetch.Response
	progress    time.Time // when a record came last
}

// some asks once, and hands on what came.
func (r *kafkaReader) some(ctx context.Context) error {
	r.flush()
	err := r.client.Fetch(ctx, &fetch.Request{
		Broker:     r.incarnation.leader,
		Partitions: []fetch.Want{{Topic: r.topic, TopicID: r.incarnation.TopicID, Offset: r.next}},
		MinBytes:   1, MaxBytes: fetchBytes, MaxWait: fetchWait,
	}, &r.answer)
	if err != nil {
		return err
	}
	part := &r.answer.Partitions[0]
	before := r.next
	for {
		kind, err := part.Next()
		switch {
		case err != nil:
			return err
		case kind == fetch.Done && r.next == before:
			return fetch.ErrNoAnswer // nothing came of what is there
		case kind == fetch.Done:
			return nil
		case kind == fetch.Gap:
			err = r.gap(part.Gap.First, part.Gap.Last, Control)
		default:
			c := &part.Record
			err = r.record(&Record{c.Offset, c.Timestamp, c.Key, c.Value, c.Headers})
		}
		if err != nil {
			return err
		}
	}
}

// judge decides what becomes of an error: nil means to try again.
func (r *kafkaReader) judge(ctx context.Context, err error) error {
	if errors.Is(err, errFull) || ctx.Err() != nil {
		return err
	}
	if jump, ok := errors.AsType[*fetch.JumpError](err); ok {
		return &HoleError{Source: r.source(), First: jump.Expected, Last: jump.Found - 1}
	}
	failed := fmt.Errorf("read topic %s at offset %d: %w", r.topic, r.next, err)
	if out := kafka.OffsetOutOfRange; errors.Is(err, out) {
		// Retention was faster, or the log was cut.
		i, lookErr := r.look(ctx)
		if lookErr != nil {
			return failed
		}
		return &RangeError{Source: r.source(), From: r.next, Until: r.until, First: i.First, Next: i.Next}
	}
	if !fetch.Retriable(err) && !fetch.NeedsMetadata(err) || time.Since(r.progress) > r.patience {
		return failed
	}
	if err := wait(ctx); err != nil {
		return err
	}
	i, err := r.look(ctx)
	switch {
	case err != nil:
		return nil //nolint:nilerr // it may be better at the next attempt, or patience ends
	case i.TopicID != r.incarnation.TopicID || i.ClusterID != r.incarnation.ClusterID:
		return fmt.Errorf("topic %s was deleted and made again while it was read, at offset %d", r.topic, r.next)
	}
	r.incarnation = i
	return nil
}

func wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(pause):
		return nil
	}
}
