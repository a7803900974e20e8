package fetch

import (
	"fmt"

	"github.com/segmentio/kafka-go"
)

// Response holds one answer in memory that later fetches use again; its
// zero value is ready. It and all slices that came out of it are valid until it
// is given to Fetch again. Not for concurrent use, not to be copied.
//
// It keeps the compressed answer and one inflated batch, and gives memory back
// once it has been far larger than needed for a while.
type Response struct {
	// Partitions answers Request.Partitions one by one: same length, same order.
	Partitions []Part

	exchange *routed // nil while the transport may still be writing to it
	inflater inflater
	inflated *Part // whose open batch inflater.out holds
}

// Memory is how many bytes of buffers the response holds at present.
func (r *Response) Memory() int {
	n := cap(r.inflater.memory.buf)
	if r.exchange != nil {
		n += cap(r.exchange.memory.buf)
	}
	return n
}

func (r *Response) reset() {
	r.Partitions = r.Partitions[:0]
	r.inflated = nil
	r.inflater.memory.tick()
	if r.exchange != nil {
		r.exchange.memory.tick()
	}
}

// parse reads the answer up to the record batches, which are left to Part.Next.
func (r *Response) parse(req *Request) error {
	c, err := r.exchange.body()
	if err != nil {
		return err
	}
	c.int32() // throttled for; the broker enforces it
	if code := kafka.Error(c.int16()); code != 0 && !c.bad {
		return &BrokerError{Offset: -1, Code: code}
	}
	c.int32() // session
	r.expect(req)
	hint := 0
	for topics := c.array(); topics > 0 && !c.bad; topics-- {
		id := c.uuid()
		for partitions := c.array(); partitions > 0 && !c.bad; partitions-- {
			partition := c.int32()
			i := find(req.Partitions, id, partition, hint)
			if i < 0 || r.Partitions[i].answered {
				return fmt.Errorf("%w: topic id %x partition %d was not asked for, or is answered twice", ErrMalformed, id, partition)
			}
			r.Partitions[i].parse(&c)
			hint = i + 1
		}
		c.tags()
	}
	c.tags()
	if c.bad || len(c.b) != 0 {
		return fmt.Errorf("%w: %d bytes about %d partitions", ErrMalformed, len(r.exchange.answer), len(req.Partitions))
	}
	return nil
}

// expect makes one unanswered part per wanted partition, keeping the parts'
// own memory.
func (r *Response) expect(req *Request) {
	n := len(req.Partitions)
	if cap(r.Partitions) < n {
		r.Partitions = make([]Part, n)
	}
	r.Partitions = r.Partitions[:n]
	for i := range r.Partitions {
		p := &r.Partitions[i]
		*p = Part{
			Want:     req.Partitions[i],
			response: r,
			// A broker may leave out a partition that it has no room for.
			HighWatermark: -1, LastStable: -1, LogStart: -1, empty: true,
			next:   req.Partitions[i].Offset,
			aborts: aborts{ahead: p.aborts.ahead[:0], open: p.aborts.open[:0]},
		}
	}
}

// find looks from hint on, since brokers answer in the order of the request.
func find(wants []Want, id [16]byte, partition int32, hint int) int {
	for n := range wants {
		i := (hint + n) % len(wants)
		if wants[i].Partition == partition && wants[i].TopicID == id {
			return i
		}
	}
	return -1
}

// parse reads one partition's entry of the answer.
func (p *Part) parse(c *cursor) {
	p.answered = true
	code := kafka.Error(c.int16())
	p.HighWatermark = c.int64()
	p.LastStable = c.int64()
	p.LogStart = c.int64()
	for n := c.array(); n > 0 && !c.bad; n-- {
		p.aborts.add(abortedTxn{producer: c.int64(), first: c.int64()})
		c.tags()
	}
	p.aborts.sort()
	c.int32() // preferred read replica; without a rack there is none
	p.rest = c.blob()
	c.tags()
	if code != 0 {
		p.Err = &BrokerError{Topic: p.Want.Topic, Partition: p.Want.Partition, Offset: p.Want.Offset, Code: code}
		p.failed, p.rest = p.Err, nil
	}
	p.empty = len(p.rest) == 0
}
