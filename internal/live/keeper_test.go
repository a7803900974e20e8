package live

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topic = "unifyevents"

// record is one of unifyevents; its offset is its place in the list.
type record struct {
	at         int64
	key, value []byte
}

// records are those of a simulated exchange with an engine that crashes, and some that
// nobody can read.
func records(t *testing.T, n int) []record {
	t.Helper()
	cfg := exchange.DefaultConfig()
	cfg.Start = time.Now().Add(-time.Hour).Truncate(time.Second)
	x, err := exchange.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var list []record
	for len(list) < n {
		for _, m := range x.Step() {
			if m.Topic == topic {
				list = append(list, record{m.Time.UnixMilli(), m.Key, m.Value})
			}
		}
		if len(list)%97 == 0 {
			list = append(list, record{list[len(list)-1].at, []byte("trades"), []byte("no trade")})
		}
	}
	return list[:n]
}

// reckon is the state after the records below an offset, by the shortest way.
func reckon(list []record, until int) *state.State {
	s := state.New(0)
	var d event.Decoder
	var u event.Unify
	for i, r := range list[:until] {
		_ = Apply(s, &d, &u, int64(i), r.at, r.key, r.value)
	}
	return s
}

func encode(t *testing.T, s *state.State) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := s.WriteSnapshot(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// desk is a database and a keeper that is served as a worker does.
type desk struct {
	*Keeper
	t     *testing.T
	conn  *pgx.Conn
	batch *store.Batch
	found map[string]int64
}

const every = 300

func newDesk(t *testing.T) *desk {
	t.Helper()
	o := store.Options{URL: testenv.Database(t), SynchronousCommit: true}
	if _, err := store.Migrate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	conn, err := store.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	if err := store.Begin(t.Context(), conn, topic, 0, "cluster", [16]byte{1}, 0); err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, conn: conn, batch: store.NewBatch(), found: map[string]int64{}}
	d.Keeper = NewKeeper(o, every, slog.New(slog.DiscardHandler), func(check string, n int64) { d.found[check] += n })
	t.Cleanup(d.Stop)
	return d
}

func (d *desk) position() store.Position {
	d.t.Helper()
	pos, found, err := store.LockPosition(d.t.Context(), d.conn, topic, 0)
	if err != nil || !found {
		d.t.Fatal(found, err)
	}
	return pos
}

// follow waits until the state is where the ledger is.
func (d *desk) follow() error {
	d.t.Helper()
	for {
		woken := make(chan struct{}, 1)
		write := func(b *store.Batch) error { return store.Write(d.t.Context(), d.conn, b) }
		err := d.Follow(d.t.Context(), d.position(), write, func() { woken <- struct{}{} })
		if !errors.Is(err, ErrRestoring) {
			return err
		}
		<-woken
	}
}

// take stores records as one batch.
func (d *desk) take(list []record, from, until int) error {
	d.t.Helper()
	pos := d.position()
	d.batch.Reset()
	p := d.batch.Partition(pos.Log, pos.Next, pos.Archived)
	for i := from; i < until; i++ {
		r := list[i]
		if err := d.batch.Archive(p, int64(i), r.at, r.key, r.value, nil); err != nil {
			d.t.Fatal(err)
		}
		d.batch.Record(p, int64(i), int64(i))
		_, _ = d.Decode(int64(i), r.at, r.key, r.value)
	}
	d.Write(d.batch, p)
	err := store.Write(d.t.Context(), d.conn, d.batch)
	if err == nil {
		d.Committed()
	}
	return err
}

// agree compares state, tables and snapshots with the records.
func (d *desk) agree(list []record, until int) {
	d.t.Helper()
	want := reckon(list, until)
	if !bytes.Equal(encode(d.t, d.state), encode(d.t, want)) {
		d.t.Errorf("the state at offset %d is not the records'", until)
	}
	if differs, err := compare(d.t.Context(), d.conn, want, store.NewBatch()); err != nil || !differs.None() {
		d.t.Errorf("at offset %d the tables differ: %+v %v", until, differs, err)
	}
	have, _, err := store.ReadStateRow(d.t.Context(), d.conn)
	wanted := row(want, have.Latest)
	wanted.TopicID = have.TopicID
	if err != nil || !have.Same(wanted) {
		d.t.Errorf("the state's row is %+v, want %+v", have, wanted)
	}
	latest := list[0].at
	for _, r := range list[:until] {
		latest = max(latest, r.at)
	}
	if have.Latest.UnixMilli() != latest {
		d.t.Errorf("the latest record is of %v, want %v", have.Latest, time.UnixMilli(latest).UTC())
	}
	rows, err := d.conn.Query(d.t.Context(), "SELECT next_offset, data FROM dingir.state_snapshots")
	if err != nil {
		d.t.Fatal(err)
	}
	var next int
	var data []byte
	kept := 0
	_, err = pgx.ForEachRow(rows, []any{&next, &data}, func() error {
		kept++
		if !bytes.Equal(data, encode(d.t, reckon(list, next))) {
			d.t.Errorf("the snapshot of offset %d is not the records'", next)
		}
		return nil
	})
	// A state that is big beside its log is kept up to four times less often.
	if err != nil || kept < until/every/8 {
		d.t.Errorf("%d snapshots of %d records: %v", kept, until, err)
	}
}

// The state in the tables, in memory and in the snapshots is the records', over
// commits, failures, restarts and other owners.
func TestKeeper(t *testing.T) {
	d := newDesk(t)
	list := records(t, 3000)
	random := rand.New(rand.NewPCG(1, 2))
	for at := 0; at < len(list); {
		if err := d.follow(); err != nil {
			t.Fatal(err)
		}
		until := min(at+1+random.IntN(100), len(list))
		switch random.IntN(6) {
		case 0: // the batch fails: the state is ahead, and is restored
			if _, err := d.conn.Exec(t.Context(), "UPDATE dingir.ledger SET moves = moves + 1"); err != nil {
				t.Fatal(err)
			}
			if err := d.take(list, at, until); store.Classify(err) != store.Fenced || !d.Ahead() {
				t.Fatalf("%v, ahead: %v", err, d.Ahead())
			}
			continue
		case 1: // another process goes on
			d.Keeper = NewKeeper(d.database, every, d.log, d.Keeper.found)
			continue
		}
		if err := d.take(list, at, until); err != nil {
			t.Fatal(err)
		}
		at = until
		if random.IntN(8) == 0 || at == len(list) {
			d.agree(list, at)
		}
	}
	if n := d.found["unreadable"]; n < 2 {
		t.Errorf("%d unreadable records counted", n)
	}
	if v := d.View(); !v.Known || v.Next != int64(len(list)) || v.Users == 0 || v.OpenOrders == 0 || v.Mismatches != d.state.Mismatches() {
		t.Errorf("shown is %+v", v)
	}
}

// A log that has no snapshots leaves them behind when it is read, so that a
// reading that is ended can go on.
func TestRestoringLeavesSnapshots(t *testing.T) {
	d := newDesk(t)
	list := records(t, 12*1024)
	d.every = 1 << 40
	if err := d.follow(); err != nil {
		t.Fatal(err)
	}
	if err := d.take(list, 0, len(list)); err != nil {
		t.Fatal(err)
	}
	pos := d.position()
	side, err := store.Connect(t.Context(), d.database)
	if err != nil {
		t.Fatal(err)
	}
	defer side.Close(context.Background())
	ctx, cancel := context.WithCancel(t.Context())
	var kept []int64
	r := Restorer{Session: d.conn, Log: d.log, Every: 1024}
	r.Keep = func(s store.Snapshot) error {
		if kept = append(kept, s.Next); len(kept) == 2 {
			cancel()
		}
		return store.PutSnapshot(t.Context(), side, topic, pos.Moves, s)
	}
	if _, err := r.Restore(ctx, pos.TopicID, 0, pos.Next); !errors.Is(err, context.Canceled) {
		t.Fatalf("ended, the reading says %v", err)
	}
	if next := r.Next.Load(); len(kept) != 2 || next >= pos.Next {
		t.Fatalf("ended at offset %d with snapshots of %d", next, kept)
	}
	again, err := store.Connect(t.Context(), d.database) // the first session was cut
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close(context.Background())
	r.Session = again
	restored, err := r.Restore(t.Context(), pos.TopicID, 0, pos.Next)
	if err != nil {
		t.Fatal(err)
	}
	if restored.Snapshot != kept[1] || restored.Records != int64(len(list))-kept[1] {
		t.Errorf("begun with the snapshot of offset %d, %d records read", restored.Snapshot, restored.Records)
	}
	if !bytes.Equal(encode(t, restored.State), encode(t, reckon(list, len(list)))) {
		t.Error("the state is not the records'")
	}
	// What was made of a history that an operator ended is not kept.
	if _, err := side.Exec(t.Context(), "UPDATE dingir.ledger SET moves = moves + 1; TRUNCATE dingir.state_snapshots"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Restore(t.Context(), pos.TopicID, 0, pos.Next); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := side.QueryRow(t.Context(), "SELECT count(*) FROM dingir.state_snapshots").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d snapshots of another history (%v)", n, err)
	}
}

// An archive with a hole makes the state incomplete, one that is damaged stops it.
func TestArchivesThatAreNotWhole(t *testing.T) {
	for _, test := range []struct {
		name, damage string
		first, last  int64 // what is lost
		stops        bool
	}{
		{"hole", "DELETE FROM dingir.event_log WHERE first_offset = 200", 200, 299, false},
		{"beginning cut off", "DELETE FROM dingir.event_log WHERE first_offset < 200", 0, 199, false},
		{"end cut off", "DELETE FROM dingir.event_log WHERE first_offset >= 300", 300, 499, false},
		{"nothing left", "DELETE FROM dingir.event_log", 0, 499, false},
		{"damage", `UPDATE dingir.event_log SET data = overlay(data placing '\xffffff'::bytea from 40) WHERE first_offset = 200`, 0, 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk(t)
			d.every = 1 << 40
			list := records(t, 500)
			for at := 0; at < len(list); at += 100 {
				if err := d.follow(); err != nil {
					t.Fatal(err)
				}
				if err := d.take(list, at, at+100); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := d.conn.Exec(t.Context(), test.damage); err != nil {
				t.Fatal(err)
			}
			d.Release()
			err := d.follow()
			var damage *DamageError
			if test.stops {
				if !errors.As(err, &damage) || !strings.Contains(err.Error(), "200") {
					t.Fatalf("the error is %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := reckon(list, int(test.first))
			want.Gap(test.first, test.last, "lost")
			var dec event.Decoder
			var u event.Unify
			for i := int(test.last) + 1; i < len(list); i++ {
				_ = Apply(want, &dec, &u, int64(i), list[i].at, list[i].key, list[i].value)
			}
			if !bytes.Equal(encode(t, d.state), encode(t, want)) || d.state.Complete() {
				t.Error("the state is not that of what is left")
			}
			if differs, err := compare(t.Context(), d.conn, want, store.NewBatch()); err != nil || !differs.None() {
				t.Errorf("the tables differ: %+v %v", differs, err)
			}
		})
	}
}

// A name that no index takes keeps nobody from storing the rest.
func TestAnAssetWithAnEndlessName(t *testing.T) {
	d := newDesk(t)
	random := rand.New(rand.NewPCG(1, 1))
	name := make([]byte, 6000)
	for i := range name {
		name[i] = byte('a' + random.IntN(26))
	}
	deposit := func(asset string) record {
		return record{1_700_000_000_000, []byte("deposits"), []byte(`{"timestamp":1700000000.0,"user_id":7,"asset":"` + asset +
			`","business":"deposit","change":"1.50","balance":"1.50","balance_available":"1.50","balance_frozen":"0","detail":"{\"id\":1}"}`)}
	}
	list := []record{deposit(string(name)), deposit(`it's \\ \"odd\" {}, NULL`)}
	if err := d.follow(); err != nil {
		t.Fatal(err)
	}
	if err := d.take(list, 0, 2); err != nil {
		t.Fatal(err)
	}
	var asset, available string
	if err := d.conn.QueryRow(t.Context(), "SELECT asset, available::text FROM dingir.balances").Scan(&asset, &available); err != nil {
		t.Fatal(err)
	}
	if asset != `it's \ "odd" {}, NULL` || available != "1.50" {
		t.Errorf("stored is %q %q", asset, available)
	}
	d.Release()
	if err := d.follow(); err != nil {
		t.Error(err)
	}
}

// Snapshots of other rules are passed over, however many there are: what an
// ended restoration has left lies below all of them.
func TestSnapshotsOfOtherRulesArePassedOver(t *testing.T) {
	d := newDesk(t)
	d.every = 1 << 40
	list := records(t, 500)
	if err := d.follow(); err != nil {
		t.Fatal(err)
	}
	if err := d.take(list, 0, len(list)); err != nil {
		t.Fatal(err)
	}
	pos := d.position()
	if err := store.PutSnapshot(t.Context(), d.conn, topic, pos.Moves, store.Snapshot{TopicID: pos.TopicID, Next: 50, Data: encode(t, reckon(list, 50))}); err != nil {
		t.Fatal(err)
	}
	for next := int64(100); next < 500; next += 50 {
		if err := store.PutSnapshot(t.Context(), d.conn, topic, pos.Moves, store.Snapshot{TopicID: pos.TopicID, Next: next, Data: []byte("other rules")}); err != nil {
			t.Fatal(err)
		}
	}
	r := Restorer{Session: d.conn, Log: d.log}
	restored, err := r.Restore(t.Context(), pos.TopicID, 0, pos.Next)
	if err != nil || restored.Snapshot != 50 || restored.Records != 450 {
		t.Fatalf("%+v, %v", restored, err)
	}
}
