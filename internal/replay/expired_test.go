package replay_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/harness"
	"github.com/thaliumx/persistor/internal/topics"
)

// expire deletes the share of each partition's records, as retention would.
func (s *scene) expire(share float64, names ...string) {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(s.Brokers, ",")...))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	_, end := s.Offsets()
	before := map[harness.Place]int64{}
	for place, offset := range end {
		for _, name := range names {
			if place.Topic == s.Prefix+name {
				before[place] = int64(float64(offset) * share)
			}
		}
	}
	for place, offset := range before {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.TimeoutMillis = 20_000
		topic := kmsg.NewDeleteRecordsRequestTopic()
		topic.Topic = place.Topic
		partition := kmsg.NewDeleteRecordsRequestTopicPartition()
		partition.Partition, partition.Offset = place.Partition, offset
		topic.Partitions = append(topic.Partitions, partition)
		req.Topics = append(req.Topics, topic)
		for _, shard := range client.RequestSharded(s.t.Context(), req) {
			if shard.Err != nil {
				s.t.Fatal(shard.Err)
			}
			for _, answered := range shard.Resp.(*kmsg.DeleteRecordsResponse).Topics[0].Partitions {
				if err := kerr.ErrorForCode(answered.ErrorCode); err != nil {
					s.t.Fatal(err)
				}
			}
		}
	}
	start, _ := s.Offsets()
	for place, offset := range before {
		if start[place] != offset {
			s.t.Fatalf("%v begins at %d, not at %d", place, start[place], offset)
		}
	}
}

func everyTopic() []string { return topics.Names(topics.Consumed()) }

// Kafka's retention is shorter than the tables' history: what has expired on
// the topics is restored from the archive.
func TestExpiredRecordsComeFromTheArchive(t *testing.T) {
	s := newScene(t, 6000, func(c *exchange.Config) { c.Duplicates = 0.02 })
	s.expire(0.7, everyTopic()...)
	before := s.content()
	if report := s.replay(0, "--dry-run"); report.Differences != 0 {
		t.Fatalf("before any damage: %+v", report)
	}
	// Of each table one row is deleted, one altered in a column, one in its
	// identity, one in its position, and one forged beside its position.
	for table := range clocks {
		if table == "balance_changes" {
			continue
		}
		rows := s.rows(table)
		change := func(n int, set string) {
			t.Helper()
			if s.exec("UPDATE dingir."+table+" SET "+set+" WHERE ctid = $1::tid AND tableoid = $2", rows[n].ctid, rows[n].table) != 1 {
				t.Fatalf("dingir.%s: no row for %s", table, set)
			}
		}
		if s.exec("DELETE FROM dingir."+table+" WHERE ctid = $1::tid AND tableoid = $2", rows[1].ctid, rows[1].table) != 1 {
			t.Fatal("nothing deleted")
		}
		change(2, values[table][1])
		change(3, values[table][0])
		change(4, "content_hash = content_hash + 1")
		change(5, "src_offset = src_offset + 1000000")
		s.exec("CREATE TEMP TABLE forged AS SELECT * FROM dingir." + table + " WHERE ctid = '" + rows[7].ctid + "' AND tableoid = " + fmt.Sprint(rows[7].table))
		s.exec("UPDATE forged SET content_hash = content_hash + 9")
		if s.exec("INSERT INTO dingir."+table+" SELECT * FROM forged") != 1 {
			t.Fatal("nothing forged")
		}
		s.exec("DROP TABLE forged")
	}
	report := s.replay(0, "--yes", "--prune")
	for table := range clocks {
		have := s.table(report, table)
		want := [3]int64{1, 4, 1}
		if table == "balance_changes" {
			want = [3]int64{}
		}
		if got := [3]int64{have.Missing, have.Different, have.Surplus}; got != want {
			t.Errorf("dingir.%s: missing, different, surplus %v, want %v: %+v", table, got, want, have)
		}
	}
	if last := s.replay(0, "--dry-run"); last.Differences != 0 {
		t.Errorf("afterwards: %+v", last)
	}
	s.verify()
	s.sameButPositions(before, s.content())
}

// sameButPositions compares the tables of records by what the records say:
// rows that came back have the position of the record that they came from.
func (s *scene) sameButPositions(before, after map[string][]string) {
	s.t.Helper()
	for table := range clocks {
		columns := " - 'src_topic' - 'src_partition' - 'src_offset'"
		if table == "order_events" {
			columns += " - 'time'"
		}
		if table == "users" {
			columns += " - 'registered_at'"
		}
		list := func(rows []string) map[string][]string {
			out, err := s.conn.Query(context.Background(), "SELECT (r::jsonb"+columns+")::text FROM unnest($1::text[]) r", rows)
			if err != nil {
				s.t.Fatal(err)
			}
			defer out.Close()
			var texts []string
			for out.Next() {
				var text string
				if err := out.Scan(&text); err != nil {
					s.t.Fatal(err)
				}
				texts = append(texts, text)
			}
			return map[string][]string{table: texts}
		}
		s.same(list(before[table]), list(after[table]))
	}
}

// After the archive is cut and the topics have expired, history that the log
// does not tell any more stays byte for byte as it is.
func TestHistoryStays(t *testing.T) {
	s := newScene(t, 6000, nil)
	s.expire(0.7, everyTopic()...)
	var cut int64
	if err := s.conn.QueryRow(t.Context(), "SELECT max(last_offset) / 2 FROM dingir.event_log").Scan(&cut); err != nil {
		t.Fatal(err)
	}
	s.exec("DELETE FROM dingir.event_log WHERE first_offset < $1", cut)
	var first int64
	err := s.conn.QueryRow(t.Context(), "SELECT coalesce(min(first_offset), -1) FROM dingir.event_log").Scan(&first)
	if err != nil {
		t.Fatal(err)
	}
	start, _ := s.Offsets()
	begins := start[harness.Place{Topic: s.Prefix + topics.UnifyEvents}]
	if first >= 0 {
		begins = min(begins, first)
	}
	before := s.content()
	report := s.replay(0, "--yes", "--prune")
	s.same(before, s.content())
	if begins == 0 || report.First != begins || len(report.Notes) == 0 {
		t.Errorf("says that it reaches back to offset %d, which is %d: %+v", report.First, begins, report.Notes)
	}
	for _, name := range []string{"trades", "order_events", "deposits"} {
		if table := s.table(report, name); table.Missing+table.Different+table.Surplus > 0 {
			t.Errorf("%+v", table)
		}
	}
}

// Rows of the documented shape are the rows of the engine's records on
// unifyevents, also when their own records have expired.
func TestDocumentedShape(t *testing.T) {
	s := newScene(t, 3000, func(c *exchange.Config) { c.Documented = true })
	before := s.content()
	if report := s.replay(0, "--dry-run"); report.Differences != 0 {
		t.Errorf("%+v", report)
	}
	s.expire(0.6, everyTopic()...)
	report := s.replay(0, "--yes", "--prune")
	if report.Differences != 0 || s.table(report, "trades").Equal == 0 {
		t.Errorf("expired: %+v", report)
	}
	s.same(before, s.content())

	// A row with a position that there never was is that of unifyevents; else nobody
	// could tell it from a forged one.
	for _, table := range []string{"trades", "order_events"} {
		oldest := "(SELECT ctid FROM dingir." + table + " ORDER BY src_offset LIMIT 3)"
		if n := s.exec("UPDATE dingir." + table + " SET src_partition = 77 WHERE ctid IN " + oldest); n != 3 {
			t.Fatalf("%d rows moved", n)
		}
	}
	report = s.replay(0, "--yes", "--prune")
	for _, name := range []string{"trades", "order_events"} {
		if table := s.table(report, name); table.Different != 3 || table.Missing+table.Surplus > 0 {
			t.Errorf("%+v", table)
		}
	}
	if again := s.replay(0, "--dry-run"); again.Differences != 0 {
		t.Errorf("afterwards: %+v", again)
	}
}

// Without the topics, the archive alone restores what was on unifyevents.
func TestTopicsAreGone(t *testing.T) {
	s := newScene(t, 2000, nil)
	before := s.content()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(s.Brokers, ",")...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 20_000
	for _, name := range everyTopic() {
		topic := kmsg.NewDeleteTopicsRequestTopic()
		topic.Topic = kmsg.StringPtr(s.Prefix + name)
		req.Topics = append(req.Topics, topic)
	}
	if _, err := req.RequestWith(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, 20*time.Second, "the topics are gone", func() bool {
		ask := kmsg.NewPtrMetadataRequest()
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(s.Prefix + topics.UnifyEvents)
		ask.Topics = append(ask.Topics, topic)
		answer, err := ask.RequestWith(t.Context(), client)
		return err == nil && kerr.ErrorForCode(answer.Topics[0].ErrorCode) != nil
	})
	report := s.replay(0, "--dry-run")
	if report.Differences != 0 || len(report.Notes) == 0 {
		t.Errorf("%+v", report)
	}
	s.exec("DELETE FROM dingir.trades WHERE trade_id % 10 = 3")
	s.exec("UPDATE dingir.deposits SET change = 7 WHERE user_id = 3")
	if report = s.replay(0, "--yes"); s.table(report, "trades").Missing == 0 || s.table(report, "deposits").Different == 0 {
		t.Errorf("%+v", report)
	}
	s.sameButPositions(before, s.content())
	s.verify()
}
