package verify

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/ingest"
	"github.com/thaliumx/persistor/internal/live"
	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/testenv"
	"github.com/thaliumx/persistor/internal/topics"
)

// feed stores what an exchange emits as the daemon does, but for Kafka: each
// topic has two partitions, unifyevents one.
type feed struct {
	t       testing.TB
	o       store.Options
	conn    *pgx.Conn
	x       *exchange.Exchange
	batch   *store.Batch
	decoder ingest.Decoder
	logs    map[string][]*feedLog
	sent    int
	rejects int

	// As the daemon keeps it.
	state     *state.State
	unify     event.Unify
	latest    int64 // ms
	last      time.Time
	snapshots int // every so many batches
	batches   int
}

type feedLog struct {
	store.Log
	next     int64
	expected int64
	sent     []exchange.Message // by offset
}

// newFeed makes a database and an exchange for it.
func newFeed(t testing.TB, configure func(*exchange.Config)) *feed {
	t.Helper()
	cfg := exchange.DefaultConfig()
	configure(&cfg)
	x, err := exchange.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f := &feed{t: t, x: x, state: state.New(0), snapshots: 2, batch: store.NewBatch(), logs: map[string][]*feedLog{},
		o: store.Options{URL: testenv.Database(t), SynchronousCommit: false}}
	if _, err := store.Migrate(t.Context(), f.o); err != nil {
		t.Fatal(err)
	}
	if f.conn, err = store.Connect(t.Context(), f.o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.conn.Close(context.Background()) })
	for i, topic := range topics.Consumed() {
		partitions := int32(2)
		if topic.Name == topics.UnifyEvents {
			partitions = 1
		}
		for p := range partitions {
			if err := store.Begin(t.Context(), f.conn, "x."+topic.Name, p, "cluster", [16]byte{byte(i)}, 0); err != nil {
				t.Fatal(err)
			}
			f.logs[topic.Name] = append(f.logs[topic.Name],
				&feedLog{Log: store.Log{Topic: "x." + topic.Name, TopicID: int16(i + 1), Partition: p}})
		}
	}
	return f
}

// operate lets the exchange work and stores what it emits.
func (f *feed) operate(operations int) *feed {
	f.t.Helper()
	for n := range operations {
		for _, m := range f.x.Step() {
			f.record(m)
		}
		if n%70 == 69 { // what nobody can read is archived, and a reject besides
			f.record(exchange.Message{Topic: topics.UnifyEvents, Key: []byte("orders"), Value: []byte(`{"event":"PUT"}`), Time: f.last})
		}
		if n%500 == 499 {
			f.flush()
		}
	}
	f.flush()
	return f
}

func (f *feed) record(m exchange.Message) {
	f.t.Helper()
	logs := f.logs[m.Topic]
	l := logs[f.sent/7%len(logs)]
	f.sent++
	p := f.batch.Partition(l.Log, l.expected, 0)
	l.sent, f.last = append(l.sent, m), m.Time
	f.take(p, m, l.next)
	l.next++
}

// take adds one record to the batch.
func (f *feed) take(p *store.Progress, m exchange.Message, offset int64) {
	f.t.Helper()
	at := m.Time.UnixMilli()
	hash := ingest.Hash(m.Value)
	if m.Topic == topics.UnifyEvents {
		if offset >= f.state.Next() {
			_ = live.Apply(f.state, &event.Decoder{}, &f.unify, offset, at, m.Key, m.Value)
		}
		f.latest = max(f.latest, at)
		if err := f.batch.Archive(p, offset, at, m.Key, m.Value, []byte{0}); err != nil {
			f.t.Fatal(err)
		}
	}
	err := f.decoder.Add(f.batch, p.Log, m.Topic, ingest.Record{Offset: offset, Time: at, Key: m.Key, Value: m.Value}, hash)
	f.batch.Record(p, offset, hash)
	if err != nil {
		f.rejects++
		f.batch.Reject(p, store.RejectedRecord{Offset: offset, Time: event.Micros(at * 1000), Key: m.Key, Value: m.Value, Reason: err.Error()})
	}
}

// rewind moves a partition's ledger back, as an operator does.
func (f *feed) rewind(topic string, partition int, offset int64) {
	f.sql(fmt.Sprintf("UPDATE dingir.ledger SET next_offset = %d WHERE topic = 'x.%s' AND partition = %d", offset, topic, partition))
}

// reread stores records again, as the daemon does after a rewind.
func (f *feed) reread(topic string, partition int, from, until int64) {
	f.t.Helper()
	l := f.logs[topic][partition]
	b := f.batch
	f.batch = store.NewBatch()
	p := f.batch.Partition(l.Log, from, f.state.Next())
	for offset := from; offset < until; offset++ {
		f.take(p, l.sent[offset], offset)
	}
	if err := store.Write(f.t.Context(), f.conn, f.batch); err != nil {
		f.t.Fatal(err)
	}
	f.batch = b
}

func (f *feed) flush() {
	f.t.Helper()
	if f.batch.Empty() {
		return
	}
	unify := f.logs[topics.UnifyEvents][0]
	if f.snapshots > 0 && f.state.Next() > unify.expected {
		f.putState(f.batch.Partition(unify.Log, unify.expected, 0))
	}
	if err := store.Write(f.t.Context(), f.conn, f.batch); err != nil {
		f.t.Fatal(err)
	}
	f.state.Committed()
	f.batch.Reset()
	for _, logs := range f.logs {
		for _, l := range logs {
			l.expected = l.next
		}
	}
}

// putState writes what has changed of the state, and a snapshot now and then.
func (f *feed) putState(p *store.Progress) {
	s, latest := f.state, time.UnixMilli(f.latest).UTC()
	f.batch.State(p, 0, store.StateRow{Base: s.Base(), Next: s.Next(), Complete: s.Complete(), Provisional: s.Provisional(),
		LastOrderID: s.LastOrderID(), LastTradeID: s.LastTradeID(), Mismatches: s.Mismatches(), Latest: latest})
	changes := s.Changes()
	for h := range changes.GoneBalances {
		f.batch.DropBalance(h.UserID, h.Asset)
	}
	for b := range changes.Balances {
		f.batch.PutBalance((*store.Holding)(&b))
	}
	for id := range changes.GoneOrders {
		f.batch.DropOrder(id)
	}
	for o := range changes.Orders {
		f.batch.PutOrder((*store.OpenOrder)(&o))
	}
	if f.batches++; f.batches%f.snapshots == 0 {
		one, err := store.NewSnapshot(p.TopicID, s.Next(), latest, s.WriteSnapshot)
		if err != nil {
			f.t.Fatal(err)
		}
		f.batch.Snapshot(one)
	}
}

func (f *feed) sql(text string) {
	f.t.Helper()
	if _, err := f.conn.Exec(f.t.Context(), text); err != nil {
		f.t.Fatal(err)
	}
}

// verify audits, with few differences of a kind listed.
func (f *feed) verify(change ...func(*Options)) Report {
	f.t.Helper()
	o := Options{Database: f.o, Listed: 5, settle: 1} // nobody mends the state
	for _, c := range change {
		c(&o)
	}
	r, err := Verify(f.t.Context(), o)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// table returns what the report says of one.
func (r *Report) table(name string) Table {
	for _, t := range r.Tables {
		if t.Table == name {
			return t
		}
	}
	return Table{}
}

func TestExchange(t *testing.T) {
	for _, test := range []struct {
		name      string
		configure func(*exchange.Config)
	}{
		{"plain", func(*exchange.Config) {}},
		{"duplicates and foreign records", func(c *exchange.Config) { c.Duplicates, c.Foreign = 0.01, 0.05 }},
		{"documented", func(c *exchange.Config) { c.Documented = true }},
		{"crashes", func(c *exchange.Config) { c.CrashEvery, c.Forget, c.LoseUnify, c.LoseTopics = 150, 10, 15, 15 }},
		{"everything", func(c *exchange.Config) {
			c.CrashEvery, c.Forget, c.LoseUnify, c.LoseTopics = 200, 10, 10, 10
			c.Duplicates, c.Foreign, c.SelfTransfers, c.AllowSelfTrade = 0.01, 0.05, 0.1, true
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFeed(t, test.configure).operate(2500)
			r := f.verify()
			for _, d := range r.Differences {
				t.Error(d)
			}
			if r.Total != 0 {
				t.Errorf("%d differences", r.Total)
			}
			if s := r.State; s == nil || !s.Checked || s.Snapshots != 2 || s.NextOffset != f.state.Next() || len(r.Money) != 4 {
				t.Errorf("state %+v, money %+v", s, r.Money)
			}
			for _, d := range r.Findings {
				if d.Kind != OnlyInTable && d.Kind != OnlyInLog && d.Kind != FrozenOff && d.Kind != NegativeBalance {
					t.Error(d)
				}
			}
			// In many small parts the same is found.
			units := 0
			parts := f.verify(func(o *Options) {
				o.pages, o.records, o.Connections = 1, 100, 3
				o.Progress = func(p Progress) { units = p.Of }
			})
			if !reflect.DeepEqual(parts, r) || units < 100 {
				t.Errorf("in %d parts: %+v %v %v", units, parts.Tables, parts.Differences, parts.Findings)
			}
			for _, one := range r.Tables {
				if one.Unproven > 0 || one.Altered > 0 || one.Earlier > 0 {
					t.Errorf("%+v", one)
				}
			}
		})
	}
}

// TestRewound moves ledgers back and has records stored again, and audits before,
// in the middle and after.
func TestRewound(t *testing.T) {
	f := newFeed(t, func(c *exchange.Config) { c.Duplicates, c.Foreign = 0.02, 0.05 }).operate(1000)
	clean := func(when string) {
		t.Helper()
		if r := f.verify(); r.Total != 0 || len(r.Findings) != 0 {
			t.Errorf("%s: %v %v", when, r.Differences, r.Findings)
		}
	}
	for _, topic := range []string{topics.Trades, topics.Orders, topics.Balances, topics.InternalTransfer, topics.RegisterUser, topics.UnifyEvents} {
		next := f.logs[topic][0].next
		f.rewind(topic, 0, next/4)
		clean(topic + " moved back")
		f.reread(topic, 0, next/4, next/2)
		clean(topic + " read again in part")
		f.reread(topic, 0, next/2, next)
		clean(topic + " read again")
	}
	f.operate(200)
	clean("gone on")
	var duplicates int64
	for _, p := range f.verify().Partitions {
		duplicates += p.Duplicates
	}
	if duplicates == 0 || f.rejects == 0 {
		t.Errorf("%d duplicates, %d rejects", duplicates, f.rejects)
	}
}
