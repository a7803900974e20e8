package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/store"
)

// errNotOurs says that another process owns the partitions now.
var errNotOurs = errors.New("no longer a member of the group's current generation")

// unknownTries bounds how often a batch is tried that fails in a way which is
// nowhere listed, before its partitions halt.
const unknownTries = 8

// commit writes the batch and retries until it is stored, or until it is clear
// that it must not be.
func (w *worker) commit(ctx context.Context) error {
	delay := 50 * time.Millisecond
	unknown, locked := 0, 0
	defer w.answered()
	for {
		w.asks()
		start := time.Now()
		err := w.write(ctx)
		w.metrics.commit(err, time.Since(start))
		if err == nil {
			w.stored(ctx, time.Since(start))
			return nil
		}
		if ctx.Err() != nil {
			w.giveUp()
			return err
		}
		var bad *store.BadRecords
		if errors.As(err, &bad) {
			w.poison(bad)
			return err
		}
		w.leaveStandby(ctx, err)
		if store.SQLState(err) == "53200" && w.batch.Records() > 1 {
			return w.shrink(err)
		}
		class, several := store.Classify(err), len(w.batch.Progress()) > 1
		switch class { //nolint:exhaustive // the other classes are tried again
		case store.Fenced:
			return w.fenced(ctx)
		case store.Unknown, store.Duplicate: // what merging does not help is nowhere listed either
			unknown++
			if several && (class == store.Unknown || unknown > 1) {
				return w.isolate(err)
			}
			if unknown >= unknownTries || !several && w.partitionOf(w.batch.Progress()[0].Log).stuck {
				return w.haltBatch(err)
			}
		case store.Fault:
			if several {
				return w.isolate(err)
			}
			return w.postpone(err)
		}
		// One of two that lock each other out tries again, and that is that.
		if state := store.SQLState(err); state != "40P01" && state != "40001" || delay > 500*time.Millisecond {
			w.databaseDown(err)
		}
		if store.SQLState(err) == "55P03" {
			ended := 0
			for _, p := range w.batch.Progress() {
				ended += w.unblock(ctx, p.Topic, p.Partition)
			}
			// Somebody else's lock: who does not need it need not wait for it.
			if locked++; locked > 1 && ended == 0 && len(w.partitions) > 1 {
				if several {
					return w.isolate(err)
				}
				return w.postpone(err)
			}
		}
		if !sleep(ctx, delay) {
			w.giveUp()
			return err
		}
		delay = min(delay*2, 5*time.Second)
	}
}

func (w *worker) write(ctx context.Context) error {
	if err := w.connect(ctx); err != nil {
		return err
	}
	return store.Write(ctx, w.conn, w.batch)
}

// stored notes what the commit moved.
func (w *worker) stored(ctx context.Context, took time.Duration) {
	w.databaseUp()
	if w.most > 0 { // slowly back to what it was
		if w.most += w.most/16 + 1; w.most >= w.Options.Ingest.BatchRecords {
			w.most = 0
		}
	}
	if w.batch.HoldsState() {
		w.keeper.Committed()
	}
	for _, progress := range w.batch.Progress() {
		p := w.partitionOf(progress.Log)
		p.moved(progress.Next)
		w.committer.moved(p, progress.Next)
		p.archived = max(p.archived, progress.Next)
		for offset := range p.poison {
			if offset < progress.Next {
				delete(p.poison, offset)
			}
		}
	}
	if w.oldest > 0 {
		w.rates.add(w.batch.Records(), took, time.Since(time.UnixMilli(w.oldest)))
	}
	w.count(ctx)
}

// count counts what a committed batch brought, and wakes who waits for that.
func (w *worker) count(ctx context.Context) {
	for _, progress := range w.batch.Progress() {
		w.metrics.stored(w.partitionOf(progress.Log), progress)
		if len(progress.Rejected) > 0 {
			w.Options.Rejected()
		}
	}
	w.Options.Stored()
	w.metrics.batch(w.batch.Records(), w.oldest)
	w.conflicts.look(ctx, w.conn, w.batch, w.decoder.ids)
}

func (w *worker) partitionOf(log store.Log) *partition {
	for _, p := range w.partitions {
		if p.log == log {
			return p
		}
	}
	panic(fmt.Sprintf("ingest: batch of %s partition %d, which is not this worker's", log.Topic, log.Partition))
}

// poison has the batch's bad records rejected when it is built again.
func (w *worker) poison(bad *store.BadRecords) {
	w.log.Error("the database refuses records for good; they become rejects", "error", bad)
	for _, r := range bad.Records {
		for _, p := range w.partitions {
			if p.log.TopicID == r.Source.TopicID && p.id == r.Source.Partition {
				if p.poison == nil {
					p.poison = map[int64]store.BadRecord{}
				}
				p.poison[r.Source.Offset] = r
			}
		}
	}
	w.rewind()
}

// rewind has the batch's records decoded again, from what is committed.
func (w *worker) rewind() {
	for _, progress := range w.batch.Progress() {
		p := w.partitionOf(progress.Log)
		p.next = p.committed
		w.stateBehind(p)
	}
}

// giveUp leaves the batch, and its partitions' positions to the ledger.
func (w *worker) giveUp() {
	for _, progress := range w.batch.Progress() {
		w.partitionOf(progress.Log).waits("being looked up in the ledger")
	}
}

// fenced goes on from what the ledger says, if we are still to go on at all: a
// process that was frozen past its session must not take part any more.
func (w *worker) fenced(ctx context.Context) error {
	w.giveUp()
	if err := w.committer.Current(); err != nil {
		return fmt.Errorf("%w: %w", errNotOurs, err)
	}
	for _, progress := range w.batch.Progress() {
		w.log.Info("the ledger stands elsewhere; going on from there", "topic", progress.Topic, "partition", progress.Partition, "batch_ends", progress.Next)
	}
	// Our own commit may have got through although its answer did not: then the
	// ledger is where the batch ends, and the records count as stored.
	for _, progress := range w.batch.Progress() {
		pos, found, err := store.LockPosition(ctx, w.conn, progress.Topic, progress.Partition)
		if err != nil || !found || pos.Log != progress.Log || pos.Next != progress.Next {
			return err
		}
	}
	if w.batch.HoldsState() {
		w.keeper.Committed()
	}
	w.count(ctx)
	return nil
}

// isolated is how long batches hold one partition each, after one was refused
// for a reason that may be one partition's only.
const isolated = time.Minute

// isolate has the batch's records written again, each partition's in a batch of
// its own, so that the others go on.
func (w *worker) isolate(err error) error {
	w.alone = time.Now().Add(isolated)
	w.rewind()
	return err
}

// shrink has the batch's records written again in smaller ones: each chunk that a
// transaction touches, and each index of it, takes a lock of those that the server
// has for all, and records of many days are in many chunks.
func (w *worker) shrink(err error) error {
	w.databaseDown(err)
	if w.most == 0 {
		w.log.Warn("the server has no room for the locks of a batch (max_locks_per_transaction), or no memory; going on with smaller ones",
			"records", w.batch.Records(), "error", err)
	}
	w.most = max(w.batch.Records()/2, 1)
	w.rewind()
	return err
}

// postpone leaves a partition for some seconds that a mistake of ours or the
// operator's keeps from being stored, such as a missing table or right, or that
// somebody has locked.
func (w *worker) postpone(err error) error {
	w.databaseDown(err)
	for _, progress := range w.batch.Progress() {
		p := w.partitionOf(progress.Log)
		p.waits(err.Error())
		p.retryAt = time.Now().Add(haltRetry)
	}
	return err
}

// haltBatch halts the partitions of a batch that nobody knows how to store.
func (w *worker) haltBatch(err error) error {
	for _, progress := range w.batch.Progress() {
		p := w.partitionOf(progress.Log)
		p.stuck = true
		w.haltPartition(p, &Halt{
			Reason: fmt.Sprintf("the database refuses the batch from offset %d on, for a reason that is nowhere listed: %v", progress.Expected, err),
			Remedy: "look into the database's log; the batch is tried again every few seconds",
		})
	}
	return err
}

// unblock ends the session that holds the partition's row of the ledger, if it
// is one of ours: a former owner that was frozen inside its transaction would
// hold it for ever. Only a current member may do so. It returns how many it ended.
func (w *worker) unblock(ctx context.Context, topic string, partition int32) (ended int) {
	if w.conn.IsClosed() || w.committer.Current() != nil {
		return 0
	}
	ended, err := w.endBlocker(ctx, topic, partition)
	if err != nil && ctx.Err() == nil {
		w.log.Warn("cannot look for who holds the ledger", "error", err)
	}
	if ended > 0 {
		w.log.Warn("ended the session of a former owner that held the ledger", "topic", topic, "partition", partition, "sessions", ended)
	}
	return ended
}

// endBlocker waits for the ledger's row in one session and asks in another who
// keeps it waiting, so that nobody else can be meant.
func (w *worker) endBlocker(ctx context.Context, topic string, partition int32) (ended int, err error) {
	side, err := store.Connect(ctx, w.Options.Database)
	if err != nil {
		return 0, err
	}
	defer side.Close(context.WithoutCancel(ctx))
	pid := w.conn.PgConn().PID()
	waited := make(chan error, 1)
	go func(conn *pgx.Conn) {
		_, _, err := store.LockPosition(ctx, conn, topic, partition)
		waited <- err
	}(w.conn)
	defer func() {
		if e := <-waited; err == nil && e != nil && store.SQLState(e) == "" {
			err = e
		}
	}()
	if !sleep(ctx, time.Second) {
		return 0, ctx.Err()
	}
	err = side.QueryRow(ctx, `
		SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		 WHERE pid = ANY (pg_blocking_pids($1)) AND usename = current_user
		   AND datname = current_database() AND application_name = $2`,
		int32(pid), store.ApplicationName).Scan(&ended)
	return ended, err
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
