package ingest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/testenv"
)

// What a daemon that keeps up has left in small pieces is joined while it runs.
func TestSmallSegmentsAreJoined(t *testing.T) {
	o := store.Options{URL: testenv.Database(t), SynchronousCommit: true}
	if _, err := store.Migrate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	conn, err := store.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := store.Begin(t.Context(), conn, "p.unifyevents", 0, "cluster", [16]byte{1}, 0); err != nil {
		t.Fatal(err)
	}
	pos, _, err := store.PositionOf(t.Context(), conn, "p.unifyevents", 0)
	if err != nil {
		t.Fatal(err)
	}
	b := store.NewBatch()
	p := b.Partition(pos.Log, 0, 0)
	for offset := range int64(30) { // a gap behind each ends its segment
		if err := b.Archive(p, 2*offset, 1_700_000_000_000, []byte("orders"), []byte("{}"), []byte{0}); err != nil {
			t.Fatal(err)
		}
		b.Record(p, 2*offset, 1)
		if err := b.Gap(p, 2*offset+1, 2*offset+1, "control"); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Write(t.Context(), conn, b); err != nil {
		t.Fatal(err)
	}
	// Without the gaps the segments lie side by side, and history is at rest.
	for _, sql := range []string{"DELETE FROM dingir.gaps", "UPDATE dingir.event_log SET topic_id = 7, first_offset = first_offset / 2, last_offset = last_offset / 2"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	d := &Daemon{Options: Options{Database: o}, log: slog.New(slog.DiscardHandler)}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); d.joinSegments(ctx, time.Millisecond) }()
	defer func() { stop(); <-ended }()
	for {
		var segments, records int
		if err := conn.QueryRow(t.Context(), "SELECT count(*), sum(records) FROM dingir.event_log").Scan(&segments, &records); err != nil {
			t.Fatal(err)
		}
		if records != 30 {
			t.Fatalf("%d records", records)
		}
		if segments == 1 {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatalf("still %d segments", segments)
		}
	}
}
