package fetch

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// TestMovedLeader: the old leader refuses, the metadata name the new one.
func TestMovedLeader(t *testing.T) {
	c, fake := newFake(t)
	topic := c.topic(1)
	c.produce(c.franz, &kgo.Record{Topic: topic, Value: []byte("v")})
	wants, meta := c.wants(topic)
	before, _ := meta.Leader(topic, 0)
	var resp Response
	c.fetchFrom(before, &resp, 1<<20, wants...)
	if err := fake.MoveTopicPartition(topic, 0, 1-before); err != nil {
		t.Fatal(err)
	}
	c.fetchFrom(before, &resp, 1<<20, wants...)
	if p := &resp.Partitions[0]; !errors.Is(p.Err, kafka.NotLeaderForPartition) || !NeedsMetadata(p.Err) || !Retriable(p.Err) {
		t.Errorf("the old leader says %v", p.Err)
	}
	if _, meta = c.wants(topic); len(meta.Brokers) != 2 {
		t.Errorf("%+v", meta)
	}
	if after, err := meta.Leader(topic, 0); after != 1-before || err != nil {
		t.Errorf("leader %d, %v", after, err)
	}
	if got, _ := c.readAll(wants[0], meta, 1<<20); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

// TestLostConnection breaks connections in the middle of an exchange.
func TestLostConnection(t *testing.T) {
	c, fake := newFake(t)
	topic := c.topic(1)
	c.produce(c.franz, &kgo.Record{Topic: topic, Value: []byte("v")})
	wants, meta := c.wants(topic)
	leader, _ := meta.Leader(topic, 0)
	var resp Response
	c.fetchFrom(leader, &resp, 1<<20, wants...)
	fake.ControlKey(1, func(kmsg.Request) (kmsg.Response, error, bool) { return nil, errors.New("cut"), true })
	err := c.client.Fetch(context.Background(), &Request{Broker: leader, Partitions: wants, MaxBytes: 1}, &resp)
	if !Retriable(err) || !NeedsMetadata(err) || len(resp.Partitions) != 0 {
		t.Errorf("got %v", err)
	}
	if got, _ := c.readAll(wants[0], meta, 1<<20); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

// TestOldBroker: one that cannot fetch by topic id is told apart at once.
func TestOldBroker(t *testing.T) {
	onClusters(t, func(t *testing.T, c *cluster) {
		if err := c.client.CheckVersions(context.Background()); err != nil {
			t.Error(err)
		}
	})
	old, _ := newFake(t, kfake.MaxVersions(kversion.V3_0_0()))
	if err := old.client.CheckVersions(context.Background()); !errors.Is(err, kafka.UnsupportedVersion) || Retriable(err) {
		t.Errorf("Kafka 3.0: %v", err)
	}
}

// TestRecreatedTopic is why partitions are fetched by topic id.
func TestRecreatedTopic(t *testing.T) {
	onClusters(t, func(t *testing.T, c *cluster) {
		topic := c.topic(1)
		c.produce(c.franz, &kgo.Record{Topic: topic, Value: []byte("old 0")}, &kgo.Record{Topic: topic, Value: []byte("old 1")})
		old, oldMeta := c.wants(topic)
		leader, _ := oldMeta.Leader(topic, 0)
		c.delete(topic)
		var resp Response
		refused := func(when string) {
			t.Helper()
			c.eventually("refusal when "+when, func() error {
				c.fetchFrom(leader, &resp, 1<<20, old[0])
				p := &resp.Partitions[0]
				for kind := range p.kinds() {
					if kind == Data && string(p.Record.Value[:3]) != "old" {
						t.Fatalf("%s: %q read from another topic", when, p.Record.Value)
					}
				}
				if !isBrokerError(p.Err, kafka.UnknownTopicID, kafka.UnknownTopicOrPartition) {
					return fmt.Errorf("error %w", p.Err)
				}
				return nil
			})
		}
		refused("deleted")
		c.create(topic, 1)
		fresh := c.newFranz()
		for range 5 {
			c.produce(fresh, &kgo.Record{Topic: topic, Value: []byte("new")})
		}
		refused("made again")
		if marks, err := c.client.Watermarks(context.Background(), oldMeta, old); !isBrokerError(err, kafka.UnknownTopicID, kafka.UnknownTopicOrPartition, kafka.NotLeaderForPartition) {
			t.Errorf("watermarks by the old id: %+v, %v", marks, err)
		}
		wants, meta := c.wants(topic)
		if wants[0].TopicID == old[0].TopicID {
			t.Fatal("the same topic id")
		}
		if got, _ := c.readAll(wants[0], meta, 1<<20); len(got) != 5 || got[0].Value != "new" {
			t.Errorf("by the new id: %v", got)
		}
	})
}

// kinds goes through what is left of a part.
func (p *Part) kinds() func(func(Kind) bool) {
	return func(yield func(Kind) bool) {
		for {
			kind, err := p.Next()
			if kind == Done || err != nil || !yield(kind) {
				return
			}
		}
	}
}

// TestCancelledFetch gives up requests that the broker holds back, and uses the
// same Response again while their answers are still to come.
func TestCancelledFetch(t *testing.T) {
	onClusters(t, func(t *testing.T, c *cluster) {
		topic := c.topic(1)
		wants, meta := c.wants(topic)
		leader, _ := meta.Leader(topic, 0)
		var resp Response
		c.eventually("a first answer", func() error {
			return c.client.Fetch(context.Background(), &Request{Broker: leader, Partitions: wants, MaxBytes: 1 << 20}, &resp)
		})
		for i := range 20 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*time.Millisecond)
			err := c.client.Fetch(ctx, &Request{Broker: leader, Partitions: wants, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 10 * time.Second}, &resp)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || Retriable(err) {
				t.Fatalf("got %v", err)
			}
			c.produce(c.franz, &kgo.Record{Topic: topic, Value: fmt.Append(nil, i)}) // answers the one given up
			c.fetchFrom(leader, &resp, 1<<20, wants...)
			p := &resp.Partitions[0]
			if items, err := drain(p); err != nil || len(items) != 1 || items[0].value != fmt.Sprint(i) {
				t.Fatalf("%v %v", items, err)
			}
			wants[0].Offset = p.Position()
		}
	})
}
