package replay_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/replay"
)

// Every kind of damage to a row is found under its name, and repaired to what
// was there before; only then is nothing left to be found.
func TestDamageIsRepaired(t *testing.T) {
	s := newScene(t, 6000, func(c *exchange.Config) { c.Duplicates, c.Foreign = 0.02, 0.02 })
	before := s.content()
	altered := map[string]int64{}
	for table, clock := range clocks {
		rows := s.rows(table)
		change := func(row int, set string) {
			t.Helper()
			n := s.exec("UPDATE dingir."+table+" SET "+set+" WHERE ctid = $1::tid AND tableoid = $2", rows[row].ctid, rows[row].table)
			if n != 1 {
				t.Fatalf("%s: %d rows of dingir.%s changed", set, n, table)
			}
			altered[table]++
		}
		change(2, clock+" = "+clock+" + interval '3 seconds'")
		change(4, "content_hash = content_hash + 1")
		change(6, "src_offset = src_offset + 1000000")
		change(8, "src_partition = 2 - src_partition % 2, src_offset = src_offset + 3")
		change(10, "src_topic = 99")
		for i, set := range values[table] {
			change(12+2*i, set)
		}
		if n := s.exec("DELETE FROM dingir."+table+" WHERE ctid = $1::tid AND tableoid = $2", rows[3].ctid, rows[3].table); n != 1 {
			t.Fatalf("%d rows of dingir.%s deleted", n, table)
		}
		// Forged: a copy under another identity at the same position, and one at a
		// position that never was.
		forged := int64(0)
		for _, set := range []string{"content_hash = content_hash + 7", "content_hash = content_hash + 8, src_offset = src_offset + 7000000", "content_hash = content_hash + 9, src_topic = 77"} {
			s.exec("CREATE TEMP TABLE forged AS SELECT * FROM dingir." + table + " LIMIT 1 OFFSET 20")
			s.exec("UPDATE forged SET " + set)
			forged += s.exec("INSERT INTO dingir." + table + " SELECT * FROM forged")
			s.exec("DROP TABLE forged")
		}
		if forged != 3 {
			t.Fatalf("%d rows of dingir.%s forged", forged, table)
		}
	}
	report := s.replay(3, "--dry-run")
	for table := range clocks {
		have := s.table(report, table)
		want := replay.Table{Name: table, Equal: int64(len(before[table])) - 1 - altered[table], Missing: 1, Different: altered[table], Surplus: 3}
		examples := have.Examples
		have.Examples = nil
		if fmt.Sprint(have) != fmt.Sprint(want) {
			t.Errorf("%+v, want %+v", have, want)
			for _, e := range examples {
				t.Log(e)
			}
		}
	}
	again := s.replay(0, "--yes", "--prune")
	if !again.Applied || again.Differences != report.Differences {
		t.Errorf("applied: %v, %d differences, first there were %d", again.Applied, again.Differences, report.Differences)
	}
	s.same(before, s.content())
	s.verify()
	if last := s.replay(0, "--dry-run"); last.Differences != 0 {
		t.Errorf("afterwards: %+v", last)
	}
}

// clocks are the tables of records with the columns of their time.
var clocks = map[string]string{
	"trades": "time", "order_events": "time", "balance_changes": "time", "deposits": "time", "withdrawals": "time",
	"internal_transfers": "time", "users": "registered_at",
}

// values change one column each of what a row says: amounts, in their digits
// only, too, texts, ids, and to and from NULL.
var values = map[string][]string{
	"trades": {"trade_id = trade_id + 100000", "price = price + 1", "amount = amount * 1.0", "market = 'X_Y'", "taker_side = upper(taker_side)",
		"ask_user_id = NULL", "bid_order_id = bid_order_id + 1", "ask_fee = NULL", "quote_amount = -quote_amount"},
	"order_events": {"order_id = order_id + 100000", "event = 'EXPIRED'", "price = price * 1.00", "remain = NULL", "signature = '\\x00'", "create_time = NULL",
		"post_only = NOT post_only", "user_id = user_id + 1", "maker_fee = 7", "update_time = update_time + interval '1 us'"},
	"balance_changes": {"user_id = user_id + 100000", "asset = 'NONE'", "change = change * 1.0", "detail = NULL", "business_id = 18446744073709551615",
		"balance_available = NULL", "signature = 'x'", "market_price = NULL", "business = ''"},
	"deposits":           {"user_id = user_id + 100000", "asset = 'NONE'", "change = change * 1.0", "detail = NULL", "balance = 0", "business = ''"},
	"withdrawals":        {"user_id = user_id + 100000", "asset = 'NONE'", "change = change * 1.0", "signature = NULL"},
	"internal_transfers": {"user_from = user_from + 100000", "asset = 'NONE'", "amount = amount * 1.0", "user_to = 0"},
	"users":              {"user_id = user_id + 100000", "l1_address = ''"},
}

// row is where a row of a table stands.
type row struct {
	ctid  string
	table uint32
}

// rows lists where a table's rows stand, in the order of their positions.
func (s *scene) rows(table string) []row {
	s.t.Helper()
	found, err := s.conn.Query(s.t.Context(), "SELECT ctid::text, tableoid FROM dingir."+table+" ORDER BY src_topic, src_partition, src_offset")
	if err != nil {
		s.t.Fatal(err)
	}
	list, err := pgx.CollectRows(found, func(r pgx.CollectableRow) (w row, err error) { return w, r.Scan(&w.ctid, &w.table) })
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}
