package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/testenv"
)

// refusing is a PostgreSQL server that lets nobody in. It calls asked for each
// that tries, and ends with the test.
func refusing(t *testing.T, state string, asked func()) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			server := pgproto3.NewBackend(conn, conn)
			if _, err := server.ReceiveStartupMessage(); err == nil {
				server.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: state, Message: "not now"})
				_ = server.Flush()
			}
			_ = conn.Close()
			asked()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	return "postgres://u@" + listener.Addr().String() + "/d?sslmode=disable"
}

// A server that is starting, stopping or full passes by itself; one that refuses
// us does not.
func TestRunWaitsForAServerThatHasNoRoom(t *testing.T) {
	for _, test := range []struct {
		state string
		waits bool
	}{
		{"57P03", true}, {"57P01", true}, {"53300", true}, {"28P01", false}, {"3D000", false},
	} {
		t.Run(test.state, func(t *testing.T) {
			t.Parallel()
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			tries := 0
			url := refusing(t, test.state, func() {
				if tries++; tries == 2 { // it has come again
					stop()
				}
			})
			var out bytes.Buffer
			code := run(ctx, t.Context(), []string{"run"}, []string{"PERSISTOR_DATABASE_URL=" + url, "PERSISTOR_LISTEN=127.0.0.1:0"}, &out, &out)
			if want := map[bool]int{true: exitDone, false: exitFailed}[test.waits]; code != want {
				t.Errorf("exit %d, want %d: %s", code, want, &out)
			}
		})
	}
}

// Whoever looks while the daemon waits for the database sees what it waits for; a
// restart would not help.
func TestRunTellsWhatItWaitsFor(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	url := refusing(t, "57P03", func() {})
	var out bytes.Buffer
	ended := make(chan int)
	go func() {
		ended <- run(ctx, t.Context(), []string{"run"}, []string{"PERSISTOR_DATABASE_URL=" + url, "PERSISTOR_LISTEN=" + address, "PERSISTOR_OUTAGE_GRACE=100ms"}, &out, &out)
	}()
	get := func(path string) (code int, body string) {
		answer, err := http.Get("http://" + address + path)
		if err != nil {
			return 0, err.Error()
		}
		defer answer.Body.Close()
		all, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(all)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if code, body := get("/readyz"); code == http.StatusServiceUnavailable && strings.Contains(body, "database_away") && strings.Contains(body, "57P03") {
			if strings.Contains(body, "kafka_away") {
				t.Errorf("Kafka has not been tried yet: %s", body)
			}
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("/readyz: %d %s", code, body)
		}
	}
	if code, body := get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d %s", code, body)
	}
	stop()
	if code := <-ended; code != exitDone {
		t.Errorf("exit %d: %s", code, &out)
	}
	if n := strings.Count(out.String(), "waiting for it"); n != 1 {
		t.Errorf("said %d times that it waits: %s", n, &out)
	}
}

// SIGTERM is obeyed also while a server that was reached keeps silent, to who
// wants in or to the question for the schema.
func TestRunEndsBesideASilentServer(t *testing.T) {
	for _, test := range []struct {
		name   string
		letsIn bool
	}{{"at the door", false}, {"inside", true}} {
		t.Run(test.name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			over, left := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(left)
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }()
				server := pgproto3.NewBackend(conn, conn)
				_, _ = server.ReceiveStartupMessage()
				if test.letsIn {
					server.Send(&pgproto3.AuthenticationOk{})
					server.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
					_ = server.Flush()
					_, _ = server.Receive()
				}
				stop()
				<-over
			}()
			var out bytes.Buffer
			began := time.Now()
			env := []string{"PERSISTOR_DATABASE_URL=postgres://u@" + listener.Addr().String() + "/d?sslmode=disable", "PERSISTOR_LISTEN=127.0.0.1:0"}
			code := run(ctx, t.Context(), []string{"run"}, env, &out, &out)
			if took := time.Since(began); code != exitDone || took > 5*time.Second {
				t.Errorf("exit %d after %v: %s", code, took, &out)
			}
			close(over)
			_ = listener.Close()
			<-left
		})
	}
}

// What would keep the daemon from a partition is told before it starts.
func TestRunCheck(t *testing.T) {
	brokers, prefix := testenv.Kafka(t), testenv.TopicPrefix(t)
	env := []string{"PERSISTOR_KAFKA_BROKERS=" + brokers, "PERSISTOR_TOPIC_PREFIX=" + prefix, "PERSISTOR_DATABASE_URL=" + testenv.Database(t)}
	check := func(when string, code int, stdout, stderr string) {
		t.Helper()
		got := execute(t, env, "run", "--check")
		if got.code != code || !strings.Contains(got.stdout, stdout) || !strings.Contains(got.stderr, stderr) || (stderr == "" && got.stderr != "") {
			t.Errorf("%s: %+v, want exit %d, %q and %q", when, got, code, stdout, stderr)
		}
	}
	check("before migrate", exitFailed, "", "persistor migrate")
	if got := execute(t, env, "migrate"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	check("without topics", exitFailed, prefix+"trades", "none of the 8 topics is there")
	makeTopic(t, brokers, prefix+"trades", 1)
	check("without most topics", exitDone, "trades: 1 partitions", "warning: 7 of 8 topics")
	if got := execute(t, env, "topics", "create"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	check("with all", exitDone, "unifyevents: 1 partitions", "")
	conn, err := pgx.Connect(t.Context(), strings.TrimPrefix(env[2], "PERSISTOR_DATABASE_URL="))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if err := store.Begin(t.Context(), conn, prefix+"orders", 3, "another", [16]byte{1}, 0); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); { // a new topic's leader may not know that it is one
		if got := execute(t, env, "run", "--check"); got.code != exitFailed {
			break
		}
	}
	check("with another cluster's ledger", exitHalted, prefix+"orders partition 3: would be halted: this is Kafka cluster", "1 would be halted")
}

// Whoever may connect and no more is told what is lacking.
func TestARoleWithoutRights(t *testing.T) {
	address := testenv.Database(t)
	if got := execute(t, []string{"PERSISTOR_DATABASE_URL=" + address}, "migrate"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	role := pgx.Identifier{conn.Config().Database + "_role"}.Sanitize()
	if _, err := conn.Exec(t.Context(), "CREATE ROLE "+role+" LOGIN"); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = conn.Exec(context.WithoutCancel(t.Context()), "DROP ROLE "+role) }()
	poor, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	poor.User = url.User(conn.Config().Database + "_role")
	for _, command := range []string{"positions", "run"} {
		if got := execute(t, []string{"PERSISTOR_DATABASE_URL=" + poor.String()}, command); got.code != exitFailed || !strings.Contains(got.stderr, "permission denied") || !strings.Contains(got.stderr, "give the role its rights") {
			t.Errorf("%s: %+v", command, got)
		}
	}
}
