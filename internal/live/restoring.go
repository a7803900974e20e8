package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thaliumx/persistor/internal/rebuild"
	"github.com/thaliumx/persistor/internal/store"
)

// restoring is a state being restored in the background.
type restoring struct {
	want   history
	from   int64 // where the archive begins
	cancel context.CancelFunc
	done   chan struct{}
	reader Restorer

	// Once it is done.
	*Restored
	err     error
	same    bool // the tables have it
	differs Difference
	batch   *store.Batch // what makes them have it
}

func (r *restoring) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// restore begins to restore the state that belongs to the ledger's position.
func (k *Keeper) restore(ctx context.Context, pos store.Position, want history, wake func()) *restoring {
	ctx, cancel := context.WithCancel(ctx)
	r := &restoring{want: want, from: pos.First, cancel: cancel, done: make(chan struct{}), batch: store.NewBatch()}
	r.reader.Log = k.log
	started := time.Now()
	go func() {
		defer wake()
		defer close(r.done)
		defer cancel()
		telling := k.tell(ctx, r)
		r.err = k.read(ctx, r)
		cancel()
		<-telling
		if r.err == nil {
			k.log.Info("state restored", "next_offset", want.next, "snapshot", r.Snapshot, "records", r.Records,
				"took", time.Since(started).Round(time.Millisecond).String(), "complete", r.State.Complete(), "mismatches", r.State.Mismatches())
		}
	}()
	return r
}

// read restores the state and compares the tables with it.
func (k *Keeper) read(ctx context.Context, r *restoring) error {
	session, err := store.Connect(ctx, k.database)
	if err != nil {
		return err
	}
	defer session.Close(context.WithoutCancel(ctx))
	side, err := store.Connect(ctx, k.database)
	if err != nil {
		return err
	}
	defer side.Close(context.WithoutCancel(ctx))
	r.reader.Session, r.reader.Every = session, k.every
	r.reader.Keep = func(s store.Snapshot) error {
		return store.PutSnapshot(ctx, side, r.want.Topic, r.want.moves, s)
	}
	r.Restored, err = r.reader.Restore(ctx, r.want.TopicID, r.from, r.want.next)
	_, slice := errors.AsType[*rebuild.UnreadableSliceError](err)
	switch {
	case err == nil:
	case ctx.Err() != nil || session.IsClosed() || store.SQLState(err) != "" || slice:
		return fmt.Errorf("restore the state: %w", err)
	default:
		return &DamageError{err}
	}
	have, found, err := store.ReadStateRow(ctx, session)
	if err != nil {
		return err
	}
	if r.differs, err = compare(ctx, session, r.State, r.batch); err != nil {
		return err
	}
	wanted := row(r.State, r.Latest)
	wanted.TopicID = r.want.TopicID
	r.same = found && r.differs.None() && have.Same(wanted)
	return nil
}

// tellEvery is how often the log tells how far a restoration has come.
const tellEvery = 5 * time.Second

// tell tells of a restoration that takes long, until ctx ends.
func (k *Keeper) tell(ctx context.Context, r *restoring) <-chan struct{} {
	told := make(chan struct{})
	go func() {
		defer close(told)
		tick := time.NewTicker(tellEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				k.log.Info("restoring the state", "offset", r.reader.Next.Load(), "of", r.want.next)
			}
		}
	}()
	return told
}

// Restoring says how far a restoration has come; "" where none is going on.
func (k *Keeper) Restoring() string {
	r := k.restoring
	if r == nil || r.ended() {
		return ""
	}
	return fmt.Sprintf("restoring the state: at offset %d of %d", max(r.from, r.reader.Next.Load()), r.want.next)
}

// Stop ends a restoration and waits for its end.
func (k *Keeper) Stop() {
	if r := k.restoring; r != nil {
		r.cancel()
		<-r.done
		k.restoring = nil
	}
}
