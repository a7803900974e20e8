package ingest

import (
	"log/slog"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/testenv"
	"github.com/thaliumx/persistor/internal/topics"
)

// Where the database was away when a generation began, the floor of ids is found
// later: until then every id is looked for in every chunk.
func TestTheFloorOfIDsIsFoundLater(t *testing.T) {
	options := store.Options{URL: testenv.Database(t)}
	if _, err := store.Migrate(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	conn, err := store.Connect(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	gone, err := store.Connect(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close(t.Context())
	c := &conflicts{log: slog.New(slog.DiscardHandler)}
	c.forget(map[string]bool{topics.Trades: true})
	if err := c.resume(t.Context(), gone); err == nil || c.seen != nil {
		t.Fatalf("found without a database: %v", err)
	}
	if err := c.resume(t.Context(), conn); err != nil || c.seen != nil {
		t.Errorf("it does not wait before it tries again: %v", err)
	}
	c.again = time.Now()
	if err := c.resume(t.Context(), conn); err != nil || c.seen[topics.Trades] == nil || c.seen[topics.Trades].shared || !c.seen[topics.Orders].shared {
		t.Errorf("it is not found: %v", err)
	}
	found := c.seen[topics.Trades]
	c.again = time.Now()
	if err := c.resume(t.Context(), gone); err != nil || c.seen[topics.Trades] != found {
		t.Errorf("it is looked for again: %v", err)
	}
	_ = conn.Close(t.Context())
}
