package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/rebuild"
	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/store"
)

// Restored is a state and where it came from.
type Restored struct {
	State *state.State

	// Latest is the latest timestamp of a record in it; zero without any.
	Latest time.Time

	// Snapshot is the offset of the snapshot that it began with; negative where
	// there was none and the log was read from its beginning.
	Snapshot     int64
	SnapshotSize int // bytes, as stored
	Records      int64

	// Missing says that the archive lacks records that were in it once: it was
	// cut, or has a hole that no gap explains.
	Missing bool

	due due // for the next snapshot
}

// Restorer gets the state at an offset of the archive: the newest snapshot
// below it, and the log from there on.
type Restorer struct {
	Session store.Querier // has to itself until Restore returns
	Log     *slog.Logger

	// Keep is called with a snapshot of every so many records, where there is none
	// yet. It may be nil.
	Keep  func(store.Snapshot) error
	Every int64

	// Next is where the reading has come to, for who wants to show it.
	Next atomic.Int64
}

// Restore returns the state after the records below until. first is where the
// archive begins, as the ledger has it.
func (r *Restorer) Restore(ctx context.Context, topicID int16, first, until int64) (*Restored, error) {
	out, err := r.begin(ctx, topicID, first, until)
	if err != nil {
		return nil, err
	}
	out.due.size = out.SnapshotSize
	if err := r.advance(ctx, out, topicID, until); err != nil {
		return nil, err
	}
	return out, nil
}

// advance applies the archive up to an offset.
func (r *Restorer) advance(ctx context.Context, out *Restored, topicID int16, until int64) error {
	r.Next.Store(out.State.Next())
	archive := eventlog.NewArchive(r.Session, topicID)
	for to := until; out.State.Next() < until; {
		err := eventlog.ReadEvents(ctx, archive, out.State.Next(), to, func(e *eventlog.Event) error {
			return r.apply(ctx, topicID, out, e)
		})
		next := out.State.Next()
		last := int64(-1)
		if hole, ok := errors.AsType[*eventlog.HoleError](err); ok {
			last = hole.Last
		}
		if has, ok := errors.AsType[*eventlog.RangeError](err); ok {
			switch {
			case has.First > next && has.First < has.Next:
				last = min(has.First, until) - 1
			case has.Next > next && has.Next < to:
				to = has.Next // as far as it goes
				continue
			default:
				last = until - 1
			}
		}
		if last >= 0 {
			// What was there is gone, which is no reason to stop: the state knows
			// what it does not know.
			r.Log.Error("the archive of unifyevents has a hole; the state is not complete. `persistor verify` tells more", "first", next, "last", last)
			out.State.Gap(next, last, eventlog.Lost)
			out.Missing = true
			err = nil
		}
		if err != nil {
			return err
		}
		to = until
	}
	return nil
}

// begin reads the newest snapshot that can be used. Those of another version of
// the rules cannot, however many there are: together they are a few hundredths of
// the log, and below them there may be one that an ended restoration has left.
func (r *Restorer) begin(ctx context.Context, topicID int16, first, until int64) (*Restored, error) {
	// The engine's own word, where the log does not begin with the exchange.
	sliced, latest, err := rebuild.FromSlice(ctx, r.Session, topicID, first, until, time.Time{})
	if err != nil {
		return nil, err
	}
	for at := until; ; {
		s, found, err := store.SnapshotAt(ctx, r.Session, topicID, at)
		if err != nil {
			return nil, err
		}
		if !found || sliced != nil && s.Next < sliced.Next() {
			break
		}
		st, err := state.ReadSnapshot(s.Reader())
		if err == nil && (st.Base() != first || st.Next() != s.Next) {
			err = fmt.Errorf("it is of offsets %d to %d, the archive begins at %d", st.Base(), st.Next(), first)
		}
		if err == nil {
			return &Restored{State: st, Latest: s.Latest, Snapshot: s.Next, SnapshotSize: len(s.Data)}, nil
		}
		r.Log.Warn("a snapshot of the state cannot be used; the log is read instead", "offset", s.Next, "error", err)
		at = s.Next - 1
	}
	if sliced != nil {
		return &Restored{State: sliced, Latest: latest, Snapshot: sliced.Next()}, nil
	}
	return &Restored{State: state.New(first), Snapshot: -1}, nil
}

// apply applies one record or gap of the archive.
func (r *Restorer) apply(ctx context.Context, topicID int16, out *Restored, e *eventlog.Event) error {
	e.Apply(out.State)
	if e.Reason != "" {
		return nil
	}
	if at := timeOf(e.Time); out.Latest.IsZero() || at.After(out.Latest) {
		out.Latest = at
	}
	out.due.add(len(e.Key) + len(e.Value))
	if out.Records++; out.Records%1024 != 0 {
		return nil
	}
	r.Next.Store(e.Offset + 1)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if r.Keep != nil && out.due.now(r.Every) {
		r.keep(topicID, out)
	}
	return nil
}

// keep keeps a snapshot.
func (r *Restorer) keep(topicID int16, out *Restored) {
	s, err := store.NewSnapshot(topicID, out.State.Next(), out.Latest, out.State.WriteSnapshot)
	out.due = due{size: len(s.Data)}
	if err == nil {
		err = r.Keep(s)
	}
	if err != nil { // the next one will do
		r.Log.Warn("a snapshot of the state is not kept", "offset", out.State.Next(), "error", err)
	}
}

// timeOf is a record's timestamp in ms as a time that PostgreSQL can hold.
func timeOf(ms int64) time.Time { return time.UnixMicro(int64(store.ClampTime(ms))).UTC() }

// due tells when a snapshot should be kept. Half a million records are read back
// in about two seconds, and so are 512 MiB. A big state is kept less often, so
// that the snapshots stay a few hundredths of the log, but often enough for any
// moment to be seconds away.
type due struct {
	size    int   // bytes of the last one
	records int64 // since then
	raw     int64 // and their bytes
}

// A snapshot is due after as many records as whoever keeps them says, or after
// snapshotBytes of the log.
const (
	snapshotBytes = 512 << 20

	// snapshotShare is how many bytes of the log there are for each byte of a
	// snapshot, and snapshotAtMost how many times the usual distance may become
	// longer for it.
	snapshotShare  = 32
	snapshotAtMost = 4
)

func (d *due) add(bytes int) {
	d.records++
	d.raw += int64(bytes)
}

func (d *due) now(every int64) bool {
	switch {
	case d.records < every && d.raw < snapshotBytes:
		return false
	case d.raw >= int64(d.size)*snapshotShare:
		return true
	}
	return d.records >= snapshotAtMost*every || d.raw >= snapshotAtMost*snapshotBytes
}
