package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/thaliumx/persistor/internal/config"
	"github.com/thaliumx/persistor/internal/deadletter"
	"github.com/thaliumx/persistor/internal/engine"
	"github.com/thaliumx/persistor/internal/httpserver"
	"github.com/thaliumx/persistor/internal/ingest"
	"github.com/thaliumx/persistor/internal/store"
)

func runCommand() command {
	return command{
		name:    "run",
		summary: "the daemon: consume, store, serve HTTP, until SIGTERM",
		detail: "Waits for Kafka, the database and topics that are away, and goes on by itself.\n" +
			"A first SIGTERM or SIGINT lets what is in flight finish, a second cuts that\n" +
			"short. Ends with exit code 4 when every partition is halted; with --check, when any\n" +
			"would be.",
		needs: config.NeedDaemon,
		prepare: func(fs *flag.FlagSet) func(context.Context, *call) error {
			check := fs.Bool("check", false, "build everything, reach Kafka and the database, print what was found, and exit")
			return func(ctx context.Context, c *call) error {
				if *check {
					return runCheck(ctx, c)
				}
				return runDaemon(ctx, c)
			}
		},
	}
}

func runDaemon(ctx context.Context, c *call) error {
	defer limitMemory()()
	letters, closeLetters, err := deadLetters(c)
	if err != nil {
		return err
	}
	defer closeLetters()
	accounts := engineAccounts(c)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo())
	d, err := newDaemon(c, registry, accounts.Wake, letters.Wake)
	if err != nil {
		return err
	}
	server, err := httpserver.Listen(ctx, c.config.HTTP.Listen, d, registry, c.log)
	if err != nil {
		return err
	}
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	var loops sync.WaitGroup
	defer loops.Wait()
	defer stopServing()
	loops.Go(func() {
		if err := server.Serve(serving); err != nil {
			c.log.Error("the HTTP server ended", "error", err)
		}
	})
	switch err := d.AwaitSchema(ctx); {
	case ctx.Err() != nil: // told to end before it began
		return nil
	case err != nil:
		return withDatabaseHint(c, err)
	}
	loops.Go(func() { letters.Run(serving) })
	loops.Go(func() {
		if err := accounts.Run(serving); err != nil && serving.Err() == nil {
			c.log.Error("the engine's accounts are not filled any more", "error", err)
		}
	})
	err = d.Run(ctx, c.hurry)
	if errors.Is(err, ingest.ErrAllHalted) {
		return &exitError{exitHalted, fmt.Errorf("%w; `persistor positions` shows where, and the log why and what to do", err)}
	}
	if err == nil {
		c.log.Info("stopped; everything in flight is stored or left for the next owner")
	}
	return err
}

// deadLetters builds what copies rejects to their topics. It has a transport of
// its own: big values on their way there must not delay a fetch.
func deadLetters(c *call) (*deadletter.Publisher, func(), error) {
	transport, err := c.config.Kafka.Transport(deadletter.Topics(c.config.Kafka.TopicPrefix))
	if err != nil {
		return nil, nil, err
	}
	return deadletter.New(deadletter.Config{
		Database: daemonDatabase(c), Brokers: c.config.Kafka.Addr(), Transport: transport,
		TopicPrefix: c.config.Kafka.TopicPrefix, Log: c.log,
	}), transport.CloseIdleConnections, nil
}

// accountFiller fills the engine's own table of accounts; nobody does where the
// engine's database is not configured.
type accountFiller interface {
	Wake()
	Run(context.Context) error
}

type noAccounts struct{}

func (noAccounts) Wake()                     {}
func (noAccounts) Run(context.Context) error { return nil }

func engineAccounts(c *call) accountFiller {
	theirs := c.config.Engine.DatabaseURL.Reveal()
	if theirs == "" {
		return noAccounts{}
	}
	return engine.NewAccounts(daemonDatabase(c), store.Options{URL: theirs, SynchronousCommit: true}, c.log)
}

// daemonDatabase is for the daemon's own sessions.
func daemonDatabase(c *call) store.Options {
	o := databaseOptions(c)
	o.Application = store.ApplicationName
	return o
}

func newDaemon(c *call, registry prometheus.Registerer, stored, rejected func()) (*ingest.Daemon, error) {
	v, revision := build()
	return ingest.New(ingest.Options{
		Kafka: c.config.Kafka, Consumer: c.config.Consumer, Ingest: c.config.Ingest,
		Database: daemonDatabase(c), DatabaseTarget: c.config.Database.Target(),
		Version: v, Commit: revision, Stored: stored, Rejected: rejected,
	}, c.log, registry)
}

func buildInfo() prometheus.Collector {
	v, revision := build()
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "persistor_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": v, "commit": revision, "goversion": runtime.Version()}})
	g.Set(1)
	return g
}

// runCheck does everything that the daemon does before its first record.
func runCheck(ctx context.Context, c *call) error {
	if err := store.CheckSchema(ctx, databaseOptions(c)); err != nil {
		return withDatabaseHint(c, err)
	}
	fmt.Fprintf(c.stdout, "database %s: schema as this program needs it\n", c.config.Database.Target())
	if _, err := newDaemon(c, prometheus.NewRegistry(), nil, nil); err != nil {
		return err
	}
	names := c.config.Kafka.TopicNames(c.config.Consumer.Topics)
	client, hangUp, err := fetchClient(c, names)
	if err != nil {
		return err
	}
	defer hangUp()
	if err := client.CheckVersions(ctx); err != nil {
		return withKafkaHint(err)
	}
	cluster, err := client.Metadata(ctx, names)
	if err != nil {
		return withKafkaHint(err)
	}
	fmt.Fprintf(c.stdout, "Kafka cluster %s: %d brokers\n", cluster.ID, len(cluster.Brokers))
	var missing []string
	for _, t := range cluster.Topics {
		if t.Err != nil {
			missing = append(missing, t.Name)
			fmt.Fprintf(c.stdout, "%v; the daemon would wait for it\n", t.Err)
			continue
		}
		fmt.Fprintf(c.stdout, "topic %s: %d partitions\n", t.Name, len(t.Partitions))
	}
	if len(missing) == len(names) {
		return fmt.Errorf("none of the %d topics is there: are PERSISTOR_KAFKA_BROKERS and PERSISTOR_TOPIC_PREFIX right? `persistor topics check` says more", len(names))
	}
	if len(missing) > 0 {
		fmt.Fprintf(c.stderr, "warning: %d of %d topics cannot be read; `persistor topics check` says more\n", len(missing), len(names))
	}
	var refused []ingest.Refusal
	var ledger []store.Position
	err = connected(ctx, c, func(conn *pgx.Conn) error {
		if ledger, err = store.Positions(ctx, conn); err == nil {
			refused, err = ingest.Check(ctx, client, cluster, conn, c.config.Kafka.TopicPrefix)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range refused {
		fmt.Fprintf(c.stdout, "topic %s partition %d: would be halted: %v\n", r.Topic, r.Partition, r.Halt)
	}
	if len(refused) > 0 {
		return &exitError{exitHalted, fmt.Errorf("of these partitions, %d would be halted: going on would lose or double records", len(refused))}
	}
	for _, pos := range ledger {
		if slices.Contains(missing, pos.Topic) && pos.Next > pos.First {
			return fmt.Errorf("topic %s cannot be read, of which records are stored: find out who deleted it or took our rights; if it is not to come back, leave it out of PERSISTOR_TOPICS", pos.Topic)
		}
	}
	return nil
}
