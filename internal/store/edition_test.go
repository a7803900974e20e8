package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// arranged is a migrated database whose tables are laid out as asked.
func (r *rig) arranged(l Layout) []string {
	r.t.Helper()
	notes, err := Arrange(r.t.Context(), r.o, l)
	if err != nil {
		r.t.Fatal(err)
	}
	return notes
}

// community tells the server's edition; what it offers is tested, whichever it is.
func (r *rig) community() (yes bool) {
	r.t.Helper()
	if err := r.conn.QueryRow(r.t.Context(), "SELECT current_setting('timescaledb.license') = 'timescale'").Scan(&yes); err != nil {
		r.t.Fatal(err)
	}
	return yes
}

func TestCandles(t *testing.T) {
	r := newRig(t)
	r.arranged(Layout{})
	trade := func(id int, at, market, price string) {
		r.exec(`INSERT INTO dingir.trades (time, trade_id, ask_order_id, bid_order_id, content_hash, src_offset, src_partition, src_topic, market, price, amount, quote_amount, taker_side)
			VALUES ($1, $2, 1, 2, $2, $2, 0, 1, $3, $4::numeric, 2, $4::numeric * 2, 'ask')`, at, id, market, price)
	}
	trade(1, "2024-01-15T10:30:00Z", "ETH_USDT", "5.10")
	trade(2, "2024-01-15T10:30:30Z", "ETH_USDT", "7")
	trade(3, "2024-01-15T10:30:59.999999Z", "ETH_USDT", "6.0")
	trade(4, "2024-01-15T10:30:59Z", "BTC_USDT", "40000")
	trade(5, "2024-01-15T10:31:00Z", "ETH_USDT", "4")
	trade(6, "2024-01-15T11:00:00Z", "ETH_USDT", "3")
	trade(7, "2024-01-16T00:00:00Z", "ETH_USDT", "2")
	for view, want := range map[string]string{
		"candles_1m":  "10:30 5.10 7 5.10 6.0 6 36.20 3, 10:31 4 4 4 4 2 8 1, 11:00 3 3 3 3 2 6 1, 00:00 2 2 2 2 2 4 1",
		"candles_5m":  "10:30 5.10 7 4 4 8 44.20 4, 11:00 3 3 3 3 2 6 1, 00:00 2 2 2 2 2 4 1",
		"candles_15m": "10:30 5.10 7 4 4 8 44.20 4, 11:00 3 3 3 3 2 6 1, 00:00 2 2 2 2 2 4 1",
		"candles_1h":  "10:00 5.10 7 4 4 8 44.20 4, 11:00 3 3 3 3 2 6 1, 00:00 2 2 2 2 2 4 1",
		"candles_1d":  "00:00 5.10 7 3 3 10 50.20 5, 00:00 2 2 2 2 2 4 1",
	} {
		rows, err := r.conn.Query(t.Context(), fmt.Sprintf(`SELECT concat_ws(' ', to_char(time AT TIME ZONE 'UTC', 'HH24:MI'), open, high, low, close, volume, quote_volume, trades)
			FROM dingir.%s WHERE market = 'ETH_USDT' ORDER BY time`, view))
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if got := strings.Join(lines, ", "); err != nil || got != want {
			t.Errorf("%s: %s, want %s; %v", view, got, want, err)
		}
	}
	continuous := 0
	if r.community() {
		continuous = len(candles)
	}
	r.equal(continuous, "SELECT count(*) FROM timescaledb_information.continuous_aggregates WHERE view_schema = 'dingir'")
	// A look at one hour reads that hour only, also where nothing is kept ready.
	if !r.community() {
		rows, err := r.conn.Query(t.Context(), "EXPLAIN SELECT * FROM dingir.candles_1m WHERE market = 'ETH_USDT' AND time >= '2024-01-15 10:00Z' AND time < '2024-01-15 11:00Z'")
		if err != nil {
			t.Fatal(err)
		}
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if text := strings.Join(plan, "\n"); err != nil || strings.Count(text, "Scan on") != 2 && strings.Count(text, " on _hyper") != 1 {
			t.Errorf("it looks beyond one chunk: %s; %v", text, err)
		}
	}
}

func TestArrangeIsRepeated(t *testing.T) {
	r := newRig(t)
	first := r.arranged(Layout{})
	if again := r.arranged(Layout{}); len(again) != 0 {
		t.Errorf("the second time: %v, after %v", again, first)
	}
	interval := func(table string) time.Duration {
		var d time.Duration
		if err := r.conn.QueryRow(t.Context(), "SELECT time_interval FROM timescaledb_information.dimensions WHERE hypertable_schema = 'dingir' AND hypertable_name = $1", table).Scan(&d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := interval("trades"); d != 24*time.Hour {
		t.Errorf("chunks of trades cover %v when nothing was asked for", d)
	}
	for _, want := range []time.Duration{6 * time.Hour, 48 * time.Hour} {
		r.arranged(Layout{ChunkInterval: want})
		if again := r.arranged(Layout{ChunkInterval: want}); len(again) != 0 {
			t.Errorf("asked for the same again: %v", again)
		}
		if a, b := interval("order_events"), interval("deposits"); a != want || b != 7*want {
			t.Errorf("chunks cover %v and %v, want %v and seven times that", a, b, want)
		}
	}
	r.arranged(Layout{})
	if d := interval("trades"); d != 48*time.Hour {
		t.Errorf("chunks of trades cover %v, want what was asked for last", d)
	}
}

func TestColumnstore(t *testing.T) {
	r := newRig(t)
	r.arranged(Layout{})
	notes := r.arranged(Layout{ColumnstoreAfter: 72 * time.Hour})
	if !r.community() {
		if len(notes) != 1 || !strings.Contains(notes[0], "Community edition") {
			t.Errorf("%v", notes)
		}
		return
	}
	policies := func(after string) {
		t.Helper()
		if n := r.count("SELECT count(*) FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression' AND hypertable_schema = 'dingir' AND (config ->> 'compress_after')::interval = $1::interval", after); n != len(hypertables) {
			t.Errorf("%d policies with %s, want %d", n, after, len(hypertables))
		}
	}
	policies("72 hours")
	if again := r.arranged(Layout{ColumnstoreAfter: 72 * time.Hour}); len(again) != 0 {
		t.Errorf("asked for the same again: %v", again)
	}
	r.arranged(Layout{ColumnstoreAfter: 240 * time.Hour})
	policies("240 hours")

	// What is compressed takes late records, and knows those that it has.
	log := r.begin("p.internaltransfer", 0, 0)
	write := func(from, to int64) {
		b := NewBatch()
		p := b.Partition(log, r.position(log.Topic, 0).Next, 0)
		for offset := from; offset < to; offset++ {
			add(b, p, offset, int(offset))
		}
		r.write(b)
	}
	write(0, 10)
	r.exec("SELECT compress_chunk(c) FROM show_chunks('dingir.internal_transfers') c")
	r.exec("UPDATE dingir.ledger SET next_offset = 5")
	write(5, 15)
	r.equal(15, "SELECT count(*) FROM dingir.internal_transfers")
}

// A view of an operator's own on the candles keeps the edition's step from
// changing them, and nothing fails.
func TestCandlesThatOthersUse(t *testing.T) {
	r := newRig(t)
	for _, c := range candles {
		r.exec("CREATE OR REPLACE VIEW dingir." + c.name + ` AS SELECT now() AS time, ''::text COLLATE "C" AS market, 1.0 AS open, 1.0 AS high, 1.0 AS low, 1.0 AS close, 1.0 AS volume, 1.0 AS quote_volume, 1::bigint AS trades`)
		r.exec("CREATE VIEW public.mine_" + c.name + " AS SELECT * FROM dingir." + c.name)
	}
	notes := r.arranged(Layout{})
	if r.community() && !slices.ContainsFunc(notes, func(s string) bool { return strings.Contains(s, "stays a plain view") }) {
		t.Errorf("%v", notes)
	}
	r.equal(0, "SELECT count(*) FROM dingir.candles_1m")
	r.equal(0, "SELECT count(*) FROM public.mine_candles_1m")
}
