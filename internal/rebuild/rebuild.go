// Package rebuild finds the state of the exchange at any moment: the nearest
// snapshot below it, and the log from there on.
package rebuild

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/store"
)

// Target is the moment whose state is wanted.
type Target struct {
	// Offset: after the records below it. eventlog.End: after all there are.
	Offset int64

	// Time, if not zero: before the first record with a later timestamp.
	Time time.Time
}

// Now is after all that the log has at present.
func Now() Target { return Target{Offset: eventlog.End} }

// Log is where a state comes from.
type Log struct {
	eventlog.Log

	// Begin is the offset at which the log began, so far as is known. What it has
	// lost since shows when it is read.
	Begin int64

	// Snapshots shorten the way; nil: there are none.
	Snapshots *Snapshots

	// Progress is called now and then with how many records are applied; nil:
	// nobody wants to know.
	Progress func(applied int64)
}

// Snapshots are those of one incarnation of unifyevents. The session must not be
// used by anything else meanwhile.
type Snapshots struct {
	Session *pgx.Conn
	TopicID int16

	// SlicesOnly leaves only the engine's slices, which the log does not have.
	SlicesOnly bool
}

// Result is a state, and how it was come by.
type Result struct {
	State    *state.State
	Snapshot int64    // its offset; -1: none was of use
	Slice    bool     // what began there is no snapshot but a slice of the engine
	Applied  int64    // records behind it
	Passed   []string // snapshots that could not be used, and why

	// Ended: the log ended before a record that is later than the moment.
	Ended  bool
	Latest time.Time // the latest timestamp below; zero where it is not known
}

// UnreachableError says that the log does not go back to the wanted moment any
// more.
type UnreachableError struct {
	Target Target
	From   int64 // the first offset whose state can be told, if not completely
}

// Error says from where on there is an answer.
func (e *UnreachableError) Error() string {
	what := fmt.Sprintf("offset %d", e.Target.Offset)
	if !e.Target.Time.IsZero() {
		what = e.Target.Time.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("the log does not reach back to %s: can answer from offset %d on", what, e.From)
}

// FutureError says that the wanted offset has not been reached.
type FutureError struct{ Wanted, Next int64 }

// Error says how far the log goes.
func (e *FutureError) Error() string {
	return fmt.Sprintf("offset %d has not been reached yet: the log ends before offset %d", e.Wanted, e.Next)
}

// State rebuilds the state at a moment. An error is an *UnreachableError, a
// *FutureError, or why the log cannot be read.
func State(ctx context.Context, log Log, want Target) (Result, error) {
	r := Result{Snapshot: -1}
	from, err := log.nearest(ctx, want, &r)
	if err != nil {
		return r, err
	}
	if from != nil {
		r.State, r.Snapshot = from, from.Next()
		out, err := r.read(ctx, log, want)
		if out == nil {
			return r, err
		}
		r.Passed = append(r.Passed, fmt.Sprintf("the one at offset %d: %v", r.Snapshot, out))
		r.Snapshot, r.Slice, r.Latest = -1, false, time.Time{}
	}
	r.State = state.New(log.Begin)
	out, err := r.read(ctx, log, want)
	if out == nil {
		return r, err
	}
	if out.First <= log.Begin {
		return r, out
	}
	// The log has lost its beginning.
	r.State = state.New(out.First)
	if out, err = r.read(ctx, log, want); out != nil {
		return r, out
	}
	if err == nil && !want.Time.IsZero() && r.Applied == 0 {
		err = &UnreachableError{want, r.State.Base()}
	}
	return r, err
}

// progressEvery is some tens of milliseconds.
const progressEvery = 10_000

// read applies the log from where the state ends. out is not nil where the log
// does not go back so far; nothing has been applied then.
func (r *Result) read(ctx context.Context, log Log, want Target) (out *eventlog.RangeError, err error) {
	next := r.State.Next()
	if want.Offset < next {
		return nil, &UnreachableError{want, next}
	}
	r.Applied, r.Ended = 0, true
	err = eventlog.ReadEvents(ctx, log.Log, next, want.Offset, func(e *eventlog.Event) error {
		if e.Reason == "" {
			if !want.Time.IsZero() && e.Time > want.Time.UnixMilli() {
				r.Ended = false
				return eventlog.ErrStop
			}
			if at := time.UnixMilli(e.Time); at.After(r.Latest) {
				r.Latest = at
			}
			if r.Applied++; r.Applied%progressEvery == 0 && log.Progress != nil {
				log.Progress(r.Applied)
			}
		}
		e.Apply(r.State)
		return nil
	})
	out, ranged := errors.AsType[*eventlog.RangeError](err)
	switch {
	case ranged && want.Offset != eventlog.End && want.Offset > out.Next:
		return nil, &FutureError{want.Offset, out.Next}
	case !ranged || r.Applied > 0:
		return nil, err
	case next > out.Next:
		return nil, err // the log is another one, or lost its end
	}
	return out, nil
}

// nearest returns the state of the newest snapshot, or slice of the engine, that
// is not behind the target; nil without any.
func (l *Log) nearest(ctx context.Context, want Target, r *Result) (*state.State, error) {
	if l.Snapshots == nil {
		return nil, nil
	}
	sliced, _, err := FromSlice(ctx, l.Snapshots.Session, l.Snapshots.TopicID, l.Begin, want.Offset, want.Time)
	if err != nil || l.Snapshots.SlicesOnly {
		r.Slice = sliced != nil
		return sliced, err
	}
	for below := want.Offset; ; {
		found, ok, err := l.Snapshots.find(ctx, below, want.Time)
		if err != nil {
			return nil, err
		}
		if !ok || sliced != nil && found.Next < sliced.Next() {
			r.Slice = sliced != nil
			return sliced, nil
		}
		s, err := state.ReadSnapshot(found.Reader())
		if err == nil && s.Next() != found.Next {
			err = fmt.Errorf("it is one at offset %d", s.Next())
		}
		if err == nil {
			r.Latest = found.Latest
			return s, nil
		}
		// The log has all that a snapshot has.
		r.Passed = append(r.Passed, fmt.Sprintf("the one at offset %d: %v", found.Next, err))
		below = found.Next - 1
	}
}

func (s *Snapshots) find(ctx context.Context, below int64, before time.Time) (store.Snapshot, bool, error) {
	if !before.IsZero() && below == eventlog.End {
		return store.SnapshotBefore(ctx, s.Session, s.TopicID, before)
	}
	if !before.IsZero() {
		for {
			found, ok, err := store.SnapshotAt(ctx, s.Session, s.TopicID, below)
			if err != nil || !ok || !found.Latest.After(before) {
				return found, ok, err
			}
			below = found.Next - 1
		}
	}
	return store.SnapshotAt(ctx, s.Session, s.TopicID, below)
}
