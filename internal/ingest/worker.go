package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/httpserver"
	"github.com/thaliumx/persistor/internal/live"
	"github.com/thaliumx/persistor/internal/store"
)

// maxWait is how long a broker holds an idle fetch.
const maxWait = 500 * time.Millisecond

// maxBatchBytes bounds what one transaction sends, besides the record that
// crosses the line.
const maxBatchBytes = 8 << 20

// worker has its partitions, its connection and its buffers to itself: fetch,
// decode, write, over and over. Of a backlog the next answer is on its way from
// Kafka while the server digests a batch.
type worker struct {
	*Daemon
	id         int
	partitions []*partition
	committer  *committer
	rejoin     func() // ends the generation for all workers

	conn     *pgx.Conn
	compared time.Time // when the ledger was last looked at as a whole
	cluster  *fetch.Cluster
	fetchers map[int32]*fetcher // by leader
	answers  chan *fetcher
	wake     chan struct{} // there is something to look at: a state that is restored, a leader that changed

	turned atomic.Int64 // when the loop last turned, Unix seconds
	asking atomic.Int64 // since when it waits for the database; 0: it does not

	alone time.Time // until then a batch holds one partition only
	most  int       // records in a batch, where the server has not locks enough for more; 0: as configured

	decoder Decoder
	keeper  *live.Keeper // of the state; nil without unifyevents, or where nobody wants it
	batch   *store.Batch
	oldest  int64 // timestamp in ms of the batch's oldest record
	log     *slog.Logger
}

func newWorker(d *Daemon, id int, partitions []*partition) *worker {
	w := &worker{
		Daemon: d, id: id, partitions: partitions, keeper: d.keeperFor(partitions), batch: store.NewBatch(),
		// Room for each partition's leader, and for one before it that does not answer.
		fetchers: map[int32]*fetcher{}, answers: make(chan *fetcher, 2*len(partitions)),
		wake: make(chan struct{}, 1), log: d.log.With("worker", id),
	}
	w.beat()
	return w
}

// run works until take ends; what is in flight then may go on until finish ends.
func (w *worker) run(take, finish context.Context) {
	defer w.close() //nolint:contextcheck // what it closes has to be closed after the context, too
	for take.Err() == nil {
		w.beat()
		if !w.prepare(take) {
			continue
		}
		f, err := w.await(take)
		switch {
		case err != nil:
			continue
		case f == nil: // time to look at what is not in work
			continue
		case f.err != nil:
			w.fetchFailed(take, f)
			continue
		}
		w.kafkaUp()
		if err := w.takeBatch(take, finish, f); err != nil {
			if errors.Is(err, errNotOurs) {
				w.log.Warn("the group has gone on without us; joining it anew", "error", err)
				w.rejoin()
				return
			}
			w.log.Debug("batch given up", "error", err)
		}
	}
}

// prepare makes sure of connection, partitions in work and fetches under way.
func (w *worker) prepare(ctx context.Context) bool {
	if err := w.connect(ctx); err != nil {
		w.databaseDown(err)
		w.pause(ctx)
		return false
	}
	if err := w.admitAll(ctx); err != nil {
		w.leaveStandby(ctx, err)
		w.pause(ctx)
		return false
	}
	if err := w.arm(ctx); err != nil {
		w.kafkaDown(err)
		w.cluster = nil
		w.pause(ctx)
		return false
	}
	return true
}

// connect opens the worker's session, if it has none.
func (w *worker) connect(ctx context.Context) error {
	if w.conn != nil && !w.conn.IsClosed() {
		return nil
	}
	conn, err := store.Connect(ctx, w.Options.Database)
	if err != nil {
		return err
	}
	w.conn = conn
	w.databaseUp()
	return nil
}

// leaveStandby gives up a session with a server that does not write, as one that was
// reached while another took over: the next session may be with that one.
func (w *worker) leaveStandby(ctx context.Context, err error) {
	if store.SQLState(err) != "25006" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = w.conn.Close(ctx)
}

// admitAll looks at each partition that is not in work.
func (w *worker) admitAll(ctx context.Context) error {
	w.asks()
	defer w.answered()
	if err := w.noticeMoves(ctx); err != nil {
		if ctx.Err() == nil {
			w.databaseDown(err)
		}
		return err
	}
	if err := w.conflicts.resume(ctx, w.conn); err != nil {
		w.log.Debug("every id is asked about", "error", err)
	}
	for _, p := range w.partitions {
		if p.admitted || time.Now().Before(p.retryAt) || w.restoring(p) {
			continue
		}
		if w.cluster == nil {
			cluster, err := w.kafka.Metadata(ctx, w.topicNames())
			if err != nil {
				w.kafkaDown(err)
				return err
			}
			w.cluster = cluster
		}
		err := w.admit(ctx, w.conn, w.cluster, p)
		var h *Halt
		var without *stateError
		switch {
		case err == nil:
			w.log.Debug("partition in work", "topic", p.name, "partition", p.id, "offset", p.next)
			w.compareGroup(p)
		case errors.As(err, &h):
			w.haltPartition(p, h)
		case errors.Is(err, live.ErrRestoring):
			w.restoring(p)
		case ctx.Err() != nil:
			return err
		case store.SQLState(err) == "55P03":
			// Who holds the row is not ours to end, or was ended just now; the
			// other partitions need not wait for it.
			if w.unblock(ctx, p.name, p.id) > 0 {
				p.patience = 0
			}
			p.waits("another session holds its row of the ledger")
			p.patience = min(max(2*p.patience, time.Second), maxPatience) // each look takes some seconds of theirs
			p.retryAt = time.Now().Add(p.patience)
		case errors.As(err, &without) && !w.conn.IsClosed():
			w.databaseDown(err)
			p.waits(err.Error())
			p.retryAt = time.Now().Add(haltRetry)
		case store.SQLState(err) != "" || w.conn.IsClosed():
			w.databaseDown(err)
			return err
		default:
			// A leader that moves, a topic that goes away: look again.
			w.cluster = nil
			p.waits(err.Error())
			p.retryAt = time.Now().Add(time.Second)
			w.log.Debug("partition is waited for", "topic", p.name, "partition", p.id, "error", err)
		}
	}
	return nil
}

// maxPatience bounds how long after a row of the ledger is free its partition goes on.
const maxPatience = 15 * time.Second

// compareGroup tells of a group offset that is ahead of the ledger: somebody
// moved it by hand, or the database was restored. One that is behind is
// routine: it is committed after the fact.
func (w *worker) compareGroup(p *partition) {
	if p.groupOffset > p.committed {
		w.log.Warn("the group's offset in Kafka is ahead of the ledger, which decides; to move on purpose use `persistor positions set`",
			"topic", p.name, "partition", p.id, "group_offset", p.groupOffset, "ledger", p.committed)
	}
	p.groupOffset = -1
	w.committer.moved(p, p.committed)
}

func (w *worker) haltPartition(p *partition, h *Halt) {
	w.cluster = nil // look afresh when it is tried again
	if p.halt(h) {
		w.log.Error("partition halted", "topic", p.name, "partition", p.id, "offset", p.committed, "reason", h.Reason, "remedy", h.Remedy)
	}
}

func (w *worker) topicNames() []string {
	var names []string
	for _, p := range w.partitions {
		if !slices.Contains(names, p.name) {
			names = append(names, p.name)
		}
	}
	return names
}

// await waits for an answer from Kafka; nil after a while without one.
func (w *worker) await(ctx context.Context) (*fetcher, error) {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case f := <-w.answers:
		f.busy = false
		return f, nil
	case <-w.wake:
		return nil, nil
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fetchFailed deals with a fetch that brought no answer at all.
func (w *worker) fetchFailed(ctx context.Context, f *fetcher) {
	if ctx.Err() != nil {
		return
	}
	if large, is := errors.AsType[*fetch.AnswerTooLargeError](f.err); is {
		w.tooLarge(f, large)
		return
	}
	w.cluster = nil
	for _, p := range f.asked {
		if p.admitted && p.leader == f.broker {
			w.compareAnew(p, "its leader did not answer")
		}
	}
	w.kafkaDown(f.err)
	w.pause(ctx)
}

// partFailed deals with what Kafka said about one partition. What was decoded
// before it is stored all the same.
func (w *worker) partFailed(p *partition, part *fetch.Part, err error) {
	var jump *fetch.JumpError
	switch {
	case errors.As(err, &jump):
		p.stuck = true
		w.haltPartition(p, &Halt{
			Reason: fmt.Sprintf("the log has no records from offset %d to %d, and no transaction explains it", jump.Expected, jump.Found-1),
			Remedy: "the topic must not be compacted; if the records are really gone, note it and go on: " + remedy(p.log, jump.Found, ""),
		})
	case fetch.NeedsMetadata(err) || fetch.Retriable(err):
		w.cluster = nil
		p.waits(err.Error())
		p.retryAt = time.Now().Add(200 * time.Millisecond)
	default:
		w.cluster = nil
		if next, damaged := damage(err); damaged {
			p.stuck = true
			w.haltPartition(p, &Halt{Reason: err.Error(), Remedy: mend + "; if none has it whole, note the loss and go on: " + skip(p.log, next)})
			return
		}
		// An offset out of range shows as a halt at the next look.
		p.waits(err.Error())
		p.retryAt = time.Now().Add(haltRetry)
		w.log.Error("partition cannot be read", "topic", p.name, "partition", p.id, "offset", part.Position(), "error", err)
	}
}

// beat notes that the worker's loop turns.
func (w *worker) beat() { w.turned.Store(time.Now().Unix()) }

// asks notes that the worker waits for the database from now on, until answered.
func (w *worker) asks() { w.asking.Store(time.Now().Unix()) }

func (w *worker) answered() {
	w.beat()
	w.asking.Store(0)
}

// pause waits a little, so that trouble is not met with a busy loop.
func (w *worker) pause(ctx context.Context) { sleep(ctx, 300*time.Millisecond) }

// close gives up what the worker holds.
func (w *worker) close() {
	for _, f := range w.fetchers {
		f.cancel()
	}
	for _, p := range w.partitions {
		p.show(func(v *httpserver.Partition) { v.State = httpserver.Draining })
	}
	if w.keeper != nil {
		w.keeper.Stop()
	}
	if w.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = w.conn.Close(ctx)
	}
}
