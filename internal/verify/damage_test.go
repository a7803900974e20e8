package verify

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/store"
)

// alter is what is done to a column of a type.
func alter(column string) string {
	switch column {
	case "time", "create_time", "update_time":
		return column + " + interval '1 microsecond'"
	case "post_only":
		return "NOT " + column
	case "market", "asset", "business", "detail", "l1_address", "l2_pubkey", "side", "type", "event", "taker_side":
		return column + " || 'x'"
	case "signature":
		return "NULL"
	case "content_hash":
		return "content_hash # 1"
	}
	return column + " + 1"
}

// TestAlteredColumns alters each column of each table in a row of its own, and
// wants each told by its name.
func TestAlteredColumns(t *testing.T) {
	f := newFeed(t, func(c *exchange.Config) { c.CrashEvery, c.Forget, c.LoseUnify, c.LoseTopics = 300, 5, 5, 5 }).operate(1500)
	want := map[string]string{}
	for id := range tableCount {
		table := hot[id].name
		last := int64(-1)
		for _, column := range store.Columns(table) {
			if strings.HasPrefix(column, "src_") || (id == orderEvents && column == "time") || column == "registered_at" {
				continue // where it came from is another test; these times are the topic's own
			}
			some := ""
			if column == "signature" && id != transfers && id != users {
				some = " AND signature IS NOT NULL"
				if id == balanceChanges {
					some += " AND signature <> ''"
				}
			}
			var offset, after int64
			var partition int32
			after = last
			err := f.conn.QueryRow(t.Context(), fmt.Sprintf(`UPDATE dingir.%[1]s SET %[2]s = %[3]s WHERE (src_partition, src_offset) =
				(SELECT src_partition, src_offset FROM dingir.%[1]s WHERE src_offset > %[4]d%[5]s ORDER BY src_offset LIMIT 1)
				RETURNING src_partition, src_offset`, table, column, alter(column), after, some)).Scan(&partition, &offset)
			if err != nil {
				t.Fatalf("alter %s.%s: %v", table, column, err)
			}
			last = offset
			key := fmt.Sprint(table, " ", partition, " ", offset)
			if want[key] != "" {
				t.Fatalf("%s is altered twice", key)
			}
			want[key] = column
		}
	}
	r := f.verify(func(o *Options) { o.Listed = 1000 })
	for _, d := range r.Differences {
		key := fmt.Sprint(d.Table, " ", d.Partition, " ", d.First)
		column := want[key]
		delete(want, key)
		switch {
		case column == "":
			t.Errorf("besides: %s", d)
		case d.Kind != Altered || (d.Table != "balance_changes" && !strings.HasPrefix(d.Detail, column+" is ")):
			t.Errorf("%s altered: %s", column, d)
		}
	}
	for key, column := range want {
		t.Errorf("%s of %s was altered, and nobody noticed", column, key)
	}
}

// rewrite replaces the records of a segment of the event log by what change makes
// of their values.
func (f *feed) rewrite(first int64, change func(offset int64, value []byte) []byte) {
	f.t.Helper()
	var data []byte
	if err := f.conn.QueryRow(f.t.Context(), "SELECT data FROM dingir.event_log WHERE first_offset = $1", first).Scan(&data); err != nil {
		f.t.Fatal(err)
	}
	// A batch that is never committed compresses it.
	f.sql(`BEGIN; INSERT INTO dingir.topics (name, cluster_id, topic_uuid) VALUES ('y.unifyevents', 'c', gen_random_uuid())`)
	b := store.NewBatch()
	var id int16
	if err := f.conn.QueryRow(f.t.Context(), `INSERT INTO dingir.ledger (topic, partition, topic_id, first_offset, next_offset, high_offset)
		SELECT name, 0, id, $1, $1, $1 FROM dingir.topics WHERE name = 'y.unifyevents' RETURNING topic_id`, first).Scan(&id); err != nil {
		f.t.Fatal(err)
	}
	f.sql("COMMIT")
	p := b.Partition(store.Log{Topic: "y.unifyevents", TopicID: id}, first, 0)
	err := store.ReadSegment(first, data, func(r store.Archived) error {
		value := change(r.Offset, bytes.Clone(r.Value))
		b.Record(p, r.Offset, 0)
		return b.Archive(p, r.Offset, r.Time, bytes.Clone(r.Key), value, bytes.Clone(r.Headers))
	})
	if err == nil {
		err = store.Write(f.t.Context(), f.conn, b)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	f.sql(fmt.Sprintf(`UPDATE dingir.event_log e SET data = n.data FROM dingir.event_log n WHERE n.topic_id = %[1]d AND e.topic_id = 8 AND e.first_offset = %[2]d;
		DELETE FROM dingir.event_log WHERE topic_id = %[1]d; DELETE FROM dingir.ledger WHERE topic_id = %[1]d; DELETE FROM dingir.topics WHERE id = %[1]d`, id, first))
}

// TestDamage does one thing after another to one database, each undone, and
// wants each told under its name, and nothing else.
func TestDamage(t *testing.T) {
	f := newFeed(t, func(*exchange.Config) {}).operate(1500)
	if r := f.verify(); r.Total != 0 || len(r.Findings) != 0 {
		t.Fatalf("not clean to begin with: %v %v", r.Differences, r.Findings)
	}
	const fifth = "(src_partition, src_offset) = (SELECT src_partition, src_offset FROM dingir.%s WHERE src_offset > 5 ORDER BY src_offset, src_partition LIMIT 1)"
	for _, test := range []struct {
		name         string
		damage       string
		differ, find []string // the beginnings of all that is told
	}{
		{"trade deleted", "DELETE FROM dingir.trades WHERE " + fmt.Sprintf(fifth, "trades"),
			[]string{"missing: topic x.trades partition "}, []string{"only in the log: dingir.trades id "}},
		{"order event deleted", "DELETE FROM dingir.order_events WHERE " + fmt.Sprintf(fifth, "order_events"),
			[]string{"missing: topic x.orders partition "}, []string{"only in the log: dingir.order_events id "}},
		{"balance change deleted", "DELETE FROM dingir.balance_changes WHERE " + fmt.Sprintf(fifth, "balance_changes"),
			[]string{"missing: topic x.balances partition "}, nil},
		{"transfer deleted", "DELETE FROM dingir.internal_transfers WHERE " + fmt.Sprintf(fifth, "internal_transfers"),
			[]string{"missing: topic x.internaltransfer partition "}, []string{"only in the log: dingir.internal_transfers "}},
		{"user deleted", "DELETE FROM dingir.users WHERE " + fmt.Sprintf(fifth, "users"),
			[]string{"missing: topic x.registeruser partition "}, []string{"only in the log: dingir.users id "}},
		{"deposit deleted", "DELETE FROM dingir.deposits WHERE " + fmt.Sprintf(fifth, "deposits"),
			[]string{"missing: dingir.deposits "}, nil},
		{"withdrawal deleted", "DELETE FROM dingir.withdrawals WHERE " + fmt.Sprintf(fifth, "withdrawals"),
			[]string{"missing: dingir.withdrawals "}, nil},
		{"deposit moved", "UPDATE dingir.deposits SET src_offset = src_offset + 1 WHERE " + fmt.Sprintf(fifth, "deposits"),
			[]string{"moved: dingir.deposits "}, nil},
		{"trade moved", "UPDATE dingir.trades SET src_offset = 1000000 WHERE " + fmt.Sprintf(fifth, "trades"),
			[]string{"out of range: topic x.trades", "missing: topic x.trades"}, nil},
		{"trade moved onto another", "UPDATE dingir.trades SET src_offset = 7 WHERE src_partition = 0 AND src_offset = 6",
			[]string{"missing: topic x.trades partition 0 offset 6", "doubled: topic x.trades partition 0 offset 7: two rows"}, nil},
		{"trade forged", `INSERT INTO dingir.trades SELECT time, 987654321, ask_user_id, ask_order_id, bid_user_id, bid_order_id, 7, src_offset, src_partition, src_topic,
			market, price, amount, quote_amount, taker_side, ask_fee, bid_fee FROM dingir.trades WHERE ` + fmt.Sprintf(fifth, "trades"),
			[]string{"doubled: topic x.trades partition "}, []string{"only in the table: dingir.trades id 987654321 "}},
		{"trade of a partition that there is not", `INSERT INTO dingir.trades SELECT time, 987654321, ask_user_id, ask_order_id, bid_user_id, bid_order_id, 7, src_offset, 77, src_topic,
			market, price, amount, quote_amount, taker_side, ask_fee, bid_fee FROM dingir.trades WHERE ` + fmt.Sprintf(fifth, "trades"),
			[]string{"out of range: topic x.trades partition 77 offset "}, []string{"only in the table: dingir.trades id 987654321 "}},
		{"trade of a topic that there is not", `INSERT INTO dingir.trades SELECT time, 987654321, ask_user_id, ask_order_id, bid_user_id, bid_order_id, 7, src_offset, src_partition, 99,
			market, price, amount, quote_amount, taker_side, ask_fee, bid_fee FROM dingir.trades WHERE ` + fmt.Sprintf(fifth, "trades"),
			[]string{"out of range: topic of topics.id 99 partition "}, []string{"only in the table: dingir.trades id 987654321 "}},
		{"trade of an earlier topic", `WITH t AS (INSERT INTO dingir.topics (name, cluster_id, topic_uuid) VALUES ('x.trades', 'before', gen_random_uuid()) RETURNING id)
			UPDATE dingir.trades SET src_topic = t.id FROM t WHERE ` + fmt.Sprintf(fifth, "trades"),
			[]string{"missing: topic x.trades partition "}, nil},
		{"deposit forged", `INSERT INTO dingir.deposits (time, user_id, content_hash, src_offset, src_partition, src_topic, asset, business, change, balance)
			SELECT time, 77, 8, src_offset, src_partition, src_topic, asset, business, 1000000, 1000000 FROM dingir.deposits WHERE ` + fmt.Sprintf(fifth, "deposits"),
			[]string{"forged: dingir.deposits "}, nil},
		{"trade in the place of another", `UPDATE dingir.trades SET trade_id = trade_id + 1000000, content_hash = 5, price = 1 WHERE ` + fmt.Sprintf(fifth, "trades"),
			[]string{"altered: dingir.trades id 1000"}, nil},
		{"order event in the place of another", `UPDATE dingir.order_events SET order_id = order_id + 1000000, content_hash = 5 WHERE ` + fmt.Sprintf(fifth, "order_events"),
			[]string{"altered: dingir.order_events id 1000"}, nil},
		{"segment deleted", "DELETE FROM dingir.event_log WHERE first_offset = (SELECT max(first_offset) FROM dingir.event_log)",
			[]string{"missing: topic x.unifyevents partition 0 offsets ", "state: dingir.state before offset "}, nil},
		{"segment's time altered", "UPDATE dingir.event_log SET first_time = first_time - interval '1 ms' WHERE first_offset = 0",
			[]string{"event log: topic x.unifyevents partition 0 offsets 0 to "}, nil},
		{"segment cut short", "UPDATE dingir.event_log SET data = substring(data FROM 1 FOR length(data) / 2) WHERE first_offset = 0",
			[]string{"event log: topic x.unifyevents partition 0 offsets 0 to "}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			f.t = t
			f.sql("CREATE SCHEMA keep")
			for _, table := range []string{"trades", "order_events", "balance_changes", "deposits", "withdrawals", "internal_transfers", "users", "event_log"} {
				f.sql("CREATE TABLE keep." + table + " AS TABLE dingir." + table)
			}
			defer func() {
				for _, table := range []string{"trades", "order_events", "balance_changes", "deposits", "withdrawals", "internal_transfers", "users", "event_log"} {
					f.sql("DELETE FROM dingir." + table + "; INSERT INTO dingir." + table + " TABLE keep." + table)
				}
				f.sql("DROP SCHEMA keep CASCADE")
			}()
			f.sql(test.damage)
			r := f.verify()
			same(t, "differences", r.Differences, test.differ)
			find := test.find
			for _, d := range r.Findings {
				if strings.HasPrefix(test.name, "segment") && (d.Kind == OnlyInTable || d.Kind == Unchecked) {
					find = nil // rows of what the log has lost, and the state that it made
					r.Findings = nil
				}
			}
			same(t, "findings", r.Findings, find)
		})
	}
}

func same(t *testing.T, what string, got []Difference, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d %s, want %d", len(got), what, len(want))
	}
	for i, d := range got {
		if i >= len(want) {
			t.Errorf("besides: %s", d)
		} else if !strings.HasPrefix(d.String(), want[i]) {
			t.Errorf("got %s, want %s", d, want[i])
		}
	}
}

// TestAlteredArchive alters a record in the event log so that its segment is
// whole, and wants the row that it was to be told.
func TestAlteredArchive(t *testing.T) {
	f := newFeed(t, func(*exchange.Config) {}).operate(600)
	altered := int64(-1)
	f.rewrite(0, func(offset int64, value []byte) []byte {
		if at := bytes.Index(value, []byte(`"quote_amount":"`)); at > 0 && altered < 0 {
			altered = offset
			value[at+len(`"quote_amount":"`)] ^= 1
		}
		return value
	})
	r := f.verify()
	// The state that the daemon made is of the record as it was.
	if len(r.Differences) != 2 || r.Differences[1].Kind != SnapshotState || r.Differences[0].Kind != Altered || *r.Differences[0].Log != altered ||
		!strings.Contains(r.Differences[0].Detail, "quote_amount is ") {
		t.Errorf("offset %d: %v", altered, r.Differences)
	}
}
