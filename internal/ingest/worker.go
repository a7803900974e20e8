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

	"github.com/thaliumx/persistor/internal/failpoint"
	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/httpserver"
	"github.com/thaliumx/persistor/internal/live"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// maxWait is how long a broker holds an idle fetch.
const maxWait = 500 * time.Millisecond

// maxBatchBytes bounds what one transaction sends, besides the record that
// crosses the line.
const maxBatchBytes = 8 << 20

// worker has its partitions, its connection and its buffers to itself: fetch,
// decode, write, over and over. While the server digests a batch, the next is
// on its way from Kafka.
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
	wake     chan struct{} // the state is restored

	turned atomic.Int64 // when the loop last turned, Unix seconds

	alone time.Time // until then a batch holds one partition only

	decoder Decoder
	keeper  *live.Keeper // of the state; nil without unifyevents, or where nobody wants it
	batch   *store.Batch
	oldest  int64 // timestamp in ms of the batch's oldest record
	log     *slog.Logger
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
			w.fetchFailed(take, f.err)
			continue
		}
		w.kafkaUp()
		if err := w.drainAnswer(finish, f); err != nil {
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

// admitAll looks at each partition that is not in work.
func (w *worker) admitAll(ctx context.Context) error {
	if err := w.noticeMoves(ctx); err != nil {
		if ctx.Err() == nil {
			w.databaseDown(err)
		}
		return err
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
			w.unblock(ctx, p.name, p.id)
			p.waits("another session holds its row of the ledger")
			p.retryAt = time.Now().Add(time.Second)
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
func (w *worker) fetchFailed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	w.cluster = nil
	w.kafkaDown(err)
	w.pause(ctx)
}

// drainAnswer decodes and stores all that an answer brought, in as many batches
// as the limits ask for.
func (w *worker) drainAnswer(ctx context.Context, f *fetcher) error {
	failpoint.Hit("fetched")
	for {
		w.batch.Reset()
		w.decoder.ids, w.oldest = w.decoder.ids[:0], 0
		more := w.fill(f)
		for !more {
			behind := f.behind()
			w.rearm(ctx, f)
			if !behind {
				break
			}
			next := w.awaitMore(ctx)
			if next == nil {
				break
			}
			f = next
			more = w.fill(f)
		}
		w.writeState()
		if !w.batch.Empty() {
			if err := w.commit(ctx); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

// awaitMore waits a little for the answer that follows, where there is more to
// come for a batch that is not full: full batches cost the server a tenth less a
// row. nil: what there is has to do.
func (w *worker) awaitMore(ctx context.Context) *fetcher {
	const patience = 50 * time.Millisecond
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case f := <-w.answers:
		if f.err != nil {
			w.answers <- f // for the loop to deal with; there is room, since it came from there
			return nil
		}
		f.busy = false
		return f
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return nil
	}
}

// fill decodes records into the batch until a limit is reached (more) or the
// answer is empty.
func (w *worker) fill(f *fetcher) (more bool) {
	for i := range f.answer.Partitions {
		part := &f.answer.Partitions[i]
		p := f.asked[i]
		if !p.admitted || part.Want.TopicID != p.topicUUID || part.Position() != p.next {
			continue // what was asked for is not what is wanted any more
		}
		if part.HighWatermark >= 0 {
			p.sawLog(part.LogStart, part.HighWatermark)
		}
		for {
			if w.batch.Records() >= w.Options.Ingest.BatchRecords || w.batch.Bytes() >= maxBatchBytes {
				return true
			}
			done, err := w.take(p, part)
			if err != nil {
				w.partFailed(p, part, err)
			}
			if done || err != nil {
				break
			}
		}
		if time.Now().Before(w.alone) && !w.batch.Empty() {
			return true
		}
	}
	return false
}

// take moves one item of the log into the batch.
func (w *worker) take(p *partition, part *fetch.Part) (done bool, err error) {
	kind, err := part.Next()
	if err != nil || kind == fetch.Done {
		return true, err
	}
	progress := w.batch.Partition(p.log, p.committed, p.archived)
	if kind == fetch.Gap {
		p.next = part.Gap.Last + 1
		return false, w.takeGap(p, progress, part.Gap)
	}
	rec := &part.Record
	hash := Hash(rec.Value)
	record := Record{rec.Offset, rec.Timestamp, rec.Key, rec.Value}
	bad, poisoned := p.poison[rec.Offset]
	reason, state := bad.Reason, bad.SQLState
	switch {
	case p.topic == topics.UnifyEvents:
		var archiveErr error
		if err, archiveErr = w.takeEvent(p, progress, record, rec.Headers, hash, poisoned); archiveErr != nil {
			return true, archiveErr
		}
	case !poisoned:
		err = w.decoder.Add(w.batch, p.log, p.topic, record, hash)
	}
	w.batch.Record(progress, rec.Offset, hash)
	if w.oldest == 0 || rec.Timestamp < w.oldest {
		w.oldest = rec.Timestamp
	}
	p.next = rec.Offset + 1
	if err != nil {
		reason, state = err.Error(), ""
	}
	if err == nil && !poisoned {
		return false, nil
	}
	w.batch.Reject(progress, store.RejectedRecord{
		Offset: rec.Offset, Time: store.ClampTime(rec.Timestamp), Key: rec.Key, Value: rec.Value,
		Headers: headers(rec.Headers), Reason: reason, SQLState: state,
	})
	return false, nil
}

func headers(h fetch.Headers) []store.Header {
	list := make([]store.Header, 0, h.Len())
	for key, value := range h.All() {
		list = append(list, store.Header{Key: string(key), Value: value})
	}
	return list
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

// pause waits a little, so that trouble is not met with a busy loop.
func (w *worker) pause(ctx context.Context) {
	timer := time.NewTimer(300 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

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
