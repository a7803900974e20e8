package rebuild

import (
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/state"
)

// states are the JSON of the state at some offsets, by one pass over the file.
func (r *rig) states(offsets []int64) map[int64]string {
	r.t.Helper()
	want := map[int64]string{}
	s := state.New(0)
	note := func() {
		if _, found := slices.BinarySearch(offsets, s.Next()); found {
			want[s.Next()] = asJSON(r.t, s)
		}
	}
	note()
	err := eventlog.ReadEvents(r.t.Context(), r.file, 0, eventlog.End, func(e *eventlog.Event) error {
		e.Apply(s)
		note()
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return want
}

// At every offset of the real dump every way leads to the same state, and the
// time of a record leads to the state behind it.
func TestEveryWayLeadsToTheSameState(t *testing.T) {
	r := newRig(t, "real-2021-09.unify.jsonl")
	end := int64(len(r.records))
	r.archive(end*3/4, 5, 40)
	offsets := make([]int64, end+1)
	for i := range offsets {
		offsets[i] = int64(i)
	}
	want := r.states(offsets)
	ways := r.ways()
	if len(want) != int(end)+1 || end < 100 {
		t.Fatalf("%d states at %d offsets", len(want), end)
	}
	compared := 0
	for _, n := range offsets {
		for way, log := range ways {
			if strings.HasPrefix(way, "archive") && !strings.Contains(way, "topic") && n > end*3/4 {
				continue
			}
			if got := r.must(way, log, Target{Offset: n}); asJSON(t, got.State) != want[n] {
				t.Fatalf("%s: another state at offset %d", way, n)
			}
			compared++
			if way == "file" || n == 0 || n%5 != 0 {
				continue
			}
			// Up to its own time, and up to just before the next one's.
			for _, at := range []time.Time{timeOf(n - 1), timeOf(n).Add(-time.Microsecond)} {
				if got := r.must(way, log, Target{Offset: eventlog.End, Time: at}); asJSON(t, got.State) != want[n] {
					t.Fatalf("%s: another state at %v than at offset %d, but that at %d", way, at, n, got.State.Next())
				}
			}
		}
	}
	if compared < 1250 {
		t.Errorf("only %d states compared", compared)
	}
	before := timeOf(0).Add(-time.Microsecond)
	for way, log := range ways {
		if way == "file" {
			continue
		}
		if got := r.must(way, log, Target{Offset: eventlog.End, Time: before}); asJSON(t, got.State) != want[0] {
			t.Errorf("%s: a state before the first record at offset %d", way, got.State.Next())
		}
	}
}

// At random offsets of the engine's run, too: two hundred, or a thousand with
// PERSISTOR_OFFSETS=full.
func TestRandomOffsetsOfTheEngine(t *testing.T) {
	r := newRig(t, "engine-1.unify.jsonl")
	end := int64(len(r.records))
	archived := end * 9 / 10
	r.archive(archived, 700, 700)
	random := rand.New(rand.NewPCG(4, 7))
	offsets := []int64{0, archived, end}
	count := 200
	if os.Getenv("PERSISTOR_OFFSETS") == "full" {
		count = 1000
	}
	for range count {
		offsets = append(offsets, random.Int64N(end+1))
	}
	slices.Sort(offsets)
	offsets = slices.Compact(offsets)
	want := r.states(offsets)
	ways := r.ways()
	viaSnapshot := 0
	for _, n := range offsets {
		got := r.must("archive, topic, snapshot", ways["archive, topic, snapshot"], Target{Offset: n})
		if asJSON(t, got.State) != want[n] {
			t.Fatalf("another state at offset %d", n)
		}
		if got.Snapshot >= 0 {
			viaSnapshot++
			if got.Applied > 700 && n <= archived {
				t.Errorf("%d records were read for offset %d", got.Applied, n)
			}
		}
	}
	if viaSnapshot < len(offsets)/2 {
		t.Errorf("%d of %d by a snapshot", viaSnapshot, len(offsets))
	}
	// The others read all below: one reading passes all the offsets.
	for _, way := range []string{"kafka", "archive", "archive, topic"} {
		s := state.New(0)
		seen := 0
		err := eventlog.ReadEvents(t.Context(), ways[way].Log, 0, eventlog.End, func(e *eventlog.Event) error {
			e.Apply(s)
			if w, ok := want[s.Next()]; ok {
				if seen++; asJSON(t, s) != w {
					t.Fatalf("%s: another state at offset %d", way, s.Next())
				}
			}
			return nil
		})
		if err != nil || way != "archive" && seen != len(want)-1 || way == "archive" && s.Next() != archived {
			t.Errorf("%s: %d states up to %d, %v", way, seen, s.Next(), err)
		}
	}
}

// The topic's beginning is gone: the archive still has it. Then the archive's is
// gone: what is left says from where on it can answer, and answers from there.
func TestBeginningIsLost(t *testing.T) {
	r := newRig(t, "real-2021-09.unify.jsonl")
	end := int64(len(r.records))
	r.archive(end-20, 7, 1000) // no snapshot
	offsets := []int64{0, 10, 100, 145, end}
	want := r.states(offsets)
	r.deleteBelow(end - 40)
	ways := r.ways()
	all, topic := ways["archive, topic, snapshot"], ways["kafka"]
	for _, n := range offsets {
		if got := r.must("all", all, Target{Offset: n}); asJSON(t, got.State) != want[n] || !got.State.Complete() {
			t.Errorf("another state at offset %d", n)
		}
	}
	var gone *UnreachableError
	if _, err := State(t.Context(), topic, Target{Offset: 100}); !errors.As(err, &gone) || gone.From != end-40 {
		t.Errorf("the topic alone, at 100: %v", err)
	}
	if got := r.must("kafka", topic, Now()); got.State.Complete() || got.State.Base() != end-40 || got.State.Next() != end {
		t.Errorf("the topic alone: complete %v from %d to %d", got.State.Complete(), got.State.Base(), got.State.Next())
	}

	const cut = 105 // segments of 7
	r.exec("DELETE FROM dingir.event_log WHERE last_offset < $1", cut)
	for _, way := range []string{"archive", "archive, topic", "archive, topic, snapshot"} {
		for _, n := range []int64{1, 10, cut - 1} {
			if _, err := State(t.Context(), ways[way], Target{Offset: n}); !errors.As(err, &gone) || gone.From != cut || !strings.Contains(err.Error(), "can answer from offset 105 on") {
				t.Errorf("%s at %d: %v", way, n, err)
			}
		}
		if _, err := State(t.Context(), ways[way], Target{Offset: eventlog.End, Time: timeOf(50)}); !errors.As(err, &gone) || gone.From != cut {
			t.Errorf("%s, at a time: %v", way, err)
		}
		got := r.must(way, ways[way], Target{Offset: 145})
		if got.State.Complete() || got.State.Base() != cut || got.State.Next() != 145 {
			t.Errorf("%s: complete %v from %d to %d", way, got.State.Complete(), got.State.Base(), got.State.Next())
		}
	}
	// A snapshot knows what was before the cut.
	r.exec("TRUNCATE dingir.event_log")
	r.exec("UPDATE dingir.ledger SET next_offset = 0, high_offset = 0")
	r.archive(end-20, 7, 60)
	r.exec("DELETE FROM dingir.event_log WHERE last_offset < $1", cut)
	for _, n := range offsets[3:] {
		if got := r.must("all", all, Target{Offset: n}); asJSON(t, got.State) != want[n] || got.Snapshot != 120 && got.Snapshot != 180 {
			t.Errorf("by snapshot %d: another state at offset %d", got.Snapshot, n)
		}
	}
	// One below the cut is of no use, but at its own offset.
	if got := r.must("all", all, Target{Offset: 110}); got.Snapshot != -1 || len(got.Passed) != 1 || got.State.Base() != cut {
		t.Errorf("snapshot %d, passed %q, base %d", got.Snapshot, got.Passed, got.State.Base())
	}
	if got := r.must("all", all, Target{Offset: 60}); got.Snapshot != 60 || got.Applied != 0 || !got.State.Complete() {
		t.Errorf("at a snapshot: %d, %d applied", got.Snapshot, got.Applied)
	}
}

func TestWhatHasNotHappened(t *testing.T) {
	r := newRig(t, "real-2021-09.unify.jsonl")
	end := int64(len(r.records))
	r.archive(end, 50, 60)
	for way, log := range r.ways() {
		var future *FutureError
		if _, err := State(t.Context(), log, Target{Offset: end + 1}); !errors.As(err, &future) || future.Next != end {
			t.Errorf("%s: %v", way, err)
		}
		if way == "file" {
			continue
		}
		if got := r.must(way, log, Target{Offset: eventlog.End, Time: timeOf(end + 1000)}); got.State.Next() != end {
			t.Errorf("%s: %d", way, got.State.Next())
		}
	}
}

// A snapshot that cannot be read is passed over: the log has all it had.
func TestDamagedSnapshots(t *testing.T) {
	r := newRig(t, "real-2021-09.unify.jsonl")
	end := int64(len(r.records))
	r.archive(end, 50, 40)
	want := r.states([]int64{end})
	log := r.ways()["archive and snapshot"]
	r.exec("UPDATE dingir.state_snapshots SET data = substr(data, 1, octet_length(data) - 9) WHERE next_offset > 160")
	got := r.must("damaged", log, Now())
	if got.Snapshot != 160 || len(got.Passed) != 1 || asJSON(t, got.State) != want[end] {
		t.Errorf("snapshot %d, passed %q", got.Snapshot, got.Passed)
	}
	// One under a wrong offset is no better.
	r.exec("UPDATE dingir.state_snapshots SET next_offset = 199 WHERE next_offset = 160")
	got = r.must("misplaced", log, Now())
	if got.Snapshot != 120 || len(got.Passed) != 2 || asJSON(t, got.State) != want[end] {
		t.Errorf("snapshot %d, passed %q", got.Snapshot, got.Passed)
	}
	r.exec("UPDATE dingir.state_snapshots SET data = '\\x00'")
	got = r.must("all damaged", log, Now())
	if got.Snapshot != -1 || got.Applied != end || asJSON(t, got.State) != want[end] {
		t.Errorf("snapshot %d, %d applied", got.Snapshot, got.Applied)
	}
	if keys := slices.Sorted(maps.Keys(r.ways())); len(keys) != 7 {
		t.Errorf("ways: %q", keys)
	}
}
