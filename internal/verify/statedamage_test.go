package verify

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

var stateTables = []string{"balances", "open_orders", "state", "state_snapshots"}

// TestDamagedState does one thing after another to the state's tables, each
// undone, and wants each told under its name, and nothing else.
func TestDamagedState(t *testing.T) {
	f := newFeed(t, func(*exchange.Config) {}).operate(3600)
	if r := f.verify(); r.Total != 0 || len(r.Findings) != 0 || r.State.Snapshots != 4 || r.State.OpenOrders == 0 {
		t.Fatalf("not clean to begin with: %v %v %+v", r.Differences, r.Findings, r.State)
	}
	var empty bytes.Buffer
	var next int64
	if err := f.conn.QueryRow(t.Context(), "SELECT max(next_offset) FROM dingir.state_snapshots").Scan(&next); err != nil {
		t.Fatal(err)
	}
	s := state.New(0)
	s.Gap(0, next-1, eventlog.Control)
	if err := s.WriteSnapshot(&empty); err != nil {
		t.Fatal(err)
	}
	const one = "user_id = 3 AND asset = 'ETH'"
	const order = "order_id = (SELECT min(order_id) FROM dingir.open_orders)"
	type damage struct {
		name, sql string
		want      []string
	}
	tests := []damage{
		{"available altered", "UPDATE dingir.balances SET available = available + 0.00000001 WHERE " + one,
			[]string{"balance: dingir.balances id 3: user 3's ETH is ", "money: ETH: the balances are "}},
		{"moved from one to another", "UPDATE dingir.balances SET available = available + CASE user_id WHEN 3 THEN 1 ELSE -1 END WHERE user_id IN (3, 4) AND asset = 'ETH'",
			[]string{"balance: dingir.balances id 3: user 3's ETH is ", "balance: dingir.balances id 4: user 4's ETH is "}},
		{"frozen altered", "UPDATE dingir.balances SET available = available - 1, frozen = frozen + 1 WHERE " + one,
			[]string{"balance: dingir.balances id 3: ", "frozen: ETH: "}},
		{"below zero", "UPDATE dingir.balances SET available = -1 WHERE " + one,
			[]string{"balance: dingir.balances id 3: ", "money: ETH: ", "negative: ETH: 1 balances "}},
		{"known altered", "UPDATE dingir.balances SET known = NOT known WHERE " + one, []string{"balance: dingir.balances id 3: "}},
		{"not a number", "UPDATE dingir.balances SET available = 'NaN' WHERE " + one, []string{"balance: dingir.balances id 3: ", "money: ETH: "}},
		{"balance deleted", "DELETE FROM dingir.balances WHERE " + one, []string{"balance: dingir.balances id 3: user 3's ETH is missing: ", "money: ETH: "}},
		{"balance forged", "INSERT INTO dingir.balances VALUES (987, true, 'ETH', 5, 0)",
			[]string{"balance: dingir.balances id 987: user 987's ETH is there: 5 available, 0 frozen; by the event log there is none", "money: ETH: "}},
		{"asset forged", "INSERT INTO dingir.balances VALUES (3, true, 'GOLD', 5, 0)", []string{"balance: dingir.balances id 3: user 3's GOLD is there", "money: GOLD: "}},
		{"order deleted", "DELETE FROM dingir.open_orders WHERE " + order, []string{"open order: dingir.open_orders id ", "frozen: "}},
		{"order forged", "INSERT INTO dingir.open_orders SELECT 987654, user_id, create_time, update_time, post_only, market, base, quote, side, type, price, amount, remain, 0, finished_base, finished_quote, finished_fee, maker_fee, taker_fee, signature FROM dingir.open_orders WHERE " + order,
			[]string{"open order: dingir.open_orders id 987654: the order is there"}},
		{"order's frozen altered", "UPDATE dingir.open_orders SET frozen = frozen + 1 WHERE " + order, []string{"open order: ", "frozen: "}},
		{"everything deleted", "TRUNCATE dingir.balances, dingir.open_orders", []string{
			"balance: ", "balance: ", "balance: ", "balance: ", "balance: ", "open order: ", "open order: ", "open order: ", "open order: ", "open order: ",
			"money: ", "money: ", "money: ", "money: "}},
		{"state deleted", "DELETE FROM dingir.state", []string{"state: dingir.state: there is no row"}},
		{"beyond the log", "UPDATE dingir.state SET next_offset = next_offset + 1", []string{"state: dingir.state before offset "}},
		{"of another beginning", "UPDATE dingir.state SET base_offset = 5", []string{"state: dingir.state before offset "}},
		{"snapshot damaged", "UPDATE dingir.state_snapshots SET data = set_byte(data, 200, get_byte(data, 200) # 1) WHERE next_offset = (SELECT max(next_offset) FROM dingir.state_snapshots)",
			[]string{"snapshot: before offset "}},
		{"first snapshot damaged", "UPDATE dingir.state_snapshots SET data = substring(data FROM 1 FOR 100) WHERE next_offset = (SELECT min(next_offset) FROM dingir.state_snapshots)",
			[]string{"snapshot: before offset "}},
		{"snapshot of another offset", "UPDATE dingir.state_snapshots SET data = (SELECT data FROM dingir.state_snapshots ORDER BY next_offset LIMIT 1) WHERE next_offset = (SELECT max(next_offset) FROM dingir.state_snapshots)",
			[]string{"snapshot: before offset "}},
		{"snapshot's time altered", "UPDATE dingir.state_snapshots SET latest_time = latest_time + interval '1 hour' WHERE next_offset = (SELECT min(next_offset) FROM dingir.state_snapshots)",
			[]string{"snapshot: before offset ", "snapshot: before offset "}}, // the next one follows from it
	}
	for _, column := range []string{"create_time", "update_time", "market", "base", "quote", "side", "type", "price", "amount", "remain",
		"finished_base", "finished_quote", "finished_fee", "maker_fee", "taker_fee", "signature", "post_only", "user_id"} {
		set := alter(column)
		switch column {
		case "base", "quote":
			set = column + " || 'x'"
		case "signature":
			set = "CASE WHEN signature IS NULL THEN '\\x01'::bytea END"
		}
		want := []string{"open order: dingir.open_orders id "}
		tests = append(tests, damage{column + " of an order altered", "UPDATE dingir.open_orders SET " + column + " = " + set + " WHERE " + order +
			" AND side = (SELECT side FROM dingir.open_orders WHERE " + order + ")", want})
	}
	for _, column := range []string{"complete", "provisional", "last_order_id", "last_trade_id", "mismatches", "latest_time"} {
		set := column + " + 1"
		switch column {
		case "complete", "provisional":
			set = "NOT " + column
		case "latest_time":
			set = column + " + interval '1 s'"
		}
		tests = append(tests, damage{column + " altered", "UPDATE dingir.state SET " + column + " = " + set, []string{"state: dingir.state before offset "}})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f.t = t
			f.damaged(stateTables, test.sql, func(r Report) {
				if first, _, _ := strings.Cut(test.name, " "); first == "base" || first == "quote" || first == "side" {
					if len(r.Differences) == 0 || r.Differences[0].Kind != OrderState { // what it holds may be the other asset
						t.Errorf("%v", r.Differences)
					}
					return
				}
				same(t, "differences", r.Differences, test.want)
				same(t, "findings", r.Findings, nil)
			})
		})
	}
	t.Run("snapshot of an empty exchange", func(t *testing.T) {
		f.t = t
		f.damaged(stateTables, "", func(Report) {
			if _, err := f.conn.Exec(t.Context(), "UPDATE dingir.state_snapshots SET data = $1 WHERE next_offset = $2", empty.Bytes(), next); err != nil {
				t.Fatal(err)
			}
			// What is rebuilt from it is wrong as well: the tables are told, too, until it is mended.
			r := f.verify()
			if len(r.Differences) == 0 || !strings.HasPrefix(r.Differences[0].String(), "snapshot: before offset ") {
				t.Errorf("%v", r.Differences)
			}
		})
	})
}

// TestLongAsset has one whose name is too long for balances, on purpose: neither
// what is deposited of it nor what an order holds is missing.
func TestLongAsset(t *testing.T) {
	f := newFeed(t, func(*exchange.Config) {}).operate(100)
	for _, length := range []int{store.LongestAsset, store.LongestAsset + 1} {
		name, id := strings.Repeat("x", length), f.state.LastOrderID()+1
		f.record(exchange.Message{Topic: topics.UnifyEvents, Key: []byte("deposits"), Time: f.last, Value: fmt.Appendf(nil,
			`{"timestamp":1795448409.0,"user_id":9,"asset":"%s","business":"deposit","change":"5","balance":"5","balance_available":"5","balance_frozen":"0","detail":"{\"id\":1}"}`, name)})
		f.record(exchange.Message{Topic: topics.UnifyEvents, Key: []byte("orders"), Time: f.last, Value: fmt.Appendf(nil,
			`{"event":"PUT","order":{"id":%d,"base":"%s","quote":"USDT","market":"X%d_USDT","type":"LIMIT","side":"ASK","user":9,"post_only":false,"price":"1","amount":"2","maker_fee":"0","taker_fee":"0","create_time":1795448409.0,"remain":"2","frozen":"0","finished_base":"0","finished_quote":"0","finished_fee":"0","update_time":1795448409.0},"base":"%s","quote":"USDT"}`, id, name, length, name)})
		f.flush()
		var balances, held int
		if err := f.conn.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM dingir.balances WHERE length(asset) > 100), (SELECT sum(frozen) FROM dingir.open_orders WHERE length(base) = $1)", length).
			Scan(&balances, &held); err != nil || balances != 1 || held != 2 {
			t.Errorf("%d bytes: %d balances, %d held, %v", length, balances, held, err)
		}
		r := f.verify()
		same(t, "differences", r.Differences, nil)
		same(t, "findings", r.Findings, nil)
		if len(r.Money) != 5 {
			t.Errorf("%d bytes: %d assets", length, len(r.Money))
		}
	}
}

// damaged does something to tables and calls fn with what an audit tells, and
// then undoes it.
func (f *feed) damaged(tables []string, sql string, fn func(Report)) {
	f.sql("CREATE SCHEMA keep")
	for _, table := range tables {
		f.sql("CREATE TABLE keep." + table + " AS TABLE dingir." + table)
	}
	defer func() {
		for _, table := range tables {
			f.sql("DELETE FROM dingir." + table + "; INSERT INTO dingir." + table + " TABLE keep." + table)
		}
		f.sql("DROP SCHEMA keep CASCADE")
	}()
	if sql != "" {
		f.sql(sql)
	}
	fn(f.verify())
}
