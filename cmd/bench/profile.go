package main

import (
	"context"
	"log/slog"
	"os"
	"runtime/pprof"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/thaliumx/persistor/internal/ingest"
	"github.com/thaliumx/persistor/internal/store"
)

// profiles runs the daemon's code, and the limit's writing, in this process
// under the profiler. Its times are no figures of the benchmark.
func (b *bench) profiles(ctx context.Context) error {
	database, err := b.database(ctx)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	consumer := b.config.Consumer
	consumer.GroupID = b.group()
	d, err := ingest.New(ingest.Options{Kafka: b.config.Kafka, Consumer: consumer, Ingest: b.config.Ingest,
		Database: store.Options{URL: database, SynchronousCommit: true}}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	file, err := os.Create(b.profile)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := pprof.StartCPUProfile(file); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	start, before := time.Now(), cpuSeconds(os.Getpid())
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- d.Run(running, ctx) }()
	for stored := int64(0); stored < b.total && err == nil; time.Sleep(poll) {
		stored, err = storedRecords(ctx, conn)
	}
	say("profiled: %.2f s, %.2f CPU s", time.Since(start).Seconds(), cpuSeconds(os.Getpid())-before)
	stop()
	if ending := <-ended; err == nil {
		err = ending
	}
	return err
}
