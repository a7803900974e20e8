// Package httpserver tells machines and people how the daemon is doing:
// metrics, health, readiness and a status page.
package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// requestTime bounds reading a request and writing its answer. All answers
	// are small but /metrics, which is some 100 KB.
	requestTime = 15 * time.Second

	// shutdownTime is for scrapes in flight; the daemon has 30 s in all to end.
	shutdownTime = 2 * time.Second

	maxHeaderBytes = 64 << 10
)

// Server serves on one address, from Listen until the end of Serve.
type Server struct {
	listener net.Listener
	http     *http.Server
	log      *slog.Logger
}

// Listen takes the address, so that a port in use is noticed at the start, and
// returns a server that answers once Serve is called. An address with port 0 takes
// any free one: see Addr. The context bounds the lookup of a host's name.
func Listen(ctx context.Context, address string, source Source, metrics prometheus.Gatherer, log *slog.Logger) (*Server, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, listenError(address, err)
	}
	log.Info("listening", "url", "http://"+listener.Addr().String()+"/")
	return &Server{
		listener: listener,
		log:      log,
		http: &http.Server{
			Handler:           newHandler(source, metrics, log),
			ReadHeaderTimeout: requestTime,
			ReadTimeout:       requestTime,
			WriteTimeout:      requestTime,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		},
	}, nil
}

// listenError says what to do about an address that cannot be taken.
func listenError(address string, err error) error {
	const choose = "choose another with --listen (PERSISTOR_LISTEN)"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s: the port is in use, perhaps by another persistor: %s; port 0 takes any free one", address, choose)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen on %s: not permitted, ports below 1024 are the system's: %s", address, choose)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen on %s: this machine does not have that address: %s", address, choose)
	}
	return fmt.Errorf("listen on %s: %w: %s", address, err, choose)
}

// Addr is the address that is listened on, with its real port.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers requests until ctx ends, then lets those in flight finish for a
// moment. An error means that the listener broke while it was needed.
func (s *Server) Serve(ctx context.Context) error {
	broken := make(chan error, 1)
	go func() { broken <- s.http.Serve(s.listener) }()
	select {
	case err := <-broken:
		return fmt.Errorf("serve HTTP on %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if err := s.http.Shutdown(bounded); err != nil {
		s.log.Debug("cut HTTP requests short", "error", err)
		_ = s.http.Close() // whoever still reads has had the time
	}
	if err := <-broken; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP on %s: %w", s.Addr(), err)
	}
	return nil
}
