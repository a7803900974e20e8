package store

import (
	"context"
	"fmt"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a migrated database and a session in it, as a worker has one.
type rig struct {
	t    *testing.T
	o    Options
	conn *pgx.Conn
}

func newRig(t *testing.T) *rig {
	t.Helper()
	t.Parallel()
	o := Options{URL: testenv.Database(t), SynchronousCommit: true}
	if _, err := Migrate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, o: o}
	r.conn = r.connect()
	return r
}

func (r *rig) connect() *pgx.Conn {
	r.t.Helper()
	conn, err := Connect(r.t.Context(), r.o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// begin enters a partition in the ledger at an offset.
func (r *rig) begin(topic string, partition int32, start int64) Log {
	r.t.Helper()
	var id [16]byte
	copy(id[:], topic)
	if err := Begin(r.t.Context(), r.conn, topic, partition, "cluster", id, start); err != nil {
		r.t.Fatal(err)
	}
	return r.position(topic, partition).Log
}

func (r *rig) position(topic string, partition int32) Position {
	r.t.Helper()
	pos, found, err := LockPosition(r.t.Context(), r.conn, topic, partition)
	if err != nil || !found {
		r.t.Fatalf("position of %s/%d: found %v, %v", topic, partition, found, err)
	}
	return pos
}

func (r *rig) exec(sql string, args ...any) {
	r.t.Helper()
	if _, err := r.conn.Exec(r.t.Context(), sql, args...); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) count(sql string, args ...any) int {
	r.t.Helper()
	var n int
	if err := r.conn.QueryRow(r.t.Context(), sql, args...).Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

// equal checks what a query of one number returns.
func (r *rig) equal(want int, sql string) {
	r.t.Helper()
	if n := r.count(sql); n != want {
		r.t.Errorf("%s: %d, want %d", sql, n, want)
	}
}

func (r *rig) write(b *Batch) {
	r.t.Helper()
	if err := Write(r.t.Context(), r.conn, b); err != nil {
		r.t.Fatal(err)
	}
}

// transfer is a made-up internal transfer; content tells it from others.
func transfer(content int) *event.Transfer {
	return &event.Transfer{
		Time: 1_700_000_000_000_000, UserFrom: int64(content % 7), UserTo: 9,
		Asset: event.Text("ETH"), Amount: event.Decimal{Text: fmt.Appendf(nil, "%d.50", content)},
	}
}

func hashOf(content int) int64 { return int64(xxhash.Sum64String(fmt.Sprint("transfer ", content))) }

// add takes a record with a transfer in it.
func add(b *Batch, p *Progress, offset int64, content int) {
	b.Record(p, offset, hashOf(content))
	b.Transfer(Source{p.TopicID, p.Partition, offset, hashOf(content)}, transfer(content))
}

// reject takes a record that becomes a reject.
func reject(b *Batch, p *Progress, offset int64) {
	b.Record(p, offset, 1)
	b.Reject(p, RejectedRecord{Offset: offset, Time: 1, Value: []byte("bad"), Reason: "bad"})
}
