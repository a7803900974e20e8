package testenv

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

var sharedDatabase = sync.OnceValues(service{
	name:     "TimescaleDB",
	variable: databaseVariable,
	ask:      askDatabase,
	contain:  containDatabase,
}.find)

// Database returns the URL of a database made for this test: empty, with
// TimescaleDB available to CREATE EXTENSION. It is dropped when the test ends,
// even under connections that are still open.
func Database(t testing.TB) string {
	t.Helper()
	server, err := sharedDatabase()
	if err != nil {
		unavailable(t, "TimescaleDB", err)
	}
	address, err := addDatabase(server, t.Name())
	if err != nil {
		t.Fatalf("create a database for the test: %v", err)
	}
	t.Cleanup(func() {
		if err := dropDatabase(server, address); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return address
}

// addDatabase creates a database on the server, with these options of CREATE
// DATABASE, and returns its URL.
func addDatabase(server, test string, options ...string) (string, error) {
	target, err := url.Parse(server)
	if err != nil || target.Scheme == "" {
		return "", fmt.Errorf("%s must be a URL for the tests, like postgres://postgres@localhost/postgres", databaseVariable)
	}
	name := databaseName(test)
	// template0, because TimescaleDB's launcher visits template1, and because
	// the images' template1 has the extension already.
	err = execute(server, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" TEMPLATE template0 "+strings.Join(options, " "))
	if err != nil {
		return "", err
	}
	target.Path = "/" + name
	return target.String(), nil
}

func dropDatabase(server, address string) error {
	target, err := url.Parse(address)
	if err != nil {
		return err
	}
	name := pgx.Identifier{strings.TrimPrefix(target.Path, "/")}
	return execute(server, "DROP DATABASE IF EXISTS "+name.Sanitize()+" WITH (FORCE)")
}

// databaseName keeps the test's name recognizable within PostgreSQL's 63
// bytes.
func databaseName(test string) string {
	readable := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, strings.ToLower(test))
	return fmt.Sprintf("t_%s_%.48s", randomName(), readable)
}

// execute runs one statement on a connection of its own. A minute is far more
// than it takes, except on a machine busy with other tests' checkpoints.
func execute(server, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	connection, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer connection.Close(ctx)
	_, err = connection.Exec(ctx, statement)
	return err
}

// askDatabase fails unless the server runs queries and has TimescaleDB.
func askDatabase(ctx context.Context, server string) error {
	connection, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer connection.Close(ctx)
	var available bool
	err = connection.QueryRow(ctx,
		"SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')").Scan(&available)
	if err != nil {
		return err
	}
	if !available {
		return errors.New("the server has no extension timescaledb")
	}
	return nil
}
