package httpserver

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServeUntilTheContextEnds(t *testing.T) {
	s, err := Listen(t.Context(), "127.0.0.1:0", fixed{}, prometheus.NewRegistry(), discard())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()

	transport := &http.Transport{}
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	r, err := client.Get("http://" + s.Addr().String() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	if r.StatusCode != http.StatusOK {
		t.Errorf("%d", r.StatusCode)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	transport.CloseIdleConnections()
	if r, err := client.Get("http://" + s.Addr().String() + "/readyz"); err == nil {
		_ = r.Body.Close()
		t.Error("still serving")
	}
}

// slow answers nobody until it is let go.
type slow struct{ entered, release chan struct{} }

func (s slow) Status() Status {
	close(s.entered)
	<-s.release
	return Status{}
}

func TestServeLetsRequestsFinish(t *testing.T) {
	source := slow{make(chan struct{}), make(chan struct{})}
	s, err := Listen(t.Context(), "127.0.0.1:0", source, prometheus.NewRegistry(), discard())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, answered := make(chan error, 1), make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		r, err := client.Get("http://" + s.Addr().String() + "/healthz")
		if err == nil {
			_ = r.Body.Close()
		}
		answered <- err
	}()
	<-source.entered
	cancel()
	close(source.release)
	if err := <-answered; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestListenErrors(t *testing.T) {
	first, err := Listen(t.Context(), "127.0.0.1:0", fixed{}, prometheus.NewRegistry(), discard())
	if err != nil {
		t.Fatal(err)
	}
	taken := first.Addr().String()
	for _, test := range []struct{ name, address, want string }{
		{"port taken", taken, "listen on " + taken + ": the port is in use"},
		{"not our address", "192.0.2.1:0", "this machine does not have that address"},
		{"no such host", "no-such-host.invalid:0", "no-such-host.invalid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Listen(t.Context(), test.address, fixed{}, prometheus.NewRegistry(), discard())
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "--listen (PERSISTOR_LISTEN)") || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := first.listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.Serve(t.Context()); err == nil {
		t.Error("a broken listener is no error")
	}
}
