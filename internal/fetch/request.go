package fetch

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// fetchVersion is the first that names topics by id, so that a broker cannot
// answer with another incarnation's records. Kafka 3.1 brought it.
const fetchVersion = 13

// Want is one partition to read from one offset on.
type Want struct {
	Topic     string // for messages only; the broker goes by TopicID
	TopicID   [16]byte
	Partition int32
	Offset    int64
	MaxBytes  int32 // most bytes of this partition; 0 means Request.MaxBytes
}

// Request asks one broker for records of partitions that it leads.
//
// The broker fills the answer in the order of Partitions until MaxBytes is
// reached. The first partition that has anything gives at least one whole batch,
// even if that is larger than both limits, so that a large message cannot block
// its partition; the others stay within the limits, and once the answer is full
// they give nothing. So rotate the order from one request to the next, or the
// first partitions starve the last ones.
type Request struct {
	Broker     int32 // the partitions' leader
	Partitions []Want
	MinBytes   int32         // the broker waits for as much, up to MaxWait
	MaxBytes   int32         // of the whole answer
	MaxWait    time.Duration // whole milliseconds are sent
}

func (r *Request) validate(maxAnswer int) error {
	if len(r.Partitions) == 0 {
		return errors.New("fetch: the request names no partition")
	}
	if r.MaxBytes <= 0 || r.MinBytes < 0 || r.MaxWait < 0 || r.MaxWait.Milliseconds() > math.MaxInt32 {
		return fmt.Errorf("fetch: limits out of range: at least %d and at most %d bytes within %s", r.MinBytes, r.MaxBytes, r.MaxWait)
	}
	if int(r.MaxBytes) > maxAnswer {
		return fmt.Errorf("fetch: asking for %d bytes, above the limit of %d for an answer; lower the one or raise the other", r.MaxBytes, maxAnswer)
	}
	for i := range r.Partitions {
		w := &r.Partitions[i]
		if w.TopicID == ([16]byte{}) {
			return fmt.Errorf("fetch: topic %s partition %d has no topic id; read the metadata first", w.Topic, w.Partition)
		}
		if w.Offset < 0 || w.Partition < 0 || w.MaxBytes < 0 {
			return fmt.Errorf("fetch: topic %s partition %d: offset %d, at most %d bytes: none may be negative", w.Topic, w.Partition, w.Offset, w.MaxBytes)
		}
	}
	return nil
}

func (r *Request) encode(x *exchange, clientID string) {
	b := x.begin(fetchVersion, clientID)
	b = appendInt32(b, -1) // a consumer, not a replica
	b = appendInt32(b, int32(r.MaxWait.Milliseconds()))
	b = appendInt32(b, r.MinBytes)
	b = appendInt32(b, r.MaxBytes)
	b = append(b, 1)       // read_committed
	b = appendInt32(b, 0)  // no fetch session: it would tie the order of
	b = appendInt32(b, -1) // partitions and what a lost answer meant to the broker
	// A topic that comes up again after another one gets a second entry: the
	// order that the caller chose is worth more than some bytes.
	b = appendArray(b, r.runs())
	for i := range r.Partitions {
		w := &r.Partitions[i]
		if i == 0 || w.TopicID != r.Partitions[i-1].TopicID {
			if i > 0 {
				b = append(b, 0) // the last topic's tagged fields
			}
			b = append(b, w.TopicID[:]...)
			b = appendArray(b, r.run(i))
		}
		b = appendInt32(b, w.Partition)
		b = appendInt32(b, -1) // leader epoch unknown: any leader will do
		b = appendInt64(b, w.Offset)
		b = appendInt32(b, -1) // last fetched epoch, for replicas
		b = appendInt64(b, -1) // log start, for replicas
		if w.MaxBytes == 0 {
			b = appendInt32(b, r.MaxBytes)
		} else {
			b = appendInt32(b, w.MaxBytes)
		}
		b = append(b, 0)
	}
	b = append(b, 0)      // the last topic's tagged fields
	b = appendArray(b, 0) // nothing to forget without a session
	b = appendString(b, "")
	x.end(append(b, 0))
}

// runs counts the runs of neighbours with one topic id.
func (r *Request) runs() (n int) {
	for i := 0; i < len(r.Partitions); i += r.run(i) {
		n++
	}
	return n
}

// run is the length of the run that starts at i.
func (r *Request) run(i int) int {
	n := 1
	for i+n < len(r.Partitions) && r.Partitions[i+n].TopicID == r.Partitions[i].TopicID {
		n++
	}
	return n
}
