package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/testenv"
)

// Every table's row comes back as what was put in: amounts with their digits,
// times to the µs, absent fields as NULL.
func TestRowsComeBackAsTheyWere(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.trades", 3, 0)
	src := func(offset, hash int64) Source { return Source{log.TopicID, 3, offset, hash} }
	full, at := amounts[10:26], event.Micros(1_700_000_000_123_457)
	signature := bytes.Repeat([]byte{0, 1, 254, 255}, 16)
	b := NewBatch()
	p := b.Partition(log, 0, 0)
	for offset := range int64(12) {
		b.Record(p, offset, -offset)
	}
	b.Trade(src(0, -1), &event.Trade{Time: at, ID: 1, Market: event.Text("ETH_USDT"), Price: d(full[0]), Amount: d(full[1]), QuoteAmount: d(full[2]),
		TakerSide: event.Ask, AskUserID: 4294967295, AskOrderID: 9223372036854775807, AskFee: d(full[3]), BidUserID: 0, BidOrderID: 5, BidFee: d(full[4])})
	b.Trade(src(1, 2), &event.Trade{Time: 946_684_800_000_000, ID: 2, Market: event.Text(""), Price: d("1"), Amount: d("1"), QuoteAmount: d("1"),
		TakerSide: event.Bid, AskUserID: event.NoID, AskOrderID: 1, BidUserID: event.NoID, BidOrderID: 5})
	b.Order(src(2, 3), at, &event.Order{Action: event.Finish, ID: 7, Market: event.Text("ÄÖ_日本"), UserID: 1, Side: event.Bid, Type: event.Limit, PostOnly: event.True,
		Price: d(full[5]), Amount: d(full[6]), Remain: d(full[7]), Frozen: d(full[8]), FinishedBase: d(full[9]), FinishedQuote: d(full[10]), FinishedFee: d(full[11]),
		MakerFee: d(full[12]), TakerFee: d(full[13]), CreateTime: at - 1, UpdateTime: at + 1, Signature: signature})
	b.Order(src(3, 4), at, &event.Order{Action: event.Put, ID: 8, Market: event.Text("M"), UserID: 1, Side: event.Ask, Type: event.Market, PostOnly: event.False,
		Price: d("0"), Amount: d("0.00"), CreateTime: event.NoTime, UpdateTime: event.NoTime})
	b.Order(src(4, 5), at, &event.Order{Action: event.Expired, ID: 9, Market: event.Text("M"), UserID: 1, Side: event.Ask, Type: event.Market,
		Price: d("0"), Amount: d("0"), CreateTime: event.NoTime, UpdateTime: event.NoTime})
	change := event.Balance{Time: at, UserID: 5, BusinessID: d("18446744073709551615"), Asset: event.Text("USDT"), Business: event.Text("trade"),
		MarketPrice: d(full[14]), Change: d(full[15]), Balance: d(full[0]), Available: d(full[1]), Frozen: d(full[2]), Detail: event.Text(`{"id":1}`), Signature: event.Text("sig")}
	bare := event.Balance{Time: at, UserID: 6, Asset: event.Text("USDT"), Business: event.Text("x"), Change: d("0.000"), Balance: d("1")}
	b.Balance(src(5, 6), &change)
	b.Balance(src(6, 7), &bare)
	b.Deposit(src(7, 8), &change)
	b.Withdrawal(src(8, 9), &change)
	b.Withdrawal(src(9, 10), &bare)
	b.Transfer(src(10, 11), &event.Transfer{Time: at, UserFrom: 1, UserTo: 2, Asset: event.Text("ETH"), Amount: d("0.000000")})
	b.User(src(11, 12), at, &event.User{UserID: 3, L1Address: event.Text("0x"), L2Pubkey: event.Text("")})
	r.write(b)

	for _, c := range []struct{ query, want string }{
		{"SELECT time, trade_id, market, price, amount, quote_amount, taker_side, ask_user_id, ask_order_id, ask_fee, bid_user_id, bid_order_id, bid_fee, content_hash, src_topic = 1, src_partition, src_offset FROM dingir.trades ORDER BY src_offset",
			fmt.Sprintf("2023-11-14 22:13:20.123457+00|1|ETH_USDT|%s|%s|%s|ask|4294967295|9223372036854775807|%s|0|5|%s|-1|t|3|0\n", full[0], full[1], full[2], full[3], full[4]) +
				"2000-01-01 00:00:00+00|2||1|1|1|bid|∅|1|∅|∅|5|∅|2|t|3|1\n"},
		{"SELECT time, order_id, event, market, user_id, side, type, post_only, price, amount, remain, frozen, finished_base, finished_quote, finished_fee, maker_fee, taker_fee, create_time, update_time, encode(signature, 'hex') FROM dingir.order_events ORDER BY src_offset",
			"2023-11-14 22:13:20.123457+00|7|FINISH|ÄÖ_日本|1|bid|limit|t|" + strings.Join(full[5:14], "|") + "|2023-11-14 22:13:20.123456+00|2023-11-14 22:13:20.123458+00|" + fmt.Sprintf("%x", signature) + "\n" +
				"2023-11-14 22:13:20.123457+00|8|PUT|M|1|ask|market|f|0|0.00" + strings.Repeat("|∅", 10) + "\n" +
				"2023-11-14 22:13:20.123457+00|9|EXPIRED|M|1|ask|market|∅|0|0" + strings.Repeat("|∅", 10) + "\n"},
		{"SELECT user_id, business_id, asset, business, market_price, change, balance, balance_available, balance_frozen, detail, signature FROM dingir.balance_changes ORDER BY src_offset",
			"5|18446744073709551615|USDT|trade|" + strings.Join([]string{full[14], full[15], full[0], full[1], full[2]}, "|") + "|{\"id\":1}|sig\n6|∅|USDT|x|∅|0.000|1|∅|∅|∅|∅\n"},
		{"SELECT time, user_id, business_id, change, detail FROM dingir.deposits", "2023-11-14 22:13:20.123457+00|5|18446744073709551615|" + full[15] + "|{\"id\":1}\n"},
		{"SELECT user_id, business_id, change, detail, signature FROM dingir.withdrawals ORDER BY src_offset", "5|18446744073709551615|" + full[15] + "|{\"id\":1}|sig\n6|∅|0.000|∅|∅\n"},
		{"SELECT time, user_from, user_to, asset, amount, signature FROM dingir.internal_transfers", "2023-11-14 22:13:20.123457+00|1|2|ETH|0.000000|∅\n"},
		{"SELECT registered_at, user_id, l1_address, l2_pubkey FROM dingir.users", "2023-11-14 22:13:20.123457+00|3|0x|\n"},
	} {
		if got := r.text(c.query); got != c.want {
			t.Errorf("%s\ngot  %swant %s", c.query, got, c.want)
		}
	}
}

func d(text string) event.Decimal { return event.Decimal{Text: []byte(text)} }

// Amounts of every length and scale come back digit for digit.
func TestAmountsKeepTheirDigits(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.internaltransfer", 0, 0)
	b := NewBatch()
	p := b.Partition(log, 0, 0)
	for i, text := range amounts {
		b.Record(p, int64(i), int64(i))
		b.Transfer(Source{log.TopicID, 0, int64(i), int64(i)}, &event.Transfer{Time: 1e15, Asset: event.Text("A"), Amount: d(text)})
	}
	r.write(b)
	if got, want := r.text("SELECT amount FROM dingir.internal_transfers ORDER BY src_offset"), strings.Join(amounts, "\n")+"\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// text shows a query's rows as the server writes them.
func (r *rig) text(query string) string {
	r.t.Helper()
	results, err := r.conn.PgConn().Exec(r.t.Context(), query).ReadAll()
	if err != nil {
		r.t.Fatal(err)
	}
	var s strings.Builder
	for _, row := range results[0].Rows {
		for i, v := range row {
			if i > 0 {
				s.WriteByte('|')
			}
			if v == nil {
				s.WriteString("∅")
			}
			s.Write(v)
		}
		s.WriteByte('\n')
	}
	return s.String()
}

func TestRejectsKeepEveryByte(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.it's", 0, 0)
	b := NewBatch()
	p := b.Partition(log, 0, 0)
	b.Record(p, 0, 1)
	b.Reject(p, RejectedRecord{Offset: 0, Time: ClampTime(-1 << 62), Key: []byte{0, 255}, Value: []byte("\x00\xff\"'"), Reason: "why", SQLState: "22021",
		Headers: testenv.Headers(header("k", []byte{0, 255}), header("k", nil), header("", []byte{}), header("\x00\xff", []byte("v")))})
	b.Record(p, 1, 1)
	b.Reject(p, RejectedRecord{Offset: 1, Time: ClampTime(1 << 62), Reason: "tombstone"})
	r.write(b)
	want := "p.it's|0|0|0001-01-01 00:00:00+00|\\x00ff|\\x00ff2227|why|22021|∅|∅\n" +
		"p.it's|0|1|9999-12-31 23:59:59.999+00|∅|∅|tombstone|∅|∅|∅\n"
	if got := r.text(`SELECT topic, partition, "offset", record_time, key, value, reason, sqlstate, published_at, resolved_at FROM dingir.rejects ORDER BY id`); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	var got, headers any
	if err := json.Unmarshal([]byte(strings.TrimSpace(r.text("SELECT headers FROM dingir.rejects WHERE \"offset\" = 0"))), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`[{"key":"k","value":"AP8="},{"key":"k","value":null},{"key":"","value":""},{"key_base64":"AP8=","value":"dg=="}]`), &headers); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, headers) {
		t.Errorf("headers are %v, want %v", got, headers)
	}
}

func TestSplitAndJoinAreInverse(t *testing.T) {
	b := NewBatch()
	p := b.Partition(Log{"t", 1, 0}, 0, 0)
	for i := range 50 {
		add(b, p, int64(i), i)
	}
	r := &b.rows[internalTransfersTable]
	whole := bytes.Clone(r.buf)
	list := r.split(len(tables[internalTransfersTable].columns))
	r.join(list)
	if !bytes.Equal(r.buf, whole) || r.n != 50 {
		t.Fatal("splitting and joining changes the stream")
	}
	var odd []row
	for i, w := range r.split(len(tables[internalTransfersTable].columns)) {
		if src := w.source(); src.Offset != int64(i) || src.TopicID != 1 {
			t.Fatalf("row %d comes from %+v", i, src)
		}
		if i%2 == 1 {
			odd = append(odd, w)
		}
	}
	r.join(odd)
	for i, w := range r.split(len(tables[internalTransfersTable].columns)) {
		if w.source().Offset != int64(2*i+1) {
			t.Fatalf("row %d comes from %+v", i, w.source())
		}
	}
	if r.n != 25 {
		t.Errorf("%d rows, want 25", r.n)
	}
}

// One unusually big record must not hold its memory for ever.
func TestResetGivesUpABlownUpBuffer(t *testing.T) {
	b := NewBatch()
	p := b.Partition(Log{"t", 1, 0}, 0, 0)
	b.Record(p, 0, 1)
	b.Reject(p, RejectedRecord{Value: make([]byte, 20<<20), Reason: "big"})
	b.Reset()
	if n := cap(b.rows[rejectsTable].buf); n > 1<<20 {
		t.Errorf("%d bytes kept", n)
	}
	if !b.Empty() || b.Records() != 0 || b.Bytes() != 0 {
		t.Errorf("not empty after Reset: %d records, %d bytes", b.Records(), b.Bytes())
	}
}
