package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/testenv"
)

// movable is a topic internaltransfer with one partition of ten records, and
// a ledger that stands at offset 5 of it, all before that stored.
type movable struct {
	t      *testing.T
	env    []string
	url    string
	topic  string
	sql    func(string, ...any)
	client *kafka.Client
}

func newMovable(t *testing.T) *movable {
	t.Helper()
	m := &movable{t: t}
	brokers, prefix := testenv.Kafka(t), testenv.TopicPrefix(t)
	m.topic = prefix + "internaltransfer"
	m.url, m.sql = migrated(t)
	m.env = []string{"PERSISTOR_DATABASE_URL=" + m.url, "PERSISTOR_TOPIC_PREFIX=" + prefix, "PERSISTOR_KAFKA_BROKERS=" + brokers,
		"PERSISTOR_GROUP_ID=" + prefix + "group"}
	m.client = testenv.KafkaClient(t, brokers)
	m.create(10)
	id, cluster := m.identity()
	m.sql(`INSERT INTO dingir.topics (name, cluster_id, topic_uuid) VALUES ($1, $2, $3)`, m.topic, cluster, id)
	m.sql(`INSERT INTO dingir.ledger (topic, partition, topic_id, first_offset, next_offset, high_offset, last_offset, last_hash) VALUES ($1, 0, 1, 0, 5, 5, 4, 7)`, m.topic)
	m.rows(0, 4)
	return m
}

func (m *movable) create(records int) {
	m.t.Helper()
	testenv.CreateTopic(m.t, m.env[2][len("PERSISTOR_KAFKA_BROKERS="):], m.topic, 1)
	// A transport of its own knows nothing of a topic that was there before.
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	w := &kafka.Writer{Addr: m.client.Addr, Transport: transport, Topic: m.topic, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond}
	defer func() { _ = w.Close() }()
	for range records {
		if err := w.WriteMessages(m.t.Context(), kafka.Message{Value: []byte("v")}); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *movable) identity() (id [16]byte, cluster string) {
	m.t.Helper()
	c, err := fetch.NewClient(m.client.Transport, m.client.Addr).Metadata(m.t.Context(), []string{m.topic})
	if err != nil {
		m.t.Fatal(err)
	}
	return c.Topics[0].ID, c.ID
}

// remake deletes the topic and makes it again with so many records.
func (m *movable) remake(records int) {
	m.t.Helper()
	old, _ := m.identity()
	if _, err := m.client.DeleteTopics(m.t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{m.topic}}); err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), 20*time.Second)
	defer cancel()
	for {
		c, err := fetch.NewClient(m.client.Transport, m.client.Addr).Metadata(ctx, []string{m.topic})
		if err != nil {
			m.t.Fatal(err)
		}
		if c.Topics[0].Err != nil || c.Topics[0].ID != old {
			break
		}
	}
	m.create(records)
}

// rows stores rows for a range of offsets.
func (m *movable) rows(first, last int) {
	m.sql(`INSERT INTO dingir.internal_transfers (time, user_from, user_to, content_hash, src_offset, src_partition, src_topic, asset, amount)
		SELECT '2024-01-01', 1, 2, o, o, 0, 1, 'ETH', 1 FROM generate_series($1::int, $2::int) o`, first, last)
}

// ledger is the row and the gaps as text.
func (m *movable) ledger() string {
	m.t.Helper()
	conn, err := store.Connect(m.t.Context(), store.Options{URL: m.url})
	if err != nil {
		m.t.Fatal(err)
	}
	defer conn.Close(m.t.Context())
	rows, err := conn.Query(m.t.Context(), `
		SELECT format('%s-%s high %s topic %s last %s', first_offset, next_offset, high_offset, topic_id, coalesce(last_offset::text, 'none')) FROM dingir.ledger
		UNION ALL (SELECT format('%s-%s %s', first_offset, last_offset, reason) FROM dingir.gaps ORDER BY topic_id, first_offset)`)
	if err != nil {
		m.t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.Join(lines, ", ")
}

func TestPositionsSet(t *testing.T) {
	const begin = "0-5 high 5 topic 1 last 4"
	for _, test := range []struct {
		name    string
		prepare func(*movable)
		moves   []string // arguments behind topic and partition
		code    int      // of the last move
		says    string
		ledger  string
		clean   bool // whether verify agrees
	}{
		{"stays", nil, []string{"5"}, 0, "stands at offset 5 already", begin, true},
		{"back", nil, []string{"2"}, 0, "3 offsets are read again", "0-2 high 5 topic 1 last none", true},
		{"back to the earliest", nil, []string{"earliest"}, 0, "done: ", "0-0 high 5 topic 1 last none", true},
		{"back below the first", func(m *movable) {
			m.sql("DELETE FROM dingir.internal_transfers WHERE src_offset < 3; UPDATE dingir.ledger SET first_offset = 3")
		}, []string{"1"}, 0, "done: ", "1-1 high 5 topic 1 last none", true},
		{"forward", nil, []string{"latest"}, 0, "5 are skipped", "0-10 high 10 topic 1 last 4, 5-9 skipped", true},
		{"back and forward", nil, []string{"1", "8"}, 0, "done: ", "0-8 high 8 topic 1 last none, 5-7 skipped", true},
		{"back over a gap and forward", func(m *movable) {
			m.sql(`DELETE FROM dingir.internal_transfers WHERE src_offset IN (1, 2);
				INSERT INTO dingir.gaps (topic, partition, first_offset, last_offset, reason, topic_id) SELECT topic, 0, 1, 2, 'control', 1 FROM dingir.ledger`)
		}, []string{"2", "4"}, 0, "done: ", "0-4 high 5 topic 1 last none, 1-2 control", true},
		{"beyond the log", nil, []string{"11"}, 1, "offset 11 is not in the log, which goes from 0 up to 10", begin, true},
		{"not a number", nil, []string{"-3"}, 2, "", begin, true},
		{"not started", func(m *movable) { m.sql("DELETE FROM dingir.internal_transfers; DELETE FROM dingir.ledger") },
			[]string{"6"}, 0, "begins at offset 6; 6 older records", "6-6 high 6 topic 1 last none", true},
		{"truncated, refused", func(m *movable) { m.rows(5, 11); m.sql("UPDATE dingir.ledger SET next_offset = 12, high_offset = 12") },
			[]string{"latest"}, 1, "add --accept-loss", "0-12 high 12 topic 1 last 4", true},
		{"truncated", func(m *movable) { m.rows(5, 11); m.sql("UPDATE dingir.ledger SET next_offset = 12, high_offset = 12") },
			[]string{"latest --accept-loss"}, 0, "2 records that the log lost", "0-10 high 10 topic 1 last none", true},
		{"rewritten", nil, []string{"5 --accept-loss"}, 0, "no longer compared", "0-5 high 5 topic 1 last none", true},
		{"made again, refused", func(m *movable) { m.remake(3) }, []string{"earliest"}, 1, "add --accept-new-topic", begin, true},
		{"made again", func(m *movable) { m.remake(3) }, []string{"1 --accept-new-topic"}, 0, "begins anew at offset 1", "1-1 high 1 topic 2 last none", true},
		{"another cluster", func(m *movable) { m.sql("UPDATE dingir.topics SET cluster_id = 'other'") },
			[]string{"earliest --accept-new-topic"}, 0, "begins anew at offset 0", "0-0 high 0 topic 2 last none", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMovable(t)
			if test.prepare != nil {
				test.prepare(m)
			}
			var got result
			for _, move := range test.moves {
				got = execute(t, m.env, append([]string{"positions", "set", "internaltransfer", "0", "--yes"}, strings.Fields(move)...)...)
			}
			if got.code != test.code || !strings.Contains(got.stdout+got.stderr, test.says) {
				t.Errorf("%+v", got)
			}
			if have := m.ledger(); have != test.ledger {
				t.Errorf("ledger %s, want %s", have, test.ledger)
			}
			if got := execute(t, m.env, "verify"); (got.code == 0) != test.clean {
				t.Errorf("verify: %+v", got)
			}
		})
	}
}

func TestPositions(t *testing.T) {
	m := newMovable(t)
	got := execute(t, m.env, "positions")
	if got.code != 0 || !strings.Contains(got.stdout, m.topic) {
		t.Fatalf("%+v", got)
	}
	fields := func(text string) []string {
		_, behind, _ := strings.Cut(text, "STATE")
		return strings.Fields(behind)
	}
	want := []string{m.topic, "0", "0", "5", "-", "0", "10", "5", "ok"}
	if have := fields(got.stdout)[:len(want)]; strings.Join(have, " ") != strings.Join(want, " ") {
		t.Errorf("%q, want %q", have, want)
	}
	m.remake(3)
	if got = execute(t, m.env, "positions"); !strings.Contains(got.stdout, "topic was made again") {
		t.Errorf("%+v", got)
	}
}

func TestPositionsSetAsks(t *testing.T) {
	// Tests have no terminal.
	got := execute(t, nil, "positions", "set", "trades", "0", "5")
	if got.code != 2 || !strings.Contains(got.stderr, "add --yes") {
		t.Errorf("%+v", got)
	}
}
