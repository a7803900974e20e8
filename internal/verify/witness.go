package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/ingest"
	"github.com/thaliumx/persistor/internal/store"
)

// witness is Kafka, which still has the record that a suspect row was made of if
// it is not older than the topic's retention: what looks like an alteration may
// be what somebody else than the engine has sent. Nothing is asked before there
// is a suspect.
type witness struct {
	client  *fetch.Client // nil: nobody to be asked
	cluster map[string]*fetch.Cluster
	answer  fetch.Response
	decoder ingest.Decoder
	imager  store.Imager
	err     error // why there was no answer; then nothing more is asked
}

// row makes the row that the record at a position makes; false where the record
// is not to be had, or makes none. The row is valid until the next call.
func (a *audit) row(ctx context.Context, id tableID, at source) (record, bool) {
	w := &a.witness
	if w.client == nil || w.err != nil || a.unify[at.TopicID] { // the event log has what unifyevents says
		return record{}, false
	}
	name := a.names[at.TopicID]
	topic, err := consumed(name)
	if err != nil {
		return record{}, false
	}
	rec, err := w.record(ctx, fetch.Want{Topic: name, TopicID: a.incarnations[at.TopicID], Partition: at.Partition, Offset: at.offset})
	if err != nil {
		w.err = err
		a.find("kafka", Difference{Kind: Unchecked, Part: Tables, Detail: fmt.Sprintf(
			"Kafka could not be asked what the records of suspect rows say: %v", err)})
	}
	if rec == nil {
		return record{}, false
	}
	shape, image, err := w.imager.Row(func(b *store.Batch) error {
		return w.decoder.Add(b, store.Log{Topic: name, TopicID: at.TopicID, Partition: at.Partition}, topic,
			ingest.Record{Offset: rec.Offset, Time: rec.Timestamp, Key: rec.Key, Value: rec.Value}, ingest.Hash(rec.Value))
	})
	if err != nil || image == nil || tableID(shape) != id {
		return record{}, false
	}
	return id.parse(image), true
}

// record reads one record; nil where it has expired, or the topic is another one
// by now.
func (w *witness) record(ctx context.Context, want fetch.Want) (*fetch.Record, error) {
	cluster := w.cluster[want.Topic]
	if cluster == nil {
		var err error
		if cluster, err = w.client.Metadata(ctx, []string{want.Topic}); err != nil {
			return nil, err
		}
		if w.cluster == nil {
			w.cluster = map[string]*fetch.Cluster{}
		}
		w.cluster[want.Topic] = cluster
	}
	leader, err := cluster.Leader(want.Topic, want.Partition)
	if errors.Is(err, kafka.UnknownTopicOrPartition) || err == nil && cluster.Topic(want.Topic).ID != want.TopicID {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// A broker gives a whole batch, however little is asked for.
	err = w.client.Fetch(ctx, &fetch.Request{Broker: leader, Partitions: []fetch.Want{want}, MaxBytes: 1}, &w.answer)
	if err != nil {
		return nil, err
	}
	for part := &w.answer.Partitions[0]; ; {
		kind, err := part.Next()
		switch {
		case errors.Is(err, kafka.OffsetOutOfRange), errors.Is(err, kafka.UnknownTopicID):
			return nil, nil
		case err != nil:
			return nil, err
		case kind == fetch.Done, kind == fetch.Gap && part.Gap.Last >= want.Offset:
			return nil, nil
		case kind != fetch.Gap && part.Record.Offset >= want.Offset:
			if part.Record.Offset > want.Offset {
				return nil, nil
			}
			return &part.Record, nil
		}
	}
}

// sound tells whether a row is what its own record says, so that it has nothing
// to do with one of the event log that resembles it.
func (c *comparison) sound(ctx context.Context, e *entry) bool {
	if !e.heard {
		e.heard = true
		if own, found := c.row(ctx, c.id, e.source); found {
			e.sound = c.id.digest(own.image) == e.digest
		}
	}
	return e.sound
}
