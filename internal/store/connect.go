package store

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// ApplicationName marks a daemon's sessions: only such a session may be ended
// by a new owner that waits for a frozen one. CommandName marks those of an
// operator's commands, which nobody ends.
const (
	ApplicationName = "persistor"
	CommandName     = "persistor command"
)

const (
	connectTimeout = 10 * time.Second

	// silence is how long a peer may leave sent bytes unacknowledged. Without
	// it a half-open connection holds a worker for a quarter of an hour.
	silence = 30 * time.Second
)

// Options say how to connect.
type Options struct {
	URL               string // empty: libpq's PG… variables
	SynchronousCommit bool
	Application       string // CommandName; empty: ApplicationName
}

// config is the URL's, with the settings that all our sessions share.
func (o Options) config() (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(o.URL)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err)
	}
	c.ConnectTimeout = connectTimeout
	dialer := net.Dialer{KeepAlive: silence / 3, Control: boundSilence}
	c.DialFunc = dialer.DialContext
	commit := "on"
	if !o.SynchronousCommit {
		commit = "off"
	}
	for name, value := range map[string]string{
		"application_name":                    cmp.Or(o.Application, ApplicationName),
		"timezone":                            "UTC",
		"standard_conforming_strings":         "on", // texts travel as literals
		"synchronous_commit":                  commit,
		"lock_timeout":                        "2s",
		"idle_in_transaction_session_timeout": "60s",
		// A batch takes as long as it takes: one that a default of the server's ends
		// would be tried again for ever.
		"statement_timeout": "0",
		// Texts travel as they are, whatever the server's default is.
		"client_encoding": "UTF8",
		// The server notices that we are gone, also while it computes.
		"client_connection_check_interval": "10s",
		"tcp_user_timeout":                 fmt.Sprint(silence.Milliseconds()),
	} {
		c.RuntimeParams[name] = value
	}
	return c, nil
}

// boundSilence sets TCP_USER_TIMEOUT: sent bytes that stay unacknowledged for
// so long break the connection.
func boundSilence(network, _ string, c syscall.RawConn) error {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil
	}
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence.Milliseconds()))
	}); e != nil {
		return e
	}
	return err
}

// Connect opens a session.
func Connect(ctx context.Context, o Options) (*pgx.Conn, error) {
	config, err := o.config()
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	if err := suits(ctx, conn); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return conn, nil
}

// EncodingError says that a database cannot hold every text that is sent.
type EncodingError struct{ Encoding string }

// Error says what to do.
func (e *EncodingError) Error() string {
	return fmt.Sprintf("the database has encoding %s, which cannot hold every text: make one with encoding UTF8 (CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0)", e.Encoding)
}

// suits refuses a database that would alter texts, and sets what only newer servers
// know.
func suits(ctx context.Context, conn *pgx.Conn) error {
	if encoding := conn.PgConn().ParameterStatus("server_encoding"); encoding != "UTF8" {
		return &EncodingError{encoding}
	}
	// PostgreSQL 17's bound for whole transactions.
	const sql = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout' AND setting <> '0'"
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("set up the session: %w", err)
	}
	return nil
}
