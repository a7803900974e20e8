package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/config"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// bench is one run: its topics and databases have names of their own and are
// gone at the end.
type bench struct {
	options
	name      string // of this run: group, prefix of topics and of databases
	config    config.Config
	server    *url.URL  // of the database server
	directory string    // of temporary files
	databases int       // made so far
	broker    int       // process id, 0 if unknown
	total     int64     // records in the backlog
	started   time.Time // simulated, of the exchange that made it
	archived  int64     // bytes of the archive that the daemon made of it
	report    report
}

func prepare(ctx context.Context, o options) (*bench, error) {
	c, _, err := config.Load(flag.NewFlagSet("bench", flag.ContinueOnError), config.NeedDaemon, nil, os.Environ())
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, name: fmt.Sprintf("bench%d", time.Now().Unix()), config: c, broker: brokerPID()}
	b.config.Kafka.TopicPrefix = b.name + "."
	if b.server, err = url.Parse(c.Database.URL.Reveal()); err != nil || b.server.Host == "" {
		return nil, errors.New("PERSISTOR_DATABASE_URL must be a URL here, of a server where databases may be made; `make bench` sets it")
	}
	if b.directory, err = os.MkdirTemp("", "persistor-bench-"); err != nil {
		return nil, err
	}
	b.report.machine(ctx, b.server.String())
	return b, nil
}

// measure makes the backlog and takes daemon, limit and psql in turn, so that
// what else the machine does falls on all three.
func (b *bench) measure(ctx context.Context) error {
	if err := b.makeBacklog(ctx); err != nil {
		return err
	}
	if b.profile != "" {
		return b.profiles(ctx)
	}
	daemon, limit, csv := contest{}, contest{}, contest{single: true}
	rounds := b.rounds
	if b.skipped("daemon") {
		rounds = 0
	}
	for round := range rounds {
		for i, n := range daemon.candidates(min(2, b.workers), b.workers) {
			if err := daemon.add(n, func() (float64, error) { return b.runDaemon(ctx, n, round == 0 && i == 0) }); err != nil {
				return err
			}
		}
		if !b.skipped("plain") {
			if err := b.runPlain(ctx, daemon.best()); err != nil {
				return err
			}
		}
		if !b.skipped("limit") {
			for _, n := range limit.candidates(1, b.connections) {
				if err := limit.add(n, func() (float64, error) { return b.runLimit(ctx, n) }); err != nil {
					return err
				}
			}
		}
		if !b.skipped("psql") {
			for _, n := range csv.candidates(1, b.connections) {
				if err := csv.add(n, func() (float64, error) { return b.runCSV(ctx, n) }); err != nil {
					return err
				}
			}
		}
	}
	if !b.skipped("rebuild") {
		if err := b.measureRebuild(ctx); err != nil {
			return err
		}
	}
	b.report.Workers, b.report.Limit, b.report.PSQL = daemon.figures(b.total), limit.figures(b.total), csv.figures(b.total)
	if b.skipped("latency") {
		return nil
	}
	return b.measureLatency(ctx)
}

func (b *bench) skipped(what string) bool { return slices.Contains(strings.Split(b.skip, ","), what) }

// database makes a fresh database with the schema, checkpointed, and returns
// its URL.
func (b *bench) database(ctx context.Context) (string, error) {
	b.databases++
	name := fmt.Sprintf("%s_%d", b.name, b.databases)
	if err := b.onServer(ctx, "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		return "", err
	}
	target := *b.server
	target.Path = "/" + name
	if _, err := store.Migrate(ctx, store.Options{URL: target.String(), SynchronousCommit: true}); err != nil {
		return "", err
	}
	return target.String(), b.checkpoint(ctx)
}

// quietDatabase is one whose tables autovacuum leaves alone. It takes a second of
// CPU of whichever run it meets, once a minute, which was mostly the daemon's.
func (b *bench) quietDatabase(ctx context.Context) (string, error) {
	database, err := b.database(ctx)
	if err != nil {
		return "", err
	}
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	// Chunks inherit it from their hypertable.
	_, err = conn.Exec(ctx, `DO $$
		DECLARE t regclass; BEGIN
			FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'dingir'::regnamespace AND relkind = 'r' LOOP
				EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', t);
			END LOOP;
		END $$`)
	return database, err
}

// checkpoint writes out what earlier runs left dirty, so that the next does not
// pay for it.
func (b *bench) checkpoint(ctx context.Context) error { return b.onServer(ctx, "CHECKPOINT") }

func (b *bench) drop(ctx context.Context, database string) error {
	target, err := url.Parse(database)
	if err != nil {
		return err
	}
	return b.onServer(ctx, "DROP DATABASE IF EXISTS "+strings.TrimPrefix(target.Path, "/")+" WITH (FORCE)")
}

func (b *bench) onServer(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, b.server.String())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

// program is a command of this project in the environment of this run.
func (b *bench) program(ctx context.Context, database, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(b.programs, name), args...) //nolint:gosec // the caller's own programs
	cmd.Env = append(os.Environ(),
		"PERSISTOR_KAFKA_BROKERS="+strings.Join(b.config.Kafka.Brokers, ","),
		"PERSISTOR_TOPIC_PREFIX="+b.config.Kafka.TopicPrefix,
		"PERSISTOR_GROUP_ID="+b.group(),
		"PERSISTOR_DATABASE_URL="+database)
	return cmd
}

// group is the consumer group of the database in use: what an earlier run
// committed must not be seen.
func (b *bench) group() string { return fmt.Sprintf("%s-%d", b.name, b.databases) }

func (b *bench) topicNames() []string {
	return b.config.Kafka.Consumed()
}

// cleanUp removes what this run has made.
func (b *bench) cleanUp(ctx context.Context) {
	for n := range b.databases {
		target := *b.server
		target.Path = fmt.Sprintf("/%s_%d", b.name, n+1)
		if err := b.drop(ctx, target.String()); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
	names := topics.Names(topics.Documented(b.config.Kafka.TopicPrefix))
	transport, err := b.config.Kafka.Transport(names)
	if err == nil {
		defer transport.CloseIdleConnections()
		_, err = b.config.Kafka.Client(transport).DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: names})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: delete the topics:", err)
	}
	if err := os.RemoveAll(b.directory); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

// say tells whoever waits what is going on.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
