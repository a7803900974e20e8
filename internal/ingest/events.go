package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/live"
	"github.com/thaliumx/persistor/internal/rebuild"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// What unifyevents has and the other topics have not: the archive, and the state
// of the exchange that follows from it. Both move with the ledger.

// takeEvent archives a record of unifyevents, applies it to the state, and adds
// its row. What the database refuses counts for the state, which is a function
// of the log. refused says why the record cannot be read.
func (w *worker) takeEvent(p *partition, progress *store.Progress, r Record, headers fetch.Headers, hash int64, poisoned bool) (refused, err error) {
	if w.Options.Ingest.EventLog {
		if err := w.batch.Archive(progress, r.Offset, r.Time, r.Key, r.Value, headers); err != nil {
			return nil, err
		}
	}
	var u *event.Unify
	if w.keeper != nil {
		u, refused = w.keeper.Decode(r.Offset, r.Time, r.Key, r.Value)
	} else {
		u = &w.decoder.unify
		refused = w.decoder.decoder.Unify(r.Key, r.Value, u)
	}
	if refused == nil && !poisoned {
		addPayment(w.batch, store.Source{TopicID: p.log.TopicID, Partition: p.log.Partition, Offset: r.Offset, Hash: hash}, u)
	}
	return refused, nil
}

// takeGap notes a gap that transactions left.
func (w *worker) takeGap(p *partition, progress *store.Progress, g fetch.Range) error {
	if p.topic == topics.UnifyEvents {
		if !w.Options.Ingest.EventLog {
			progress.Next = g.Last + 1 // writeState notes it
			return nil
		}
		if w.keeper != nil {
			w.keeper.Gap(g.First, g.Last, eventlog.Control)
		}
		// What lies below the archive's end is in it already, one way or another.
		if g.First = max(g.First, p.archived); g.First > g.Last {
			progress.Next = g.Last + 1
			return nil
		}
	}
	return w.batch.Gap(progress, g.First, g.Last, eventlog.Control)
}

// writeState puts into the batch what its records have changed of the state.
func (w *worker) writeState() {
	for _, progress := range w.batch.Progress() {
		if p := w.partitionOf(progress.Log); p.topic == topics.UnifyEvents {
			w.writeStateOf(p, progress)
		}
	}
}

func (w *worker) writeStateOf(p *partition, progress *store.Progress) {
	switch {
	case w.keeper != nil:
		w.keeper.Write(w.batch, progress)
	case !w.Options.Ingest.EventLog && progress.Next > max(p.archived, progress.Expected):
		// Not archived: whoever rebuilds has to know.
		if err := w.batch.Gap(progress, max(p.archived, progress.Expected), progress.Next-1, eventlog.Skipped); err != nil {
			panic(err) // no segment is open
		}
	}
}

// follow has the state at the ledger's position before records are taken from
// there on; see live.Keeper.Follow.
func (w *worker) follow(ctx context.Context, conn *pgx.Conn, p *partition, pos store.Position) error {
	if w.keeper == nil || p.topic != topics.UnifyEvents {
		return nil
	}
	err := store.CheckStateOwner(ctx, conn, p.name)
	if other, ok := errors.AsType[*store.OtherStateError](err); ok {
		return &Halt{Reason: other.Error(), Remedy: other.Remedy()}
	}
	if err != nil {
		return err
	}
	write := func(b *store.Batch) error {
		start := time.Now()
		err := store.Write(ctx, conn, b)
		w.metrics.commit(err, time.Since(start))
		return err
	}
	err = w.keeper.Follow(ctx, pos, write, func() {
		select {
		case w.wake <- struct{}{}:
		default: // it is awake already
		}
	})
	if slice, ok := errors.AsType[*rebuild.UnreadableSliceError](err); ok {
		return &Halt{Reason: "the state of the exchange cannot be restored: " + slice.Error(), Remedy: slice.Remedy()}
	}
	if damage, ok := errors.AsType[*live.DamageError](err); ok {
		return &Halt{
			Reason: fmt.Sprintf("the state of the exchange cannot be restored: %v", damage.Err),
			Remedy: "`persistor verify` tells what is damaged; restore that part of dingir.event_log, or delete it: the state then goes on, marked as incomplete",
		}
	}
	if err != nil && !errors.Is(err, live.ErrRestoring) {
		return &stateError{err}
	}
	return err
}

// stateError says that the state cannot be had for now, which is no reason for
// the other partitions to wait.
type stateError struct{ error }

// Unwrap gives the cause.
func (e *stateError) Unwrap() error { return e.error }

// restoring shows that a partition waits for the state.
func (w *worker) restoring(p *partition) bool {
	if w.keeper == nil || p.topic != topics.UnifyEvents {
		return false
	}
	progress := w.keeper.Restoring()
	if progress == "" {
		return false
	}
	p.waits(cmp.Or(progress, "restoring the state"))
	return true
}

// stateBehind has the partition looked up anew where the state is ahead of what
// was committed.
func (w *worker) stateBehind(p *partition) {
	if w.keeper != nil && p.topic == topics.UnifyEvents && w.keeper.Ahead() {
		p.waits("the state is to be restored")
	}
}

// keeperFor gives the state to the one worker that reads unifyevents.
func (d *Daemon) keeperFor(list []*partition) *live.Keeper {
	for _, p := range list {
		if p.topic == topics.UnifyEvents && p.id == 0 {
			return d.keeper
		}
	}
	return nil
}
