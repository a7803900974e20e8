package deadletter

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/testenv"
	"github.com/thaliumx/persistor/internal/topics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a migrated database and a prefix on the shared Kafka.
type fixture struct {
	t       *testing.T
	options store.Options
	conn    *pgx.Conn
	brokers string
	prefix  string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, brokers: testenv.Kafka(t), prefix: testenv.TopicPrefix(t)}
	f.options = store.Options{URL: testenv.Database(t), SynchronousCommit: true}
	if _, err := store.Migrate(t.Context(), f.options); err != nil {
		t.Fatal(err)
	}
	conn, err := store.Connect(t.Context(), f.options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	f.conn = conn
	return f
}

// start runs a publisher until the returned function is called.
func (f *fixture) start() (stop func()) {
	transport := &kafka.Transport{MetadataTopics: Topics(f.prefix), MetadataTTL: 500 * time.Millisecond}
	p := New(Config{Database: f.options, Brokers: kafka.TCP(f.brokers), Transport: transport,
		TopicPrefix: f.prefix, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	p.Wake()
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		transport.CloseIdleConnections()
	})
	f.t.Cleanup(stop)
	return stop
}

// original is a record as it was on Kafka.
type original struct {
	topic      string
	key, value []byte
	headers    []kafka.Header
	reason     string
	sqlstate   *string
	raw        bool // its headers are kept as bytes
}

// insert adds a reject as a batch does and returns its id.
func (f *fixture) insert(o original, offset int64) int64 {
	f.t.Helper()
	type header struct {
		Key       *string `json:"key,omitempty"`
		KeyBase64 *string `json:"key_base64,omitempty"`
		Value     *string `json:"value"`
	}
	list := []header{}
	for _, h := range o.headers {
		var e header
		if strings.Contains(h.Key, "\x00") {
			k := base64.StdEncoding.EncodeToString([]byte(h.Key))
			e.KeyBase64 = &k
		} else {
			e.Key = &h.Key
		}
		if h.Value != nil {
			v := base64.StdEncoding.EncodeToString(h.Value)
			e.Value = &v
		}
		list = append(list, e)
	}
	var all any = list
	if o.raw {
		all = []map[string][]byte{{"raw": testenv.Headers(o.headers...)}}
	}
	headers, err := json.Marshal(all)
	if err != nil {
		f.t.Fatal(err)
	}
	var id int64
	err = f.conn.QueryRow(f.t.Context(), `
		INSERT INTO dingir.rejects (topic, partition, "offset", record_time, key, value, headers, reason, sqlstate, topic_id)
		VALUES ($1, 2, $2, now(), $3, $4, $5, $6, $7, 1) RETURNING id`,
		f.prefix+o.topic, offset, o.key, o.value, string(headers), o.reason, o.sqlstate).Scan(&id)
	if err != nil {
		f.t.Fatal(err)
	}
	return id
}

// published waits until so many rejects are marked.
func (f *fixture) published(n int) {
	f.t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	for {
		var have int
		if err := f.conn.QueryRow(f.t.Context(), "SELECT count(*) FROM dingir.rejects WHERE published_at IS NOT NULL").Scan(&have); err != nil {
			f.t.Fatal(err)
		}
		if have == n {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%d of %d rejects are published", have, n)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// read returns what is on a topic of one partition, by reject id.
func (f *fixture) read(topic string, n int) map[int64][]kafka.Message {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{f.brokers}, Topic: f.prefix + topic, MaxBytes: 32 << 20, MaxWait: 100 * time.Millisecond})
	defer func() { _ = r.Close() }()
	found := map[int64][]kafka.Message{}
	for len(found) < n {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			f.t.Fatalf("%d of %d dead letters: %v", len(found), n, err)
		}
		id, err := strconv.ParseInt(header(m, headerID), 10, 64)
		if err != nil {
			f.t.Fatal(err)
		}
		found[id] = append(found[id], m)
	}
	return found
}

func header(m kafka.Message, key string) string {
	for _, h := range m.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func TestByteForByte(t *testing.T) {
	f := newFixture(t)
	testenv.CreateTopic(t, f.brokers, f.prefix+"thaliumx.dlq.general", 1)
	testenv.CreateTopic(t, f.brokers, f.prefix+"thaliumx.dlq.transactions", 1)
	state := "22003"
	cases := []struct {
		name string
		original
	}{
		{"plain", original{topic: "trades", key: []byte("k"), value: []byte(`{"x":1}`), reason: "bad"}},
		{"empty key", original{topic: "trades", key: []byte{}, value: []byte{0, 1, 255}, reason: "bad"}},
		{"null key, empty value", original{topic: "balances", value: []byte{}, reason: "empty"}},
		{"tombstone", original{topic: "deposits", key: []byte("k"), reason: "null"}},
		{"headers", original{topic: "withdraws", value: []byte("v"), reason: "x", sqlstate: &state, headers: []kafka.Header{
			{Key: "b", Value: []byte{1, 0, 2}}, {Key: "a", Value: nil}, {Key: "b", Value: []byte{}}, {Key: "z\x00", Value: []byte("9")}, {Key: ""}}}},
		{"foreign", original{topic: "orders", value: []byte(`{"event":"order.created"}`), reason: "foreign"}},
		{"user", original{topic: "registeruser", key: []byte{}, value: []byte("u"), reason: strings.Repeat("long ", 2000)}},
		{"unifyevents", original{topic: "unifyevents", key: []byte("trades"), value: []byte("u"), reason: "x"}},
	}
	ids := make([]int64, len(cases))
	for i, c := range cases {
		ids[i] = f.insert(c.original, int64(i))
	}
	f.start()
	f.published(len(cases))
	found := f.read("thaliumx.dlq.transactions", 5)
	for id, m := range f.read("thaliumx.dlq.general", 3) {
		found[id] = m
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if len(found[ids[i]]) != 1 {
				t.Fatalf("published %d times", len(found[ids[i]]))
			}
			m := found[ids[i]][0]
			general := c.topic == "orders" || c.topic == "registeruser" || c.topic == "unifyevents"
			if strings.HasSuffix(m.Topic, "general") != general {
				t.Errorf("on %s", m.Topic)
			}
			// kafka-go's reader cannot tell null from empty; TestNullAndEmpty does.
			if !bytes.Equal(m.Key, c.key) || !bytes.Equal(m.Value, c.value) {
				t.Errorf("key %q, value %q", m.Key, m.Value)
			}
			want := append(slices.Clone(c.headers),
				kafka.Header{Key: headerID, Value: []byte(fmt.Sprint(ids[i]))},
				kafka.Header{Key: headerTopic, Value: []byte(f.prefix + c.topic)},
				kafka.Header{Key: headerPartition, Value: []byte("2")},
				kafka.Header{Key: headerOffset, Value: []byte(fmt.Sprint(i))},
				kafka.Header{Key: headerReason, Value: []byte(c.reason[:min(len(c.reason), reasonBytes)])})
			if c.sqlstate != nil {
				want = append(want, kafka.Header{Key: headerSQLState, Value: []byte(*c.sqlstate)})
			}
			if len(m.Headers) != len(want) {
				t.Fatalf("headers %q, want %q", m.Headers, want)
			}
			for j := range want {
				if m.Headers[j].Key != want[j].Key || !bytes.Equal(m.Headers[j].Value, want[j].Value) {
					t.Errorf("header %d is %q, want %q", j, m.Headers[j], want[j])
				}
			}
		})
	}
	if n, err := store.PendingRejects(t.Context(), f.conn, topics.Names(topics.Documented(f.prefix))); err != nil || n != int64(len(cases))-1 {
		t.Errorf("%d pending, %v: the foreign one does not count", n, err)
	}
}

func TestNullAndEmpty(t *testing.T) {
	f := newFixture(t)
	topic := f.prefix + "thaliumx.dlq.transactions"
	testenv.CreateTopic(t, f.brokers, topic, 1)
	f.insert(original{topic: "trades", reason: "x"}, 0)
	f.insert(original{topic: "trades", key: []byte{}, value: []byte{}, reason: "x"}, 1)
	f.insert(original{topic: "trades", key: []byte{}, reason: "x", headers: []kafka.Header{{Key: "null"}, {Key: "empty", Value: []byte{}}}}, 2)
	f.start()
	f.published(3)

	transport := &kafka.Transport{MetadataTopics: []string{topic}}
	defer transport.CloseIdleConnections()
	client := fetch.NewClient(transport, kafka.TCP(f.brokers))
	cluster, err := client.Metadata(t.Context(), []string{topic})
	if err != nil {
		t.Fatal(err)
	}
	leader, err := cluster.Leader(topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for offset := int64(0); offset < 3; {
		var answer fetch.Response
		err := client.Fetch(t.Context(), &fetch.Request{Broker: leader, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second,
			Partitions: []fetch.Want{{Topic: topic, TopicID: cluster.Topics[0].ID, Offset: offset}}}, &answer)
		if err != nil {
			t.Fatal(err)
		}
		part := &answer.Partitions[0]
		for {
			kind, err := part.Next()
			if err != nil {
				t.Fatal(err)
			}
			if kind != fetch.Data {
				break
			}
			text := fmt.Sprintf("key null %t, value null %t", part.Record.Key == nil, part.Record.Value == nil)
			for key, value := range part.Record.Headers.All() {
				if k := string(key); k == "null" || k == "empty" {
					text += fmt.Sprintf(", header %s null %t", k, value == nil)
				}
			}
			seen = append(seen, text)
			offset = part.Record.Offset + 1
		}
	}
	want := []string{
		"key null true, value null true",
		"key null false, value null false",
		"key null false, value null true, header null null true, header empty null false",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("%q", seen)
	}
}

func TestTooBigHoldsNobodyBack(t *testing.T) {
	f := newFixture(t)
	testenv.CreateTopic(t, f.brokers, f.prefix+"thaliumx.dlq.transactions", 1, kafka.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: "100000"})
	noise := make([]byte, 200_000) // snappy cannot make it small
	_, _ = rand.Read(noise)
	first := f.insert(original{topic: "trades", value: []byte("a"), reason: "x"}, 0)
	big := f.insert(original{topic: "trades", value: noise, reason: "x"}, 1)
	last := f.insert(original{topic: "trades", value: []byte("b"), reason: "x"}, 2)
	f.start()
	f.published(3)
	found := f.read("thaliumx.dlq.transactions", 3)
	if m := found[big][0]; len(m.Value) != 0 || header(m, headerPointer) != fmt.Sprintf("dingir.rejects id %d", big) {
		t.Errorf("pointer: %d bytes, headers %q", len(m.Value), m.Headers)
	}
	if string(found[first][0].Value) != "a" || string(found[last][0].Value) != "b" {
		t.Error("the others are not as they were")
	}
}

// Headers that are kept as bytes reach the topic as they were on the record, or
// not at all, and then the dead letter says so.
func TestManyHeaders(t *testing.T) {
	f := newFixture(t)
	testenv.CreateTopic(t, f.brokers, f.prefix+"thaliumx.dlq.transactions", 1, kafka.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: "2000000"})
	noise := make([]byte, 3_000_000)
	_, _ = rand.Read(noise)
	odd := []kafka.Header{{Key: "b", Value: []byte{1, 0, 2}}, {Key: "a\x00\xff"}, {Key: "b", Value: []byte{}}, {Key: "raw", Value: []byte("x")}}
	cases := []struct {
		name          string
		headers       []kafka.Header
		left, pointer bool
	}{
		{"several", odd, false, false},
		{"most", slices.Concat(odd, make([]kafka.Header, mostHeaders-len(odd))), false, false},
		{"too many", slices.Concat(odd, make([]kafka.Header, 2_000_000)), true, false},
		{"too large", append(odd, kafka.Header{Key: "noise", Value: noise}), false, true},
		{"none", nil, false, false},
	}
	ids := make([]int64, len(cases))
	for i, c := range cases {
		ids[i] = f.insert(original{topic: "trades", key: []byte("k"), value: []byte(c.name), headers: c.headers, raw: true, reason: "x"}, int64(i))
	}
	f.start()
	f.published(len(cases))
	found := f.read("thaliumx.dlq.transactions", len(cases))
	for i, c := range cases {
		m := found[ids[i]][0]
		own := slices.IndexFunc(m.Headers, func(h kafka.Header) bool { return h.Key == headerID })
		var want []kafka.Header
		if !c.left && !c.pointer {
			want = c.headers
		}
		if !slices.EqualFunc(m.Headers[:own], want, func(a, b kafka.Header) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) }) {
			t.Errorf("%s: %d headers, want %d, or they differ", c.name, own, len(want))
		}
		if says := header(m, headerHeaders); (says == fmt.Sprintf("%d left out: dingir.rejects id %d", len(c.headers), ids[i])) != c.left || c.left == (says == "") {
			t.Errorf("%s: it says of its headers %q", c.name, says)
		}
		if (header(m, headerPointer) != "") != c.pointer || (string(m.Value) == c.name) == c.pointer {
			t.Errorf("%s: value %q, pointer %q", c.name, m.Value, header(m, headerPointer))
		}
	}
}

func TestLargeValues(t *testing.T) {
	f := newFixture(t)
	testenv.CreateTopic(t, f.brokers, f.prefix+"thaliumx.dlq.transactions", 1, kafka.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: "10485760"})
	values := map[int64][]byte{}
	for i := range 4 {
		v := make([]byte, 10<<20-100<<10)
		_, _ = rand.Read(v)
		values[f.insert(original{topic: "trades", value: v, reason: "x"}, int64(i))] = v
	}
	f.start()
	f.published(4)
	for id, m := range f.read("thaliumx.dlq.transactions", 4) {
		if !bytes.Equal(m[0].Value, values[id]) || header(m[0], headerPointer) != "" {
			t.Errorf("reject %d differs", id)
		}
	}
}

func TestMissingTopicHoldsBackItsOwnOnly(t *testing.T) {
	f := newFixture(t)
	testenv.CreateTopic(t, f.brokers, f.prefix+"thaliumx.dlq.general", 1)
	f.insert(original{topic: "trades", value: []byte("a"), reason: "x"}, 0)
	f.insert(original{topic: "orders", value: []byte("b"), reason: "x"}, 1)
	f.start()
	f.published(1)
	testenv.CreateTopic(t, f.brokers, f.prefix+"thaliumx.dlq.transactions", 1)
	f.published(2)
	f.read("thaliumx.dlq.transactions", 1)
}

func TestTwoPublishers(t *testing.T) {
	f := newFixture(t)
	testenv.CreateTopic(t, f.brokers, f.prefix+"thaliumx.dlq.transactions", 1)
	stopFirst := f.start()
	f.start()
	const half = 1200
	insert := func(from int) {
		_, err := f.conn.Exec(t.Context(), `
			INSERT INTO dingir.rejects (topic, partition, "offset", record_time, value, headers, reason, topic_id)
			SELECT $1, 0, $2 + n, now(), 'v', '[]', 'x', 1 FROM generate_series(1, $3::int) n`, f.prefix+"trades", from, half)
		if err != nil {
			t.Fatal(err)
		}
	}
	insert(0)
	f.published(half)
	stopFirst()
	insert(half)
	f.published(2 * half)
	for id, m := range f.read("thaliumx.dlq.transactions", 2*half) {
		if len(m) != 1 {
			t.Errorf("reject %d is there %d times", id, len(m))
		}
	}
}

// Of two prefixes in one database, each publisher takes its own, both at once;
// what is nobody's stays.
func TestTwoPrefixes(t *testing.T) {
	f := newFixture(t)
	g := *f
	g.prefix = testenv.TopicPrefix(t)
	for _, f := range []*fixture{f, &g} {
		testenv.CreateTopic(t, f.brokers, f.prefix+"thaliumx.dlq.general", 1)
		testenv.CreateTopic(t, f.brokers, f.prefix+"thaliumx.dlq.transactions", 1)
	}
	want := map[string][]int64{}
	f.start()
	nobodys := f.insert(original{topic: "trades.old", reason: "x"}, 0)
	for i, topic := range []string{"trades", "orders"} {
		i = 2*i + 1
		lane := topics.DeadLetter(topic)
		want[g.prefix+lane] = append(want[g.prefix+lane], g.insert(original{topic: topic, value: []byte("g"), reason: "x"}, int64(i)))
		want[f.prefix+lane] = append(want[f.prefix+lane], f.insert(original{topic: topic, value: []byte("f"), reason: "x"}, int64(i+1)))
	}
	f.published(2)
	g.start()
	f.published(4)
	f.insert(original{topic: "trades", value: []byte("last"), reason: "x"}, 9)
	f.published(5) // with the other one at work
	for topic, ids := range want {
		for id, m := range (&fixture{t: t, brokers: f.brokers}).read(topic, len(ids)) {
			if !slices.Contains(ids, id) || len(m) != 1 {
				t.Errorf("%s has reject %d, %d times; want %v", topic, id, len(m), ids)
			}
		}
	}
	var published bool
	if err := f.conn.QueryRow(t.Context(), "SELECT published_at IS NOT NULL FROM dingir.rejects WHERE id = $1", nobodys).Scan(&published); err != nil || published {
		t.Errorf("a reject of no consumed topic is published: %t, %v", published, err)
	}
}

// A process of a version that publishes every prefix's rejects, under one lock,
// and one of this version never publish at once.
func TestTheLockOfVersionsBefore(t *testing.T) {
	f := newFixture(t)
	testenv.CreateTopic(t, f.brokers, f.prefix+"thaliumx.dlq.transactions", 1)
	lock := func(function string) (ok bool) {
		t.Helper()
		if err := f.conn.QueryRow(t.Context(), "SELECT "+function+"(hashtext('persistor: publish rejects'))").Scan(&ok); err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !lock("pg_try_advisory_lock") {
		t.Fatal("the lock is taken")
	}
	f.insert(original{topic: "trades", value: []byte("a"), reason: "x"}, 0)
	stop := f.start()
	<-time.After(3 * interval)
	f.published(0)
	lock("pg_advisory_unlock")
	f.published(1)
	if lock("pg_try_advisory_lock") {
		t.Error("a version before would publish too")
	}
	stop()
	for deadline := time.Now().Add(10 * time.Second); !lock("pg_try_advisory_lock"); <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the lock is kept")
		}
	}
}

func TestSessionLost(t *testing.T) {
	f := newFixture(t)
	testenv.CreateTopic(t, f.brokers, f.prefix+"thaliumx.dlq.transactions", 1)
	f.start()
	f.insert(original{topic: "trades", value: []byte("a"), reason: "x"}, 0)
	f.published(1)
	var ended int
	err := f.conn.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = 'persistor' AND pid <> pg_backend_pid()`).Scan(&ended)
	if err != nil || ended == 0 {
		t.Fatalf("no session was ended: %v", err)
	}
	f.insert(original{topic: "trades", value: []byte("b"), reason: "x"}, 1)
	f.published(2)
}
