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

// TestCheckpoint ends audits in the middle, some with the last checkpoint as a
// kill would leave it, and wants the one that goes on to find what one in a
// single go does.
func TestCheckpoint(t *testing.T) {
	f := days(t)
	f.sql(`UPDATE dingir.trades SET price = price + 1 WHERE src_offset % 50 = 1; DELETE FROM dingir.order_events WHERE src_offset % 100 = 1`)
	small := func(o *Options) { o.pages, o.records, o.every = 2, 100, 1 }
	want := f.verify(small)
	if want.Total == 0 {
		t.Fatal("nothing was damaged")
	}
	file := filepath.Join(t.TempDir(), "checkpoint")
	// A checkpoint is there or it is not: whoever is killed leaves the last one.
	var killed [][]byte
	got := f.verify(small, func(o *Options) {
		o.Checkpoint = file
		o.Progress = func(Progress) {
			if b, err := os.ReadFile(file); err == nil {
				killed = append(killed, b)
			}
		}
	})
	if !reflect.DeepEqual(got, want) || len(killed) < 40 {
		t.Fatalf("%d checkpoints; %v", len(killed), got.Differences)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the checkpoint after the end: %v", err)
	}
	before := 0
	for n := 0; n < len(killed); n += 1 + len(killed)/8 {
		if err := os.WriteFile(file, killed[n], 0o600); err != nil {
			t.Fatal(err)
		}
		resumed := 0
		got := f.verify(small, func(o *Options) {
			o.Checkpoint = file
			o.Progress = func(p Progress) { resumed = p.Resumed }
		})
		if !reflect.DeepEqual(got, want) || resumed <= before {
			t.Errorf("after %d parts: %+v", resumed, got.Differences)
		}
		before = resumed
	}
}

// TestInterrupted has an audit end with an error, and the next one go on; what
// is of another audit is refused.
func TestInterrupted(t *testing.T) {
	f := days(t)
	file := filepath.Join(t.TempDir(), "checkpoint")
	errEnough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	o := Options{Database: f.o, Checkpoint: file, Progress: func(p Progress) {
		if p.Units == 5 {
			cancel(errEnough)
		}
	}}
	if _, err := Verify(ctx, o); !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	o.Progress, o.Since = nil, time.Now()
	if _, err := Verify(t.Context(), o); err == nil || !strings.Contains(err.Error(), "everything") {
		t.Errorf("since another time: %v", err)
	}
	o.SinceAbout = true
	if _, err := Verify(t.Context(), o); err == nil || !strings.Contains(err.Error(), "everything") {
		t.Errorf("since about another time: %v", err)
	}
	o.Since, o.SinceAbout = time.Time{}, false
	f.sql("ALTER TABLE dingir.topics DISABLE TRIGGER ALL; UPDATE dingir.topics SET topic_uuid = gen_random_uuid() WHERE id = 1")
	if _, err := Verify(t.Context(), o); err == nil || !strings.Contains(err.Error(), "another database") {
		t.Errorf("of another database: %v", err)
	}
	if err := os.WriteFile(file, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), o); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("something else: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(t.Context(), o); err != nil || r.Total != 0 {
		t.Errorf("%v %v", r.Differences, err)
	}

	// A time that was counted back from now is that of the audit's beginning.
	begun := time.Date(2026, 1, 7, 0, 0, 0, 0, time.UTC)
	ctx, cancel = context.WithCancelCause(t.Context())
	o.Since, o.SinceAbout, o.Progress = begun, true, func(Progress) { cancel(errEnough) }
	if _, err := Verify(ctx, o); !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	o.Since, o.Progress = begun.Add(time.Hour), nil
	if r, err := Verify(t.Context(), o); err != nil || r.Total != 0 || !r.Since.Equal(begun) {
		t.Errorf("%+v %v", r, err)
	}
}
