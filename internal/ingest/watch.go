package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/httpserver"
	"github.com/thaliumx/persistor/internal/store"
)

// topicPoll is how often the cluster is asked for topics and partitions that
// came or went.
const topicPoll = 2 * time.Second

var errTopicsChanged = errors.New("topics or partitions came or went")

// topicShape is what a membership was built on: the partitions of each topic
// that exists, and its id.
type topicShape map[string]struct {
	id         [16]byte
	partitions int
}

func existing(cluster *fetch.Cluster) topicShape {
	s := topicShape{}
	for _, t := range cluster.Topics {
		if t.Err == nil {
			e := s[t.Name]
			e.id, e.partitions = t.ID, len(t.Partitions)
			s[t.Name] = e
		}
	}
	return s
}

// lookForMissing tells of topics that cannot be read although they should: the
// group is joined without them, so no partition would tell, and what they hold
// expires. One that was never there is only waited for.
func (d *Daemon) lookForMissing(ctx context.Context, cluster *fetch.Cluster) {
	var missing []httpserver.Reason
	var stored map[string]bool
	var awaited []string
	for _, name := range d.Options.topicNames() {
		t := cluster.Topic(name)
		if t != nil && t.Err == nil {
			continue
		}
		absent := t == nil || errors.Is(t.Err, kafka.UnknownTopicOrPartition) || fetch.Retriable(t.Err)
		if absent && stored == nil {
			stored = d.inLedger(ctx)
		}
		switch {
		case !absent:
			missing = append(missing, httpserver.Reason{Code: "topic_unreadable", Message: fmt.Sprintf("topic %s cannot be read: %v", name, t.Err),
				Remedy: "let our user DESCRIBE and READ it"})
		case stored[name]:
			missing = append(missing, httpserver.Reason{Code: "topic_gone", Message: fmt.Sprintf("topic %s is gone, of which records are stored", name),
				Remedy: "find out who deleted it; if it is not to come back, leave it out of PERSISTOR_TOPICS"})
		default:
			if awaited = append(awaited, name); !slices.Contains(d.awaited, name) {
				d.log.Info("topic does not exist yet; waiting for it", "topic", name)
			}
		}
	}
	for _, r := range missing {
		if !slices.Contains(d.missing, r) { // only written here
			d.log.Error(r.Message, "remedy", r.Remedy)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.missing, d.awaited = missing, awaited
}

// inLedger are the topics of which records are stored; none where the database
// does not answer, which others tell.
func (d *Daemon) inLedger(ctx context.Context) map[string]bool {
	names := map[string]bool{}
	conn, err := store.Connect(ctx, d.Options.Database)
	if err != nil {
		return names
	}
	defer conn.Close(context.WithoutCancel(ctx))
	ledger, err := store.Positions(ctx, conn)
	if err != nil {
		d.log.Debug("cannot look which topics have records stored", "error", err)
	}
	for _, pos := range ledger {
		names[pos.Topic] = true
	}
	return names
}

func (s topicShape) names() []string {
	var names []string
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (s topicShape) equal(other topicShape) bool {
	if len(s) != len(other) {
		return false
	}
	for name, e := range s {
		if other[name] != e {
			return false
		}
	}
	return true
}

// watchTopics ends the membership when the topics are not what it was built on,
// and keeps the ends of the logs up to date for partitions that are not read.
func (d *Daemon) watchTopics(ctx context.Context, leave context.CancelCauseFunc, shape topicShape) {
	for sleep(ctx, topicPoll) {
		cluster, err := d.kafka.Metadata(ctx, d.Options.topicNames())
		if err != nil {
			continue // the workers notice and say so
		}
		if now := existing(cluster); !now.equal(shape) {
			d.log.Info("topics or partitions came or went; joining the group anew", "topics", now.names())
			leave(errTopicsChanged)
			return
		}
		d.refreshLogs(ctx, cluster)
	}
}

func (d *Daemon) refreshLogs(ctx context.Context, cluster *fetch.Cluster) {
	d.mu.Lock()
	list := d.partitions
	d.mu.Unlock()
	var wants []fetch.Want
	var asked []*partition
	for _, p := range list {
		if t := cluster.Topic(p.name); t != nil && t.Err == nil {
			wants = append(wants, fetch.Want{Topic: p.name, TopicID: t.ID, Partition: p.id})
			asked = append(asked, p)
		}
	}
	if len(wants) == 0 {
		return
	}
	marks, _ := d.kafka.Watermarks(ctx, cluster, wants)
	for i, m := range marks {
		if m.Err == nil {
			asked[i].sawLog(m.LogStart, m.HighWatermark)
		}
	}
}

// wholeTopics are those whose partitions are all ours.
func wholeTopics(list []*partition, shape topicShape, prefix string) map[string]bool {
	count := map[string]int{}
	for _, p := range list {
		count[p.topic]++
	}
	whole := map[string]bool{}
	for topic, n := range count {
		whole[topic] = n == shape[prefix+topic].partitions
	}
	return whole
}
