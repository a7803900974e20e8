package store

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/testenv"
)

func TestBeginFromSeveralPlacesAtOnce(t *testing.T) {
	r := newRig(t)
	const members = 6
	var group sync.WaitGroup
	for i := range members {
		conn := r.connect()
		group.Go(func() {
			for partition := range int32(5) {
				// Each would begin elsewhere: the first one's word stays.
				if err := Begin(context.Background(), conn, "p.trades", partition, "cluster", [16]byte{1}, int64(10+i)); err != nil {
					t.Errorf("begin: %v", err)
				}
			}
		})
	}
	group.Wait()
	r.equal(1, "SELECT count(*) FROM dingir.topics")
	r.equal(5, "SELECT count(*) FROM dingir.ledger WHERE first_offset = next_offset AND next_offset BETWEEN 10 AND 15")
	list, err := Positions(t.Context(), r.conn)
	if err != nil || len(list) != 5 {
		t.Fatalf("%d positions, %v", len(list), err)
	}
	if p := list[3]; p.Partition != 3 || p.ClusterID != "cluster" || p.TopicUUID != [16]byte{1} || p.LastOffset >= 0 || p.Archived != 0 {
		t.Errorf("position %+v", p)
	}
}

func TestAnotherIncarnationHasAnotherID(t *testing.T) {
	r := newRig(t)
	ids := map[int16]bool{}
	for i, topic := range [][16]byte{{1}, {2}, {1}} {
		tx, err := r.conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		id, err := TopicID(t.Context(), tx, "p.trades", "cluster", topic)
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ids[id] != (i == 2) {
			t.Errorf("id %d for incarnation %v", id, topic)
		}
		ids[id] = true
	}
}

func TestLockPositionDoesNotWaitForEver(t *testing.T) {
	r := newRig(t)
	r.begin("p.trades", 0, 0)
	holder := r.connect()
	if _, err := holder.Exec(t.Context(), "BEGIN; SELECT FROM dingir.ledger FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	_, _, err := LockPosition(t.Context(), r.conn, "p.trades", 0)
	if SQLState(err) != "55P03" || Classify(err) != Retry {
		t.Errorf("%v, want a lock that is not available", err)
	}
	if _, found, err := LockPosition(t.Context(), r.conn, "p.trades", 9); found || err != nil {
		t.Errorf("found %v, %v: want nothing", found, err)
	}
}

// Below the furthest point what was noted and is not so now is taken back.
func TestARewoundLedgerTakesBackWhatIsNotSoNow(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.internaltransfer", 0, 0)
	b := NewBatch()
	p := b.Partition(log, 0, 0)
	gap := func(first, last int64) {
		if err := b.Gap(p, first, last, "control"); err != nil {
			t.Fatal(err)
		}
	}
	reject(b, p, 0)
	reject(b, p, 1)
	gap(2, 9)
	add(b, p, 10, 1)
	gap(11, 12)
	reject(b, p, 13)
	r.write(b)

	r.exec("UPDATE dingir.ledger SET next_offset = 1")
	b.Reset()
	p = b.Partition(log, 1, 0)
	add(b, p, 1, 7) // a newer version can read it
	gap(2, 4)
	r.write(b)
	if got, want := r.text(`SELECT "offset", resolved_at IS NOT NULL FROM dingir.rejects ORDER BY 1`), "0|f\n1|t\n13|f\n"; got != want {
		t.Errorf("rejects and whether they are resolved:\n%swant\n%s", got, want)
	}
	if got, want := r.text("SELECT first_offset, last_offset FROM dingir.gaps ORDER BY 1"), "2|4\n"; got != want {
		t.Errorf("gaps:\n%swant\n%s", got, want)
	}
	// From inside what was a gap once.
	b.Reset()
	p = b.Partition(log, 5, 0)
	gap(5, 9)
	add(b, p, 10, 1)
	gap(11, 12)
	reject(b, p, 13)
	add(b, p, 14, 8)
	r.write(b)
	if got, want := r.text("SELECT first_offset, last_offset FROM dingir.gaps ORDER BY 1"), "2|4\n5|9\n11|12\n"; got != want {
		t.Errorf("gaps:\n%swant\n%s", got, want)
	}
	r.equal(3, "SELECT count(*) FROM dingir.rejects")
	r.equal(0, "SELECT count(*) FROM dingir.duplicates")
	if pos := r.position(log.Topic, 0); pos.Next != 15 || pos.High != 15 || pos.First != 0 {
		t.Errorf("the ledger says %+v", pos)
	}
}

func TestPendingRejectsLeavesOutTheForeignAndOthers(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.orders", 0, 0)
	b := NewBatch()
	p := b.Partition(log, 0, 0)
	for offset, reason := range []string{"bad", "foreign", "bad"} {
		b.Record(p, int64(offset), 1)
		b.Reject(p, RejectedRecord{Offset: int64(offset), Reason: reason})
	}
	r.write(b)
	r.exec(`UPDATE dingir.rejects SET resolved_at = now() WHERE "offset" = 2`)
	for topic, want := range map[string]int64{"p.orders": 1, "orders": 0, "p.trades": 0} {
		if n, err := PendingRejects(t.Context(), r.conn, []string{"q.orders", topic}); n != want || err != nil {
			t.Errorf("%s: %d pending, %v; want %d", topic, n, err, want)
		}
	}
}

func TestMigrateFromSeveralPlacesAtOnce(t *testing.T) {
	t.Parallel()
	o := Options{URL: testenv.Database(t), SynchronousCommit: true}
	if err := CheckSchema(t.Context(), o); err == nil || !strings.Contains(err.Error(), "persistor migrate") {
		t.Errorf("an empty database: %v, want what to do", err)
	}
	status, err := MigrationStatus(t.Context(), o)
	if err != nil || len(status) == 0 || !status[0].Applied.IsZero() {
		t.Errorf("status of an empty database: %+v, %v", status, err)
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	applied := 0
	for range 4 {
		group.Go(func() {
			done, err := Migrate(context.Background(), o)
			if err != nil {
				t.Errorf("migrate: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			applied += len(done)
		})
	}
	group.Wait()
	if applied != len(status) {
		t.Errorf("%d migrations were applied in all, want %d", applied, len(status))
	}
	if err := CheckSchema(t.Context(), o); err != nil {
		t.Error(err)
	}
	after, err := MigrationStatus(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range after {
		if m.Applied.IsZero() {
			t.Errorf("%s is not applied", m.Name)
		}
	}
}

// The first process may need longer for the extension than a session waits for
// locks.
func TestMigrateWaitsForAnother(t *testing.T) {
	t.Parallel()
	r := &rig{t: t, o: Options{URL: testenv.Database(t), SynchronousCommit: true}}
	r.conn = r.connect()
	r.exec("SELECT pg_advisory_lock(hashtext('persistor: prepare schema'))")
	var wait, bound time.Duration
	if err := r.conn.QueryRow(t.Context(), "SELECT current_setting('lock_timeout')::interval, '3 s'::interval").Scan(&bound, &wait); err != nil || bound >= wait {
		t.Fatalf("a session waits %v, %v", bound, err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := Migrate(context.WithoutCancel(t.Context()), r.o)
		done <- err
	}()
	for !r.waiting(wait) {
		select {
		case err := <-done:
			t.Fatalf("migrate did not wait: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	r.exec("SELECT pg_advisory_unlock_all()")
	if err := <-done; err != nil {
		t.Errorf("migrate: %v", err)
	}
}

// waiting says whether a session has waited so long for an advisory lock here.
func (r *rig) waiting(least time.Duration) (is bool) {
	r.t.Helper()
	err := r.conn.QueryRow(r.t.Context(), `SELECT EXISTS (SELECT FROM pg_locks
		WHERE locktype = 'advisory' AND NOT granted AND clock_timestamp() - waitstart > $1
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`, least).Scan(&is)
	if err != nil {
		r.t.Fatal(err)
	}
	return is
}
