package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// span is the range of one partition. Positions in [First, start) have expired
// on Kafka, those in [start, read) are compared record by record, and those in
// [read, end) are read because records of unifyevents may have come from there:
// the ledger has not reached them.
type span struct {
	store.Position
	topic      string // without prefix
	start, end int64
	read       int64
	behind     bool       // the ledger is not at the log's end, so far as is known
	holes      [][2]int64 // ranges inside [start, read), both ends included, that Kafka lacks

	// lost says that positions right before where the reading stands have expired;
	// lostUntil is the timestamp in ms of the first record behind such positions.
	lost      bool
	lostUntil int64
	newest    int64 // timestamp in ms of the newest record; 0: there was none
}

func (s *span) unify() bool { return s.topic == topics.UnifyEvents }

// want is the request for the partition's records from an offset on.
func (s *span) want(offset int64) fetch.Want {
	return fetch.Want{Topic: s.Topic, TopicID: s.TopicUUID, Partition: s.Partition, Offset: offset}
}

// HaltedError says that a partition is in a state in which the log cannot be the
// judge of what is stored.
type HaltedError struct {
	Topic     string
	Partition int32
	Reason    string
}

// Error says why, and what to do first.
func (e *HaltedError) Error() string {
	return fmt.Sprintf("topic %s partition %d: %s; `persistor positions` shows it, and what the daemon says of it comes first",
		e.Topic, e.Partition, e.Reason)
}

// fixRange reads the ledger and Kafka's log starts: what this run covers.
func (r *run) fixRange(ctx context.Context) error {
	positions, err := store.Positions(ctx, r.conn)
	if err != nil {
		return err
	}
	known := topics.Names(topics.Consumed())
	for _, pos := range positions {
		topic, ours := strings.CutPrefix(pos.Topic, r.Prefix)
		if !ours || !slices.Contains(known, topic) {
			continue // another installation's in the same database
		}
		r.spans = append(r.spans, &span{
			Position: pos, topic: topic,
			start: pos.Next, end: pos.Next, read: pos.Next, behind: true,
		})
	}
	if len(r.spans) == 0 {
		return errors.New("the ledger has none of our topics: nothing was ever stored that could be compared, or it was under another PERSISTOR_TOPIC_PREFIX")
	}
	return r.askKafka(ctx)
}

// askKafka finds out what Kafka still has of the range.
func (r *run) askKafka(ctx context.Context) error {
	var names []string
	for _, s := range r.spans {
		if !slices.Contains(names, s.Topic) {
			names = append(names, s.Topic)
		}
	}
	cluster, err := r.Kafka.Metadata(ctx, names)
	if err != nil {
		return fmt.Errorf("ask Kafka for its topics: %w", err)
	}
	r.cluster = cluster
	var wants []fetch.Want
	var asked []*span
	for _, s := range r.spans {
		topic := cluster.Topic(s.Topic)
		switch {
		case topic == nil || topic.Err != nil || topic.Partition(s.Partition) == nil:
			r.note("topic %s partition %d is not on Kafka any more: nothing of it can be read", s.Topic, s.Partition)
		case s.ClusterID != cluster.ID:
			r.note("topic %s partition %d is stored from cluster %s, and this one is %s: nothing of it can be read", s.Topic, s.Partition, s.ClusterID, cluster.ID)
		case s.TopicUUID != topic.ID:
			r.note("topic %s was made again: nothing of the one that is stored can be read", s.Topic)
		default:
			wants, asked = append(wants, s.want(0)), append(asked, s)
		}
	}
	if len(wants) == 0 {
		return nil
	}
	marks, err := r.Kafka.Watermarks(ctx, cluster, wants)
	if err != nil {
		return fmt.Errorf("ask Kafka for the ends of its logs: %w", err)
	}
	for i, s := range asked {
		if marks[i].HighWatermark < s.Next {
			return &HaltedError{s.Topic, s.Partition, fmt.Sprintf("the log ends at offset %d, before the ledger's %d: it lost records that are stored", marks[i].HighWatermark, s.Next)}
		}
		s.start = max(s.First, min(marks[i].LogStart, s.Next))
		s.end, s.behind = s.Next, marks[i].HighWatermark > s.Next
	}
	return nil
}

// extend sets how far the hot topics are read: to their ends as they are now.
func (r *run) extend(ctx context.Context) error {
	var wants []fetch.Want
	var asked []*span
	for _, s := range r.spans {
		if !s.unify() && r.readable(s) {
			wants, asked = append(wants, s.want(0)), append(asked, s)
		}
	}
	if len(wants) == 0 {
		return nil
	}
	marks, err := r.Kafka.Watermarks(ctx, r.cluster, wants)
	if err != nil {
		return fmt.Errorf("ask Kafka for the ends of its logs: %w", err)
	}
	for i, s := range asked {
		s.end = max(s.Next, marks[i].LastStable)
	}
	return nil
}

// readable tells whether Kafka has the log that the ledger means.
func (r *run) readable(s *span) bool {
	topic := r.cluster.Topic(s.Topic)
	return topic != nil && topic.Err == nil && topic.Partition(s.Partition) != nil &&
		s.ClusterID == r.cluster.ID && s.TopicUUID == topic.ID
}
