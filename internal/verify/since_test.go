package verify

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/topics"
)

// days is an exchange that works for some days, each a chunk of its own.
func days(t *testing.T) *feed {
	return newFeed(t, func(c *exchange.Config) {
		c.Interval = 4 * time.Minute
		c.CrashEvery, c.Forget, c.LoseUnify, c.LoseTopics, c.Duplicates = 300, 5, 5, 5, 0.01
	}).operate(1500)
}

// TestSince audits the last days only: what is older does not matter, and what
// is at the edge is no difference.
func TestSince(t *testing.T) {
	f := days(t)
	// A message that is much older than the ones before it.
	f.record(exchange.Message{Topic: topics.InternalTransfer, Key: []byte{}, Time: time.Date(2026, 1, 9, 0, 0, 0, 0, time.UTC),
		Value: []byte(`{"time":1704067200.0,"user_from":1,"user_to":2,"asset":"ETH","amount":"1","signature":""}`)})
	f.flush()
	for day := 6; day < 10; day++ {
		since := time.Date(2026, 1, day, 12, 0, 0, 0, time.UTC)
		r := f.verify(func(o *Options) { o.Since = since })
		for _, d := range r.Differences {
			t.Errorf("since %s: %s", since, d)
		}
		all := f.verify()
		if now, full := r.table("trades"), all.table("trades"); now.Rows >= full.Rows || now.Rows == 0 {
			t.Errorf("since %s: %d of %d trades", since, now.Rows, full.Rows)
		}
	}
	f.sql(`DELETE FROM dingir.order_events WHERE time < '2026-01-06' AND src_offset % 7 = 1;
		UPDATE dingir.trades SET price = price + 1 WHERE time < '2026-01-06' AND src_offset % 7 = 1`)
	since := func(o *Options) { o.Since = time.Date(2026, 1, 7, 0, 0, 0, 0, time.UTC) }
	if r := f.verify(since); r.Total != 0 {
		t.Errorf("of older times: %v", r.Differences)
	}
	f.sql(`UPDATE dingir.trades SET price = price + 1 WHERE time = (SELECT max(time) FROM dingir.trades);
		DELETE FROM dingir.order_events WHERE time = (SELECT max(time) FROM dingir.order_events WHERE time < '2026-01-08');
		DELETE FROM dingir.deposits WHERE time = (SELECT max(time) FROM dingir.deposits)`)
	r := f.verify(since)
	kinds := ""
	for _, d := range r.Differences {
		kinds += d.Kind + " " + d.Part + ", "
	}
	if !strings.HasPrefix(kinds, "missing positions, ") || !strings.Contains(kinds, "altered tables, missing tables, ") {
		t.Errorf("%s: %v", kinds, r.Differences)
	}
}

// TestCheckpoint ends audits in the middle, and wants the one that goes on to
// find what one in a single go does.
func TestCheckpoint(t *testing.T) {
	f := days(t)
	f.sql(`UPDATE dingir.trades SET price = price + 1 WHERE src_offset % 50 = 1; DELETE FROM dingir.order_events WHERE src_offset % 100 = 1`)
	want := f.verify()
	if want.Total == 0 {
		t.Fatal("nothing was damaged")
	}
	file := filepath.Join(t.TempDir(), "checkpoint")
	errEnough := errors.New("enough")
	units, runs := 0, 0
	for after := 1; ; after += 3 {
		ctx, cancel := context.WithCancelCause(t.Context())
		done := 0
		o := Options{Database: f.o, Listed: 5, Checkpoint: file, Progress: func(p Progress) {
			if done++; done == after && p.Units < p.Of {
				cancel(errEnough)
			}
			if p.Units < units || p.Resumed < units-done {
				t.Errorf("%+v after %d units", p, units)
			}
			units = p.Units
		}}
		got, err := Verify(ctx, o)
		cancel(nil)
		runs++
		if err != nil {
			if !errors.Is(err, errEnough) {
				t.Fatal(err)
			}
			if _, err := os.Stat(file); err != nil {
				t.Fatal(err)
			}
			o := Options{Database: f.o, Checkpoint: file, Since: time.Now()}
			if _, err := Verify(t.Context(), o); err == nil || !strings.Contains(err.Error(), "everything") {
				t.Errorf("another audit's checkpoint: %v", err)
			}
			continue
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		break
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) || runs < 3 {
		t.Errorf("%d runs; the checkpoint: %v", runs, err)
	}
}
