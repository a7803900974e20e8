// Package ingest moves records from Kafka to the store: it is a member of the
// consumer group, shares its partitions out to workers, and watches the topics.
//
// The way of a record: a worker's fetch (fetcher.go) brings it, take decodes it
// into a batch (worker.go, decode.go), commit stores the batch (commit.go).
// Before that, admit compares the ledger with the log (admit.go).
package ingest

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/config"
	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/httpserver"
	"github.com/thaliumx/persistor/internal/live"
	"github.com/thaliumx/persistor/internal/store"
)

// Options are what the daemon is built from.
type Options struct {
	Kafka    config.Kafka
	Consumer config.Consumer
	Ingest   config.Ingest
	Database store.Options

	DatabaseTarget  string // for people
	Version, Commit string

	// Stored is called after each commit, Rejected after one with rejects in
	// it. Neither may wait for anything.
	Stored, Rejected func()
}

func (o *Options) topicNames() []string { return o.Kafka.TopicNames(o.Consumer.Topics) }

// ErrAllHalted says that no partition of this process can go on.
var ErrAllHalted = errors.New("every partition is halted")

// Daemon is one process's part in the group.
type Daemon struct {
	Options Options

	log       *slog.Logger
	kafka     *fetch.Client
	transport *kafka.Transport
	dialer    *kafka.Dialer
	metrics   *metrics
	conflicts *conflicts
	keeper    *live.Keeper // nil where no event log is kept
	audit     *live.Audit  // of the keeper's state

	kafkaLink, databaseLink *link
	rejectsPending          atomic.Int64
	conflictCount           atomic.Int64
	rates                   rates
	started                 time.Time

	mu         sync.Mutex
	partitions []*partition
	crew       []*worker
	group      httpserver.Group
	assigned   time.Time
	missing    []httpserver.Reason // topics that cannot be read although they should
	awaited    []string            // topics that were never there
}

// New builds a daemon; nothing is connected yet.
func New(o Options, log *slog.Logger, r prometheus.Registerer) (*Daemon, error) {
	transport, err := o.Kafka.Transport(o.topicNames())
	if err != nil {
		return nil, err
	}
	// A new leader is found within this time.
	transport.MetadataTTL = 2 * time.Second
	dialer, err := o.Kafka.Dialer()
	if err != nil {
		return nil, err
	}
	if o.Stored == nil {
		o.Stored = func() {}
	}
	if o.Rejected == nil {
		o.Rejected = func() {}
	}
	d := &Daemon{
		Options: o, log: log, transport: transport, dialer: dialer,
		kafka:        fetch.NewClient(transport, o.Kafka.Addr()),
		kafkaLink:    newLink("Kafka", strings.Join(o.Kafka.Brokers, ","), "is it up, and are PERSISTOR_KAFKA_BROKERS and the TLS and SASL settings right?", log),
		databaseLink: newLink("the database", o.DatabaseTarget, "is it up, is PERSISTOR_DATABASE_URL right, its sslmode too, has the disk room, may our role still connect?", log),
		started:      time.Now(),
		group:        httpserver.Group{ID: o.Consumer.GroupID, State: "joining"},
	}
	// Beside what was asked for, an answer may bring one message above that.
	d.kafka.MaxAnswerBytes = max(d.kafka.MaxAnswerBytes, o.Ingest.BatchBytes+(16<<20))
	d.metrics = newMetrics(r, d)
	d.conflicts = &conflicts{log: log, metrics: d.metrics, count: &d.conflictCount, prefix: o.Kafka.TopicPrefix}
	if o.Ingest.EventLog {
		d.keeper = live.NewKeeper(o.Database, o.Ingest.SnapshotRecords, log, d.metrics.mismatch)
		d.audit = &live.Audit{Database: o.Database, Log: log, Settled: d.settled}
	}
	return d, nil
}

// AwaitSchema checks the schema, and waits for a server that cannot be reached:
// what was up yesterday may start after us, or be full of others' sessions. The
// status tells of it meanwhile.
func (d *Daemon) AwaitSchema(ctx context.Context) error {
	for {
		err := store.CheckSchema(ctx, d.Options.Database)
		_, unreachable := errors.AsType[*pgconn.ConnectError](err)
		if err == nil || !unreachable || store.Classify(err) != store.Retry {
			return err
		}
		d.databaseDown(err)
		if !sleep(ctx, time.Second) {
			return ctx.Err()
		}
	}
}

// Run consumes until ctx ends, and then lets what is in flight finish, but not
// beyond the end of hurry. It returns nil then, or ErrAllHalted.
func (d *Daemon) Run(ctx, hurry context.Context) error {
	defer d.transport.CloseIdleConnections()
	var loops sync.WaitGroup
	counting, stop := context.WithCancel(ctx)
	loops.Go(func() { d.countRejects(counting) })
	defer loops.Wait()
	defer stop()
	for ctx.Err() == nil {
		err := d.membership(ctx, hurry)
		if errors.Is(err, ErrAllHalted) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			d.kafkaLink.down(err)
			sleep(ctx, time.Second)
		}
	}
	return nil
}

func (d *Daemon) kafkaUp()               { d.kafkaLink.up() }
func (d *Daemon) kafkaDown(err error)    { d.kafkaLink.down(err) }
func (d *Daemon) databaseUp()            { d.databaseLink.up() }
func (d *Daemon) databaseDown(err error) { d.databaseLink.down(err) }

func (d *Daemon) snapshots() []httpserver.Partition {
	d.mu.Lock()
	list := d.partitions
	d.mu.Unlock()
	out := make([]httpserver.Partition, len(list))
	for i, p := range list {
		out[i] = p.snapshot()
	}
	return out
}

// countRejects keeps the number of rejects that wait for an operator. It is also
// what notices whether the database is there while there is nothing to store.
func (d *Daemon) countRejects(ctx context.Context) {
	// Also of topics that it is told not to read: whoever reads them is of the
	// same installation, others with this database are not.
	pending := pendingRejects{database: d.Options.Database, topics: d.Options.Kafka.Consumed()}
	defer pending.close(ctx)
	for lost := true; ; {
		switch n, err := pending.count(ctx); {
		case ctx.Err() != nil:
		case err != nil:
			d.databaseDown(err)
			lost = true
		default:
			d.rejectsPending.Store(n)
			// A server that answers questions may still refuse to store, which
			// is for the workers to say.
			if lost {
				d.databaseUp()
			}
			lost = false
		}
		if !sleep(ctx, 5*time.Second) {
			return
		}
	}
}
