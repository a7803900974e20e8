package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/store"
)

// run does the units that are wanted and not done yet, by several connections.
func (a *audit) run(ctx context.Context, wanted func(*unit) bool) error {
	var todo []int
	progress := Progress{}
	for i := range a.state.Units {
		if !wanted(&a.state.Units[i]) {
			continue
		}
		progress.Of++
		if a.state.Done[i] {
			progress.Units++
			progress.Resumed++
			continue
		}
		todo = append(todo, i)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	go func() {
		defer close(next)
		for _, i := range todo {
			select {
			case next <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	var mutex sync.Mutex // of the audit and progress
	begun := time.Now()
	done := func(i int, t *tally) error {
		mutex.Lock()
		defer mutex.Unlock()
		for id := range tableCount {
			progress.Rows += t.Rows[id]
		}
		for _, s := range t.Archived {
			progress.Rows += s.Count
		}
		a.state.Tally.merge(t)
		a.state.Done[i] = true
		progress.Units++
		progress.Elapsed = time.Since(begun)
		if a.options.Progress != nil {
			a.options.Progress(progress)
		}
		return a.save(false)
	}
	var workers sync.WaitGroup
	for range min(a.options.Connections, len(todo)) {
		workers.Go(func() {
			if err := a.work(ctx, next, done); err != nil {
				cancel(err)
			}
		})
	}
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return errors.Join(err, a.save(true))
	}
	return a.save(true)
}

// work does units until there are none left.
func (a *audit) work(ctx context.Context, next <-chan int, done func(int, *tally) error) error {
	conn, err := store.Connect(ctx, a.options.Database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	s := &scanner{audit: a, conn: conn}
	for i := range next {
		u := &a.state.Units[i]
		s.tally = newTally()
		if err := s.scan(ctx, u); err != nil {
			return fmt.Errorf("read %s: %w", u, err)
		}
		if err := done(i, s.tally); err != nil {
			return err
		}
	}
	return nil
}

// scanner does one unit after another on one connection.
type scanner struct {
	audit *audit
	conn  *pgx.Conn
	tally *tally
	prover
	archiveReader
}

func (s *scanner) scan(ctx context.Context, u *unit) error {
	if u.Chunk == "" {
		return s.scanArchive(ctx, u)
	}
	return s.scanRows(ctx, *u)
}

// scanRows reads a part of a table. A chunk that is compressed or decompressed
// meanwhile has its rows elsewhere, and is read again.
func (s *scanner) scanRows(ctx context.Context, u unit) error {
	for tries := 0; ; tries++ {
		s.tally = newTally()
		if err := s.readRows(ctx, u); err != nil || u.Table == users {
			return err
		}
		compressed, err := s.compressed(ctx, u)
		if err != nil || compressed == u.Compressed {
			return err
		}
		if u.Pages != (pageRange{}) || tries == 3 {
			return errors.New("it was compressed or decompressed while the audit was under way: begin again, without the checkpoint")
		}
		u.Compressed = compressed
	}
}

// compressed tells whether not all of a chunk is in its own pages.
func (s *scanner) compressed(ctx context.Context, u unit) (is bool, err error) {
	err = s.conn.QueryRow(ctx, `SELECT coalesce(is_compressed, false) FROM timescaledb_information.chunks
		WHERE hypertable_schema = 'dingir' AND hypertable_name = $1 AND chunk_schema = $2 AND chunk_name = $3`, hot[u.Table].name, u.Schema, u.Chunk).Scan(&is)
	if errors.Is(err, pgx.ErrNoRows) {
		err = errors.New("it was dropped while the audit was under way: begin again, without the checkpoint")
	}
	return is, err
}

func (s *scanner) readRows(ctx context.Context, u unit) error {
	since := int64(0)
	if !s.audit.options.Since.IsZero() {
		since = s.audit.options.Since.UnixMicro()
	}
	id := u.Table
	return stream(ctx, s.conn, u.query(), func(image []byte) error {
		r := id.parse(image)
		s.position(id, &r, r.time >= since)
		if r.time < since {
			return nil
		}
		s.tally.Times[id].add(span{1, r.time, r.time})
		if id == balanceChanges {
			s.prove(&r)
			return nil
		}
		key, at := id.bucketKey(&r), r.time
		s.tally.Buckets[id].at(key).row(s.audit.digest(id, &r), at)
		return nil
	})
}

// position notes where the row came from.
func (s *scanner) position(id tableID, r *record, asked bool) {
	t := s.tally
	t.Rows[id]++
	p := s.audit.start[r.log]
	switch {
	case p == nil || p.Live:
		addSpan(t.Others, r.log, span{1, r.offset, r.offset})
	case p.Table != id:
		t.Misplaced = append(t.Misplaced, misplaced{r.log, r.offset, id})
	default:
		if !t.positions(r.log).add(r.offset) {
			t.Twice[r.log] = append(t.Twice[r.log], r.offset)
		}
		if from, there := t.From[r.log]; asked && (!there || r.offset < from) {
			t.From[r.log] = r.offset
		}
	}
}

// digest is a number for all that the row says. Where it claims to be a record
// of unifyevents, and its table is filled from there, that includes where it
// came from: the archive knows.
func (a *audit) digest(id tableID, r *record) uint64 {
	if hot[id].live && a.unify[r.TopicID] {
		return digestOf(r.image[2:])
	}
	return id.digest(r.image)
}
