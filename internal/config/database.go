package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Database says where the tables are and how commits are made.
type Database struct {
	// URL is empty where the PG… variables of libpq say where to connect to;
	// pgx reads those by itself.
	URL Secret

	// SynchronousCommit, when off, lets a commit return before it is on disk.
	// On one server that loses nothing (rows and ledger vanish together), but
	// after a failover to an asynchronous replica it can, once Kafka's retention
	// has moved on. Hence on; batches of 10,000 records are no faster with off.
	SynchronousCommit bool
}

// DefaultDatabase is a server on this machine, as `make up` starts it.
func DefaultDatabase() Database {
	return Database{
		URL:               "postgres://postgres@localhost:5432/postgres",
		SynchronousCommit: true,
	}
}

func (d *Database) settings() []setting {
	return []setting{
		{name: "database-url", value: secretValue(&d.URL), secret: &d.URL,
			usage: "PostgreSQL with TimescaleDB, as a postgres:// URL; where it is unset, libpq's PG… variables are used if there are any"},
		{name: "synchronous-commit", value: onOffValue((*onOff)(&d.SynchronousCommit)),
			usage: "on, or off to let commits return before they are on disk: faster for small batches, and may lose data in a failover"},
	}
}

// Validate refuses a URL that cannot be used. It does not connect.
func (d *Database) Validate() error { return validateURL("database-url", d.URL) }

// Target names server, database and role for people, without the password.
func (d *Database) Target() string { return target(d.URL) }

// Engine says where the matching engine's own database is, whose table account
// the engine reads at start and expects the persistor to fill.
type Engine struct {
	DatabaseURL Secret // empty: leave it alone
}

func (e *Engine) settings() []setting {
	return []setting{{name: "engine-database-url", value: secretValue(&e.DatabaseURL), secret: &e.DatabaseURL,
		usage: "the engine's own database, whose table account is to be filled; without it the engine forgets new users when it restarts"}}
}

// Validate refuses a URL that cannot be used. It does not connect.
func (e *Engine) Validate() error {
	if e.DatabaseURL == "" {
		return nil
	}
	return validateURL("engine-database-url", e.DatabaseURL)
}

// libpqSet says whether the environment tells libpq where or as whom to
// connect. The other PG… variables (password, TLS, …) complete any URL.
func libpqSet(env []string) bool {
	return slices.ContainsFunc(env, func(kv string) bool {
		name, text, _ := strings.Cut(kv, "=")
		switch name {
		case "PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE":
			return text != ""
		}
		return false
	})
}

// validateURL must not quote the URL, nor a parser's error about it: with an
// unescaped / in a password, "invalid port" quotes the password.
func validateURL(name string, secret Secret) error {
	if secret != "" {
		if err := checkForm(secret.Reveal()); err != nil {
			return fmt.Errorf("%s: %w (the value is not shown, it may hold a password)", label(name), err)
		}
	}
	_, err := pgconn.ParseConfig(secret.Reveal())
	switch {
	case err == nil:
		return nil
	case secret == "":
		return fmt.Errorf("%s is unset, and libpq's PG… variables cannot be used: %s", label(name), unquoted(err))
	case !isURL(secret.Reveal()):
		return fmt.Errorf("%s: not a connection string; want postgres://user:password@host:5432/database (the value is not shown, it may hold a password)", label(name))
	}
	return fmt.Errorf("%s: %s", label(name), unquoted(err))
}

func isURL(text string) bool {
	return strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://")
}

func checkForm(text string) error {
	if !isURL(text) {
		return nil // libpq's other form, host=… user=…
	}
	escape := errors.New("not a URL; in a password, characters such as / # ? @ and % have to be percent-encoded")
	u, err := url.Parse(text)
	if err != nil {
		return escape
	}
	// A / # or ? in a password ends the host part early, and the @ is found
	// behind it. An @ in a parameter is written %40.
	if u.User == nil && strings.Contains(text, "@") {
		return escape
	}
	return nil
}

// unquoted is pgconn's error without the connection string that it quotes.
func unquoted(err error) string {
	if e, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
		e.ConnString = ""
	}
	return Redact(strings.TrimPrefix(err.Error(), "cannot parse ``: "))
}

func target(secret Secret) string {
	c, err := pgconn.ParseConfig(secret.Reveal())
	if err != nil {
		return "unknown"
	}
	where := c.Host
	if !strings.HasPrefix(where, "/") { // else a directory of Unix sockets
		where = net.JoinHostPort(where, strconv.Itoa(int(c.Port)))
	}
	return fmt.Sprintf("%s, database %s, as %s", where, c.Database, c.User)
}
