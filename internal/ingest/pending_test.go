package ingest

import (
	"testing"

	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/testenv"
)

// The session is kept while it lasts, and its end is nobody's trouble.
func TestPendingRejectsKeepsItsSession(t *testing.T) {
	t.Parallel()
	o := store.Options{URL: testenv.Database(t), Application: "counting"}
	if _, err := store.Migrate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	conn, err := store.Connect(t.Context(), store.Options{URL: o.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	p := pendingRejects{database: o, topics: []string{"trades"}}
	defer p.close(t.Context())
	session := func() (pid uint32) {
		t.Helper()
		if n, err := p.count(t.Context()); n != 0 || err != nil {
			t.Fatalf("%d rejects, %v", n, err)
		}
		return p.conn.PgConn().PID()
	}
	first := session()
	if again := session(); again != first {
		t.Errorf("session %d is not kept, but %d", first, again)
	}
	if _, err := conn.Exec(t.Context(), "SELECT pg_terminate_backend($1, 10000)", first); err != nil {
		t.Fatal(err)
	}
	if other := session(); other == first {
		t.Errorf("session %d was terminated", other)
	}
}
