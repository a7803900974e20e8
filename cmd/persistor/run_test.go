package main

import (
	"bytes"
	"context"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
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
