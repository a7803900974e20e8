package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/eventlog"
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

	due due // for the next snapshot
}

// Restorer gets the state at an offset of the archive: the newest snapshot
// below it, and the log from there on.
type Restorer struct {
	Session store.Querier // has to itself until Restore returns
	Log     *slog.Logger

	// Keep is called now and then, wherever a snapshot is due that is not there
	// yet. It may be nil.
	Keep func(store.Snapshot) error

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
	tail := &tail{Restored: out, restorer: r, ctx: ctx, topicID: topicID}
	archive := eventlog.NewArchive(r.Session, topicID)
	for out.State.Next() < until {
		err := archive.Read(ctx, out.State.Next(), until, tail)
		var hole *eventlog.HoleError
		if errors.As(err, &hole) {
			// What was there is gone, which is no reason to stop: the state knows
			// what it does not know.
			r.Log.Error("the archive of unifyevents has a hole; the state is not complete. `persistor verify` tells more",
				"first", hole.First, "last", hole.Last)
			out.State.Gap(hole.First, hole.Last, eventlog.Lost)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tries is how many snapshots are tried before the log is read from its
// beginning: all may be of another version of the rules.
const tries = 3

// begin reads the newest snapshot that can be used.
func (r *Restorer) begin(ctx context.Context, topicID int16, first, until int64) (*Restored, error) {
	for at, try := until, 0; try < tries; try++ {
		s, found, err := store.SnapshotAt(ctx, r.Session, topicID, at)
		if err != nil {
			return nil, err
		}
		if !found {
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
	return &Restored{State: state.New(first), Snapshot: -1}, nil
}

// tail applies the log to a state.
type tail struct {
	*Restored
	restorer *Restorer
	ctx      context.Context //nolint:containedctx // of one reading, as the tail is
	topicID  int16
	decoder  event.Decoder
	event    event.Unify
	latest   int64 // ms
}

// Record applies one.
func (t *tail) Record(r *eventlog.Record) error {
	Apply(t.State, &t.decoder, &t.event, r.Offset, r.Time, r.Key, r.Value)
	t.Records++
	if r.Time > t.latest || t.Records == 1 {
		t.latest = r.Time
		if at := timeOf(r.Time); at.After(t.Latest) {
			t.Latest = at
		}
	}
	t.due.add(len(r.Key) + len(r.Value))
	if t.Records%1024 != 0 {
		return nil
	}
	t.restorer.Next.Store(r.Offset + 1)
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	t.keep()
	return nil
}

// Gap applies one.
func (t *tail) Gap(first, last int64, reason string) error {
	t.State.Gap(first, last, reason)
	return nil
}

// keep keeps a snapshot, if one is due.
func (t *tail) keep() {
	if t.restorer.Keep == nil || !t.due.now() {
		return
	}
	s, err := store.NewSnapshot(t.topicID, t.State.Next(), t.Latest, t.State.WriteSnapshot)
	t.due = due{size: len(s.Data)}
	if err == nil {
		err = t.restorer.Keep(s)
	}
	if err != nil { // the next one will do
		t.restorer.Log.Warn("a snapshot of the state is not kept", "offset", t.State.Next(), "error", err)
	}
}

// Apply applies one record of unifyevents: the one way that leads from bytes to
// a state. It returns why the record cannot be read, which the state counts.
func Apply(s *state.State, d *event.Decoder, u *event.Unify, offset, at int64, key, value []byte) error {
	err := d.Unify(key, value, u)
	if err != nil {
		s.Unreadable(offset, at)
		return err
	}
	s.Apply(offset, at, u)
	return nil
}

// timeOf is a record's timestamp in ms as a time that PostgreSQL can hold.
func timeOf(ms int64) time.Time { return time.UnixMicro(int64(store.ClampTime(ms))).UTC() }

// due tells when a snapshot should be kept. Half a million records are read
// back in about two seconds, and so are 512 MiB. A big state is kept less often,
// so that the snapshots stay a few hundredths of the log, but often enough for
// any moment to be seconds away.
type due struct {
	size    int   // bytes of the last one
	records int64 // since then
	raw     int64 // and their bytes
}

const (
	snapshotRecords = 500_000
	snapshotBytes   = 512 << 20
	snapshotShare   = 32 // raw bytes of the log for each byte of a snapshot
	snapshotAtMost  = 2_000_000
)

func (d *due) add(bytes int) {
	d.records++
	d.raw += int64(bytes)
}

func (d *due) now() bool {
	if d.records < snapshotRecords && d.raw < snapshotBytes {
		return false
	}
	return d.raw >= int64(d.size)*snapshotShare || d.records >= snapshotAtMost || d.raw >= 4*snapshotBytes
}
