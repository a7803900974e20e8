package eventlog

import (
	"context"
	"errors"
	"io"
)

// Up to so many batches wait between a source and its sink: enough for either
// to be slow for a moment. A batch holds a record of any size, else no more than
// batchBytes.
const (
	batchesAhead = 4
	batchBytes   = 1 << 20
	batchItems   = 8192
)

// item is a record, or a gap, which has a reason.
type item struct {
	Record
	last   int64 // of a gap; else the record's own offset
	reason string
}

type batch struct {
	items []item
	bytes []byte
}

// ahead hands on what a source reads in a goroutine of its own.
type ahead struct {
	full   chan *batch
	free   chan *batch
	cancel context.CancelFunc
	err    error // of the source, once full is closed

	batch *batch // being handed out
	at    int
}

// readAhead starts a source that delivers [from, until) to a filler. Call close
// when done.
func readAhead(ctx context.Context, name string, from, until int64, source func(context.Context, *filler) error) *ahead {
	ctx, cancel := context.WithCancel(ctx)
	a := &ahead{full: make(chan *batch, batchesAhead), free: make(chan *batch, batchesAhead+1), cancel: cancel}
	for range batchesAhead {
		a.free <- &batch{}
	}
	go func() {
		defer close(a.full)
		f := &filler{ahead: a, ctx: ctx, name: name, next: from, until: until}
		a.err = f.end(source(ctx, f))
	}()
	return a
}

// next returns the next item, which is valid until the next call; io.EOF behind
// the last one.
func (a *ahead) next() (*item, error) {
	for a.batch == nil || a.at == len(a.batch.items) {
		if a.batch != nil {
			a.free <- a.batch.reset() // there is room for all there are
			a.batch = nil
		}
		b, ok := <-a.full
		if !ok && a.err == nil {
			return nil, io.EOF
		}
		if !ok {
			return nil, a.err
		}
		a.batch, a.at = b, 0
	}
	a.at++
	return &a.batch.items[a.at-1], nil
}

// close ends the source and waits until it has ended.
func (a *ahead) close() {
	a.cancel()
	for range a.full { // nobody wants them any more
	}
}

// deliver hands everything to the sink, which may stop it.
func (a *ahead) deliver(sink Sink) error {
	if err := a.pour(sink); !errors.Is(err, ErrStop) {
		return err
	}
	return nil
}

// pour hands everything to the sink, and returns ErrStop where that does.
func (a *ahead) pour(sink Sink) error {
	for {
		it, err := a.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = it.give(sink)
		}
		if err != nil {
			return err
		}
	}
}

func (i *item) give(sink Sink) error {
	if i.reason != "" {
		return sink.Gap(i.Offset, i.last, i.reason)
	}
	return sink.Record(&i.Record)
}

func (b *batch) reset() *batch {
	if cap(b.bytes) > 4*batchBytes {
		b.bytes = nil // one unusually big record must not be remembered
	}
	b.items, b.bytes = b.items[:0], b.bytes[:0]
	return b
}

// errFull is what a filler returns once it has all that was asked for.
var errFull = errors.New("all that was asked for is there")

// filler takes what a source reads: it copies records, cuts off what lies
// outside [from, until) and finds holes.
type filler struct {
	ahead *ahead
	ctx   context.Context // of one reading, as the filler is
	name  string          // of the source, for errors
	next  int64           // the offset that has to come
	until int64           // End: whatever comes
	batch *batch
}

// record takes one record; errFull says that no further one is wanted.
func (f *filler) record(r *Record) error {
	if r.Offset < f.next {
		return nil
	}
	if err := f.reaches(r.Offset); err != nil {
		return err
	}
	n := len(r.Key) + len(r.Value) + len(r.Headers)
	if f.batch != nil && len(f.batch.bytes) > 0 && len(f.batch.bytes)+n > cap(f.batch.bytes) {
		f.flush()
	}
	if err := f.open(); err != nil {
		return err
	}
	b := f.batch
	if cap(b.bytes) < n || cap(b.bytes) < batchBytes {
		b.bytes = make([]byte, 0, max(n, batchBytes))
	}
	b.items = append(b.items, item{Record: Record{
		Offset: r.Offset, Time: r.Time, Key: keep(&b.bytes, r.Key), Value: keep(&b.bytes, r.Value), Headers: keep(&b.bytes, r.Headers),
	}, last: r.Offset})
	return f.took(r.Offset)
}

// keep copies bytes into a buffer, which has room for them.
func keep(buffer *[]byte, v []byte) []byte {
	if v == nil {
		return nil
	}
	at := len(*buffer)
	*buffer = append(*buffer, v...)
	return (*buffer)[at:len(*buffer):len(*buffer)]
}

// gap takes a range without records, both ends included.
func (f *filler) gap(first, last int64, reason string) error {
	if last < f.next {
		return nil
	}
	first = max(first, f.next)
	if err := f.reaches(first); err != nil {
		return err
	}
	if err := f.open(); err != nil {
		return err
	}
	last = min(last, f.until-1)
	f.batch.items = append(f.batch.items, item{Record: Record{Offset: first}, last: last, reason: reason})
	return f.took(last)
}

// reaches checks that what comes next is what has to.
func (f *filler) reaches(offset int64) error {
	if f.next >= f.until {
		return errFull
	}
	if offset > f.next {
		return &HoleError{Source: f.name, First: f.next, Last: min(offset, f.until) - 1}
	}
	return nil
}

func (f *filler) took(offset int64) error {
	f.next = offset + 1
	if len(f.batch.items) >= batchItems {
		f.flush()
	}
	if f.next >= f.until {
		return errFull
	}
	return nil
}

// open sees to it that there is a batch, and waits for one.
func (f *filler) open() error {
	if f.batch != nil {
		return nil
	}
	select {
	case f.batch = <-f.ahead.free:
		return nil
	case <-f.ctx.Done():
		return context.Cause(f.ctx)
	}
}

// flush hands on what is there; a source calls it before it waits for more.
func (f *filler) flush() {
	if f.batch != nil && len(f.batch.items) > 0 {
		f.ahead.full <- f.batch // there is room for all there are
		f.batch = nil
	}
}

// end hands on the rest, also before an error, and finds out whether something
// is missing at the end.
func (f *filler) end(err error) error {
	f.flush()
	switch {
	case errors.Is(err, errFull):
		return nil
	case err == nil && f.until != End && f.next < f.until:
		return &HoleError{Source: f.name, First: f.next, Last: f.until - 1}
	}
	return err
}
