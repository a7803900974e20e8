package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/eventlog"
	rebuilding "github.com/thaliumx/persistor/internal/rebuild"
	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/store"
)

// gap is a range without records on unifyevents.
type gap struct {
	Range
	Reason string
}

// rebuild makes the state of the exchange from what is archived.
type rebuild struct {
	*state.State
	gaps   []gap // those of the whole log, in order
	gap    int   // the first of them that is not applied
	latest int64 // µs, of the records applied; noLatest before the first
	slices []slice
	broken string
}

// slice is the engine's own state, with which the state goes on from its offset:
// what the log below does not tell was taken over there.
type slice struct {
	*state.State
	latest int64 // µs
}

const noLatest = math.MinInt64

// reach applies the gaps below an offset. What none explains is a hole, behind
// which the state cannot be what the daemon has.
func (r *rebuild) reach(offset int64) {
	for len(r.slices) > 0 && r.slices[0].Next() <= offset {
		next := r.slices[0]
		r.slices = r.slices[1:]
		r.reach(next.Next())
		r.State, r.latest = next.State, next.latest
	}
	for ; r.gap < len(r.gaps) && r.gaps[r.gap].First < offset; r.gap++ {
		g := r.gaps[r.gap]
		last := min(g.Last, offset-1)
		if last >= r.Next() {
			if g.First > r.Next() {
				r.hole(g.First)
			}
			r.Gap(r.Next(), last, g.Reason)
		}
		if last < g.Last {
			break // it goes on where what is to be read ends
		}
	}
	if r.Next() < offset {
		r.hole(offset)
	}
}

func (r *rebuild) hole(next int64) {
	if r.broken == "" {
		r.broken = fmt.Sprintf("the event log lacks offsets %d to %d", r.Next(), next-1)
	}
	r.Gap(r.Next(), next-1, eventlog.Lost)
}

// apply takes the next record; u is nil where it cannot be read.
func (r *rebuild) apply(offset, at int64, u *event.Unify) {
	if offset < r.Next() {
		return
	}
	r.reach(offset)
	r.latest = max(r.latest, int64(store.ClampTime(at)))
	if u == nil {
		r.Unreadable(offset, at)
		return
	}
	r.Apply(offset, at, u)
}

func (r *rebuild) damaged(d damage) {
	if r.broken == "" {
		r.broken = fmt.Sprintf("the segment at offset %d is damaged", d.First)
	}
}

// errSnapshot says that a snapshot of the state is not what its row says.
var errSnapshot = errors.New("it is not what its row says")

// snapshotOf reads the snapshot at an offset.
func snapshotOf(ctx context.Context, conn *pgx.Conn, topicID int16, next int64) (store.Snapshot, error) {
	s, found, err := store.SnapshotAt(ctx, conn, topicID, next)
	if err == nil && (!found || s.Next != next) {
		err = errGone
	}
	return s, err
}

// stateOf reads what a snapshot holds. An error is a *snapshotError.
func stateOf(s *store.Snapshot, base int64) (*state.State, error) {
	st, err := state.ReadSnapshot(s.Reader())
	if err == nil && (st.Base() != base || st.Next() != s.Next) {
		err = fmt.Errorf("%w: it is of offsets %d to %d", errSnapshot, st.Base(), st.Next())
	}
	if err != nil {
		return nil, &snapshotError{err}
	}
	return st, nil
}

// errGone says that a snapshot was taken away since the audit began.
var errGone = errors.New("it is not there any more")

// snapshotError says that a snapshot cannot be used.
type snapshotError struct{ err error }

func (e *snapshotError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *snapshotError) Unwrap() error { return e.err }

// rebuilt returns the state at a snapshot's offset, from the snapshot, or from
// the newest usable one before it and the log. from is negative for the state
// before the log's first record.
func (a *audit) rebuilt(ctx context.Context, conn *pgx.Conn, from int64, gaps []gap) (*rebuild, error) {
	e := &a.state.Exchange
	r := &rebuild{gaps: gaps, latest: noLatest}
	for n := len(e.Snapshots) - 1; n >= 0; n-- {
		at := e.Snapshots[n]
		if at > from {
			continue
		}
		s, err := snapshotOf(ctx, conn, e.TopicID, at)
		var st *state.State
		if err == nil {
			st, err = stateOf(&s, e.Base)
		}
		var unusable *snapshotError
		if errors.As(err, &unusable) || errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if r.State = st; !s.Latest.IsZero() {
			r.latest = s.Latest.UnixMicro()
		}
		break
	}
	after := int64(-1)
	if r.State == nil {
		r.State = state.New(e.Base)
	} else {
		after = r.Next()
	}
	var err error
	if r.slices, err = slicesBehind(ctx, conn, e.TopicID, e.Base, after); err != nil {
		return nil, err
	}
	r.gap = sort.Search(len(gaps), func(i int) bool { return gaps[i].Last >= r.Next() })
	if from > r.Next() {
		if err := r.read(ctx, conn, e.TopicID, from); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// slicesBehind reads the engine's slices that were taken over behind an offset.
func slicesBehind(ctx context.Context, conn *pgx.Conn, topicID int16, base, after int64) (list []slice, err error) {
	for below := int64(math.MaxInt64); ; {
		s, latest, err := rebuilding.FromSlice(ctx, conn, topicID, base, below, time.Time{})
		if err != nil {
			return nil, err
		}
		if s == nil || s.Next() <= after {
			slices.Reverse(list)
			return list, nil
		}
		list = append(list, slice{s, latest.UnixMicro()})
		below = s.Next() - 1
	}
}

// read applies the archive up to an offset.
func (r *rebuild) read(ctx context.Context, conn *pgx.Conn, topicID int16, until int64) error {
	var reader archiveReader
	err := segments(ctx, conn, slot{topicID, r.Next(), until}, func(rec store.Archived) error {
		r.apply(rec.Offset, rec.Time, reader.decode(rec))
		return nil
	}, r.damaged)
	if err != nil {
		return fmt.Errorf("read the event log: %w", err)
	}
	r.reach(until)
	return nil
}

// decode returns what a record of unifyevents says; nil where it cannot be read.
func (a *archiveReader) decode(r store.Archived) *event.Unify {
	if a.decoder.Unify(r.Key, r.Value, &a.unify) != nil {
		return nil
	}
	return &a.unify
}
