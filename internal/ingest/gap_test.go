package ingest

import (
	"testing"

	"github.com/thaliumx/persistor/internal/config"
	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// What is read again below the archive's end is there already, perhaps inside
// another gap: an operator may have begun in the middle of this one.
func TestGapsBelowTheArchivesEndAreNotNotedAgain(t *testing.T) {
	for _, c := range []struct {
		gap  fetch.Range
		rows bool
	}{{fetch.Range{First: 145, Last: 155}, false}, {fetch.Range{First: 295, Last: 299}, false}, {fetch.Range{First: 295, Last: 300}, true}} {
		w := &worker{Daemon: &Daemon{Options: Options{Ingest: config.Ingest{EventLog: true}}}, batch: store.NewBatch()}
		p := newPartition(topics.UnifyEvents, "p.", 0)
		p.archived = 300
		progress := w.batch.Partition(store.Log{Topic: "p.unifyevents", TopicID: 1}, 100, p.archived)
		if err := w.takeGap(p, progress, c.gap); err != nil {
			t.Fatal(err)
		}
		if progress.Next != c.gap.Last+1 || (w.batch.Bytes() > 0) != c.rows {
			t.Errorf("gap %v: next %d, %d bytes of notes", c.gap, progress.Next, w.batch.Bytes())
		}
	}
}
