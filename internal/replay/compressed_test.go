package replay_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/thaliumx/persistor/internal/exchange"
)

// hypertables are the tables with chunks.
var hypertables = []string{"trades", "order_events", "balance_changes", "deposits", "withdrawals", "internal_transfers"}

// compress has TimescaleDB's Community edition compress all there is, and
// returns how many chunks that are. With the Apache edition there are none.
func (s *scene) compress() (chunks int) {
	s.t.Helper()
	var license string
	err := s.conn.QueryRow(s.t.Context(), "SELECT current_setting('timescaledb.license')").Scan(&license)
	if err != nil || license == "apache" {
		s.t.Logf("no chunks to compress: TimescaleDB's license is %s, %v", license, err)
		return 0
	}
	for _, table := range hypertables {
		s.exec("SELECT compress_chunk(c, if_not_compressed => true) FROM show_chunks('dingir." + table + "') c")
	}
	chunks, partly := s.compressed()
	if chunks < len(hypertables) || partly > 0 {
		s.t.Fatalf("%d compressed chunks of %d tables, %d of them in part", chunks, len(hypertables), partly)
	}
	// The server allows few by itself.
	s.exec("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timescaledb.max_tuples_decompressed_per_dml_transaction = 10', current_database()); END $$")
	return chunks
}

// compressed counts the compressed chunks, and those of them that have rows
// which are not.
func (s *scene) compressed() (chunks, partly int) {
	s.t.Helper()
	err := s.conn.QueryRow(s.t.Context(), "SELECT count(*), count(*) FILTER (WHERE status & 8 > 0) FROM _timescaledb_catalog.chunk WHERE status & 1 > 0").Scan(&chunks, &partly)
	if err != nil {
		s.t.Fatal(err)
	}
	return chunks, partly
}

// Rows of compressed chunks are compared and repaired like the others. The
// Apache edition has none, and its chunks stay as they are.
func TestCompressedChunks(t *testing.T) {
	s := newScene(t, 6000, func(c *exchange.Config) { c.Duplicates, c.Foreign = 0.02, 0.02 })
	if code, output := s.Command("migrate", "--columnstore-after", "720h"); code != 0 && !strings.Contains(output, "Community") {
		t.Fatalf("migrate ends with %d: %s", code, output)
	}
	good := s.content()
	s.damage()
	chunks := s.compress()
	report := s.replay(3, "--dry-run")
	noted := fmt.Sprintf("%d chunks are compressed", chunks)
	if told := strings.Contains(strings.Join(report.Notes, "\n"), noted); told != (chunks > 0) {
		t.Errorf("%d chunks are compressed; the notes: %v", chunks, report.Notes)
	}
	done := s.replay(0, "--yes", "--prune")
	if !done.Applied || done.Differences != report.Differences {
		t.Errorf("applied: %v, %d differences, first there were %d", done.Applied, done.Differences, report.Differences)
	}
	s.same(good, s.content())
	s.verify()
	s.compress()
	if last := s.replay(0, "--dry-run"); last.Differences != 0 {
		t.Errorf("compressed again: %+v", last)
	}
	s.verify()

	// One altered row leaves all chunks but its own compressed: copies of a trade
	// make more of them, at positions of a topic that is no more.
	s.exec(`INSERT INTO dingir.topics (id, name, cluster_id, topic_uuid) OVERRIDING SYSTEM VALUE VALUES (999, $1, 'elsewhere', gen_random_uuid())`, s.Prefix+"trades")
	s.exec("CREATE TEMP TABLE forged AS SELECT * FROM dingir.trades LIMIT 1")
	for range 3 {
		s.exec("UPDATE forged SET time = time - interval '3 days', src_topic = 999")
		s.exec("INSERT INTO dingir.trades SELECT * FROM forged")
	}
	s.exec("UPDATE dingir.trades SET price = price + 1 WHERE (trade_id, time) = (SELECT trade_id, time FROM dingir.trades WHERE src_topic <> 999 LIMIT 1)")
	chunks = s.compress()
	if one := s.table(s.replay(0, "--yes"), "trades"); one.Different != 1 || one.Surplus != 0 {
		t.Errorf("%+v", one)
	}
	_, open := s.compressed()
	if chunks > 0 && open != 1 {
		t.Errorf("%d chunks have rows that are not compressed, want 1", open)
	}
}
