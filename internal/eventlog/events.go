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

// ReadEvents is log.Read with the records decoded: where fn is, so that an event
// never leaves a core's cache, while the source reads and decompresses on another.
// ErrStop from fn ends the reading without being an error.
func ReadEvents(ctx context.Context, log Log, from, until int64, fn func(*Event) error) error {
	err := log.Read(ctx, from, until, &decoding{ctx: ctx, fn: fn})
	if errors.Is(err, ErrStop) {
		return nil
	}
	return err
}

// decoding is the sink that hands on every record decoded.
type decoding struct {
	ctx   context.Context //nolint:containedctx // of one reading, as the decoding is
	fn    func(*Event) error
	event Event
}

// Record takes one record.
func (d *decoding) Record(r *Record) error {
	e := &d.event
	e.Record, e.Last, e.Reason = *r, r.Offset, ""
	e.Err = e.decoder.Unify(r.Key, r.Value, &e.Unify)
	return d.handOn()
}

// Gap hands on a gap.
func (d *decoding) Gap(first, last int64, reason string) error {
	e := &d.event
	e.Record, e.Last, e.Reason, e.Err = Record{Offset: first}, last, reason, nil
	return d.handOn()
}

func (d *decoding) handOn() error {
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	return d.fn(&d.event)
}
