package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

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
	cluster *fetch.Cluster
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
	rec, err := a.record(ctx, at)
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

// record reads one record; nil where there is none any more, or the topic is
// another one by now.
func (a *audit) record(ctx context.Context, at source) (*fetch.Record, error) {
	w := &a.witness
	if w.cluster == nil {
		cluster, err := w.client.Metadata(ctx, slices.Compact(slices.Sorted(maps.Values(a.names))))
		if err != nil {
			return nil, err
		}
		w.cluster = cluster
	}
	want := fetch.Want{Topic: a.names[at.TopicID], TopicID: a.incarnations[at.TopicID], Partition: at.Partition, Offset: at.offset}
	if topic := w.cluster.Topic(want.Topic); topic.Err == nil && topic.ID != want.TopicID {
		return nil, nil
	}
	rec, err := w.client.At(ctx, w.cluster, want)
	for _, gone := range []error{kafka.UnknownTopicOrPartition, kafka.UnknownTopicID, kafka.OffsetOutOfRange, fetch.ErrNoAnswer} {
		if errors.Is(err, gone) {
			return nil, nil
		}
	}
	return rec, err
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
