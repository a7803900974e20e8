package verify

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/testenv"
)

// BenchmarkVerify audits 300,000 rows a round.
func BenchmarkVerify(b *testing.B) {
	o := store.Options{URL: testenv.Database(b)}
	if _, err := store.Migrate(b.Context(), o); err != nil {
		b.Fatal(err)
	}
	conn, err := pgx.Connect(b.Context(), o.URL)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close(b.Context()) }()
	const rows = 300_000
	_, err = conn.Exec(b.Context(), `
		INSERT INTO dingir.topics (name, cluster_id, topic_uuid) VALUES ('internaltransfer', 'c', gen_random_uuid());
		INSERT INTO dingir.ledger (topic, partition, topic_id, first_offset, next_offset, high_offset) VALUES ('internaltransfer', 0, 1, 1, 300001, 300001);
		INSERT INTO dingir.internal_transfers (time, user_from, user_to, content_hash, src_offset, src_partition, src_topic, asset, amount)
		SELECT '2024-01-01', o % 1000, 2, o, o, 0, 1, 'ETH', 1 FROM generate_series(1, 300000) o`)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := Verify(b.Context(), Options{Database: o})
		if err != nil || r.Total != 0 || r.Partitions[0].Rows != rows {
			b.Fatalf("%+v, %v", r, err)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
