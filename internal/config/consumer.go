package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/thaliumx/persistor/internal/topics"
)

// Consumer says which topics are read, and in which group.
type Consumer struct {
	GroupID string
	Topics  []string // without Kafka.TopicPrefix

	// SessionTimeout is how long Kafka waits for a heartbeat before it gives
	// a member's partitions to another.
	SessionTimeout time.Duration

	// DrainTimeout is how long a batch in flight may go on when its partition is
	// to be given up. Zero: see Drain.
	DrainTimeout time.Duration
}

// DefaultConsumer is the platform's documented consumer; 6 s is also the
// shortest session that a broker accepts by default.
func DefaultConsumer() Consumer {
	return Consumer{
		GroupID:        "thaliumx-persistor",
		Topics:         topics.Names(topics.Consumed()),
		SessionTimeout: 6 * time.Second,
	}
}

func (c *Consumer) settings() []setting {
	return []setting{
		{name: "group-id", value: stringValue(&c.GroupID), usage: "Kafka consumer group"},
		{name: "topics", value: listValue(&c.Topics), usage: "topics to read, of the eight that are known"},
		{name: "kafka-session-timeout", value: durationValue(&c.SessionTimeout),
			usage: "how long a member may be silent before others take over its partitions; the brokers' group.min.session.timeout.ms bounds it"},
		{name: "drain-timeout", value: durationValue(&c.DrainTimeout),
			usage: "how long a batch in flight may go on after SIGTERM or a rebalance; 0s: five sixths of the session timeout, at most 20s"},
	}
}

// The daemon promises to end within 30 s after SIGTERM, and needs some of them
// to leave the group and to close its connections.
const longestDrain = 25 * time.Second

// Drain is DrainTimeout or, where that is zero, what the session timeout allows.
func (c *Consumer) Drain() time.Duration {
	return cmp.Or(c.DrainTimeout, min(c.SessionTimeout*5/6, 20*time.Second))
}

// Validate refuses unknown and repeated topics and times that contradict each
// other.
func (c *Consumer) Validate() error {
	if strings.TrimSpace(c.GroupID) == "" {
		return fmt.Errorf("%s: must not be empty", label("group-id"))
	}
	if err := c.validateTopics(); err != nil {
		return err
	}
	// 30 minutes is the brokers' default for group.max.session.timeout.ms.
	if err := within("kafka-session-timeout", c.SessionTimeout, time.Second, 30*time.Minute); err != nil {
		return err
	}
	if err := within("drain-timeout", c.DrainTimeout, 0, longestDrain); err != nil {
		return err
	}
	if c.DrainTimeout >= c.SessionTimeout {
		return fmt.Errorf("%s: %v is not below the session timeout, %v: a batch that outlives the session runs beside the partition's next owner",
			label("drain-timeout"), c.DrainTimeout, c.SessionTimeout)
	}
	return nil
}

func (c *Consumer) validateTopics() error {
	if len(c.Topics) == 0 {
		return fmt.Errorf("%s: must not be empty", label("topics"))
	}
	known := topics.Names(topics.Consumed())
	for i, t := range c.Topics {
		if !slices.Contains(known, t) {
			return fmt.Errorf("%s: %q is no topic that the persistor knows; choose from %s", label("topics"), t, strings.Join(known, ", "))
		}
		if slices.Contains(c.Topics[:i], t) {
			return fmt.Errorf("%s: %s is named twice", label("topics"), t)
		}
	}
	return nil
}
