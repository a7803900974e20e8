package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// report is what a run has found.
type report struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryGiB  int64  `json:"memory_gib"`
	Go         string `json:"go"`
	PostgreSQL string `json:"postgresql"`
	Timescale  string `json:"timescaledb"`
	Command    string `json:"command"`

	Records  int64           `json:"records"`
	Daemon   []daemonFigures `json:"daemon"`
	Workers  *contestFigures `json:"daemon_by_workers,omitempty"`
	Plain    []daemonFigures `json:"daemon_without_event_log"`
	Limit    *contestFigures `json:"limit,omitempty"`
	PSQL     *contestFigures `json:"psql,omitempty"`
	PSQLNote string          `json:"psql_note,omitempty"`
	Rebuild  rebuildFigures  `json:"rebuild"`
	Latency  *latencyFigures `json:"latency,omitempty"`
}

// machine notes what the figures belong to.
func (r *report) machine(ctx context.Context, server string) {
	r.CPU = statusField("/proc/cpuinfo", "model name")
	r.Cores, r.Go, r.Command = runtime.NumCPU(), runtime.Version(), "bench "+strings.Join(os.Args[1:], " ")
	kib, _ := strconv.ParseInt(strings.TrimSuffix(statusField("/proc/meminfo", "MemTotal:"), " kB"), 10, 64)
	r.MemoryGiB = (kib + 1<<19) >> 20
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return // what follows says so
	}
	defer conn.Close(ctx)
	_ = conn.QueryRow(ctx, `SELECT current_setting('server_version'),
		(SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb')`).Scan(&r.PostgreSQL, &r.Timescale)
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d cores, %d GiB; %s, PostgreSQL %s, TimescaleDB %s\n", r.CPU, r.Cores, r.MemoryGiB, r.Go, r.PostgreSQL, r.Timescale)
	fmt.Fprintf(w, "%s: %d records\n\n", r.Command, r.Records)
	million := float64(r.Records) / 1e6
	if len(r.Daemon) > 0 {
		rates, assigned := r.rates()
		fmt.Fprintf(w, "%-44s %12s %12s\n", "records/s", "median", "best")
		line := func(name string, median, best float64) { fmt.Fprintf(w, "%-44s %12.0f %12.0f\n", name, median, best) }
		if r.Limit != nil {
			line(fmt.Sprintf("(a) limit, %d connections", r.Limit.Connections), r.Limit.Median, r.Limit.Best)
		}
		line(fmt.Sprintf("(b) persistor run, %d workers, from its start", r.Workers.Connections), median(rates), slices.Max(rates))
		line("(b) persistor run, from assignment", median(assigned), slices.Max(assigned))
		if r.PSQL != nil {
			line("(c) psql \\copy of CSV", r.PSQL.Single, r.PSQL.BestSingle)
			line(fmt.Sprintf("    by %d of them at once", r.PSQL.Connections), r.PSQL.Median, r.PSQL.Best)
		}
		ratio := func(name string, middle, best float64) {
			fmt.Fprintf(w, "%-44s %12.2f %12.2f   from assignment %.2f %.2f\n", name, median(rates)/middle, slices.Max(rates)/best,
				median(assigned)/middle, slices.Max(assigned)/best)
		}
		if c := r.Limit; c != nil {
			ratio("b/a", c.Median, c.Best)
		}
		if c := r.PSQL; c != nil {
			ratio("b/c", c.Single, c.BestSingle)
			ratio(fmt.Sprintf("b to %d psql at once", c.Connections), c.Median, c.Best)
		}
		if len(r.Plain) > 0 {
			plain := r.rate(r.fastest(r.Plain))
			line("persistor run, no archive and no state", median(plain), slices.Max(plain))
			fmt.Fprintf(w, "%-44s %12.2f %12.2f\n", "b to that", median(rates)/median(plain), slices.Max(rates)/slices.Max(plain))
		}
		fmt.Fprintln(w)
		for _, d := range r.Daemon {
			fmt.Fprintf(w, "%d workers: %6.2f s; CPU s per million records: daemon %.2f, its sessions %.2f, Kafka %.2f, others %.2f; peak memory %d MiB; load %s\n",
				d.Workers, d.Seconds, d.DaemonCPU/million, d.DatabaseCPU/million, d.BrokerCPU/million, d.OtherCPU/million, d.PeakMemory>>20, d.Load)
		}
		for _, c := range []struct {
			name string
			f    *contestFigures
		}{{"daemon by workers", r.Workers}, {"limit by connections", r.Limit}, {"psql by connections", r.PSQL}} {
			if c.f == nil {
				continue
			}
			fmt.Fprintf(w, "%s:", c.name)
			for _, n := range slices.Sorted(maps.Keys(c.f.ByConnections)) {
				fmt.Fprintf(w, "  %d: %.0f", n, c.f.ByConnections[n])
			}
			fmt.Fprintln(w)
		}
		if r.PSQLNote != "" {
			fmt.Fprintln(w, r.PSQLNote)
		}
	}
	r.Rebuild.print(w)
	if l := r.Latency; l != nil {
		fmt.Fprintf(w, "latency, send call to visible, %d records at %.0f/s: p50 %.1f ms, p90 %.1f, p99 %.1f, p99.9 %.1f, max %.1f; load %s\n",
			l.Records, l.Rate, l.P50, l.P90, l.P99, l.P999, l.Max, l.Load)
		perBatch := func(seconds float64) float64 { return 1000 * seconds / float64(l.Batches) }
		fmt.Fprintf(w, "%d batches; CPU ms a batch: daemon %.2f, its sessions %.2f, Kafka %.2f; CPU s: daemon %.1f, sessions %.1f, Kafka %.1f, producer and prober %.1f\n",
			l.Batches, perBatch(l.Daemon), perBatch(l.Sessions), perBatch(l.Broker), l.Daemon, l.Sessions, l.Broker, l.Bench)
	}
}

// rates are the daemon's records per second with the number of workers that is
// fastest, from its start and from the assignment of its partitions.
func (r *report) rates() (fromStart, fromAssignment []float64) {
	fastest := r.fastest(r.Daemon)
	for _, d := range fastest {
		fromAssignment = append(fromAssignment, float64(r.Records)/d.AssignedSeconds)
	}
	return r.rate(fastest), fromAssignment
}

// fastest are the runs with the number of workers that turned out to be fastest.
func (r *report) fastest(runs []daemonFigures) []daemonFigures {
	return slices.DeleteFunc(slices.Clone(runs), func(d daemonFigures) bool { return d.Workers != r.Workers.Connections })
}

// rate is the runs' records per second, from the daemon's start.
func (r *report) rate(runs []daemonFigures) (rates []float64) {
	for _, d := range runs {
		rates = append(rates, float64(r.Records)/d.Seconds)
	}
	return rates
}
