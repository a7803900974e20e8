package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/ulikunitz/xz"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/testenv"
)

// What the engine really sent is produced to the topics as the engine would,
// the daemon drains them, and every row is compared with its record: by an
// independent reading of the JSON, in which numbers stay text.

func TestCorpusEngine(t *testing.T) {
	s := newSystem(t)
	s.produceUnify(corpus(t, "engine-1.unify.jsonl.xz"))
	for _, line := range corpus(t, "engine-1.balances.jsonl.xz") {
		s.add("balances", []byte{}, line)
	}
	s.check()
}

func TestCorpusRealDump(t *testing.T) {
	s := newSystem(t)
	s.produceUnify(corpus(t, "real-2021-09.unify.jsonl"))
	s.check()
}

func TestCorpusDocumented(t *testing.T) {
	s := newSystem(t)
	config := exchange.DefaultConfig()
	config.Documented = true
	x, err := exchange.New(config)
	if err != nil {
		t.Fatal(err)
	}
	for len(s.records) < 5000 {
		for _, m := range x.Step() {
			s.add(m.Topic, m.Key, m.Value)
		}
	}
	s.check()
}

// corpus reads a recorded run: the shared one where the checkout has it beside
// it, else an excerpt.
func corpus(t *testing.T, name string) [][]byte {
	t.Helper()
	excerpt := strings.TrimSuffix(name, ".xz") + ".gz"
	for _, path := range []string{filepath.Join("..", "..", "..", "shared", "corpus", name), filepath.Join("..", "..", "internal", "exchange", "testdata", excerpt)} {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		defer f.Close()
		var r io.Reader = f
		switch filepath.Ext(path) {
		case ".xz":
			r, err = xz.NewReader(f)
		case ".gz":
			r, err = gzip.NewReader(f)
		}
		if err != nil {
			t.Fatal(err)
		}
		var lines [][]byte
		sc := bufio.NewScanner(r)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			lines = append(lines, bytes.Clone(sc.Bytes()))
		}
		if sc.Err() != nil {
			t.Fatal(sc.Err())
		}
		return lines
	}
	t.Fatalf("no corpus %s", name)
	return nil
}

// system is a cluster's topics and a database of the test's own.
type system struct {
	t       *testing.T
	env     []string
	prefix  string
	url     string
	client  *kgo.Client
	records []*kgo.Record
	random  *rand.Rand
	begin   time.Time // of the first record
}

func newSystem(t *testing.T) *system {
	t.Helper()
	brokers := testenv.Kafka(t)
	s := &system{t: t, prefix: testenv.TopicPrefix(t), url: testenv.Database(t), random: rand.New(rand.NewPCG(1, 2)),
		begin: time.Now().Add(-time.Hour).Truncate(time.Millisecond)}
	s.env = []string{"PERSISTOR_KAFKA_BROKERS=" + brokers, "PERSISTOR_TOPIC_PREFIX=" + s.prefix, "PERSISTOR_DATABASE_URL=" + s.url,
		"PERSISTOR_GROUP_ID=" + s.prefix + "group", "PERSISTOR_LISTEN=127.0.0.1:0", "PERSISTOR_LOG_LEVEL=warn"}
	s.must("topics", "create")
	s.must("migrate")
	var err error
	s.client, err = kgo.NewClient(kgo.SeedBrokers(brokers), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	return s
}

func (s *system) must(args ...string) {
	s.t.Helper()
	if got := execute(s.t, s.env, args...); got.code != 0 {
		s.t.Fatalf("persistor %v: %+v", args, got)
	}
}

// produceUnify sends each line of a dump to unifyevents under its key and,
// where the engine does so, to its own topic.
func (s *system) produceUnify(lines [][]byte) {
	topics := map[string]string{"UserMessage": "registeruser", "DepositMessage": "deposits", "WithdrawMessage": "withdraws",
		"TransferMessage": "internaltransfer", "OrderMessage": "orders", "TradeMessage": "trades"}
	for _, line := range lines {
		var m struct {
			Type  string          `json:"type"`
			Value json.RawMessage `json:"value"`
		}
		if err := json.Unmarshal(line, &m); err != nil {
			s.t.Fatal(err)
		}
		topic := topics[m.Type]
		if topic == "" {
			s.t.Fatalf("unknown type %q", m.Type)
		}
		s.add("unifyevents", []byte(topic), m.Value)
		if topic != "deposits" && topic != "withdraws" {
			s.add(topic, []byte{}, m.Value)
		}
	}
}

func (s *system) add(topic string, key, value []byte) {
	partitions := map[string]int{"trades": 6, "orders": 6, "unifyevents": 1}[topic]
	if partitions == 0 {
		partitions = 3
	}
	// Timestamps that differ, so that every row has an identity of its own, and
	// of late: Kafka's retention takes what is old.
	at := s.begin.Add(time.Duration(len(s.records)) * time.Millisecond)
	s.records = append(s.records, &kgo.Record{Topic: s.prefix + topic, Partition: int32(s.random.IntN(partitions)), Key: key, Value: value, Timestamp: at})
}

// check produces the records, has the daemon drain them, and compares.
func (s *system) check() {
	t := s.t
	t.Helper()
	if err := s.client.ProduceSync(context.Background(), s.records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	stop := s.daemon()
	s.drained()
	stop()
	s.must("verify")

	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	expected := map[string]map[position]map[string]any{}
	unify := 0
	for _, r := range s.records {
		topic := strings.TrimPrefix(r.Topic, s.prefix)
		at := position{r.Topic, r.Partition, r.Offset}
		if topic == "unifyevents" {
			unify++
			if topic = string(r.Key); topic != "deposits" && topic != "withdraws" {
				continue
			}
		}
		if expected[topic] == nil {
			expected[topic] = map[position]map[string]any{}
		}
		expected[topic][at] = fields(t, r)
	}
	for topic, want := range expected {
		compareTable(t, conn, topic, want)
	}
	var archived, rejects int
	if err := conn.QueryRow(ctx, "SELECT (SELECT coalesce(sum(records), 0) FROM dingir.event_log), (SELECT count(*) FROM dingir.rejects)").Scan(&archived, &rejects); err != nil {
		t.Fatal(err)
	}
	if archived != unify || rejects != 0 {
		t.Errorf("event log holds %d of %d records, %d rejects", archived, unify, rejects)
	}
}

func (s *system) daemon() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var stderr bytes.Buffer
	done := make(chan int, 1)
	go func() { done <- run(ctx, context.Background(), []string{"run"}, s.env, io.Discard, &stderr) }()
	return func() {
		cancel()
		if code := <-done; code != 0 {
			s.t.Errorf("persistor run ended with %d: %s", code, stderr.String())
		}
	}
}

// drained waits until the ledger stands at the end of every partition.
func (s *system) drained() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	ends := map[position]int64{}
	for _, r := range s.records {
		p := position{topic: r.Topic, partition: r.Partition}
		ends[p] = max(ends[p], r.Offset+1)
	}
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		missing := 0
		for p, end := range ends {
			var next int64
			err := conn.QueryRow(ctx, "SELECT next_offset FROM dingir.ledger WHERE topic = $1 AND partition = $2", p.topic, p.partition).Scan(&next)
			if err != nil || next < end {
				missing++
			}
		}
		if missing == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.t.Fatalf("%d partitions are not drained", missing)
		}
	}
}

type position struct {
	topic     string
	partition int32
	offset    int64
}

// fields flattens a record: order.price, state_before.… and so on.
func fields(t *testing.T, r *kgo.Record) map[string]any {
	d := json.NewDecoder(bytes.NewReader(r.Value))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	if order, ok := m["order"].(map[string]any); ok {
		for k, v := range order {
			m["order."+k] = v
		}
	}
	m["record time"] = r.Timestamp
	return m
}

// columns says which field of a record a column must show, as text.
var columns = map[string]struct {
	table   string
	columns map[string]string
}{
	"trades": {"trades", map[string]string{"trade_id": "id", "market": "market", "price": "price", "amount": "amount", "quote_amount": "quote_amount",
		"ask_user_id": "ask_user_id", "bid_user_id": "bid_user_id", "ask_fee": "ask_fee", "bid_fee": "bid_fee", "time": "timestamp"}},
	"orders": {"order_events", map[string]string{"order_id": "order.id", "market": "order.market", "user_id": "order.user", "price": "order.price",
		"amount": "order.amount", "remain": "order.remain", "frozen": "order.frozen", "finished_base": "order.finished_base",
		"finished_quote": "order.finished_quote", "finished_fee": "order.finished_fee", "maker_fee": "order.maker_fee", "taker_fee": "order.taker_fee",
		"create_time": "order.create_time", "update_time": "order.update_time", "time": "record time"}},
	"balances": {"balance_changes", map[string]string{"user_id": "user_id", "business_id": "business_id", "asset": "asset", "business": "business",
		"market_price": "market_price", "change": "change", "balance": "balance", "balance_available": "balance_available",
		"balance_frozen": "balance_frozen", "detail": "detail", "signature": "signature", "time": "timestamp"}},
	"deposits": {"deposits", map[string]string{"user_id": "user_id", "asset": "asset", "business": "business", "change": "change", "balance": "balance",
		"balance_available": "balance_available", "balance_frozen": "balance_frozen", "detail": "detail", "time": "timestamp"}},
	"withdraws": {"withdrawals", map[string]string{"user_id": "user_id", "asset": "asset", "business": "business", "change": "change", "balance": "balance",
		"balance_available": "balance_available", "balance_frozen": "balance_frozen", "detail": "detail", "signature": "signature", "time": "timestamp"}},
	"internaltransfer": {"internal_transfers", map[string]string{"user_from": "user_from", "user_to": "user_to", "asset": "asset", "amount": "amount",
		"signature": "signature", "time": "time"}},
	"registeruser": {"users", map[string]string{"user_id": "user_id", "l1_address": "l1_address", "l2_pubkey": "l2_pubkey", "registered_at": "record time"}},
}

// documentedName is what a field is called in the shapes that the platform
// documents.
var documentedName = map[string]string{"order.user": "order.user_id", "order.finished_base": "order.filled_amount", "order.create_time": "order.created_at"}

func compareTable(t *testing.T, conn *pgx.Conn, topic string, want map[position]map[string]any) {
	t.Helper()
	spec := columns[topic]
	var names, selected []string
	for column := range spec.columns {
		names = append(names, column)
		if strings.HasSuffix(column, "time") || column == "registered_at" {
			column = "(extract(epoch FROM r." + column + ") * 1000000)::bigint"
		}
		selected = append(selected, column+"::text")
	}
	rows, err := conn.Query(context.Background(), fmt.Sprintf("SELECT t.name, src_partition, src_offset, %s FROM dingir.%s r JOIN dingir.topics t ON t.id = r.src_topic",
		strings.Join(selected, ", "), spec.table))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n, bad := 0, 0
	for rows.Next() {
		var at position
		values := make([]*string, len(names))
		targets := []any{&at.topic, &at.partition, &at.offset}
		for i := range values {
			targets = append(targets, &values[i])
		}
		if err := rows.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		n++
		record, ok := want[at]
		if !ok {
			t.Fatalf("%s: a row of %v, where no record of this kind is", spec.table, at)
		}
		for i, name := range names {
			expect := expectation(record, spec.columns[name])
			if (expect == nil) != (values[i] == nil) || expect != nil && *expect != *values[i] {
				if bad++; bad <= 5 {
					t.Errorf("%s %v: %s is %s, the record says %s", spec.table, at, name, show(values[i]), show(expect))
				}
			}
		}
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	if n != len(want) || n == 0 {
		t.Errorf("%s has %d rows for %d records", spec.table, n, len(want))
	}
}

func show(s *string) string {
	if s == nil {
		return "NULL"
	}
	return fmt.Sprintf("%q", *s)
}

// expectation is what the column must show for a field: times in µs, ids of the
// documented shapes without their prefix, everything else as it was sent.
func expectation(record map[string]any, field string) *string {
	v, ok := record[field]
	if other := documentedName[field]; !ok && other != "" {
		v, ok = record[other]
	}
	documented := record["taker_order_id"] != nil || record["order.filled_amount"] != nil
	if field == "order.remain" && documented {
		amount, filled := record["order.amount"].(string), record["order.filled_amount"].(string)
		a, _ := new(big.Rat).SetString(amount)
		f, _ := new(big.Rat).SetString(filled)
		out := a.Sub(a, f).FloatString(max(decimals(amount), decimals(filled)))
		return &out
	}
	if !ok {
		return nil
	}
	var out string
	switch v := v.(type) {
	case time.Time:
		out = fmt.Sprint(v.UnixMicro())
	case json.Number:
		out = v.String()
		if strings.Contains(field, "time") {
			r, _ := new(big.Rat).SetString(out)
			out = r.Mul(r, big.NewRat(1_000_000, 1)).FloatString(0)
		}
	case string:
		out = v
		switch {
		case strings.Contains(field, "time") && documented:
			at, err := time.Parse(time.RFC3339Nano, v)
			if err != nil {
				panic(err)
			}
			out = fmt.Sprint(at.Round(time.Microsecond).UnixMicro())
		case field == "id" || field == "order.id":
			_, out, _ = strings.Cut(v, "_")
		}
	default:
		panic(fmt.Sprintf("field %s: %T", field, v))
	}
	return &out
}

func decimals(amount string) int {
	_, fraction, _ := strings.Cut(amount, ".")
	return len(fraction)
}
