package eventlog

import (
	"bytes"
	"context"
	"errors"

	"github.com/thaliumx/persistor/internal/store"
)

// Joined is the archive, and the topic for what the archive has not got. Where
// both have the same offsets they must have the same records, to the byte.
type Joined struct {
	archive *Archive
	kafka   *Kafka
	log     store.Position
	overlap int64

	// Tally counts what the last Read delivered.
	Tally Tally
}

// Tally says where records came from.
type Tally struct {
	Archive  int64 // records delivered from the archive
	Topic    int64 // records delivered from the topic
	Compared int64 // records that were read from both, and were the same
}

const (
	// SeamOverlap is how many offsets below the seam are compared by default:
	// a fraction of a second, while the whole of a week's retention would take as
	// long as reading all of it twice. A topic that was rewritten below is found
	// by comparing WholeOverlap, as an audit does.
	SeamOverlap = 10_000

	// WholeOverlap compares all that both have of what is read.
	WholeOverlap = End
)

// NewJoined reads the archive that the ledger's entry (see Current) is about,
// and the topic. Where a reading crosses from one to the other, so many offsets
// below are compared.
func NewJoined(session store.Querier, log store.Position, kafka *Kafka, overlap int64) *Joined {
	return &Joined{archive: NewArchive(session, log.TopicID), kafka: kafka, log: log, overlap: overlap}
}

const both = "the archive and the topic together"

// Bounds are those of the newest part without a hole.
func (j *Joined) Bounds(ctx context.Context) (first, next int64, err error) {
	s, err := j.look(ctx)
	return s.first(), s.next(), err
}

// seam is how the two lie beside each other.
type seam struct {
	low, high int64 // the archive's bounds
	topic     Incarnation
}

func (s *seam) empty() bool { return s.low == s.high }

func (s *seam) first() int64 {
	if s.empty() || s.topic.First > s.high {
		return s.topic.First
	}
	return min(s.low, s.topic.First)
}

func (s *seam) next() int64 { return max(s.high, s.topic.Next) }

func (j *Joined) look(ctx context.Context) (s seam, err error) {
	// In this order: the topic is never behind the archive then.
	if s.low, s.high, err = j.archive.Bounds(ctx); err != nil {
		return s, err
	}
	s.topic, err = j.incarnation(ctx)
	if err == nil && s.topic.Next < s.high {
		err = &SeamError{Topic: j.kafka.topic, Offset: s.topic.Next, Differs: "it ends there:"}
	}
	return s, err
}

func (j *Joined) incarnation(ctx context.Context) (Incarnation, error) {
	i, err := j.kafka.Look(ctx)
	if err == nil && (i.ClusterID != j.log.ClusterID || i.TopicID != j.log.TopicUUID) {
		err = &OtherTopicError{j.kafka.topic}
	}
	return i, err
}

// Read delivers [from, until). What lies inside the archive is read from there
// without the topic, which need not even be there, unless the whole overlap is
// to be compared. What the archive has lost in between comes from the topic.
func (j *Joined) Read(ctx context.Context, from, until int64, sink Sink) error {
	j.Tally = Tally{}
	end, err := j.archive.end(ctx)
	if err != nil {
		return err
	}
	holed := false
	if until <= end && j.overlap != WholeOverlap {
		if holed, err = j.archive.holed(ctx, from, until); err != nil {
			return err
		}
		if !holed {
			err := j.archive.Read(ctx, from, until, counting{sink, &j.Tally.Archive})
			if _, below := errors.AsType[*RangeError](err); !below {
				return err
			}
		}
	}
	s, err := j.look(ctx)
	if err != nil {
		return err
	}
	if until == End {
		until = s.next()
	}
	switch {
	case holed && from < s.first(): // it says where the hole is
		return j.archive.Read(ctx, from, until, counting{sink, &j.Tally.Archive})
	case from < s.first() || until > s.next() || from > until:
		return &RangeError{Source: both, From: from, Until: until, First: s.first(), Next: s.next()}
	case s.empty() || s.topic.First > s.high:
		s.low, s.high = from, from // of the archive nothing is of use
	}
	r := joinedReader{Joined: j, seam: s, sink: sink, at: from, until: until}
	if err = r.read(ctx); errors.Is(err, ErrStop) {
		return nil
	}
	return err
}

// joinedReader is one reading of both.
type joinedReader struct {
	*Joined
	seam
	sink  Sink
	at    int64 // what is delivered next
	until int64
}

func (r *joinedReader) read(ctx context.Context) error {
	if r.at < r.low {
		// The archive was cut, and the topic reaches farther back.
		if err := r.fromTopic(ctx, min(r.low, r.until)); err != nil {
			return err
		}
	}
	compare := max(r.low, r.high-r.overlap)
	for {
		compare = min(max(compare, r.topic.First), r.high)
		if err := r.fromArchive(ctx, min(compare, r.until)); err != nil || r.at == r.until {
			return err
		}
		// The topic's retention went on meanwhile.
		var err error
		if r.topic, err = r.incarnation(ctx); err != nil {
			return err
		}
		if r.topic.First <= compare || compare == r.high {
			return r.fromBoth(ctx, compare)
		}
	}
}

func (r *joinedReader) fromArchive(ctx context.Context, until int64) error {
	if r.at >= until {
		return nil
	}
	stream := r.archive.start(ctx, r.at, until)
	defer stream.close()
	r.at = until
	return stream.pour(counting{r.sink, &r.Tally.Archive})
}

func (r *joinedReader) fromTopic(ctx context.Context, until int64) error {
	stream := r.kafka.start(ctx, r.topic, r.at, until)
	defer stream.close()
	r.at = until
	return stream.pour(counting{r.sink, &r.Tally.Topic})
}

// fromBoth reads both from an offset on up to the seam, and then the topic. What
// is compared may begin below what is delivered.
func (r *joinedReader) fromBoth(ctx context.Context, compare int64) error {
	topic := stream{ahead: r.kafka.start(ctx, r.topic, compare, r.until)}
	defer topic.close()
	seam := min(r.high, r.until)
	archive := stream{ahead: r.archive.start(ctx, compare, seam)}
	defer archive.close()
	sink := counting{r.sink, &r.Tally.Archive}
	for offset := compare; offset < seam; {
		fresh, err := archive.reach(offset)
		if err != nil {
			return err
		}
		if _, err := topic.reach(offset); err != nil {
			return err
		}
		if differs := difference(archive.item, topic.item); differs != "" {
			return &SeamError{Topic: r.kafka.topic, Offset: offset, Differs: differs}
		}
		if archive.reason == "" && topic.reason == "" {
			r.Tally.Compared++
		}
		if fresh && archive.last >= r.at {
			archive.Offset = max(archive.Offset, r.at)
			if err := archive.give(sink); err != nil {
				return err
			}
		}
		offset = min(archive.last, topic.last) + 1
	}
	if r.until <= seam {
		return nil
	}
	return topic.rest(max(r.at, seam), counting{r.sink, &r.Tally.Topic})
}

// stream is one side of a comparison.
type stream struct {
	*ahead
	*item
}

// reach goes to the item that covers the offset; fresh tells whether it is
// another than before.
func (s *stream) reach(offset int64) (fresh bool, err error) {
	for s.item == nil || s.last < offset {
		if s.item, err = s.next(); err != nil {
			return false, err
		}
		fresh = true
	}
	return fresh, nil
}

// rest delivers from an offset on, beginning with what is left of the item that
// covers it.
func (s *stream) rest(from int64, sink Sink) error {
	_, err := s.reach(from)
	if err == nil {
		s.Offset = max(s.Offset, from)
		err = s.give(sink)
	}
	if err != nil {
		return err
	}
	return s.pour(sink)
}

// difference says how two items that cover one offset differ; empty: not at all,
// or as they may: what the ledger passed over the topic may have.
func difference(archive, topic *item) string {
	switch {
	case archive.reason == "" && topic.reason == "":
		return differs(&archive.Record, &topic.Record)
	case archive.reason == Control && topic.reason == "":
		return "the archive has a transaction's marker or an aborted record there, the topic a record:"
	case archive.reason == "":
		return "the archive has a record there, the topic a transaction's marker or an aborted record:"
	}
	return ""
}

// differs names the first part in which two records of one offset differ. Null
// and empty are not the same.
func differs(a, b *Record) string {
	equal := func(x, y []byte) bool { return (x == nil) == (y == nil) && bytes.Equal(x, y) }
	switch {
	case !equal(a.Value, b.Value):
		return "the value differs:"
	case !equal(a.Key, b.Key):
		return "the key differs:"
	case a.Time != b.Time:
		return "the timestamp differs:"
	case !bytes.Equal(a.Headers, b.Headers):
		return "the headers differ:"
	}
	return ""
}

// counting counts the records on their way.
type counting struct {
	Sink
	records *int64
}

func (c counting) Record(r *Record) error {
	*c.records++
	return c.Sink.Record(r)
}
