package harness

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/topics"
)

// tableOf is where a topic's records become rows. On unifyevents the record's
// key says it.
var tableOf = map[string]string{
	topics.Trades: "trades", topics.Orders: "order_events", topics.Balances: "balance_changes",
	topics.Deposits: "deposits", topics.Withdraws: "withdrawals",
	topics.InternalTransfer: "internal_transfers", topics.RegisterUser: "users",
}

// source is a position in one incarnation of a topic.
type source struct {
	topicID   int16
	partition int32
	offset    int64
}

// stored is what is in the database about one position.
type stored struct {
	as   string // "row in trades", "reject", "duplicate", "gap"
	hash int64  // of a row
	time int64  // of a row, in µs
	// of a reject
	key, value []byte
	// of a duplicate
	table string
}

// accounts is one snapshot of the database.
type accounts struct {
	ledger map[Place]position
	stored map[source][]stored
	hashes map[string]map[int64]bool // of rows, by table
	log    map[int64]logged          // of unifyevents, by offset
	twice  []int64                   // offsets that are in it more than once
	unify  string                    // unifyevents in full
	state  stateTables
}

type position struct {
	topicID     int16
	first, next int64
}

// Account compares one snapshot of the database with the topics, record by
// record, and returns every violation of the accounting:
//
//   - each position of a hot topic below the ledger's is exactly one of a row
//     (with the hash of the record's value and the record's time), an
//     unresolved reject (with the record's bytes), a duplicate (of a row that
//     is there), or inside a gap (where no record is);
//   - nothing is stored about a position that the ledger has not reached;
//   - unifyevents is tiled by the event log, byte for byte, and gaps; its
//     deposits and withdrawals are accounted for as on a hot topic;
//   - the state's tables cover exactly what the archive does, and hold what the
//     topic's records make of an empty exchange, row by row.
//
// It may be called while daemons work: a position that the ledger has not
// reached, or a partition that it does not know, only must have nothing stored.
func (s *Site) Account() (violations []string) {
	s.t.Helper()
	a := s.snapshot()
	a.unify = s.Prefix + topics.UnifyEvents
	read := s.readTopics(a)
	for place, pos := range a.ledger {
		topic := strings.TrimPrefix(place.Topic, s.Prefix)
		records := read[place]
		if topic == topics.UnifyEvents {
			violations = append(violations, a.judgeLog(place, pos, records)...)
		}
		violations = append(violations, a.judge(topic, place, pos, records)...)
	}
	violations = append(violations, a.judgeState()...)
	for src, list := range a.stored {
		violations = append(violations, fmt.Sprintf("topic id %d partition %d offset %d: %s, but no record is there that it could be of, below the ledger",
			src.topicID, src.partition, src.offset, list[0].as))
	}
	slices.Sort(violations)
	return violations
}

// judge takes what is stored about each record out of the accounts; what is
// left in the end belongs to no record.
func (a *accounts) judge(topic string, place Place, pos position, records []Read) (violations []string) {
	differ := func(offset int64, format string, args ...any) {
		violations = append(violations, fmt.Sprintf("%s/%d offset %d: ", place.Topic, place.Partition, offset)+fmt.Sprintf(format, args...))
	}
	next := pos.first
	// Between records there are only positions of no record: gaps.
	gap := func(until int64) {
		for ; next < until; next++ {
			src := source{pos.topicID, place.Partition, next}
			if list := a.stored[src]; len(list) != 1 || list[0].as != "gap" {
				differ(next, "no record is there, but %s", describe(list))
			}
			delete(a.stored, src)
		}
	}
	for i := range records {
		r := &records[i]
		if r.Offset < pos.first || r.Offset >= pos.next {
			continue
		}
		gap(r.Offset)
		next = r.Offset + 1
		src := source{pos.topicID, place.Partition, r.Offset}
		list := a.stored[src]
		delete(a.stored, src)
		table := tableOf[topic]
		if topic == topics.UnifyEvents {
			table = r.live
			// Others are in the event log only, and rejects besides.
			if table == "" && len(list) == 0 {
				continue
			}
		}
		if len(list) != 1 {
			differ(r.Offset, "%s; exactly one is right", describe(list))
			continue
		}
		switch e := list[0]; e.as {
		case "row in " + table:
			if e.hash != r.Hash {
				differ(r.Offset, "its row has content_hash %d, the record %d", e.hash, r.Hash)
			}
			if off := e.time - r.rowTime(topic); off < -1 || off > 1 {
				differ(r.Offset, "its row is of %s, the record of %s", micros(e.time), micros(r.rowTime(topic)))
			}
		case "reject":
			if !same(e.key, r.Key) || !same(e.value, r.Value) {
				differ(r.Offset, "the reject's key or value is not the record's")
			}
		case "duplicate":
			if e.table != table || !a.hashes[table][r.Hash] {
				differ(r.Offset, "noted as a duplicate of a row in %s, where no row has its hash", e.table)
			}
		default:
			differ(r.Offset, "a record of %s, but stored is: %s", cmpTable(table), describe(list))
		}
	}
	gap(pos.next)
	return violations
}

func cmpTable(table string) string {
	if table == "" {
		return "the event log only"
	}
	return table
}

func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

func micros(us int64) string { return time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000000Z") }

func describe(list []stored) string {
	if len(list) == 0 {
		return "no row, reject, duplicate or gap"
	}
	var as []string
	for _, e := range list {
		as = append(as, e.as)
	}
	return strings.Join(as, " and ")
}

// judgeLog compares the event log with the records of unifyevents.
func (a *accounts) judgeLog(place Place, pos position, records []Read) (violations []string) {
	for _, offset := range a.twice {
		violations = append(violations, fmt.Sprintf("%s offset %d: twice in the event log", place.Topic, offset))
	}
	for i := range records {
		r := &records[i]
		if r.Offset < pos.first || r.Offset >= pos.next {
			continue
		}
		e, found := a.log[r.Offset]
		delete(a.log, r.Offset)
		switch {
		case !found:
			violations = append(violations, fmt.Sprintf("%s offset %d: not in the event log", place.Topic, r.Offset))
		case e != logged{r.Hash, r.keyHash, r.Time}:
			violations = append(violations, fmt.Sprintf("%s offset %d: in the event log with another key, value or time", place.Topic, r.Offset))
		}
	}
	for offset := range a.log {
		violations = append(violations, fmt.Sprintf("%s offset %d: in the event log, but no record is there, below the ledger", place.Topic, offset))
	}
	return violations
}

// snapshot reads all that is stored, in one transaction.
func (s *Site) snapshot() *accounts {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.DatabaseURL)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var a *accounts
	err = pgx.BeginTxFunc(s.t.Context(), conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		a, err = readAccounts(s.t.Context(), tx)
		return err
	})
	if err != nil {
		s.t.Fatalf("read what is stored: %v", err)
	}
	return a
}
