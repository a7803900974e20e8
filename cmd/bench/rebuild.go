package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/topics"
)

// rebuildFigures are those of reconstructing the exchange from unifyevents.
type rebuildFigures struct {
	Events      int64     `json:"events"`
	Bytes       int64     `json:"bytes"`            // of keys and values
	ReadOnly    []float64 `json:"decode_seconds"`   // fetching and decoding alone, a run each
	Rebuilds    []float64 `json:"rebuild_seconds"`  // and applying
	ReadCPU     float64   `json:"decode_cpu"`       // CPU seconds of the best run
	RebuildCPU  float64   `json:"rebuild_cpu"`      // CPU seconds of the best run
	StateHeap   int64     `json:"state_heap_bytes"` // what the state at the end takes
	Mismatches  int64     `json:"mismatches"`
	ChecksMade  int64     `json:"checks"`
	ArchiveSize int64     `json:"archive_bytes"` // of the log in event_log, 0 if not known
}

// measureRebuild reconstructs the state from the topic, in turns with reading
// and decoding it alone, which is what a reconstruction could reach.
func (b *bench) measureRebuild(ctx context.Context) error {
	transport, err := b.config.Kafka.Transport(b.topicNames())
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	log := eventlog.NewKafka(fetch.NewClient(transport, b.config.Kafka.Addr()), b.config.Kafka.TopicPrefix+topics.UnifyEvents)
	f := &b.report.Rebuild
	f.ArchiveSize = b.archived
	read := func(fn func(*eventlog.Event)) (seconds, cpu float64, err error) {
		first, next, err := log.Bounds(ctx)
		if err != nil {
			return 0, 0, err
		}
		f.Events = next - first
		settle(ctx)
		start, before := time.Now(), cpuSeconds(os.Getpid())
		err = eventlog.ReadEvents(ctx, log, first, next, func(e *eventlog.Event) error {
			if e.Err != nil {
				return fmt.Errorf("offset %d: %w", e.Offset, e.Err)
			}
			fn(e)
			return nil
		})
		return time.Since(start).Seconds(), cpuSeconds(os.Getpid()) - before, err
	}
	for range b.rounds {
		f.Bytes = 0
		seconds, cpu, err := read(func(e *eventlog.Event) { f.Bytes += int64(len(e.Key) + len(e.Value)) })
		if err != nil {
			return err
		}
		if f.ReadOnly = append(f.ReadOnly, seconds); seconds == slices.Min(f.ReadOnly) {
			f.ReadCPU = cpu
		}
		before := heap()
		s := state.New(0)
		if seconds, cpu, err = read(func(e *eventlog.Event) { e.Apply(s) }); err != nil {
			return err
		}
		if f.Rebuilds = append(f.Rebuilds, seconds); seconds == slices.Min(f.Rebuilds) {
			f.RebuildCPU = cpu
		}
		f.StateHeap, f.Mismatches, f.ChecksMade = heap()-before, s.Mismatches(), s.Passed()+s.Mismatches()
		runtime.KeepAlive(s)
		say("rebuild: %.0f events/s; fetching and decoding alone %.0f; load %s", float64(f.Events)/f.Rebuilds[len(f.Rebuilds)-1],
			float64(f.Events)/f.ReadOnly[len(f.ReadOnly)-1], loadAverage())
	}
	if f.Mismatches != 0 {
		return fmt.Errorf("the reconstruction of a log without faults finds %d mismatches", f.Mismatches)
	}
	return nil
}

// heap is what lives on it.
func heap() int64 {
	runtime.GC() // what pools hold outlives one collection
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// archiveSize is how many bytes the archive of the log takes.
func archiveSize(ctx context.Context, conn *pgx.Conn) (n int64, err error) {
	err = conn.QueryRow(ctx, "SELECT coalesce(sum(octet_length(data)), 0) FROM dingir.event_log").Scan(&n)
	return n, err
}

func (f *rebuildFigures) print(w io.Writer) {
	if f.Events == 0 {
		return
	}
	events, millions := float64(f.Events), float64(f.Events)/1e6
	fmt.Fprintf(w, "\n%-44s %12s %12s\n", "unifyevents, events/s", "median", "best")
	line := func(name string, seconds []float64, cpu float64) {
		fmt.Fprintf(w, "%-44s %12.0f %12.0f   CPU s per million events %.2f\n", name, events/median(seconds), events/slices.Min(seconds), cpu/millions)
	}
	line("fetching and decoding alone", f.ReadOnly, f.ReadCPU)
	line("reconstruction from Kafka", f.Rebuilds, f.RebuildCPU)
	fmt.Fprintf(w, "%-44s %12.2f %12.2f\n", "ratio", median(f.ReadOnly)/median(f.Rebuilds), slices.Min(f.ReadOnly)/slices.Min(f.Rebuilds))
	fmt.Fprintf(w, "%d events of %.0f bytes on average, %d cross-checks made, %d failed; the state takes %.1f MiB\n",
		f.Events, float64(f.Bytes)/events, f.ChecksMade, f.Mismatches, float64(f.StateHeap)/(1<<20))
	if f.ArchiveSize > 0 {
		fmt.Fprintf(w, "archive: %.1f MB of %.1f MB, %.1f %%\n", float64(f.ArchiveSize)/1e6, float64(f.Bytes)/1e6, 100*float64(f.ArchiveSize)/float64(f.Bytes))
	}
}
