package compat_test

import (
	"strings"
	"testing"
	"time"
)

// Enough rows, over eight chunks, that reading a whole chunk is dearer than an
// index, and skewed: half of the closed orders are user 7's.
const busyWeek = `
INSERT INTO dingir.trades (time, trade_id, market, price, amount, quote_amount, taker_side, ask_user_id, ask_order_id,
    ask_fee, bid_user_id, bid_order_id, bid_fee, content_hash, src_topic, src_partition, src_offset)
SELECT '2024-01-15Z'::timestamptz + i * interval '15 s', i, 'M' || i % 8, 100, 1, 100, 'bid', i % 1000, 2 * i, 0, i % 999, 2 * i + 1, 0, i, 1, 0, i
  FROM generate_series(1, 40000) i;
INSERT INTO dingir.order_events (time, order_id, event, market, user_id, side, type, price, amount, remain, content_hash, src_topic, src_partition, src_offset)
SELECT '2024-01-15Z'::timestamptz + i * interval '10 s', i / 2, (array['PUT', 'FINISH'])[1 + i % 2], 'M' || i % 8,
       CASE i / 2 % 2 WHEN 0 THEN 7 ELSE i / 2 % 1000 END, 'ask', 'limit', 100, 1, 0, i, 1, 0, i
  FROM generate_series(1, 60000) i;
INSERT INTO dingir.users (registered_at, user_id, l1_address, l2_pubkey, content_hash, src_topic, src_partition, src_offset)
SELECT '2024-01-15Z', i, '0x' || i, '0x0' || i, i, 1, 0, i FROM generate_series(1, 5000) i;
ANALYZE dingir.trades; ANALYZE dingir.order_events; ANALYZE dingir.users`

// A route may read what it asks for, in every chunk if need be, but no chunk
// from end to end.
func TestRoutesUseIndexes(t *testing.T) {
	conn := connect(t)
	run(t, conn, busyWeek)
	day := func(day int) time.Time { return time.Date(2024, 1, day, 0, 0, 0, 0, time.UTC) }
	tests := map[string]struct {
		index string
		sql   string
		args  []any
	}{
		"recenttrades":                    {"trades_compat_", recentTrades, []any{"M3"}},
		"recenttrades of a quiet market":  {"trades_compat_market", recentTrades, []any{"QUIET"}},
		"ordertrades, asks":               {"trades_ask_order", orderTrades, []any{"M3", int64(4000)}},
		"ordertrades, bids":               {"trades_bid_order", orderTrades, []any{"M3", int64(4001)}},
		"closedorders":                    {"order_events_compat_closed", closedOrders, []any{int32(13)}},
		"closedorders of a market":        {"order_events_compat_closed", closedOrdersOfMarket, []any{"M3", int32(13)}},
		"closedorders' total":             {"order_events_compat_closed", countOrders, []any{int32(13)}},
		"closedorders' total of a market": {"order_events_compat_closed", countOrdersOfMarket, []any{"M3", int32(13)}},
		"user by id":                      {"users_compat_id", user, []any{int32(5), "5"}},
		"user by address":                 {"users_compat_l1_address", user, []any{int32(-1), "0x5"}},
		"user by key":                     {"users_compat_l2_pubkey", user, []any{int32(-1), "0x05"}},
		"ticker":                          {"trades_compat_", ticker, []any{"M3", day(21)}},
		"candles":                         {"trades_compat_", candles, []any{time.Hour, "M3", day(17), day(18)}},
		"candles' trade before":           {"trades_compat_time", tradeBefore, []any{day(18)}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := plan(t, conn, test.sql, test.args...)
			if !strings.Contains(got, test.index) || strings.Contains(got, "Seq Scan") {
				t.Errorf("want index %s and no Seq Scan in\n%s", test.index, got)
			}
		})
	}
}
