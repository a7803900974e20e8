// Package verify audits what is stored against the ledger: each position of a
// consumed partition has to be exactly one of a row, an unresolved reject, a
// noted duplicate, or inside a gap; unifyevents has to be tiled by the event log
// and gaps.
package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// Options say what to audit.
type Options struct {
	Database store.Options

	// Listed bounds how many differences of one kind and partition the report
	// lists; 0 means 100.
	Listed int
}

// audit is one run: a snapshot and what was found in it.
type audit struct {
	tx         pgx.Tx
	options    Options
	report     Report
	partitions map[log]*partition
	order      []*partition
	names      map[int16]string // of all incarnations
	history    map[int16]int64
	listed     map[[2]string]int
}

// log is one partition of one incarnation of a topic.
type log struct {
	topicID   int16
	partition int32
}

type partition struct {
	Partition
	cover
	table string // that its records fill; "" for unifyevents
	low   int64  // for rows of unifyevents: the lowest and highest position
	high  int64
}

// Verify audits everything in one snapshot of the database, so it may run while
// the daemon does. An error means that the audit could not be made.
func Verify(ctx context.Context, o Options) (Report, error) {
	if o.Listed == 0 {
		o.Listed = 100
	}
	conn, err := store.Connect(ctx, o.Database)
	if err != nil {
		return Report{}, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return Report{}, fmt.Errorf("take a snapshot of the database: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing was written

	a := &audit{
		tx: tx, options: o, report: Report{Partitions: []Partition{}, Differences: []Difference{}},
		partitions: map[log]*partition{}, names: map[int16]string{}, history: map[int16]int64{}, listed: map[[2]string]int{},
	}
	for _, step := range []func(context.Context) error{a.readLedger, a.readGaps, a.readNotes, a.readRows, a.readEventLog} {
		if err := step(ctx); err != nil {
			return Report{}, err
		}
	}
	a.judge()
	return a.report, nil
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

// tableOf returns the table that a consumed topic fills, without schema; ""
// for unifyevents, which fills the event log.
func tableOf(topic string) string {
	return map[string]string{
		topics.Trades:           "trades",
		topics.Orders:           "order_events",
		topics.Balances:         "balance_changes",
		topics.Deposits:         "deposits",
		topics.Withdraws:        "withdrawals",
		topics.InternalTransfer: "internal_transfers",
		topics.RegisterUser:     "users",
	}[topic]
}

func (a *audit) readLedger(ctx context.Context) error {
	const what = "read the ledger"
	rows, err := a.tx.Query(ctx, `SELECT topic, partition, topic_id, first_offset, next_offset, high_offset
		FROM dingir.ledger ORDER BY topic, partition`)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	var p partition
	_, err = pgx.ForEachRow(rows, []any{&p.Topic, &p.Partition.Partition, &p.TopicID, &p.FirstOffset, &p.NextOffset, &p.HighOffset}, func() error {
		one := p
		topic, err := consumed(p.Topic)
		if err != nil {
			return err
		}
		one.table = tableOf(topic)
		one.low, one.high = 1<<62, -1
		a.order = append(a.order, &one)
		a.partitions[log{one.TopicID, one.Partition.Partition}] = &one
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	rows, err = a.tx.Query(ctx, "SELECT id, name FROM dingir.topics")
	if err != nil {
		return fmt.Errorf("read the topics: %w", err)
	}
	var id int16
	var name string
	_, err = pgx.ForEachRow(rows, []any{&id, &name}, func() error {
		a.names[id] = name
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the topics: %w", err)
	}
	return nil
}

func (a *audit) readGaps(ctx context.Context) error {
	rows, err := a.tx.Query(ctx, "SELECT topic_id, partition, first_offset, last_offset FROM dingir.gaps")
	if err != nil {
		return fmt.Errorf("read the gaps: %w", err)
	}
	var l log
	var r Range
	_, err = pgx.ForEachRow(rows, []any{&l.topicID, &l.partition, &r.First, &r.Last}, func() error {
		if p := a.partitions[l]; p != nil {
			p.gaps = append(p.gaps, r)
			p.Gaps += r.Last - r.First + 1
			a.inRange(p, r, "a gap")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the gaps: %w", err)
	}
	return nil
}

// readNotes reads the unresolved rejects and the duplicates.
func (a *audit) readNotes(ctx context.Context) error {
	for k, query := range map[kind]string{
		aReject:    `SELECT topic_id, partition, "offset" FROM dingir.rejects WHERE resolved_at IS NULL`,
		aDuplicate: `SELECT topic_id, partition, "offset" FROM dingir.duplicates`,
	} {
		err := stream(ctx, a.tx.Conn(), query, func(l log, offset int64) { a.take(l, offset, k) })
		if err != nil {
			return fmt.Errorf("read the %ss: %w", k, err)
		}
	}
	return nil
}

func (a *audit) readRows(ctx context.Context) error {
	for _, t := range topics.Consumed() {
		table := tableOf(t.Name)
		if table == "" {
			continue
		}
		query := "SELECT src_topic, src_partition, src_offset FROM dingir." + table
		err := stream(ctx, a.tx.Conn(), query, func(l log, offset int64) { a.takeRow(l, offset, table) })
		if err != nil {
			return fmt.Errorf("read the positions in dingir.%s: %w", table, err)
		}
	}
	return nil
}

func (a *audit) takeRow(l log, offset int64, table string) {
	p := a.partitions[l]
	switch {
	case p == nil:
		a.history[l.topicID]++
	case p.table == "":
		// One position of unifyevents fills one table at most, but what is
		// judged there is the event log.
		p.Rows++
		p.low, p.high = min(p.low, offset), max(p.high, offset)
	case p.table != table:
		p.Rows++
		a.differ(p, Misplaced, Range{offset, offset}, "its row is in dingir."+table+" and belongs into dingir."+p.table)
	default:
		a.take(l, offset, aRow)
	}
}

// take notes that a position is accounted for.
func (a *audit) take(l log, offset int64, k kind) {
	p := a.partitions[l]
	if p == nil {
		return // rejects and duplicates of an earlier incarnation
	}
	switch k {
	case aRow:
		p.Rows++
	case aReject:
		p.Rejects++
	case aDuplicate:
		p.Duplicates++
	}
	if !a.inRange(p, Range{offset, offset}, "a "+k.String()) || p.table == "" {
		return
	}
	if !p.sets[k].add(offset) {
		p.twice = append(p.twice, offset)
	}
}

// inRange tells whether the ledger reaches the positions. Above next_offset it
// does so up to high_offset: those records are being read again.
func (a *audit) inRange(p *partition, r Range, what string) bool {
	if r.First >= p.FirstOffset && r.Last < p.HighOffset {
		return true
	}
	a.differ(p, OutOfRange, r, fmt.Sprintf("%s is there, but the ledger goes from %d up to %d", what, p.FirstOffset, p.NextOffset))
	return false
}

func (a *audit) judge() {
	for _, p := range a.order {
		if p.table == "" && p.high >= 0 && (p.low < p.FirstOffset || p.high >= p.HighOffset) {
			a.differ(p, OutOfRange, Range{p.low, p.high},
				fmt.Sprintf("rows are there from one of these to the other, but the ledger goes from %d up to %d", p.FirstOffset, p.NextOffset))
		}
		missing, twice := p.judge(p.FirstOffset, p.NextOffset)
		absence := "no row, reject, duplicate or gap"
		if p.table == "" {
			absence = "neither in the event log nor in a gap"
		}
		for _, r := range missing {
			a.differ(p, Missing, r, absence)
		}
		for _, d := range twice {
			if d.as == twoGaps && p.table == "" {
				d.as = "two segments of the event log, or a segment and a gap"
			}
			a.differ(p, Doubled, d.Range, d.as)
		}
		a.report.Partitions = append(a.report.Partitions, p.Partition)
	}
	for id, rows := range a.history {
		a.report.History = append(a.report.History, History{a.names[id], id, rows})
	}
	slices.SortFunc(a.report.History, func(x, y History) int { return int(x.TopicID) - int(y.TopicID) })
}

func (a *audit) differ(p *partition, kind string, r Range, detail string) {
	a.report.Total++
	key := [2]string{kind, fmt.Sprint(p.TopicID, "/", p.Partition.Partition)}
	if a.listed[key]++; a.listed[key] <= a.options.Listed {
		a.report.Differences = append(a.report.Differences, Difference{p.Topic, p.Partition.Partition, kind, r, detail})
	}
}
