package eventlog

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a migrated database with one incarnation of unifyevents in its ledger.
type rig struct {
	t    *testing.T
	o    store.Options
	conn *pgx.Conn
	log  store.Log
	next int64

	change func(*Record) // what is archived, if not nil
}

const unify = "p.unifyevents"

func newRig(t *testing.T, first int64) *rig {
	t.Helper()
	t.Parallel()
	return newRigOf(t, first, "cluster", [16]byte{1})
}

func newRigOf(t *testing.T, first int64, cluster string, id [16]byte) *rig {
	t.Helper()
	r := &rig{t: t, o: store.Options{URL: testenv.Database(t), SynchronousCommit: true}, next: first}
	if _, err := store.Migrate(t.Context(), r.o); err != nil {
		t.Fatal(err)
	}
	r.conn = r.connect()
	if err := store.Begin(t.Context(), r.conn, unify, 0, cluster, id, first); err != nil {
		t.Fatal(err)
	}
	p, err := Current(t.Context(), r.conn, unify)
	if err != nil {
		t.Fatal(err)
	}
	r.log = p.Log
	return r
}

func (r *rig) connect() *pgx.Conn {
	r.t.Helper()
	conn, err := store.Connect(r.t.Context(), r.o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (r *rig) exec(sql string, args ...any) {
	r.t.Helper()
	if _, err := r.conn.Exec(r.t.Context(), sql, args...); err != nil {
		r.t.Fatal(err)
	}
}

// archive writes the next n records as one batch.
func (r *rig) archive(n int) {
	r.t.Helper()
	b := store.NewBatch()
	r.add(b, n)
	r.write(b)
}

func (r *rig) add(b *store.Batch, n int) {
	r.t.Helper()
	p := b.Partition(r.log, r.next, 0)
	for range n {
		rec := made(r.next)
		if r.change != nil {
			r.change(&rec)
		}
		if err := b.Archive(p, rec.Offset, rec.Time, rec.Key, rec.Value, rec.Headers); err != nil {
			r.t.Fatal(err)
		}
		b.Record(p, r.next, 1)
		r.next++
	}
}

// gap writes a batch with a gap of n offsets.
func (r *rig) gap(n int64, reason string) {
	r.t.Helper()
	b := store.NewBatch()
	if err := b.Gap(b.Partition(r.log, r.next, 0), r.next, r.next+n-1, reason); err != nil {
		r.t.Fatal(err)
	}
	r.next += n
	r.write(b)
}

func (r *rig) write(b *store.Batch) {
	r.t.Helper()
	if err := store.Write(r.t.Context(), r.conn, b); err != nil {
		r.t.Fatal(err)
	}
}

// made is the record at an offset: a function of it, so that whoever reads it
// can be checked. Some are null, empty, big, or have headers.
func made(offset int64) Record {
	r := Record{
		Offset: offset, Time: 1_700_000_000_000 + offset*7 - offset%5*100, Key: []byte("orders"),
		Value: fmt.Appendf(nil, `{"event":"PUT","order":{"id":%d,"market":"BTC_USDT"}}`, offset), Headers: []byte{0},
	}
	switch offset % 11 {
	case 3:
		r.Key = nil
	case 4:
		r.Key = []byte{}
	case 5:
		r.Value = nil
	case 6:
		r.Value = []byte{}
	case 7:
		r.Headers = []byte{2, 2, 'k', 2, 'v'}
	case 8:
		r.Value = bytes.Repeat([]byte{byte(offset)}, int(offset%13)*3000)
	}
	return r
}

// collector checks as it goes that nothing is missing and every record is the
// made one.
type collector struct {
	t       *testing.T
	next    int64
	records int
	gaps    []string
	stopAt  int64
}

func (c *collector) Record(r *Record) error {
	want := made(c.next)
	if !same(r, &want) {
		c.t.Errorf("at %d comes %+v, want %+v", c.next, r, want)
		return ErrStop
	}
	c.next++
	c.records++
	if c.next == c.stopAt {
		return ErrStop
	}
	return nil
}

func (c *collector) Gap(first, last int64, reason string) error {
	if first != c.next || last < first {
		c.t.Errorf("at %d comes a gap %d to %d", c.next, first, last)
		return ErrStop
	}
	c.gaps = append(c.gaps, fmt.Sprintf("%d-%d %s", first, last, reason))
	c.next = last + 1
	return nil
}

func same(a, b *Record) bool {
	equal := func(x, y []byte) bool { return (x == nil) == (y == nil) && bytes.Equal(x, y) }
	return a.Offset == b.Offset && a.Time == b.Time && equal(a.Key, b.Key) && equal(a.Value, b.Value) && bytes.Equal(a.Headers, b.Headers)
}

// read reads a log and returns what came, which is all made and without a hole.
func read(t *testing.T, log Log, from, until int64) (*collector, error) {
	t.Helper()
	c := &collector{t: t, next: from}
	return c, log.Read(t.Context(), from, until, c)
}
