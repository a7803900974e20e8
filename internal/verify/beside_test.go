package verify

import (
	"bytes"
	"strings"
	"testing"

	"github.com/thaliumx/persistor/internal/exchange"
)

// TestBesideTheDaemon audits over and over while rows are being written, and
// wants no difference: what is written meanwhile is left to the next audit.
func TestBesideTheDaemon(t *testing.T) {
	f := newFeed(t, func(c *exchange.Config) {
		c.CrashEvery, c.Forget, c.LoseUnify, c.LoseTopics, c.Duplicates, c.Foreign = 300, 5, 5, 5, 0.02, 0.02
	}).operate(500)
	type result struct {
		report Report
		err    error
	}
	stop, results := make(chan struct{}), make(chan []result)
	go func() {
		var list []result
		for {
			select {
			case <-stop:
				results <- list
				return
			default:
			}
			r, err := Verify(t.Context(), Options{Database: f.o, Listed: 5, Connections: 3})
			list = append(list, result{r, err})
		}
	}()
	for range 40 {
		f.operate(100)
	}
	close(stop)
	ends := map[int64]bool{}
	for _, r := range <-results {
		if r.err != nil || r.report.Total != 0 || !r.report.State.Checked {
			t.Errorf("%v %v %+v", r.err, r.report.Differences, r.report.State)
		}
		for _, p := range r.report.Partitions {
			ends[p.NextOffset] = true
		}
	}
	if len(ends) < 20 {
		t.Errorf("nothing was written meanwhile: %v", ends)
	}
	var text bytes.Buffer
	r := f.verify()
	if err := r.Write(&text); err != nil || r.Total != 0 || !strings.HasSuffix(text.String(), "; the state is what the event log makes, and money adds up\n") {
		t.Error(err, text.String())
	}
	t.Log("\n" + text.String())
}
