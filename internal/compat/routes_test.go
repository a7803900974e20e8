package compat_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The queries are the REST API's own, character by character, but for
// internalTxs: the API leaves out the space before "limit", which PostgreSQL 15
// and newer refuse.
const (
	recentTrades = "select * from market_trade where market = $1 order by time desc limit 20"
	orderTrades  = `
    select time, user_id, trade_id, order_id,
    price, amount, quote_amount, fee
    from user_trade where market = $1 and order_id = $2 
    order by trade_id, time asc`
	closedOrders         = "select * from order_history where user_id = $1 order by id desc limit 20 offset 0"
	closedOrdersOfMarket = "select * from order_history where market = $1 and user_id = $2 order by id desc limit 20 offset 0"
	countOrders          = "select count(*) from order_history where user_id = $1"
	countOrdersOfMarket  = "select count(*) from order_history where market = $1 and user_id = $2"
	internalTxs          = `
select i.time       as time,
       af.l2_pubkey as user_from,
       at.l2_pubkey as user_to,
       i.asset      as asset,
       i.amount     as amount
from internal_tx i
inner join account af on af.id = i.user_from
inner join account at on at.id = i.user_to
where (i.user_from = $1 or i.user_to = $2) and i.time >= $3 and i.time <= $4 limit 20 offset 0`
	user   = "select * from account where id = $1 OR l1_address = $2 OR l2_pubkey = $2"
	ticker = `select first(price, time), last(price, time), max(price), min(price), 
        sum(amount), sum(quote_amount) as quote_sum from market_trade where market = $1 and time > $2`
	candles = `select time_bucket($1, time) as ts, first(price, time), 
    last(price, time), max(price), min(price), sum(amount) from market_trade 
    where market = $2 and time > $3 and time < $4
    group by ts order by ts asc`
	tradeBefore = "select time from market_trade where time < $1 order by time desc limit 1"
)

// What the engine would have sent; trade 2 and order 12 came twice, since it
// restarted in between and used their ids again.
const history = `
INSERT INTO dingir.trades (time, trade_id, market, price, amount, quote_amount, taker_side, ask_user_id, ask_order_id,
    ask_fee, bid_user_id, bid_order_id, bid_fee, content_hash, src_topic, src_partition, src_offset) VALUES
('2024-01-15 10:00:00.123456Z', 1, 'ETH_USDT', 100.50, 2, 201.00, 'bid', 1, 10, 0.1, 4294967295, 11, 0.002, 1, 1, 0, 0),
('2024-01-15 10:30:00Z', 2, 'ETH_USDT', 101.25, 1.0, 101.250, 'ask', 1, 12, 0, 2, 11, 0, 2, 1, 0, 1),
('2024-01-15 11:30:00Z', 2, 'ETH_USDT', 99, 0.5, 49.5, 'ask', 1, 12, -0.01, 2, 13, 0, 3, 1, 0, 2),
('2024-01-15 12:00:00Z', 3, 'BTC_USDT', 42500.00, 0.5, 21250.00, 'bid', NULL, 111, NULL, NULL, 222, NULL, 4, 1, 0, 3);
INSERT INTO dingir.order_events (time, order_id, event, market, user_id, side, type, post_only, price, amount, remain, frozen,
    finished_base, finished_quote, finished_fee, maker_fee, taker_fee, create_time, update_time, signature,
    content_hash, src_topic, src_partition, src_offset) VALUES
('2024-01-15 10:00Z', 10, 'PUT', 'ETH_USDT', 1, 'ask', 'limit', false, 100, 2, 2, 0, 0, 0, 0, 0, 0, '2024-01-15 10:00Z', '2024-01-15 10:00Z', NULL, 1, 1, 0, 0),
('2024-01-15 10:01Z', 10, 'FINISH', 'ETH_USDT', 1, 'ask', 'limit', false, 100, 2, 0.00, 0, 2, 201.00, 0.1, 0.001, 0.002, '2024-01-15 10:00:00.5Z', '2024-01-15 10:00:59.123456Z', '\xce6e', 2, 1, 0, 1),
('2024-01-15 10:02Z', 12, 'FINISH', 'ETH_USDT', 1, 'bid', 'limit', true, 100, 2, 1.5, 50, 0.5, 50, 0, 0, 0, '2024-01-15 09:00Z', '2024-01-15 09:30Z', NULL, 3, 1, 0, 2),
('2024-01-15 11:02Z', 12, 'FINISH', 'BTC_USDT', 1, 'bid', 'market', false, 0, 3, 3, 0, 0, 0, 0, 0, 0, '2024-01-15 11:00Z', '2024-01-15 11:01Z', NULL, 4, 1, 0, 3),
('2024-01-15 11:03Z', 12, 'FINISH', 'ETH_USDT', 2, 'bid', 'limit', false, 7, 3, 3, 0, 0, 0, 0, 0, 0, '2024-01-15 11:00Z', '2024-01-15 11:01Z', NULL, 5, 1, 0, 4),
('2024-01-15 11:04Z', 14, 'EXPIRED', 'ETH_USDT', 1, 'ask', 'limit', NULL, 8, 3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 6, 1, 0, 5),
('2024-01-15 11:05Z', 15, 'UPDATE', 'ETH_USDT', 1, 'ask', 'limit', false, 8, 3, 1, 0, 2, 16, 0, 0, 0, '2024-01-15 11:00Z', '2024-01-15 11:01Z', NULL, 7, 1, 0, 6),
('2024-01-15 11:06Z', 16, 'FINISH', 'ETH_USDT', 4294967295, 'ask', 'limit', false, 8, 3, 0, 0, 3, 24, 0, 0, 0, '2024-01-15 11:00Z', '2024-01-15 11:01Z', NULL, 8, 1, 0, 7);
INSERT INTO dingir.users (registered_at, user_id, l1_address, l2_pubkey, content_hash, src_topic, src_partition, src_offset) VALUES
('2024-01-15 09:00Z', 1, '0xa', '0xb', 1, 1, 0, 0),
('2024-01-15 09:01Z', 2, '0xold', '0xolder', 2, 1, 0, 1),
('2024-01-15 09:02Z', 2, '0xc', '0xd', 3, 1, 0, 2),
('2024-01-15 09:02Z', 2, '0xtie', '0xlost', 4, 1, 0, 1),
('2024-01-15 09:03Z', 4294967295, '0xe', '0xf', 5, 1, 0, 3);
INSERT INTO dingir.internal_transfers (time, user_from, user_to, asset, amount, signature, content_hash, src_topic, src_partition, src_offset) VALUES
('2024-01-15 10:00:00.239939Z', 1, 2, 'USDT', 1000.0, 'ad4b', 1, 1, 0, 0),
('2024-01-15 10:01Z', 2, 1, 'ETH', 0.000000, NULL, 2, 1, 0, 1),
('2024-01-16 10:01Z', 2, 1, 'ETH', 1, '', 3, 1, 0, 2);
INSERT INTO dingir.balance_changes (time, user_id, business_id, asset, business, market_price, change, balance,
    balance_available, balance_frozen, detail, signature, content_hash, src_topic, src_partition, src_offset) VALUES
('2024-01-15 10:00Z', 1, 18446744073709551615, 'ETH', 'ünï', 0, -1.50, 3, 2, 1, '{"id":1}', 'ab"', 1, 1, 0, 0),
('2024-01-15 10:01Z', 1, 9223372036854775808, 'ETH', 'trade', 0, 1, 3, 2, 1, '{"id":1}', '', 2, 1, 0, 1),
('2024-01-15 10:02Z', 1, 9223372036854775807, 'ETH', 'trade', 0, 1, 3, 2, 1, '{"id":1}', '', 3, 1, 0, 2),
('2024-01-15 10:03Z', 1, NULL, 'ETH', 'trade', NULL, 1, 3, NULL, NULL, NULL, NULL, 4, 1, 0, 3);`

// none is how the engine says that an order is not signed.
var none = `\x` + strings.Repeat("00", 64)

func TestRoutes(t *testing.T) {
	conn := connect(t)
	run(t, conn, history)
	at := func(clock string) time.Time {
		when, err := time.Parse("2006-01-02 15:04", "2024-01-15 "+clock)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	tests := map[string]struct {
		sql  string
		args []any
		want [][]string
	}{
		"recenttrades": {recentTrades, []any{"ETH_USDT"}, [][]string{
			{"2024-01-15 11:30:00", "ETH_USDT", "2", "99", "0.5", "49.5", "ask"},
			{"2024-01-15 10:30:00", "ETH_USDT", "2", "101.25", "1.0", "101.250", "ask"},
			{"2024-01-15 10:00:00.123456", "ETH_USDT", "1", "100.50", "2", "201.00", "bid"},
		}},
		"ordertrades of a bid": {orderTrades, []any{"ETH_USDT", int64(11)}, [][]string{
			{"2024-01-15 10:00:00.123456", "-1", "1", "11", "100.50", "2", "201.00", "0.002"},
			{"2024-01-15 10:30:00", "2", "2", "11", "101.25", "1.0", "101.250", "0"},
		}},
		"ordertrades of an ask, its trade's id used twice": {orderTrades, []any{"ETH_USDT", int64(12)}, [][]string{
			{"2024-01-15 10:30:00", "1", "2", "12", "101.25", "1.0", "101.250", "0"},
			{"2024-01-15 11:30:00", "1", "2", "12", "99", "0.5", "49.5", "-0.01"},
		}},
		"ordertrades in another market": {orderTrades, []any{"BTC_USDT", int64(11)}, nil},
		"ordertrades without users":     {orderTrades, []any{"BTC_USDT", int64(222)}, [][]string{{"2024-01-15 12:00:00", "0", "3", "222", "42500.00", "0.5", "21250.00", "0"}}},
		"closedorders of all markets": {closedOrders, []any{int32(1)}, [][]string{
			{"14", "2024-01-15 11:04:00", "2024-01-15 11:04:00", "1", "ETH_USDT", "limit", "ask", "8", "3", "0", "0", "0", "0", "0", "expired", "f", none},
			{"12", "2024-01-15 11:00:00", "2024-01-15 11:01:00", "1", "BTC_USDT", "market", "bid", "0", "3", "0", "0", "0", "0", "0", "cancelled", "f", none},
			{"10", "2024-01-15 10:00:00.5", "2024-01-15 10:00:59.123456", "1", "ETH_USDT", "limit", "ask", "100", "2", "0.002", "0.001", "2", "201.00", "0.1", "filled", "f", `\xce6e`},
		}},
		"closedorders of a market": {closedOrdersOfMarket, []any{"BTC_USDT", int32(1)}, [][]string{
			{"12", "2024-01-15 11:00:00", "2024-01-15 11:01:00", "1", "BTC_USDT", "market", "bid", "0", "3", "0", "0", "0", "0", "0", "cancelled", "f", none},
		}},
		"closedorders of whom the id went to": {closedOrders, []any{int32(2)}, [][]string{
			{"12", "2024-01-15 11:00:00", "2024-01-15 11:01:00", "2", "ETH_USDT", "limit", "bid", "7", "3", "0", "0", "0", "0", "0", "cancelled", "f", none},
		}},
		"closedorders' total":             {countOrders, []any{int32(1)}, [][]string{{"3"}}},
		"closedorders' total of a market": {countOrdersOfMarket, []any{"ETH_USDT", int32(1)}, [][]string{{"2"}}},
		"internal_txs": {internalTxs, []any{int32(1), int32(1), at("10:00"), at("12:00")}, [][]string{
			{"2024-01-15 10:00:00.239939", "0xb", "0xd", "USDT", "1000.0"},
			{"2024-01-15 10:01:00", "0xd", "0xb", "ETH", "0.000000"},
		}},
		"user by id":            {user, []any{int32(2), "2"}, [][]string{{"2", "0xc", "0xd"}}},
		"user by address":       {user, []any{int32(-2), "0xa"}, [][]string{{"1", "0xa", "0xb"}}},
		"user by key":           {user, []any{int32(-2), "0xd"}, [][]string{{"2", "0xc", "0xd"}}},
		"user replaced":         {user, []any{int32(-2), "0xold"}, nil},
		"user above 31 bits":    {user, []any{int32(-2), "0xe"}, [][]string{{"-1", "0xe", "0xf"}}},
		"ticker":                {ticker, []any{"ETH_USDT", at("10:15")}, [][]string{{"101.25", "99", "101.25", "99", "1.5", "150.750"}}},
		"ticker without trades": {ticker, []any{"ETH_USDT", at("12:15")}, [][]string{{"NULL", "NULL", "NULL", "NULL", "NULL", "NULL"}}},
		"candles": {candles, []any{time.Hour, "ETH_USDT", at("09:00"), at("12:00")}, [][]string{
			{"2024-01-15 10:00:00", "100.50", "101.25", "101.25", "100.50", "3.0"},
			{"2024-01-15 11:00:00", "99", "99", "99", "99", "0.5"},
		}},
		"candles' trade before": {tradeBefore, []any{at("11:30")}, [][]string{{"2024-01-15 10:30:00"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got, _ := rows(t, conn, test.sql, test.args...); !reflect.DeepEqual(got, test.want) {
				t.Errorf("\n got %q\nwant %q", got, test.want)
			}
		})
	}
}

// No route reads these columns; whoever does finds what the engine's own writer
// would have put there.
func TestColumnsBeyondTheRoutes(t *testing.T) {
	conn := connect(t)
	run(t, conn, history)
	tests := map[string]struct {
		sql  string
		want [][]string
	}{
		"sides and roles": {"SELECT trade_id, order_id, counter_order_id, side, role, counter_order_fee FROM user_trade WHERE time < '2024-01-15 11:00' ORDER BY 1, 2", [][]string{
			{"1", "10", "11", "0", "1", "0.002"}, {"1", "11", "10", "1", "2", "0.1"},
			{"2", "11", "12", "1", "1", "0"}, {"2", "12", "11", "0", "2", "0"},
		}},
		"unsigned business ids": {"SELECT business_id, business, market_price, change, balance_available, detail, signature FROM balance_history ORDER BY time", [][]string{
			{"-1", "ünï", "0", "-1.50", "2", `{"id":1}`, `\x616222`},
			{"-9223372036854775808", "trade", "0", "1", "2", `{"id":1}`, `\x`},
			{"9223372036854775807", "trade", "0", "1", "2", `{"id":1}`, `\x`},
			{"NULL", "trade", "NULL", "1", "NULL", "NULL", `\x`},
		}},
		"signatures of transfers": {"SELECT user_from, user_to, signature FROM internal_tx ORDER BY time", [][]string{
			{"1", "2", `\x61643462`}, {"2", "1", `\x`}, {"2", "1", `\x`},
		}},
		"one account a user": {"SELECT id, l1_address FROM account ORDER BY 1", [][]string{{"-1", "0xe"}, {"1", "0xa"}, {"2", "0xc"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got, _ := rows(t, conn, test.sql); !reflect.DeepEqual(got, test.want) {
				t.Errorf("\n got %q\nwant %q", got, test.want)
			}
		})
	}
}

// plan is what EXPLAIN says, one line a row.
func plan(t *testing.T, conn *pgx.Conn, sql string, args ...any) string {
	t.Helper()
	lines, _ := rows(t, conn, "EXPLAIN "+sql, args...)
	var text strings.Builder
	for _, line := range lines {
		text.WriteString(line[0] + "\n")
	}
	return text.String()
}
