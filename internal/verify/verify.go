// Package verify audits what is stored. Each position of a consumed partition
// has to be exactly one of a row, an unresolved reject, a noted duplicate, or
// inside a gap; unifyevents has to be tiled by the event log and gaps; the tables
// have to hold what the event log says.
//
// The work is done in units, each in a snapshot of its own (plan.go), by several
// connections (run.go); what they find is added up in sets of positions (set.go,
// cover.go) and sums (bucket.go) that take little memory, and judged in the end
// (positions.go, resolve.go).
package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// Options say what to audit.
type Options struct {
	Database store.Options

	// Kafka is asked for the records of rows that look altered; nil: nobody is.
	Kafka *fetch.Client

	// Since leaves out what is older; the zero time audits everything.
	Since time.Time

	// SinceAbout tells that Since was counted back from now, so an audit that goes
	// on takes the time that it began with.
	SinceAbout bool

	// Connections do the work side by side; 0 means 2.
	Connections int

	// Checkpoint is a file that keeps what is done, so that an audit that was
	// killed goes on where it was; it is removed at the end. "" keeps nothing.
	Checkpoint string

	// Progress is told now and then how far the audit is; it may be nil. It is
	// called by one goroutine at a time.
	Progress func(Progress)

	// Listed bounds how many differences of one kind and place the report
	// lists; 0 means 100.
	Listed int

	// What a unit and a slot hold, how often a checkpoint is written, and how long
	// the state has to settle: tests make them smaller.
	pages   int64
	records int32
	every   time.Duration
	settle  time.Duration
}

// Progress is how far an audit is.
type Progress struct {
	Units, Of int   // parts of the work
	Rows      int64 // rows and records read by this run
	Resumed   int   // of Units, those that an earlier run has done
	Elapsed   time.Duration
}

// audit is one run.
type audit struct {
	options Options
	conn    *pgx.Conn
	tx      pgx.Tx // the snapshot that is looked at, if any
	state   work
	report  Report
	names   map[int16]string // of all incarnations
	unify   map[int16]bool   // those of unifyevents
	start   map[log]*partition
	history map[int16]int64 // rows and archived records by topic id
	strays  map[stray]span  // of partitions that there never were
	listed  map[string]int
	witness

	incarnations map[int16][16]byte // Kafka's ids of the topics
}

// partition is what the ledger had when the audit began.
type partition struct {
	Partition
	cover
	Table tableID
	Live  bool // unifyevents: no table

	first, next int64 // what is judged
	reach       int64 // no position may be at or beyond it; -1 where another incarnation is in the ledger now
	again       bool  // records are being read again
	noted       []Range
	tiles       []Range // segments of the event log
	dups        *set    // of unifyevents: positions whose rows have another
	settled     *set    // rejects that were stored while the audit was under way
	missing     ranges
	doubled     []doubled
}

// Verify audits what is stored, also while the daemon runs. An error means that
// the audit could not be made.
func Verify(ctx context.Context, o Options) (Report, error) {
	if o.Listed == 0 {
		o.Listed = 100
	}
	if o.Connections == 0 {
		o.Connections = 2
	}
	if o.pages == 0 {
		o.pages = unitPages
	}
	if o.records == 0 {
		o.records = slotRecords
	}
	if o.settle == 0 {
		o.settle = settleTime
	}
	if o.every == 0 {
		o.every = checkpointEvery
	}
	conn, err := store.Connect(ctx, o.Database)
	if err != nil {
		return Report{}, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	a := &audit{
		options: o, conn: conn,
		report: Report{Partitions: []Partition{}, Tables: []Table{}, Differences: []Difference{}, Findings: []Difference{}},
		names:  map[int16]string{}, unify: map[int16]bool{}, start: map[log]*partition{}, listed: map[string]int{},
		witness: witness{client: o.Kafka}, incarnations: map[int16][16]byte{},
	}
	if err := a.begin(ctx); err != nil {
		return Report{}, err
	}
	if !a.options.Since.IsZero() {
		a.report.Since = &a.options.Since
	}
	if err := a.run(ctx, func(u *unit) bool { return !u.Older }); err != nil {
		return Report{}, err
	}
	if err := a.judgePositions(ctx); err != nil {
		return Report{}, err
	}
	if err := a.compare(ctx); err != nil {
		return Report{}, err
	}
	if err := a.reportState(ctx); err != nil {
		return Report{}, err
	}
	a.forget()
	return a.report, nil
}

// begin plans the work, or takes up that of a run before.
func (a *audit) begin(ctx context.Context) error {
	return a.snapshot(ctx, func() error {
		if err := a.readTopics(ctx); err != nil {
			return err
		}
		resumed, err := a.resume(ctx)
		if err != nil {
			return err
		}
		if !resumed {
			for _, step := range []func(context.Context) error{a.readLedger, a.readUnresolved, a.planTables, a.planArchive} {
				if err := step(ctx); err != nil {
					return err
				}
			}
			a.state.Done = make([]bool, len(a.state.Units))
		}
		for _, p := range a.state.Ledger {
			one := &partition{Partition: p}
			topic, err := consumed(p.Topic)
			if err != nil {
				return fmt.Errorf("read the ledger: %w", err)
			}
			id, filled := tableOf(topic)
			one.Table, one.Live = id, !filled
			a.start[log{p.TopicID, p.Partition}] = one
		}
		return nil
	})
}

// snapshot calls fn with one snapshot of the database in a.tx.
func (a *audit) snapshot(ctx context.Context, fn func() error) error {
	tx, err := a.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("take a snapshot of the database: %w", err)
	}
	a.tx = tx
	err = fn()
	a.tx = nil
	return errors.Join(err, tx.Rollback(context.WithoutCancel(ctx))) // nothing was written
}

// consumed returns which of the consumed topics a full name is. No consumed
// topic's name is the end of another's, so it does not take the prefix.
func consumed(full string) (string, error) {
	for _, t := range topics.Consumed() {
		if strings.HasSuffix(full, t.Name) {
			return t.Name, nil
		}
	}
	return "", fmt.Errorf("the ledger has topic %s, which this program does not know: a newer persistor wrote it", full)
}

func (a *audit) readTopics(ctx context.Context) error {
	rows, err := a.tx.Query(ctx, "SELECT id, name, topic_uuid FROM dingir.topics")
	if err != nil {
		return fmt.Errorf("read the topics: %w", err)
	}
	var id int16
	var name string
	var incarnation [16]byte
	_, err = pgx.ForEachRow(rows, []any{&id, &name, &incarnation}, func() error {
		a.names[id], a.incarnations[id] = name, incarnation
		topic, err := consumed(name)
		a.unify[id] = err == nil && topic == topics.UnifyEvents
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the topics: %w", err)
	}
	return nil
}

// differ puts a difference into the report. place bounds how many of them are
// listed.
func (a *audit) differ(place string, d Difference) {
	a.report.Total++
	if a.list(place, d) {
		a.report.Differences = append(a.report.Differences, d)
	}
}

// find puts something into the report that is no difference by itself.
func (a *audit) find(place string, d Difference) {
	if a.list(place, d) {
		a.report.Findings = append(a.report.Findings, d)
	}
}

func (a *audit) list(place string, d Difference) bool {
	key := d.Kind + " " + place
	a.listed[key]++
	return a.listed[key] <= a.options.Listed
}
