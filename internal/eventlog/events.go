package eventlog

import (
	"context"
	"errors"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/state"
)

// Event is a record of the log, decoded, or a gap, which has a Reason. It is
// valid until the function that takes it returns.
type Event struct {
	Record
	Last   int64 // of a gap
	Reason string

	Unify event.Unify // unless Err is not nil
	Err   error       // why the decoder refuses the record

	decoder event.Decoder
}

// Apply has the state take the event.
func (e *Event) Apply(s *state.State) {
	switch {
	case e.Reason != "":
		s.Gap(e.Offset, e.Last, e.Reason)
	case e.Err != nil:
		s.Unreadable(e.Offset, e.Time)
	default:
		s.Apply(e.Offset, e.Time, &e.Unify)
	}
}

// Events travel in chunks: large enough that handing one over costs nothing,
// small enough to stay in a core's cache.
const (
	chunkEvents = 16
	chunksAhead = 16
)

// chunk is a run of events and the bytes that they point into.
type chunk struct {
	events  [chunkEvents]Event
	n       int
	decoded bool
	bytes   []byte
}

func (c *chunk) decode() {
	for i := range c.events[:c.n] {
		c.events[i].decode()
	}
	c.decoded = true
}

func (e *Event) decode() {
	if e.Reason == "" {
		e.Err = e.decoder.Unify(e.Key, e.Value, &e.Unify)
	}
}

// ReadEvents is log.Read with the records decoded. What fn does and the decoding
// share two cores: a chunk is decoded ahead of fn while fn has others to go on
// with, and else where fn is. ErrStop from fn ends the reading without being an
// error.
func ReadEvents(ctx context.Context, log Log, from, until int64, fn func(*Event) error) error {
	// A cancelled statement would cost the archive its session: the log is asked
	// to stop by its sink.
	wanted, cancel := context.WithCancel(ctx)
	d := &decoding{ctx: wanted, full: make(chan *chunk, chunksAhead), free: make(chan *chunk, chunksAhead)}
	for range chunksAhead {
		d.free <- &chunk{}
	}
	var readErr error
	go func() {
		defer close(d.full)
		if readErr = log.Read(ctx, from, until, d); d.chunk != nil {
			d.full <- d.chunk // there is room for all there are; what came before an error is good
		}
	}()
	var err error
	for c := range d.full {
		for i := 0; i < c.n && err == nil; i++ {
			e := &c.events[i]
			if !c.decoded {
				e.decode()
			}
			if err = fn(e); err != nil {
				cancel()
			}
		}
		c.n, c.decoded, c.bytes = 0, false, c.bytes[:0]
		d.free <- c
	}
	cancel()
	switch {
	case errors.Is(err, ErrStop):
		return nil
	case err != nil:
		return err
	}
	return readErr
}

// decoding is the sink that fills chunks.
type decoding struct {
	ctx        context.Context //nolint:containedctx // of one reading, as the decoding is
	full, free chan *chunk
	chunk      *chunk
}

// Record takes one record.
func (d *decoding) Record(r *Record) error {
	e, err := d.next()
	if err != nil {
		return err
	}
	c := d.chunk
	if need := len(r.Key) + len(r.Value) + len(r.Headers); cap(c.bytes)-len(c.bytes) < need {
		// What the events before point into stays with them.
		c.bytes = make([]byte, 0, max(need, 2*cap(c.bytes), 16<<10))
	}
	e.Record = Record{Offset: r.Offset, Time: r.Time, Key: keep(&c.bytes, r.Key), Value: keep(&c.bytes, r.Value), Headers: keep(&c.bytes, r.Headers)}
	e.Last, e.Reason = r.Offset, ""
	return d.handOn()
}

// Gap hands on a gap.
func (d *decoding) Gap(first, last int64, reason string) error {
	e, err := d.next()
	if err != nil {
		return err
	}
	e.Record, e.Last, e.Reason, e.Err = Record{Offset: first}, last, reason, nil
	return d.handOn()
}

// next is the room for one more event.
func (d *decoding) next() (*Event, error) {
	if d.chunk == nil {
		if d.ctx.Err() != nil {
			return nil, context.Cause(d.ctx)
		}
		select {
		case d.chunk = <-d.free:
		case <-d.ctx.Done():
			return nil, context.Cause(d.ctx)
		}
		if cap(d.chunk.bytes) > 1<<20 {
			d.chunk.bytes = nil // one unusually big record must not be remembered
		}
	}
	d.chunk.n++
	return &d.chunk.events[d.chunk.n-1], nil
}

// handOn hands on the chunk once it is full.
func (d *decoding) handOn() error {
	if d.chunk.n < chunkEvents {
		return nil
	}
	if len(d.full) > 1 {
		d.chunk.decode()
	}
	d.full <- d.chunk // there is room for all there are
	d.chunk = nil
	return nil
}
