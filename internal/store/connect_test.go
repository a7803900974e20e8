package store

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/testenv"
)

// unset is a session that has the server's own settings, and its database.
func unset(t *testing.T) (conn *pgx.Conn, url, database string) {
	t.Helper()
	url = testenv.Database(t)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if err := conn.QueryRow(t.Context(), "SELECT current_database()").Scan(&database); err != nil {
		t.Fatal(err)
	}
	return conn, url, database
}

// A session of ours does not depend on what an operator has set for others.
func TestConnectSetsWhatItNeeds(t *testing.T) {
	admin, url, name := unset(t)
	var version int
	if err := admin.QueryRow(t.Context(), "SELECT current_setting('server_version_num')::int / 10000").Scan(&version); err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{"statement_timeout": "'60ms'", "client_encoding": "LATIN1", "lock_timeout": "'1ms'", "timezone": "'Asia/Tokyo'"}
	if version >= 17 {
		settings["transaction_timeout"] = "'60ms'"
	}
	for setting, value := range settings {
		if _, err := admin.Exec(t.Context(), "ALTER DATABASE "+pgx.Identifier{name}.Sanitize()+" SET "+setting+" = "+value); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := Connect(t.Context(), Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	want := map[string]string{"statement_timeout": "0", "client_encoding": "UTF8", "lock_timeout": "2s", "timezone": "UTC", "transaction_timeout": "0"}
	for setting := range settings {
		var have string
		if err := conn.QueryRow(t.Context(), "SHOW "+setting).Scan(&have); err != nil || have != want[setting] {
			t.Errorf("%s is %s, want %s (%v)", setting, have, want[setting], err)
		}
	}
}

// Texts would be altered in a database that cannot hold them all.
func TestConnectRefusesAnotherEncoding(t *testing.T) {
	admin, url, own := unset(t)
	name := own + "_latin"
	if _, err := admin.Exec(t.Context(), "CREATE DATABASE "+name+" ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = admin.Exec(t.Context(), "DROP DATABASE "+name) }()
	_, err := Connect(t.Context(), Options{URL: strings.Replace(url, own, name, 1)})
	var encoding *EncodingError
	if !errors.As(err, &encoding) || encoding.Encoding != "LATIN1" {
		t.Errorf("got %v", err)
	}
}
