// Package deadletter copies the records that could not be stored to the
// platform's dead-letter topics. The table dingir.rejects is the outbox: a
// reject is a row first, written in its batch's transaction, so none is lost;
// it is published at least once, with the row's id in a header, and marked then.
package deadletter

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

const (
	// interval is how often the outbox is looked at without being woken.
	interval = time.Second

	// A topic that cannot be written to is tried again after these pauses. The
	// longest leaves time to publish within 30 s once the topic is back.
	leastPause, longestPause = time.Second, 8 * time.Second

	// produceTimeout bounds one write, so that an unreachable broker is a failure.
	produceTimeout = 8 * time.Second

	// idleTimeout ends the database session of a publisher that was frozen, and
	// with it the lock that keeps the others from publishing. It is longer than
	// a write and a pause together.
	idleTimeout = 25 * time.Second

	// silence is how long a failure that goes on is not logged again.
	silence = 10 * time.Minute
)

// lockSQL takes the prefix's lock, and then its share of the one that versions
// before took for every prefix: where such a process publishes still, as during
// a rolling upgrade, this one waits, and the other way round. What is taken
// again in the next round, because the share could not be had, harms nothing.
const lockSQL = `SELECT CASE WHEN pg_try_advisory_lock(hashtext('persistor: publish rejects'), hashtext($1))
	THEN pg_try_advisory_lock_shared(hashtext('persistor: publish rejects')) ELSE false END`

// Config says where rejects are and where they go.
type Config struct {
	Database store.Options
	Brokers  net.Addr

	// Transport carries the writes and stays the caller's to close. Its
	// MetadataTopics have to be empty or to name Topics(TopicPrefix): kafka-go
	// knows no other topics.
	Transport kafka.RoundTripper

	TopicPrefix string // of the consumed topics and of the dead letters'
	Log         *slog.Logger
}

// deadLetters are the dead-letter topics, without prefix.
var deadLetters = [...]string{topics.DeadLetterTransactions, topics.DeadLetterGeneral}

// Topics returns the full names of the topics that a Publisher writes to.
func Topics(prefix string) []string {
	var full []string
	for _, name := range deadLetters {
		full = append(full, prefix+name)
	}
	return full
}

// Publisher publishes the rejects of its prefix's topics. Several may run on one
// database: a lock there lets one of each prefix work, and another take over
// when that one ends.
type Publisher struct {
	config Config
	writer *kafka.Writer
	wake   chan struct{}
	conn   *pgx.Conn
	holder bool // whether conn holds the lock
	lanes  []*lane
	nagged time.Time // when a failure of the database was last logged
}

// New returns a publisher that does nothing before Run.
func New(c Config) *Publisher {
	p := &Publisher{
		config: c,
		wake:   make(chan struct{}, 1),
		writer: &kafka.Writer{
			Addr:         c.Brokers,
			Transport:    c.Transport,
			RequiredAcks: kafka.RequireAll,
			Compression:  kafka.Snappy,
			// A chunk is written at once; the default waits a second for more.
			BatchTimeout: 10 * time.Millisecond,
			// Messages of 10 MiB come with headers. Whether one is too big is
			// the broker's to say, which measures it compressed.
			BatchBytes: 12 << 20,
			// Trying again is the lane's business.
			MaxAttempts:  1,
			WriteTimeout: produceTimeout,
		},
	}
	for _, name := range deadLetters {
		p.lanes = append(p.lanes, &lane{
			topic:     c.TopicPrefix + name,
			sources:   topicsOf(c.TopicPrefix, name),
			postponed: map[int64]time.Time{},
		})
	}
	return p
}

// topicsOf returns the full names of the consumed topics whose dead letters go
// to the given one.
func topicsOf(prefix, deadLetter string) []string {
	var names []string
	for _, t := range topics.Consumed() {
		if topics.DeadLetter(t.Name) == deadLetter {
			names = append(names, prefix+t.Name)
		}
	}
	return names
}

// Wake makes the publisher look at once. It may be called by anybody, at any
// time, and never waits.
func (p *Publisher) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run publishes until ctx ends. No failure ends it: neither the database nor
// Kafka may be there for good, and ingestion does not wait for this.
func (p *Publisher) Run(ctx context.Context) {
	defer p.close(ctx)
	for {
		if err := p.round(ctx); err != nil && ctx.Err() == nil {
			// Whatever it was, a new session is the way out.
			p.disconnect(ctx)
			if time.Since(p.nagged) > silence {
				p.nagged = time.Now()
				p.config.Log.Warn("rejects cannot be read for publishing; they stay in dingir.rejects and are tried again", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-time.After(interval):
		}
	}
}

// round publishes what is due, if this publisher holds the lock.
func (p *Publisher) round(ctx context.Context) error {
	if err := p.connect(ctx); err != nil {
		return err
	}
	if !p.holder {
		err := p.conn.QueryRow(ctx, lockSQL, p.config.TopicPrefix).Scan(&p.holder)
		if err != nil {
			return fmt.Errorf("take the lock for publishing rejects: %w", err)
		}
		if !p.holder {
			return nil
		}
	}
	for _, l := range p.lanes {
		if time.Now().Before(l.retryAt) {
			continue
		}
		refused, err := l.publish(ctx, p.conn, p.writer)
		if err != nil {
			return err
		}
		if ctx.Err() == nil {
			l.note(refused, p.config.Log)
		}
	}
	p.nagged = time.Time{}
	return nil
}

func (p *Publisher) connect(ctx context.Context) error {
	if p.conn != nil {
		return nil
	}
	conn, err := store.Connect(ctx, p.config.Database)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, fmt.Sprintf("SET idle_session_timeout = %d", idleTimeout.Milliseconds())); err != nil {
		closeConn(ctx, conn)
		return fmt.Errorf("bound the publisher's idle session: %w", err)
	}
	p.conn, p.holder = conn, false
	return nil
}

func (p *Publisher) disconnect(ctx context.Context) {
	if p.conn != nil {
		closeConn(ctx, p.conn)
	}
	p.conn, p.holder = nil, false
}

func (p *Publisher) close(ctx context.Context) {
	p.disconnect(ctx)
	_ = p.writer.Close() // nothing is in flight: every write was waited for
}

// closeConn ends a session, and with it the lock. The caller's context may
// have ended already.
func closeConn(ctx context.Context, conn *pgx.Conn) {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(bounded)
}

// lane is the way to one dead-letter topic. Each has a backoff of its own, so
// that one topic that is missing does not hold back the other.
type lane struct {
	topic string

	// sources are the consumed topics whose rejects it takes. Those of any other
	// are another prefix's, whose publisher takes them, or nobody's.
	sources []string

	// postponed has the rejects that the broker refuses for what they are, and
	// when to try again: they are stepped over.
	postponed map[int64]time.Time

	retryAt time.Time
	pause   time.Duration
	nagged  time.Time
}

// note draws the conclusions from a round: refused is why the topic could not
// be written to, or nil.
func (l *lane) note(refused error, log *slog.Logger) {
	if refused == nil {
		if !l.nagged.IsZero() {
			log.Info("rejects are being published again", "topic", l.topic)
		}
		l.pause, l.retryAt, l.nagged = 0, time.Time{}, time.Time{}
		return
	}
	l.pause = min(max(2*l.pause, leastPause), longestPause)
	l.retryAt = time.Now().Add(l.pause)
	if time.Since(l.nagged) > silence {
		l.nagged = time.Now()
		log.Warn("rejects cannot be published; they stay in dingir.rejects and are tried again; `persistor topics check` shows whether the topic is there",
			"topic", l.topic, "error", refused)
	}
}

// due drops the postponed rejects of a chunk that are not due yet.
func (l *lane) due(list []entry) []entry {
	now := time.Now()
	return slices.DeleteFunc(list, func(e entry) bool { return now.Before(l.postponed[e.id]) })
}
