package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/failpoint"
	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/live"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// Options say what to compare with what, and what to do about it.
type Options struct {
	Database store.Options
	Kafka    *fetch.Client
	Events   eventlog.Log // unifyevents: the archive, and the topic for the rest
	Prefix   string       // of the topics' names

	UntilOffset int64 // of unifyevents, not included; negative: no limit
	UntilTime   int64 // the latest record timestamp in ms that is covered; 0: no limit

	// Prune takes surplus rows out, too.
	Prune bool

	// Confirm is given the report and says whether to apply it; nil: never.
	Confirm func(*Report) (bool, error)

	Progress *Progress
	Log      *slog.Logger
}

// ErrBusy says that another replay works on the database.
var ErrBusy = errors.New("another replay works on this database; wait for it, or end it")

// run is one replay.
type run struct {
	Options
	conn    *pgx.Conn
	cluster *fetch.Cluster
	spans   []*span
	shapes  []*shape
	refused refusals
	holes   [][2]int64 // of the archive of unifyevents, both ends included
	dark    []darkness
	report  Report

	begun        time.Time
	compressed   int64 // chunks
	partial      bool  // the range ends before the ledger, as asked
	mirror       live.Mirror
	stateDiffers *live.Comparison // nil where it was not compared

	logFirst, logLast, logRecords int64 // of unifyevents: timestamps in ms
}

// note adds a line to the report, once.
func (r *run) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(r.report.Notes, text) {
		r.report.Notes = append(r.report.Notes, text)
	}
}

// Replay compares what is stored with the log, reports the differences, and
// applies them if it is told to. Until then nothing live is changed, and then in
// one transaction. The daemon may run meanwhile.
func Replay(ctx context.Context, o Options) (*Report, error) {
	partial := o.UntilOffset >= 0 || o.UntilTime != 0
	if o.UntilTime == 0 {
		o.UntilTime = forever
	}
	conn, err := store.Connect(ctx, o.Database)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	r := &run{Options: o, conn: conn, partial: partial}
	if err := r.lock(ctx); err != nil {
		return nil, err
	}
	defer r.cleanUp(ctx)
	if err := r.stage(ctx); err != nil {
		return nil, err
	}
	failpoint.Hit("staged")
	if err := r.compare(ctx); err != nil {
		return nil, withLocksHint(err)
	}
	if err := r.summarize(ctx); err != nil {
		return nil, err
	}
	o.Progress.End()
	if r.report.Differences == 0 || o.Confirm == nil {
		return &r.report, nil
	}
	yes, err := o.Confirm(&r.report)
	if err != nil || !yes {
		return &r.report, err
	}
	failpoint.Hit("compared")
	if err := r.apply(ctx); err != nil {
		return nil, withLocksHint(err)
	}
	failpoint.Hit("applied")
	r.report.Applied = true
	return &r.report, nil
}

// withLocksHint says what helps where a transaction touches more chunks than the
// server has locks for: each chunk and each index of it takes one.
func withLocksHint(err error) error {
	if store.SQLState(err) == "53200" {
		return fmt.Errorf("%w; with so many chunks the server needs a higher max_locks_per_transaction", err)
	}
	return err
}

// lockName is the advisory lock of the one replay that may run in a database.
const lockName = "hashtextextended('persistor: replay', 0)"

// lockPatience is how long a replay that was killed may hold the lock still: the
// server looks after its clients only now and then.
const lockPatience = 3 * time.Second

// lock makes sure that this is the only replay on the database.
func (r *run) lock(ctx context.Context) error {
	// This session waits for long statements that a lost client must not leave
	// running, and holds the lock for as long as it lives.
	if _, err := r.conn.Exec(ctx, "SET client_connection_check_interval = '500ms'; SET statement_timeout = 0"); err != nil {
		return fmt.Errorf("set up the session: %w", err)
	}
	for begun := time.Now(); ; {
		var locked bool
		if err := r.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock("+lockName+")").Scan(&locked); err != nil {
			return fmt.Errorf("lock the replay: %w", err)
		}
		if locked {
			return nil
		}
		if time.Since(begun) > lockPatience {
			return ErrBusy
		}
		timer := time.NewTimer(200 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// cleanUp drops what the run made. A session that has failed is replaced: the
// next run would clean up, too, but not before it comes.
func (r *run) cleanUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if r.conn.IsClosed() {
		conn, err := store.Connect(ctx, r.Database)
		if err != nil {
			return
		}
		defer conn.Close(ctx)
		r.conn = conn
		if r.lock(ctx) != nil {
			return // somebody else's by now
		}
	}
	if err := r.dropSchema(ctx); err != nil {
		r.Log.Warn("could not clean up; the next replay will", "error", err)
	}
}

// stage reads the log into the run's schema.
func (r *run) stage(ctx context.Context) error {
	r.begun = time.Now()
	steps := []func(context.Context) error{r.fixRange, r.boundLog, r.findHoles, r.checkSpace, r.noteCompressed, r.prepareSchema, r.readShapes, r.readRefusals}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	conn, err := store.Connect(ctx, r.Database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	// What is staged can be staged again.
	if _, err := conn.Exec(ctx, "SET synchronous_commit = off; SET statement_timeout = 0"); err != nil {
		return fmt.Errorf("set up the session: %w", err)
	}
	st := &stager{conn: conn, batch: store.NewBatch(), refused: &r.refused, holes: r.holes, done: r.Progress.Add}
	if s := r.unifySpan(); s != nil {
		r.Progress.Phase("read "+s.Topic, s.end-s.start)
	}
	if err := r.readLog(ctx, st); err != nil {
		return err
	}
	if err := settle(ctx, r.begun); err != nil {
		return err
	}
	if err := r.extend(ctx); err != nil {
		return err
	}
	total := int64(0)
	for _, s := range r.spans {
		if !s.unify() {
			total += s.end - s.start
		}
	}
	r.Progress.Phase("read the other topics", total)
	return r.readHot(ctx, st)
}

// settling is how long an event's record on its own topic may come after the
// one on unifyevents without being missed: two producers send them.
const settling = time.Second

// settle waits until what the ledger had at the beginning must be on the other
// topics, too.
func settle(ctx context.Context, begun time.Time) error {
	timer := time.NewTimer(time.Until(begun.Add(settling)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lateness is how long the engine goes on sending a record to its own topic; it
// is lost then. Its producer for unifyevents does not give up.
const lateness = 5 * time.Minute

// twinBound is the time up to which a record of unifyevents without one on its
// own topic is the only one. A later one's twin may still come, and would be a
// second row beside one that is made of this record: two topics have two times.
//
// None comes any more to a partition that has later records already, and where
// records have expired the twin may be among them. What has expired of a partition
// is not later than the first record behind it, give or take the slack; where
// there is none behind it, it may be of any time. A topic that never had a record
// has nobody who sends any. A row that waits for its twin in vain is put in by a
// later run.
func (r *run) twinBound(table string) time.Time {
	bound, all := r.begun.Add(-lateness).UnixMilli(), forever
	for _, s := range r.spans {
		if topics.TableOf(s.topic) != table {
			continue
		}
		if s.lost {
			return bounded(forever)
		}
		if s.lostUntil != 0 {
			bound = max(bound, s.lostUntil+slack)
		}
		if s.newest != 0 {
			all = min(all, s.newest)
		}
	}
	return bounded(max(bound, all))
}
