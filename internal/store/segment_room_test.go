package store

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ulikunitz/xz"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/topics"
)

// The archive takes at most 15 % of the raw log, also where every record came
// in a batch of its own: on disk, with indexes, without the room that dead rows
// leave to those to come.
func TestArchiveTakesLittleRoom(t *testing.T) {
	t.Run("exchange", func(t *testing.T) {
		config := exchange.DefaultConfig()
		config.Start = time.Now().Add(-time.Hour)
		x, err := exchange.New(config)
		if err != nil {
			t.Fatal(err)
		}
		var log []Archived
		for len(log) < 12_000 {
			for _, m := range x.Step() {
				if m.Topic == topics.UnifyEvents {
					log = append(log, Archived{Time: m.Time.UnixMilli(), Key: m.Key, Value: m.Value, Headers: []byte{0}})
				}
			}
		}
		takesLittleRoom(t, log)
	})
	t.Run("engine", func(t *testing.T) { takesLittleRoom(t, engineLog(t)) })
}

// engineLog is the recorded run of the engine.
func engineLog(t *testing.T) (log []Archived) {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "state", "testdata", "engine-1.unify.jsonl.xz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := xz.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, 1<<20)
	for len(log) < 15_000 && lines.Scan() {
		var m struct {
			Value json.RawMessage `json:"value"`
		}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		log = append(log, Archived{Time: 1_700_000_000_000 + int64(len(log))*3, Key: []byte("orders"), Value: m.Value, Headers: []byte{0}})
	}
	if lines.Err() != nil || len(log) == 0 {
		t.Fatalf("%d lines, %v", len(log), lines.Err())
	}
	return log
}

func takesLittleRoom(t *testing.T, records []Archived) {
	t.Helper()
	r := newRig(t)
	log := r.begin("p.unifyevents", 0, 0)
	b := NewBatch()
	p := b.Partition(log, 0, 0)
	raw := 0
	for offset, a := range records {
		if err := b.Archive(p, int64(offset), a.Time, a.Key, a.Value, a.Headers); err != nil {
			t.Fatal(err)
		}
		if err := b.closeSegment(); err != nil {
			t.Fatal(err)
		}
		b.Record(p, int64(offset), 1)
		raw += len(a.Key) + len(a.Value)
	}
	r.write(b)
	const data, disk = "SELECT sum(octet_length(data)) FROM dingir.event_log", "SELECT pg_total_relation_size('dingir.fresh')"
	single := r.count(data)
	steps, merged := r.merge(r.conn)
	r.exec("CREATE TABLE dingir.fresh (LIKE dingir.event_log INCLUDING ALL)")
	r.exec("INSERT INTO dingir.fresh SELECT * FROM dingir.event_log")
	joined, onDisk := r.count(data), r.count(disk)
	share := func(n int) float64 { return 100 * float64(n) / float64(raw) }
	t.Logf("%d records, %d bytes: %.1f %% one by one, %.1f %% with %d segments joined in %d steps, %.1f %% on disk", len(records), raw, share(single), share(joined), merged, steps, share(onDisk))
	if share(onDisk) > 15 || share(joined) > 13 {
		t.Errorf("%.1f %% on disk, %.1f %% of data", share(onDisk), share(joined))
	}
}
