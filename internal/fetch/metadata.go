package fetch

import (
	"context"
	"fmt"
	"slices"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

const metadataVersion = 12

// Cluster is what one broker knows about the cluster and some topics.
type Cluster struct {
	ID      string // as Kafka prints it
	Brokers []Broker
	Topics  []Topic
}

// Broker is an address of the cluster.
type Broker struct {
	ID   int32
	Host string
	Port int32
}

// Topic is one topic as a broker knows it. Err is nil or a *BrokerError:
// kafka.UnknownTopicOrPartition for one that is not there.
type Topic struct {
	Name       string
	ID         [16]byte
	Err        error
	Partitions []Partition // by id
}

// Partition is one partition of a topic. Err is nil or a *BrokerError:
// kafka.LeaderNotAvailable while there is no leader (Leader is -1 then).
type Partition struct {
	ID, Leader int32
	Err        error
}

// Topic returns a topic by name, nil if it was not asked for.
func (c *Cluster) Topic(name string) *Topic {
	for i := range c.Topics {
		if c.Topics[i].Name == name {
			return &c.Topics[i]
		}
	}
	return nil
}

// Partition returns a partition by id, nil if the topic has none such.
func (t *Topic) Partition(id int32) *Partition {
	for i := range t.Partitions {
		if t.Partitions[i].ID == id {
			return &t.Partitions[i]
		}
	}
	return nil
}

// Leader returns the broker that leads a partition, or why there is none
// (a *BrokerError).
func (c *Cluster) Leader(topic string, partition int32) (int32, error) {
	missing := &BrokerError{Topic: topic, Partition: partition, Offset: -1, Code: kafka.UnknownTopicOrPartition}
	t := c.Topic(topic)
	if t == nil {
		return -1, missing
	}
	if t.Err != nil {
		return -1, t.Err
	}
	p := t.Partition(partition)
	switch {
	case p == nil:
		return -1, missing
	case p.Leader < 0 && p.Err != nil:
		return -1, p.Err
	case p.Leader < 0:
		return -1, &BrokerError{Topic: topic, Partition: partition, Offset: -1, Code: kafka.LeaderNotAvailable}
	}
	return p.Leader, nil
}

// Metadata asks any broker about the cluster and the named topics, in the order
// asked; with none, only about the cluster. It never creates a topic, and a
// topic that is missing is no error of the call but has its own Err.
func (c *Client) Metadata(ctx context.Context, topics []string) (*Cluster, error) {
	x := new(exchange)
	c.prepare(x, protocol.Metadata)
	b := x.begin(metadataVersion, c.ClientID)
	b = appendArray(b, len(topics))
	for _, name := range topics {
		b = append(b, make([]byte, 16)...) // by name, not by id
		b = append(appendString(b, name), 0)
	}
	b = append(b, 0, 0) // no creation, no list of allowed operations
	x.end(append(b, 0))
	if err := c.roundTrip(ctx, x, 0); err != nil {
		return nil, fmt.Errorf("metadata of %d topics: %w", len(topics), err)
	}
	cluster, err := parseMetadata(x)
	if err != nil {
		return nil, fmt.Errorf("metadata of %d topics: %w", len(topics), err)
	}
	slices.SortStableFunc(cluster.Topics, func(a, b Topic) int {
		return slices.Index(topics, a.Name) - slices.Index(topics, b.Name)
	})
	return cluster, nil
}

func parseMetadata(x *exchange) (*Cluster, error) {
	c, err := x.body()
	if err != nil {
		return nil, err
	}
	cluster := new(Cluster)
	c.int32() // throttled for
	for n := c.array(); n > 0 && !c.bad; n-- {
		b := Broker{ID: c.int32(), Host: string(c.blob()), Port: c.int32()}
		c.blob() // rack
		c.tags()
		cluster.Brokers = append(cluster.Brokers, b)
	}
	cluster.ID = string(c.blob())
	c.int32() // controller
	for n := c.array(); n > 0 && !c.bad; n-- {
		cluster.Topics = append(cluster.Topics, parseTopic(&c))
	}
	c.tags()
	if c.bad || len(c.b) != 0 {
		return nil, fmt.Errorf("%w: metadata of %d bytes", ErrMalformed, len(x.answer))
	}
	return cluster, nil
}

func parseTopic(c *cursor) Topic {
	code := kafka.Error(c.int16())
	t := Topic{Name: string(c.blob()), ID: c.uuid()}
	if code != 0 {
		t.Err = &BrokerError{Topic: t.Name, Partition: -1, Offset: -1, Code: code}
	}
	c.int8() // internal
	for n := c.array(); n > 0 && !c.bad; n-- {
		code := kafka.Error(c.int16())
		p := Partition{ID: c.int32(), Leader: c.int32()}
		if code != 0 {
			p.Err = &BrokerError{Topic: t.Name, Partition: p.ID, Offset: -1, Code: code}
		}
		c.int32()     // leader epoch
		for range 3 { // replicas, in-sync replicas, offline replicas
			c.bytes(4 * c.array())
		}
		c.tags()
		t.Partitions = append(t.Partitions, p)
	}
	c.int32() // allowed operations
	c.tags()
	slices.SortFunc(t.Partitions, func(a, b Partition) int { return int(a.ID) - int(b.ID) })
	return t
}
