// Package compat_test runs the queries of the engine's REST API on the views of
// schema dingir_compat, and holds the views' columns to what it can read.
package compat_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect opens a session on a migrated database as the REST API would, except
// that its time zone is far from UTC: the views must not care.
func connect(t *testing.T) *pgx.Conn {
	t.Helper()
	ctx := t.Context()
	url := testenv.Database(t)
	if _, err := store.Migrate(ctx, store.Options{URL: url, SynchronousCommit: true}); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	run(t, conn, "SET search_path = dingir_compat, public")
	run(t, conn, "SET timezone = 'Asia/Kathmandu'")
	return conn
}

func run(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// rows returns the result as text, NULL as "NULL", and the columns' types.
func rows(t *testing.T, conn *pgx.Conn, sql string, args ...any) (values [][]string, columns []column) {
	t.Helper()
	found, err := conn.Query(t.Context(), sql, append([]any{pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer found.Close()
	for found.Next() {
		var row []string
		for _, v := range found.RawValues() {
			if v == nil {
				row = append(row, "NULL")
				continue
			}
			row = append(row, string(v))
		}
		values = append(values, row)
	}
	if err := found.Err(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	for _, f := range found.FieldDescriptions() {
		columns = append(columns, column{f.Name, f.DataTypeOID})
	}
	return values, columns
}

type column struct {
	name string
	oid  uint32
}
