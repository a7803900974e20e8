package engine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The engine's table, with its limits.
const accountTable = `CREATE TABLE account (
	id int NOT NULL PRIMARY KEY CHECK (id >= 1),
	l1_address varchar(42) NOT NULL DEFAULT '',
	l2_pubkey varchar(66) NOT NULL DEFAULT '')`

// bench is two databases and what fills the second from the first.
type bench struct {
	t                *testing.T
	ourURL, theirURL string
	ours, theirs     *pgx.Conn
	log              *lockedBuffer
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, ourURL: testenv.Database(t), theirURL: testenv.Database(t), log: &lockedBuffer{}}
	if _, err := store.Migrate(t.Context(), store.Options{URL: b.ourURL, SynchronousCommit: true}); err != nil {
		t.Fatal(err)
	}
	b.ours, b.theirs = b.connect(b.ourURL), b.connect(b.theirURL)
	return b
}

func (b *bench) connect(url string) *pgx.Conn {
	b.t.Helper()
	conn, err := pgx.Connect(b.t.Context(), url)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func (b *bench) exec(conn *pgx.Conn, sql string, args ...any) {
	b.t.Helper()
	if _, err := conn.Exec(b.t.Context(), sql, args...); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
}

// register stores a user as the daemon would; offset makes it another one.
func (b *bench) register(id int64, address, key string, offset int) {
	b.t.Helper()
	b.exec(b.ours, `INSERT INTO dingir.users (registered_at, user_id, l1_address, l2_pubkey, content_hash, src_topic, src_partition, src_offset)
		VALUES ('2024-01-15Z'::timestamptz + $4 * interval '1 s', $1, $2, $3, hashtext($2 || $3), 1, 0, $4)`, id, address, key, offset)
}

func (b *bench) start() *Accounts {
	a := NewAccounts(store.Options{URL: b.ourURL, SynchronousCommit: true}, store.Options{URL: b.theirURL, SynchronousCommit: true},
		slog.New(slog.NewTextHandler(b.log, nil)))
	a.pause, a.firstRetry = time.Millisecond, 10*time.Millisecond
	b.run(a)
	return a
}

// run ends when the test does, or when the returned function is called.
func (b *bench) run(a *Accounts) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("Run: %v", err)
		}
	})
	b.t.Cleanup(stop)
	return stop
}

func (b *bench) accounts() []string {
	b.t.Helper()
	found, err := b.theirs.Query(b.t.Context(), "SELECT id || ' ' || l1_address || ' ' || l2_pubkey FROM account ORDER BY id")
	if err != nil {
		b.t.Fatal(err)
	}
	list, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

func (b *bench) wantAccounts(want ...string) {
	b.t.Helper()
	var got []string
	b.until(fmt.Sprintf("accounts %q", want), func() bool {
		got = b.accounts()
		return reflect.DeepEqual(got, want)
	}, func() string { return fmt.Sprintf("%q", got) })
}

func (b *bench) wantLog(text string) {
	b.t.Helper()
	b.until("log "+text, func() bool { return strings.Contains(b.log.String(), text) }, b.log.String)
}

func (b *bench) until(what string, holds func() bool, got func() string) {
	b.t.Helper()
	late := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-late:
			b.t.Fatalf("waited in vain for %s; got %s", what, got())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestFillsAndFollows(t *testing.T) {
	b := newBench(t)
	b.exec(b.theirs, accountTable)
	b.exec(b.theirs, "INSERT INTO account VALUES (3, '0xtheirs', '0xonly'), (4, '0xold', '0xold')")
	b.register(2, "0xb", "0xbb", 2)
	b.register(1, "0xa", "0xaa", 1)
	b.register(4, "0xd", "0xdd", 4)
	b.register(4, "0xolder", "0xolder", 3)
	a := b.start()
	b.wantAccounts("1 0xa 0xaa", "2 0xb 0xbb", "3 0xtheirs 0xonly", "4 0xd 0xdd")

	// One after the last, and one below it that arrived late.
	b.register(7, "0xg", "0xgg", 7)
	a.Wake()
	b.wantAccounts("1 0xa 0xaa", "2 0xb 0xbb", "3 0xtheirs 0xonly", "4 0xd 0xdd", "7 0xg 0xgg")
	b.register(6, "0xf", "0xff", 6)
	b.register(2, "0xnew", "0xbb", 8) // the engine restarted and used the id again
	a.Wake()
	b.wantAccounts("1 0xa 0xaa", "2 0xnew 0xbb", "3 0xtheirs 0xonly", "4 0xd 0xdd", "6 0xf 0xff", "7 0xg 0xgg")
}

func TestLeavesEqualRowsAlone(t *testing.T) {
	b := newBench(t)
	b.exec(b.theirs, accountTable)
	b.register(1, "0xa", "0xaa", 1)
	b.register(2, "0xb", "0xbb", 2)
	first := NewAccounts(store.Options{URL: b.ourURL}, store.Options{URL: b.theirURL}, slog.New(slog.DiscardHandler))
	stop := b.run(first)
	b.wantAccounts("1 0xa 0xaa", "2 0xb 0xbb")
	stop()
	versions := func() (v string) {
		if err := b.theirs.QueryRow(t.Context(), "SELECT string_agg(concat(ctid, xmin, ' ', xmax), ',' ORDER BY id) FROM account WHERE id < 3").Scan(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	before := versions()

	// Another process that starts afresh.
	b.register(3, "0xc", "0xcc", 3)
	b.start()
	b.wantAccounts("1 0xa 0xaa", "2 0xb 0xbb", "3 0xc 0xcc")
	if after := versions(); after != before {
		t.Errorf("rows that did not differ were written or locked: %s, then %s", before, after)
	}
}

func TestMoreUsersThanAPage(t *testing.T) {
	b := newBench(t)
	b.exec(b.theirs, accountTable)
	b.exec(b.ours, `INSERT INTO dingir.users (registered_at, user_id, l1_address, l2_pubkey, content_hash, src_topic, src_partition, src_offset)
		SELECT now(), i, i, i, i, 1, 0, i FROM generate_series(1, $1) i`, 12*pageSize+1)
	a := b.start()
	count := func(where string) func() bool {
		return func() bool {
			var n int
			if err := b.theirs.QueryRow(t.Context(), "SELECT count(*) FROM account WHERE "+where).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n == 12*pageSize+1
		}
	}
	b.until("every user", count("true"), b.log.String)
	b.exec(b.theirs, "DELETE FROM account WHERE id > 10 * 1000")
	a.Wake()
	b.until("the last users again", count("true"), b.log.String)
}

func TestComparesAllNowAndThen(t *testing.T) {
	b := newBench(t)
	b.exec(b.theirs, accountTable)
	b.exec(b.ours, `INSERT INTO dingir.users (registered_at, user_id, l1_address, l2_pubkey, content_hash, src_topic, src_partition, src_offset)
		SELECT now(), i, i, i, i, 1, 0, i FROM generate_series(1, $1) i`, reach+2)
	a := NewAccounts(store.Options{URL: b.ourURL}, store.Options{URL: b.theirURL}, slog.New(slog.DiscardHandler))
	a.pause, a.wholeEvery = time.Millisecond, 20*time.Millisecond
	b.run(a)
	complete := func() (yes bool) {
		if err := b.theirs.QueryRow(t.Context(), "SELECT count(*) = $1 FROM account", reach+2).Scan(&yes); err != nil {
			t.Fatal(err)
		}
		return yes
	}
	b.until("every user", complete, b.log.String)
	b.exec(b.theirs, "DELETE FROM account WHERE id = 1") // below what a wake looks at, and nobody wakes
	b.until("the first user again", complete, b.log.String)
}

func TestReportsWhatDoesNotFit(t *testing.T) {
	b := newBench(t)
	b.exec(b.theirs, accountTable)
	b.register(0, "0xzero", "0x", 1)
	b.register(1, "0xa", "0xaa", 2)
	b.register(2, "0x"+strings.Repeat("f", 41), "0xlong", 3)
	b.register(3, "0xc", "0xcc", 4)
	b.register(1<<31-1, "0xlast", "0x", 5)
	b.register(1<<31, "0xbeyond", "0x", 6)
	b.register(1<<32-1, "0xfar", "0x", 7)
	a := b.start()
	b.wantAccounts("1 0xa 0xaa", "3 0xc 0xcc", "2147483647 0xlast 0x")
	b.register(4, "0xd", "0xdd", 8)
	a.Wake()
	b.wantAccounts("1 0xa 0xaa", "3 0xc 0xcc", "4 0xd 0xdd", "2147483647 0xlast 0x")
	for _, id := range []int64{0, 2, 1 << 31, 1<<32 - 1} {
		line := fmt.Sprintf("user_id=%d ", id)
		b.wantLog(line)
		if n := strings.Count(b.log.String(), line); n != 1 {
			t.Errorf("user %d was reported %d times:\n%s", id, n, b.log.String())
		}
	}
}

func TestWaitsForTheEnginesMigrations(t *testing.T) {
	b := newBench(t)
	b.register(1, "0xa", "0xaa", 1)
	b.start()
	b.wantLog("waiting for the engine's migrations")
	b.exec(b.theirs, accountTable) // fails had we created it
	b.wantAccounts("1 0xa 0xaa")
	b.wantLog("can be filled again")
	if n := strings.Count(b.log.String(), "level=WARN"); n != 1 {
		t.Errorf("want one warning, got\n%s", b.log.String())
	}
}

func TestOutlivesTheEnginesDatabase(t *testing.T) {
	b := newBench(t)
	b.exec(b.theirs, accountTable)
	b.register(1, "0xa", "0xaa", 1)
	a := b.start()
	b.wantAccounts("1 0xa 0xaa")

	config, err := pgx.ParseConfig(b.theirURL)
	if err != nil {
		t.Fatal(err)
	}
	database := pgx.Identifier{config.Database}.Sanitize()
	b.exec(b.ours, "ALTER DATABASE "+database+" ALLOW_CONNECTIONS false")
	b.register(2, "0xb", "0xbb", 2)
	a.Wake()
	b.wantLog("cannot fill the engine's accounts")
	b.exec(b.ours, "ALTER DATABASE "+database+" ALLOW_CONNECTIONS true")
	b.wantAccounts("1 0xa 0xaa", "2 0xb 0xbb")
	b.wantLog("can be filled again")
	if n := strings.Count(b.log.String(), "level=WARN"); n != 1 {
		t.Errorf("want one warning, got\n%s", b.log.String())
	}
}

func TestWakeNeverWaits(*testing.T) {
	a := NewAccounts(store.Options{}, store.Options{}, slog.New(slog.DiscardHandler))
	for range 3 { // nobody runs it
		a.Wake()
	}
}

func TestRunRefusesBadURLs(t *testing.T) {
	a := NewAccounts(store.Options{}, store.Options{URL: "postgres://h:port/d"}, slog.New(slog.DiscardHandler))
	if err := a.Run(t.Context()); err == nil {
		t.Error("a URL that cannot be read is no error")
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
