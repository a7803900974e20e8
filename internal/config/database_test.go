package config

import (
	"strings"
	"testing"
)

func TestDatabaseURL(t *testing.T) {
	for _, test := range []struct {
		name, url string
		want      string // of the error; empty: none
	}{
		{"URL", "postgres://u:hunter2@h:5432/d?sslmode=disable", ""},
		{"other scheme of PostgreSQL", "postgresql://u:hunter2@h/d", ""},
		{"several hosts", "postgres://u:hunter2@h1:5432,h2:5433/d?target_session_attrs=read-write", ""},
		{"keywords", "host=h user=u password=hunter2 dbname=d", ""},
		{"encoded password", "postgres://u:hunter2%2F%40@h/d", ""},
		{"slash in the password", "postgres://u:hunter2/x@h/d", "percent-encoded"},
		{"number before a slash in the password", "postgres://u:12/hunter2@h/d", "percent-encoded"},
		{"question mark in the password", "postgres://u:12?hunter2@h/d", "percent-encoded"},
		{"hash in the password", "postgres://u:12#hunter2@h/d", "percent-encoded"},
		{"percent in the password", "postgres://u:hunter2%zz@h/d", "percent-encoded"},
		{"bad port", "postgres://u:hunter2@h:x/d", "percent-encoded"},
		{"other database", "mysql://u:hunter2@h/d", "want postgres://"},
		{"a driver's scheme", "postgresql+asyncpg://u:hunter2@h/d", "want postgres://"},
		{"only a host", "h:5432", "want postgres://"},
		{"certificate missing", "postgres://u:hunter2@h/d?sslmode=verify-full&sslrootcert=/nowhere/ca.pem", "/nowhere/ca.pem"},
		{"bad sslmode", "postgres://u:hunter2@h/d?sslmode=maybe", "sslmode"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := Database{URL: Secret(test.url)}
			err := d.Validate()
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("shows the password: %v", err)
			case err != nil && !strings.HasPrefix(err.Error(), "PERSISTOR_DATABASE_URL (--database-url): "):
				t.Errorf("does not name the setting: %v", err)
			}
		})
	}
}

func TestTarget(t *testing.T) {
	for _, test := range []struct{ name, url, want string }{
		{"URL", "postgres://u:hunter2@h:5433/d", "h:5433, database d, as u"},
		{"IPv6", "postgres://u:hunter2@[::1]:5433/d", "[::1]:5433, database d, as u"},
		{"Unix socket", "host=/run/postgresql user=u dbname=d", "/run/postgresql, database d, as u"},
	} {
		d := Database{URL: Secret(test.url)}
		if got := d.Target(); got != test.want {
			t.Errorf("%s: %s", test.name, got)
		}
	}
	if e := (Engine{}); e.Validate() != nil {
		t.Error("no engine database is no error")
	}
}

// TestLibpqVariables reaches pgx's own reading of the process's environment.
func TestLibpqVariables(t *testing.T) {
	t.Setenv("PGHOST", "db.example")
	t.Setenv("PGPORT", "6000")
	t.Setenv("PGUSER", "me")
	t.Setenv("PGDATABASE", "market")
	c, _, err := load(t, NeedDatabase, nil, []string{"PGHOST=db.example"})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Database.Target(); got != "db.example:6000, database market, as me" {
		t.Error(got)
	}
}
