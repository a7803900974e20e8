package verify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/harness"
)

// site is an installation whose audit asks Kafka.
type site struct {
	*harness.Site
	t    *testing.T
	conn *pgx.Conn
}

func newSite(t *testing.T) *site {
	t.Helper()
	t.Parallel()
	s := &site{Site: harness.New(t), t: t}
	s.conn = s.Connect()
	return s
}

func (s *site) store(records ...harness.Record) {
	s.t.Helper()
	daemon := s.Start()
	s.Produce(records...)
	s.WaitDrained(time.Minute)
	daemon.Term()
	if code := daemon.Wait(30 * time.Second); code != 0 {
		s.t.Fatalf("the daemon ends with %d", code)
	}
}

func (s *site) exec(sql string) {
	s.t.Helper()
	if tag, err := s.conn.Exec(s.t.Context(), sql); err != nil || tag.RowsAffected() == 0 {
		s.t.Fatalf("%s: %s, %v", sql, tag, err)
	}
}

// audit runs the command, and wants the beginnings of all that it tells.
func (s *site) audit(exit int, flags []string, differ, find []string) {
	s.t.Helper()
	code, output := s.Command(append([]string{"verify", "--format", "json", "--log-level", "error"}, flags...)...)
	var r Report
	if err := json.NewDecoder(strings.NewReader(output)).Decode(&r); err != nil || code != exit {
		s.t.Fatalf("verify ends with %d, want %d: %v: %s", code, exit, err, output)
	}
	byText := func(a, b Difference) int { return cmp.Compare(a.String(), b.String()) }
	slices.SortFunc(r.Differences, byText)
	slices.SortFunc(r.Findings, byText)
	same(s.t, "differences", r.Differences, differ)
	same(s.t, "findings", r.Findings, slices.Sorted(slices.Values(find)))
}

// change is a record of balances as the engine writes it.
func change(user int) harness.Record {
	return harness.Record{Topic: "balances", Key: []byte{}, Time: time.Now(), Value: fmt.Appendf(nil,
		`{"timestamp":1795448409.0,"user_id":%d,"business_id":1,"asset":"USDT","business":"trade","market_price":"0","change":"-100.000","balance":"900.500",`+
			`"balance_available":"900.500","balance_frozen":"0","detail":"{\"id\":1}","signature":""}`, user)}
}

// What somebody else than the engine has sent is no alteration, as long as Kafka
// can tell; and what was altered is told with the record's own word.
func TestKafkaTellsWhatARecordSays(t *testing.T) {
	s := newSite(t)
	var records []harness.Record
	for user := range 600 {
		records = append(records, change(user))
	}
	for i, other := range []struct{ old, new string }{
		{`"change":"-100.000"`, `"change":-100.000`}, {`"timestamp":1795448409.0`, `"timestamp":1795448409`},
		{`"signature":""`, `"signature":"","more":[1]`}, {`"balance":"900.500"`, `"balance" : "9005E-1"`},
	} {
		r := change(1000 + i)
		r.Value = []byte(strings.Replace(string(r.Value), other.old, other.new, 1))
		records = append(records, r)
	}
	s.store(records...)
	s.audit(0, nil, nil, nil)
	s.exec("UPDATE dingir.balance_changes SET balance = 901 WHERE user_id = 1002")
	s.exec("UPDATE dingir.balance_changes SET asset = 'BTC' WHERE user_id = 7")
	s.audit(3, nil, []string{
		"altered: dingir.balance_changes 2026-11-23T15:40:09Z topic " + s.Prefix + "balances partition 0 offset 602: balance is 901, the record says 900.500",
		"altered: dingir.balance_changes 2026-11-23T15:40:09Z topic " + s.Prefix + "balances partition 0 offset 7: asset is \"BTC\", the record says \"USDT\"",
	}, nil)

	// Without Kafka they are suspect, all of them, and it says why.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := silent.Addr().String()
	_ = silent.Close()
	suspect := []string{}
	for range 5 {
		suspect = append(suspect, "altered: dingir.balance_changes 2026-11-23T15:40:09Z topic "+s.Prefix+"balances partition 0 offset ")
	}
	s.audit(3, []string{"--kafka-brokers", nobody}, suspect, []string{"unchecked: Kafka could not be asked"})
}

// Two events that resemble each other, each on one topic only, are two: a row that
// is what its own record says was not altered.
func TestEventsThatResembleEachOther(t *testing.T) {
	s := newSite(t)
	at := time.Now().Truncate(time.Second)
	trade := func(topic string, id int, price string) harness.Record {
		return harness.Record{Topic: topic, Key: []byte("trades"), Time: at, Value: fmt.Appendf(nil,
			`{"id":%d,"timestamp":%d.0,"market":"ETH_USDT","base":"ETH","quote":"USDT","price":"%s","amount":"0.1074","quote_amount":"357.766584",`+
				`"ask_user_id":4,"ask_order_id":10,"ask_role":"TAKER","ask_fee":"0.357","bid_user_id":3,"bid_order_id":9,"bid_role":"MAKER","bid_fee":"-0.0101000"}`, id, at.Unix(), price)}
	}
	order := func(topic string, id int, price string) harness.Record {
		return harness.Record{Topic: topic, Key: []byte("orders"), Time: at, Value: fmt.Appendf(nil,
			`{"event":"PUT","order":{"id":%d,"base":"ETH","quote":"USDT","market":"ETH_USDT","type":"LIMIT","side":"BID","user":3,"post_only":false,"signature":"%0128d",`+
				`"price":"%s","amount":"0.2261","maker_fee":"0","taker_fee":"0","create_time":1795448409.055038,"remain":"0.2261","frozen":"0",`+
				`"finished_base":"0","finished_quote":"0","finished_fee":"0","update_time":1795448409.055038},"base":"ETH","quote":"USDT"}`, id, 0, price)}
	}
	s.store(
		trade("trades", 1, "3331.16"), trade("unifyevents", 2, "3331.16"),
		order("orders", 50, "3331.16"), order("unifyevents", 50, "7"),
	)
	money := []string{"negative: ETH", "negative: USDT"} // nobody has paid in
	onOneOnly := []string{"only in the log: dingir.order_events id 50 ", "only in the log: dingir.trades id 2 ",
		"only in the table: dingir.order_events id 50 ", "only in the table: dingir.trades id 1 "}
	s.audit(0, nil, nil, append(onOneOnly, money...))
	s.exec("UPDATE dingir.trades SET price = 1 WHERE trade_id = 1")
	s.audit(3, nil, []string{"altered: dingir.trades id 1 "}, []string{onOneOnly[0], onOneOnly[2], money[0], money[1]})
}

// A row that a replay has made of the event log has no record of its own besides:
// Kafka is not asked about it.
func TestARowOfTheEventLogThatWasAltered(t *testing.T) {
	s := newSite(t)
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	s.store(harness.Record{Topic: "unifyevents", Key: []byte("trades"), Time: at, Value: fmt.Appendf(nil,
		`{"id":1,"timestamp":%d.0,"market":"ETH_USDT","base":"ETH","quote":"USDT","price":"3331.16","amount":"0.1074","quote_amount":"357.766584",`+
			`"ask_user_id":4,"ask_order_id":10,"ask_role":"TAKER","ask_fee":"0.357","bid_user_id":3,"bid_order_id":9,"bid_role":"MAKER","bid_fee":"-0.0101000"}`, at.Unix())})
	if code, output := s.Command("replay", "--from-earliest", "--yes"); code != 0 {
		t.Fatalf("replay ends with %d: %s", code, output)
	}
	s.exec("UPDATE dingir.trades SET price = 1, content_hash = content_hash + 1 WHERE src_topic = (SELECT id FROM dingir.topics WHERE name LIKE '%unifyevents')")
	s.audit(3, nil, []string{"altered: dingir.trades id 1 "}, []string{"negative: ETH", "negative: USDT"})
}
