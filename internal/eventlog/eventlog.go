// Package eventlog reads the total order of unifyevents from wherever it is:
// the archive in the database, the topic, a dump file, or the archive with the
// topic for what it has not got.
//
// Every source delivers the same: the records and the gaps between them, in
// the order of their offsets, so that the end of one is where the next begins.
// A hole that nothing explains is an error, never passed over.
//
// A source reads and decompresses ahead of its Sink, in another goroutine and
// in memory that is bounded in bytes.
package eventlog

import (
	"context"
	"errors"
	"math"
)

// Record is one record of the log. Its slices are valid until the Sink returns.
type Record struct {
	Offset  int64
	Time    int64  // the record's timestamp, ms since 1970; 0 from a dump file, which has none
	Key     []byte // nil: null
	Value   []byte // nil: null
	Headers []byte // as Kafka encodes them; empty from a dump file
}

// Sink takes a log in the order of its offsets, without a hole: each call
// begins where the one before ended. An error ends the reading; ErrStop ends it
// without being one.
type Sink interface {
	Record(r *Record) error

	// Gap says that no record of ours is at the offsets, both included.
	// reason is that of dingir.gaps: control, skipped, expired or lost. A gap may
	// come in several pieces.
	Gap(first, last int64, reason string) error
}

// Log is one source of the total order.
type Log interface {
	// Bounds are the first offset that can be read and the one behind the last.
	// They are equal where there is nothing.
	Bounds(ctx context.Context) (first, next int64, err error)

	// Read delivers the offsets from `from` up to, not including, until; End
	// stands for the source's end of the moment. What lies outside the bounds is
	// a *RangeError, what is missing inside them a *HoleError. A gap is cut at
	// the ends.
	Read(ctx context.Context, from, until int64, sink Sink) error
}

// End stands for the end that a source has when the reading begins.
const End = math.MaxInt64

// ErrStop is what a Sink returns to end the reading early. Read then returns
// nil.
var ErrStop = errors.New("the reader has had enough")

// The reasons of gaps, as in dingir.gaps.
const (
	Control = "control" // transaction markers and aborted records
	Skipped = "skipped" // passed over by an operator
	Expired = "expired" // gone from Kafka before it was stored
	Lost    = "lost"    // known to have been there
)
