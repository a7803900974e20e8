package ingest_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/harness"
)

// poison are values that can be stored nowhere, each for a reason of its own.
func poison() map[string][]byte {
	const good = `{"time":1700000000.5,"user_from":1,"user_to":2,"asset":"ETH","amount":"1.5","signature":""}`
	with := func(old, other string) []byte { return []byte(strings.Replace(good, old, other, 1)) }
	return map[string][]byte{
		"tombstone":           nil,
		"empty":               {},
		"truncated":           []byte(good[:40]),
		"null":                []byte("null"),
		"list":                []byte("[]"),
		"trailing":            []byte(good + "x"),
		"two objects":         []byte(good + good),
		"byte-order mark":     []byte("\xef\xbb\xbf" + good),
		"not UTF-8":           with("ETH", "\xff"),
		"NUL":                 with("ETH", "\x00"),
		"escaped NUL":         with("ETH", `\u0000`),
		"lone surrogate":      with("ETH", `\ud800`),
		"duplicate key":       with(`"user_to":2`, `"user_to":2,"user_to":2`),
		"other case":          with(`"user_to"`, `"User_To"`),
		"nested":              with(`"ETH"`, strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)),
		"missing":             with(`"amount":"1.5",`, ``),
		"null field":          with(`"1.5"`, `null`),
		"wrong type":          with(`"ETH"`, `7`),
		"NaN":                 with(`"1.5"`, `"NaN"`),
		"Infinity":            with(`"1.5"`, `"Infinity"`),
		"huge exponent":       with(`"1.5"`, `1e10000000`),
		"separated":           with(`1.5`, `1_000`),
		"empty number":        with(`1.5`, ``),
		"long ago":            with(`1700000000.5`, `100`),
		"far away":            with(`1700000000.5`, `17000000000`),
		"negative id":         with(`"user_to":2`, `"user_to":-2`),
		"user id too wide":    with(`"user_to":2`, `"user_to":4294967296`),
		"u64 id":              with(`"user_to":2`, `"user_to":18446744073709551615`),
		"ten megabytes":       append(bytes.Repeat([]byte(" "), 9<<20), 'x'),
		"a foreign object":    []byte(`{"event":"order.created","data":{"id":"a-b"}}`),
		"a character too few": []byte(good[:len(good)-1]),
	}
}

// Each becomes a reject with a reason and its bytes, and reaches its
// dead-letter topic; its neighbours are stored.
func TestPoisonIsRejectedAndItsNeighboursStored(t *testing.T) {
	s := newScene(t)
	list := poison()
	var records []harness.Record
	made := 0
	neighbour := func() {
		records = append(records, transfer(0, made))
		made++
	}
	for _, name := range keys(list) {
		neighbour()
		records = append(records, harness.Record{Topic: "internaltransfer", Key: []byte(name), Value: list[name],
			Headers: []exchange.Header{{Key: "h", Value: []byte(name)}, {Key: "h", Value: nil}}})
	}
	neighbour()
	// What only the database refuses, alone among good ones.
	s.exec("ALTER TABLE dingir.balance_changes ADD CONSTRAINT refusing CHECK (change <> 1000)")
	narrow := func(n int) []byte {
		return fmt.Appendf(nil, `{"timestamp":1700000000.5,"user_id":5,"asset":"ETH","business":"deposit","change":"%d","balance":"1","detail":"{}","business_id":1,"market_price":"1","balance_available":"1","balance_frozen":"0","signature":""}`, n)
	}
	for i := range 20 {
		records = append(records, harness.Record{Topic: "balances", Key: []byte{}, Value: narrow(i)})
		if i == 13 {
			records = append(records, harness.Record{Topic: "balances", Key: []byte("refused"), Value: narrow(1000)})
		}
	}
	records = append(records,
		harness.Record{Topic: "orders", Value: []byte(`{"event":"order.created","data":{"id":"7f6a","price":1.5}}`), Headers: []exchange.Header{{Key: "messageSize", Value: []byte("9")}}},
		harness.Record{Topic: "unifyevents", Key: nil, Value: []byte(`{}`)},
		harness.Record{Topic: "unifyevents", Key: []byte("deposits"), Value: []byte(`{"time":1}`)},
		harness.Record{Topic: "unifyevents", Key: []byte("unifyevents"), Value: []byte(`{}`)})
	s.Produce(records...)
	p := s.Start()
	s.WaitDrained(patience)
	s.account()
	if n := s.count("SELECT count(*) FROM dingir.internal_transfers"); n != made {
		t.Errorf("%d neighbours stored, want %d", n, made)
	}
	if n := s.count("SELECT count(*) FROM dingir.balance_changes"); n != 20 {
		t.Errorf("%d balances stored, want 20", n)
	}
	if n := s.count("SELECT count(*) FROM dingir.rejects WHERE sqlstate = '23514' AND reason LIKE '%refusing%' AND key = 'refused'"); n != 1 {
		t.Error("what the database refuses is not a reject with its SQLSTATE")
	}
	if n := s.count("SELECT count(*) FROM dingir.rejects WHERE reason = 'foreign' AND topic = $1", s.Prefix+"orders"); n != 1 {
		t.Error("the backend's own record is not a reject of the reason foreign")
	}
	want := len(list) + 5
	if n := s.count("SELECT count(*) FROM dingir.rejects WHERE reason <> '' AND resolved_at IS NULL"); n != want {
		t.Errorf("%d rejects, want %d", n, want)
	}
	if n, _ := p.Metric("persistor_records_total", `outcome="rejected"`); int(n) != want {
		t.Errorf("persistor_records_total counts %v rejects, want %d", n, want)
	}
	if n, _ := p.Metric("persistor_records_total"); int(n) != len(records) {
		t.Errorf("persistor_records_total counts %v records, want %d", n, len(records))
	}
	s.until("persistor_rejects_pending leaves the foreign one out", func() bool {
		n, _ := p.Metric("persistor_rejects_pending")
		return int(n) == want-1
	})
	s.until("all are published", func() bool { return s.count("SELECT count(*) FROM dingir.rejects WHERE published_at IS NULL") == 0 })
	if n := s.deadLetters(want, list); n < want {
		t.Errorf("%d dead letters, want %d", n, want)
	}
}

// A record with very many headers is a reject like any: its neighbours on other
// partitions are stored, and its dead letter has its headers or says that it has not.
func TestManyHeadersBecomeAReject(t *testing.T) {
	s := newScene(t)
	many := func(n int) []exchange.Header {
		return slices.Concat([]exchange.Header{{Key: "h", Value: []byte("many")}, {Key: "h"}}, make([]exchange.Header, n))
	}
	list := map[string][]byte{"many": []byte("bad"), "large": []byte("worse")}
	records := transfers(0, 30)
	records = append(records,
		harness.Record{Topic: "internaltransfer", Partition: 1, Key: []byte("many"), Value: list["many"], Headers: many(5000)},
		harness.Record{Topic: "internaltransfer", Partition: 1, Key: []byte("large"), Value: list["large"], Headers: []exchange.Header{
			{Key: "h", Value: []byte("large")}, {Key: "h"}, {Key: "noise", Value: make([]byte, 300<<10)}}},
		harness.Record{Topic: "internaltransfer", Partition: 1, Key: []byte("most"), Value: []byte("worst"), Headers: many(2_000_000)},
		harness.Record{Topic: "unifyevents", Key: []byte("most"), Value: []byte("worst"), Headers: many(2_000_000)})
	records = append(records, transfers(30, 30)...)
	s.Produce(records...)
	p := s.Start()
	s.WaitDrained(patience)
	s.account()
	if n := s.count("SELECT count(*) FROM dingir.internal_transfers"); n != 60 {
		t.Errorf("%d neighbours stored, want 60", n)
	}
	if n := s.count("SELECT count(*) FROM dingir.rejects WHERE jsonb_array_length(headers) = 1 AND headers->0 ? 'raw'"); n != 4 {
		t.Errorf("%d rejects have their headers as bytes, want 4", n)
	}
	s.until("all are published", func() bool { return s.count("SELECT count(*) FROM dingir.rejects WHERE published_at IS NULL") == 0 })
	if n := s.deadLetters(4, list); n != 4 {
		t.Errorf("%d dead letters, want 4", n)
	}
	if n := peak(t, p); n > 250<<10 {
		t.Errorf("the daemon took %d KiB", n)
	}
}

// Two installations with one database have rejects of their own: each counts and
// publishes only these.
func TestRejectsOfAnotherPrefix(t *testing.T) {
	s := newScene(t)
	other := sceneOf(t, harness.On(t, s.DatabaseURL))
	s.Produce(harness.Record{Topic: "trades", Value: []byte("bad")})
	other.Produce(harness.Record{Topic: "trades", Value: []byte("bad")}, harness.Record{Topic: "orders", Value: []byte("bad")})
	p, q := s.Start(), other.Start()
	s.until("all are published", func() bool { return s.count("SELECT count(*) FROM dingir.rejects WHERE published_at IS NOT NULL") == 3 })
	if n := s.deadLetters(1, nil); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
	if n := other.deadLetters(2, nil); n != 2 {
		t.Errorf("%d dead letters of the other, want 2", n)
	}
	s.until("each counts its own", func() bool {
		a, _ := p.Metric("persistor_rejects_pending")
		b, _ := q.Metric("persistor_rejects_pending")
		return a == 1 && b == 2
	})
}

// peak is the most memory that the process has had, in KiB.
func peak(t *testing.T, p *harness.Process) (n int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(err)
	}
	t.Logf("the daemon's peak is %d KiB", n)
	return n
}

// deadLetters reads the dead-letter topics until so many are there, and
// compares those that have the key of a poison.
func (s *scene) deadLetters(want int, list map[string][]byte) (found int) {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(s.Brokers, ",")...), kgo.FetchMaxPartitionBytes(20<<20),
		kgo.ConsumeTopics(s.Prefix+"thaliumx.dlq.transactions", s.Prefix+"thaliumx.dlq.general"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for found < want {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			s.t.Fatalf("%d of %d dead letters: %v", found, want, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			found++
			value, known := list[string(r.Key)]
			if !known {
				return
			}
			if len(value) < 1<<20 && !bytes.Equal(r.Value, value) {
				s.t.Errorf("%s: the dead letter has another value", r.Key)
			}
			if len(r.Headers) < 2 || string(r.Headers[0].Value) != string(r.Key) || r.Headers[1].Value != nil {
				s.t.Errorf("%s: the dead letter's headers do not begin with the record's own: %v", r.Key, r.Headers)
			}
			if !slices.ContainsFunc(r.Headers, func(h kgo.RecordHeader) bool { return strings.Contains(h.Key, "reason") && len(h.Value) > 0 }) {
				s.t.Errorf("%s: the dead letter has no reason", r.Key)
			}
		})
	}
	return found
}
