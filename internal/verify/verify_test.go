package verify

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/thaliumx/persistor/internal/harness"
	"github.com/thaliumx/persistor/internal/ingest"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/testenv"
	"github.com/thaliumx/persistor/internal/topics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.Cleanup(harness.Exit)) }

// clean is a database in which everything is accounted for: on
// internaltransfer, partition 1, offsets 10 to 29 are rows but for a reject (15),
// a duplicate (16) and a gap (17 to 19), and 20 was redriven; unifyevents has two segments
// (0 to 4, 7 to 9) around a gap. The ids are those of the topics' rows.
const clean = `
INSERT INTO dingir.topics (name, cluster_id, topic_uuid) VALUES
	('p.internaltransfer', 'c', gen_random_uuid()), ('p.unifyevents', 'c', gen_random_uuid()), ('p.internaltransfer', 'c', gen_random_uuid());
INSERT INTO dingir.ledger (topic, partition, topic_id, first_offset, next_offset, high_offset) VALUES
	('p.internaltransfer', 1, 1, 10, 30, 30);
INSERT INTO dingir.internal_transfers (time, user_from, user_to, content_hash, src_offset, src_partition, src_topic, asset, amount)
	SELECT '2024-01-01', 1, 2, o, o, 1, 1, 'ETH', 1 FROM generate_series(10, 29) o WHERE o NOT BETWEEN 15 AND 19;
INSERT INTO dingir.rejects (topic, partition, "offset", record_time, headers, reason, topic_id, resolved_at) VALUES
	('p.internaltransfer', 1, 15, now(), '[]', 'bad', 1, NULL), ('p.internaltransfer', 1, 20, now(), '[]', 'bad', 1, now());
INSERT INTO dingir.duplicates (topic, partition, "offset", table_name, topic_id) VALUES ('p.internaltransfer', 1, 16, 'internal_transfers', 1);
INSERT INTO dingir.gaps (topic, partition, first_offset, last_offset, reason, topic_id) VALUES ('p.internaltransfer', 1, 17, 19, 'control', 1);
-- Rows of the topic as it was before it was made again.
INSERT INTO dingir.internal_transfers (time, user_from, user_to, content_hash, src_offset, src_partition, src_topic, asset, amount)
	VALUES ('2024-01-01', 3, 2, 1, 99, 1, 3, 'ETH', 1);
`

// deposit is the record of unifyevents at offset 8.
const deposit = `{"timestamp":1704067200.0,"user_id":3,"asset":"ETH","business":"deposit","change":"1","balance":"1","balance_available":"1","balance_frozen":"0","detail":"{\"id\":5}"}`

const transfer = `INSERT INTO dingir.internal_transfers (time, user_from, user_to, content_hash, src_offset, src_partition, src_topic, asset, amount)
	VALUES ('2024-01-01', 9, 2, %d, %d, 1, 1, 'ETH', 1)`

func prepare(t *testing.T) (store.Options, *pgx.Conn) {
	t.Helper()
	o := store.Options{URL: testenv.Database(t), SynchronousCommit: true}
	if _, err := store.Migrate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	conn, err := store.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	execute(t, conn, clean)
	archive(t, conn)
	return o, conn
}

// damageable are the tables that a damage may change, those that others refer to
// first.
var damageable = []string{"topics", "ledger", "internal_transfers", "deposits", "users", "rejects", "duplicates", "gaps", "event_log"}

// keep puts by what is in the tables, for undo.
func keep(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	execute(t, conn, "CREATE SCHEMA keep")
	for _, table := range damageable {
		execute(t, conn, "CREATE TABLE keep."+table+" AS TABLE dingir."+table)
	}
}

// undo brings back what keep has put by.
func undo(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	for _, table := range slices.Backward(damageable) {
		execute(t, conn, "DELETE FROM dingir."+table)
	}
	for _, table := range damageable {
		execute(t, conn, "INSERT INTO dingir."+table+" OVERRIDING SYSTEM VALUE TABLE keep."+table)
	}
}

func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// archive writes the two segments as a batch does.
func archive(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	execute(t, conn, `INSERT INTO dingir.ledger (topic, partition, topic_id, first_offset, next_offset, high_offset) VALUES ('p.unifyevents', 0, 2, 0, 0, 0)`)
	b := store.NewBatch()
	p := b.Partition(store.Log{Topic: "p.unifyevents", TopicID: 2}, 0, 0)
	for offset := range int64(10) {
		switch offset {
		case 5:
			if err := b.Gap(p, 5, 6, "control"); err != nil {
				t.Fatal(err)
			}
		case 6:
		default:
			key, value := []byte("trades"), []byte(`{"id":1}`)
			if offset == 8 {
				key, value = []byte("deposits"), []byte(deposit)
				var d ingest.Decoder
				r := ingest.Record{Offset: offset, Key: key, Value: value}
				if err := d.Add(b, p.Log, topics.UnifyEvents, r, ingest.Hash(value)); err != nil {
					t.Fatal(err)
				}
			}
			b.Record(p, offset, offset)
			if err := b.Archive(p, offset, 1_700_000_000_000+offset, key, value, []byte{0}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := store.Write(t.Context(), conn, b); err != nil {
		t.Fatal(err)
	}
}

func TestVerify(t *testing.T) {
	o, conn := prepare(t)
	keep(t, conn)
	for _, test := range []struct {
		name   string
		damage string
		want   []string // the differences; none: clean
	}{
		{"clean", "", nil},
		{"missing row", "DELETE FROM dingir.internal_transfers WHERE src_offset BETWEEN 22 AND 23 AND src_topic = 1",
			[]string{"missing: topic p.internaltransfer partition 1 offsets 22 to 23 (2): no row"}},
		{"missing first and last", "DELETE FROM dingir.internal_transfers WHERE src_offset IN (10, 29) AND src_topic = 1",
			[]string{"offset 10: no row", "offset 29: no row"}},
		{"missing reject", "DELETE FROM dingir.rejects WHERE resolved_at IS NULL", []string{"offset 15: no row"}},
		{"reject resolved without a row", "UPDATE dingir.rejects SET resolved_at = now()", []string{"offset 15: no row"}},
		{"missing duplicate", "DELETE FROM dingir.duplicates", []string{"offset 16: no row"}},
		{"missing gap", "DELETE FROM dingir.gaps WHERE topic_id = 1", []string{"offsets 17 to 19 (3): no row"}},
		{"nothing at all", "UPDATE dingir.ledger SET next_offset = 1000000000000, high_offset = 1000000000000 WHERE partition = 1",
			[]string{"offsets 30 to 999999999999"}},
		{"row and reject", fmt.Sprintf(transfer, 1, 15), []string{"doubled: topic p.internaltransfer partition 1 offset 15: row and reject"}},
		{"row and duplicate", fmt.Sprintf(transfer, 1, 16), []string{"offset 16: row and duplicate"}},
		{"row and gap", fmt.Sprintf(transfer, 1, 18), []string{"offset 18: row and gap"}},
		{"row twice", fmt.Sprintf(transfer, 1, 25), []string{"offset 25: two rows"}},
		{"row three times", fmt.Sprintf(transfer, 1, 25) + ";" + fmt.Sprintf(transfer, 2, 25), []string{"offset 25: two rows"}},
		{"reject in a gap", `UPDATE dingir.rejects SET "offset" = 17 WHERE "offset" = 15; ` + fmt.Sprintf(transfer, 1, 15), []string{"offset 17: reject and gap"}},
		{"two gaps", "INSERT INTO dingir.gaps (topic, partition, first_offset, last_offset, reason, topic_id) VALUES ('p.internaltransfer', 1, 16, 18, 'lost', 1)",
			[]string{"offset 16: duplicate and gap", "offsets 17 to 18 (2): two gaps"}},
		{"row beyond the ledger", fmt.Sprintf(transfer, 1, 30), []string{"out of range: topic p.internaltransfer partition 1 offset 30: a row"}},
		{"row before the ledger", fmt.Sprintf(transfer, 1, 9), []string{"offset 9: a row"}},
		{"gap beyond the ledger", "UPDATE dingir.gaps SET first_offset = 50, last_offset = 60 WHERE topic_id = 1",
			[]string{"offsets 50 to 60 (11): a gap", "offsets 17 to 19 (3): no row"}},
		{"row in another table", `DELETE FROM dingir.internal_transfers WHERE src_offset = 12;
			INSERT INTO dingir.users (registered_at, user_id, content_hash, src_offset, src_partition, src_topic, l1_address, l2_pubkey) VALUES (now(), 1, 1, 12, 1, 1, '', '')`,
			[]string{"misplaced: topic p.internaltransfer partition 1 offset 12: its row is in dingir.users", "offset 12: no row"}},
		{"read again", "UPDATE dingir.ledger SET next_offset = 14 WHERE partition = 1", nil},
		{"missing segment", "DELETE FROM dingir.event_log WHERE first_offset = 0",
			[]string{"missing: topic p.unifyevents partition 0 offsets 0 to 4 (5): neither in the event log nor in a gap"}},
		{"event log without its gap", "DELETE FROM dingir.gaps WHERE topic_id = 2", []string{"offsets 5 to 6 (2): neither"}},
		{"segments overlap", "UPDATE dingir.gaps SET last_offset = 7 WHERE topic_id = 2", []string{"offset 7: two segments"}},
		{"damaged segment", "UPDATE dingir.event_log SET data = substring(data FROM 1 FOR length(data) - 5) WHERE first_offset = 0",
			[]string{"event log: topic p.unifyevents partition 0 offsets 0 to 4 (5): event log segment at offset 0"}},
		{"segment of nothing", `UPDATE dingir.event_log SET data = '' WHERE first_offset = 0`, []string{"unexpected EOF"}},
		{"segment of others", `UPDATE dingir.event_log SET data = (SELECT data FROM dingir.event_log WHERE first_offset = 7) WHERE first_offset = 0`,
			[]string{"it ends at offset 2"}},
		{"segment miscounts", "UPDATE dingir.event_log SET records = 4 WHERE first_offset = 0", []string{"5 records, not 4"}},
		{"segment beyond the ledger", "UPDATE dingir.ledger SET next_offset = 5, high_offset = 9 WHERE partition = 0",
			[]string{"out of range: topic p.unifyevents partition 0 offsets 7 to 9 (3): a segment"}},
		{"row of unifyevents beyond the ledger", "UPDATE dingir.deposits SET src_offset = 77", []string{"offset 77: rows are there", "moved: dingir.deposits"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer undo(t, conn)
			execute(t, conn, test.damage)
			r, err := Verify(t.Context(), Options{Database: o})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Differences) != len(test.want) || r.Total != int64(len(test.want)) {
				t.Errorf("%d differences, want %d:", r.Total, len(test.want))
			}
			for i, d := range r.Differences {
				if i < len(test.want) && !strings.Contains(d.String(), test.want[i]) {
					t.Errorf("got %s, want %s", d, test.want[i])
				} else if i >= len(test.want) {
					t.Errorf("besides: %s", d)
				}
			}
			if len(r.History) != 1 || r.History[0] != (History{"p.internaltransfer", 3, 1}) {
				t.Errorf("history %v", r.History)
			}
		})
	}
}

func TestCounts(t *testing.T) {
	o, _ := prepare(t)
	r, err := Verify(t.Context(), Options{Database: o})
	if err != nil {
		t.Fatal(err)
	}
	want := []Partition{
		{Topic: "p.internaltransfer", Partition: 1, TopicID: 1, FirstOffset: 10, NextOffset: 30, HighOffset: 30, Rows: 15, Rejects: 1, Duplicates: 1, Gaps: 3},
		{Topic: "p.unifyevents", TopicID: 2, NextOffset: 10, HighOffset: 10, Rows: 1, Gaps: 2, Archived: 8},
	}
	if len(r.Partitions) != 2 || r.Partitions[0] != want[0] || r.Partitions[1] != want[1] {
		t.Errorf("%+v", r.Partitions)
	}
	var text bytes.Buffer
	if err := r.Write(&text); err != nil || !strings.Contains(text.String(), "every position of 2 partitions is accounted for exactly once") {
		t.Errorf("%v %s", err, text.String())
	}
}

// TestManyRows crosses the bounds of the bitmaps' pages.
func TestManyRows(t *testing.T) {
	o, conn := prepare(t)
	execute(t, conn, `INSERT INTO dingir.ledger (topic, partition, topic_id, first_offset, next_offset, high_offset) VALUES ('p.internaltransfer', 2, 1, 65000, 265000, 265000);
		INSERT INTO dingir.internal_transfers (time, user_from, user_to, content_hash, src_offset, src_partition, src_topic, asset, amount)
		SELECT '2024-01-01', 5, 2, o, o, 2, 1, 'ETH', 1 FROM generate_series(65000, 264999) o WHERE o NOT IN (131071, 131072, 200000)`)
	r, err := Verify(t.Context(), Options{Database: o})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Differences) != 2 || r.Differences[0].Range != (Range{131071, 131072}) || r.Differences[1].Range != (Range{200000, 200000}) {
		t.Errorf("%v", r.Differences)
	}
}

func TestUnknownTopic(t *testing.T) {
	o, conn := prepare(t)
	execute(t, conn, "UPDATE dingir.ledger SET topic = 'p.candles' WHERE partition = 1")
	if _, err := Verify(t.Context(), Options{Database: o}); err == nil || !strings.Contains(err.Error(), "p.candles") {
		t.Errorf("%v", err)
	}
}
