// Package live keeps the state of the exchange beside the ledger: it restores it
// from the archive of unifyevents (restore.go), makes the tables say the same
// (compare.go), applies each record of the daemon's batches (keeper.go), and
// compares it with what the engine says elsewhere (audit.go).
package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/store"
)

// Keeper has the state in memory for the one worker that reads unifyevents, and
// from one of its workers to the next: not for concurrent use, but for View.
//
// The state runs ahead of the tables by the batch in hand. Whatever becomes of a
// batch but a plain commit, the state is restored before the next one: it is
// compared with the ledger when the partition is admitted, and one that is
// ahead, or of another history, is not where the ledger is.
type Keeper struct {
	database store.Options
	every    int64 // records between snapshots
	log      *slog.Logger

	state  *state.State
	at     history // of which the tables have the state; valid while not ahead
	ahead  bool    // records were applied that are not committed
	dated  bool    // there was a record
	latest int64   // its timestamp, or the latest of several, in ms
	due    due
	failed []int64 // of the state's checks, when they were last looked at

	found    func(check string, n int64)
	toTell   map[string]int64 // found since the log last told
	toldLast time.Time

	decoder event.Decoder
	event   event.Unify

	restoring *restoring

	mu   sync.Mutex
	view View
}

// history names what the tables cover: a position in one incarnation of the
// topic means other records only after an operator's move.
type history struct {
	store.Log
	moves, next int64
}

// historyOf is what the archive holds once the ledger has moved on from pos. A
// ledger that was moved back reads gaps again that the archive ends with, so
// they count for nothing.
func historyOf(pos store.Position) history {
	next := pos.Next
	if pos.High > pos.Next {
		next = max(pos.Next, pos.Archived)
	}
	return history{pos.Log, pos.Moves, next}
}

// NewKeeper returns one without a state. It opens sessions of its own to restore
// it, and keeps a snapshot of every so many records. found is called for each
// check that failed in a committed batch, with how often it did.
func NewKeeper(database store.Options, every int, log *slog.Logger, found func(check string, n int64)) *Keeper {
	return &Keeper{database: database, every: int64(every), log: log, found: found, toTell: map[string]int64{}}
}

// DamageError says that the archive cannot be read. Trying again does not help.
type DamageError struct{ Err error }

// Error says so.
func (e *DamageError) Error() string { return "the archive cannot be read: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *DamageError) Unwrap() error { return e.Err }

// ErrRestoring says that the state is being restored: ask again.
var ErrRestoring = errors.New("the state is being restored")

// Follow makes sure that the state is the one that belongs to the ledger's
// position, and that the tables have it. It starts to restore it where it is
// not, and returns ErrRestoring until that is done; wake is called then. Where the
// tables differ, it has write store a batch. Restoring ends with ctx.
func (k *Keeper) Follow(ctx context.Context, pos store.Position, write func(*store.Batch) error, wake func()) error {
	want := historyOf(pos)
	if k.state != nil && !k.ahead && k.at == want {
		return nil
	}
	r := k.restoring
	if r == nil || r.want != want {
		k.Stop()
		k.state = nil
		k.restoring = k.restore(ctx, pos, want, wake)
		return ErrRestoring
	}
	if !r.ended() {
		return ErrRestoring
	}
	if r.err != nil {
		k.restoring = nil
		return r.err
	}
	if !r.same {
		k.log.Info("writing the tables of the state anew", "next_offset", want.next,
			"missing", r.differs.Missing, "other", r.differs.Other, "surplus", r.differs.Surplus)
		p := r.batch.Partition(pos.Log, pos.Next, pos.Archived)
		r.batch.State(p, pos.Moves, row(r.State, r.Latest))
		err := write(r.batch)
		if store.Classify(err) == store.Fenced {
			k.restoring = nil
			return ErrRestoring
		}
		if err != nil {
			return fmt.Errorf("write the state anew: %w", err)
		}
	}
	k.restoring = nil
	k.adopt(r.Restored, want)
	return nil
}

// adopt takes a state that the tables have.
func (k *Keeper) adopt(r *Restored, at history) {
	k.state, k.at, k.ahead = r.State, at, false
	k.dated, k.latest = !r.Latest.IsZero(), r.Latest.UnixMilli()
	k.state.Committed()
	k.due, k.failed = r.due, failed(k.failed, r.State)
	k.show()
}

// Ahead tells whether the state holds records that were not committed.
func (k *Keeper) Ahead() bool { return k.ahead }

// Decode decodes a record of unifyevents and, where the state has not got it
// yet, applies it. What it returns is valid until the next call; its error says
// why the record cannot be read.
func (k *Keeper) Decode(offset, at int64, key, value []byte) (*event.Unify, error) {
	if k.state == nil || offset < k.state.Next() {
		return &k.event, k.decoder.Unify(key, value, &k.event)
	}
	k.ahead = true
	k.due.add(len(key) + len(value))
	if !k.dated || at > k.latest {
		k.dated, k.latest = true, at
	}
	return &k.event, Apply(k.state, &k.decoder, &k.event, offset, at, key, value)
}

// Apply decodes a record of unifyevents and has the state take it. Its error
// says why the record cannot be read, which the state counts.
func Apply(s *state.State, d *event.Decoder, u *event.Unify, offset, at int64, key, value []byte) error {
	err := d.Unify(key, value, u)
	if err != nil {
		s.Unreadable(offset, at)
		return err
	}
	s.Apply(offset, at, u)
	return nil
}

// Gap applies a range of offsets without records of ours.
func (k *Keeper) Gap(first, last int64, reason string) {
	if first = max(first, k.state.Next()); first <= last {
		k.ahead = true
		k.state.Gap(first, last, reason)
	}
}

// Write puts into the batch what has changed of the state since the last
// commit, and a snapshot if one is due. p is the batch's part for unifyevents.
func (k *Keeper) Write(b *store.Batch, p *store.Progress) {
	if !k.ahead {
		return
	}
	var latest time.Time
	if k.dated {
		latest = timeOf(k.latest)
	}
	Put(b, p, k.at.moves, k.state, latest)
	if !k.due.now(k.every) {
		return
	}
	s, err := store.NewSnapshot(p.TopicID, k.state.Next(), latest, k.state.WriteSnapshot)
	if err != nil { // no reason to hold up the records
		k.log.Error("no snapshot of the state is kept", "error", err)
		return
	}
	b.Snapshot(s)
	k.due = due{size: len(s.Data)}
}

// Put puts into the batch what has changed of the state since its last
// Committed. moves is the ledger's count of p, latest the newest record's time.
func Put(b *store.Batch, p *store.Progress, moves int64, s *state.State, latest time.Time) {
	b.State(p, moves, row(s, latest))
	changes := s.Changes()
	for h := range changes.GoneBalances {
		b.DropBalance(h.UserID, h.Asset)
	}
	for balance := range changes.Balances {
		b.PutBalance((*store.Holding)(&balance))
	}
	for id := range changes.GoneOrders {
		b.DropOrder(id)
	}
	for order := range changes.Orders {
		b.PutOrder((*store.OpenOrder)(&order))
	}
}

// Committed notes that a batch is committed which Write wrote into.
func (k *Keeper) Committed() {
	k.state.Committed()
	k.ahead, k.at.next = false, k.state.Next()
	k.count()
	k.show()
}

// tellMismatchesEvery is how often the log tells of new mismatches: a log that
// contradicts itself once tends to do it again.
const tellMismatchesEvery = time.Minute

// count tells of the checks that failed since the last commit.
func (k *Keeper) count() {
	for i, c := range k.state.Checks() {
		if n := c.Failed - k.failed[i]; n > 0 {
			k.found(c.Name, n)
			k.toTell[c.Name] += n
		}
		k.failed[i] = c.Failed // fewer, where a crash took some back
	}
	if len(k.toTell) == 0 || time.Since(k.toldLast) < tellMismatchesEvery {
		return
	}
	k.log.Warn("unifyevents contradicts itself; `persistor state --format table` shows examples", "before_offset", k.at.next, "checks", fmt.Sprint(k.toTell))
	k.toldLast = time.Now()
	clear(k.toTell)
}

// failed is how often each check failed.
func failed(into []int64, s *state.State) []int64 {
	into = into[:0]
	for _, c := range s.Checks() {
		into = append(into, c.Failed)
	}
	return into
}

// row is the state's own row.
func row(s *state.State, latest time.Time) store.StateRow {
	return store.StateRow{
		Base: s.Base(), Next: s.Next(), Complete: s.Complete(), Provisional: s.Provisional(),
		LastOrderID: s.LastOrderID(), LastTradeID: s.LastTradeID(), Mismatches: s.Mismatches(), Latest: latest,
	}
}

// Release forgets the state: another process has the partition now.
func (k *Keeper) Release() {
	k.state = nil
	k.mu.Lock()
	defer k.mu.Unlock()
	k.view = View{}
}
