package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// committer tells Kafka's group where we stand: a hint for lag tools, which
// never decides anything. It commits what has piled up, soon after a batch but
// not after each one.
type committer struct {
	gen *kafka.Generation
	log *slog.Logger

	mu      sync.Mutex
	offsets map[string]map[int]int64
	sent    map[string]map[int]int64 // the last ones, to ask with
	wake    chan struct{}
}

const commitEvery = 250 * time.Millisecond

func newCommitter(gen *kafka.Generation, log *slog.Logger) *committer {
	return &committer{gen: gen, log: log, offsets: map[string]map[int]int64{}, wake: make(chan struct{}, 1)}
}

// moved notes a partition's position.
func (c *committer) moved(p *partition, next int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.offsets[p.name] == nil {
		c.offsets[p.name] = map[int]int64{}
	}
	c.offsets[p.name][int(p.id)] = next
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *committer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
			c.flush()
			sleep(ctx, commitEvery)
		}
	}
}

func (c *committer) flush() {
	c.mu.Lock()
	offsets := c.offsets
	c.offsets = map[string]map[int]int64{}
	c.mu.Unlock()
	if len(offsets) == 0 {
		return
	}
	if err := c.gen.CommitOffsets(offsets); err != nil {
		c.log.Debug("group offsets not committed; the ledger has them", "error", err)
		return
	}
	c.mu.Lock()
	c.sent = offsets
	c.mu.Unlock()
}

// Current is asked before a worker acts on the ledger's word that it is not
// where it thought. It asks the coordinator whether we are still a member of the current
// generation. A coordinator that cannot be reached does not say that we are not,
// and neither does one that cannot be asked: a group without any offset, before
// our first partition is in work. The worst that comes of it is a session ended
// that its owner opens anew.
func (c *committer) Current() error {
	c.mu.Lock()
	offsets := c.sent
	if offsets == nil && len(c.offsets) > 0 {
		offsets = c.offsets
		c.offsets = map[string]map[int]int64{}
	}
	c.mu.Unlock()
	if offsets == nil {
		for topic, parts := range c.gen.Assignments {
			for _, a := range parts {
				if a.Offset >= 0 {
					offsets = map[string]map[int]int64{topic: {a.ID: a.Offset}}
				}
			}
		}
	}
	err := c.gen.CommitOffsets(offsets)
	var refused kafka.Error
	if errors.As(err, &refused) && !refused.Temporary() {
		return err
	}
	return nil
}
