package replay_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/harness"
)

// put is a record of an order's PUT, as it is on both topics.
func put(topic string, id int, at time.Time) harness.Record {
	return harness.Record{Topic: topic, Key: []byte("orders"), Time: at, Value: fmt.Appendf(nil,
		`{"event":"PUT","order":{"id":%d,"base":"ETH","quote":"USDT","market":"ETH_USDT","type":"LIMIT","side":"BID","user":3,"post_only":false,"signature":"%0128d",`+
			`"price":"3331.16","amount":"0.2261","maker_fee":"0","taker_fee":"0","create_time":1631097282.055038,"remain":"0.2261","frozen":"0",`+
			`"finished_base":"0","finished_quote":"0","finished_fee":"0","update_time":1631097282.055038},"base":"ETH","quote":"USDT"}`, id, 0)}
}

func (s *scene) orders(what string, want int) {
	s.t.Helper()
	if rows := s.read("to_jsonb(t)", "order_events")["order_events"]; len(rows) != want {
		s.t.Errorf("%s: %d rows, want %d: %v", what, len(rows), want, rows)
	}
}

// The engine sends an event to its own topic again and again for five minutes.
// Until then a replay does not take the record of unifyevents for the only one.
func TestAnEventThatMayStillCome(t *testing.T) {
	s := newScene(t, 0, nil)
	now := time.Now()
	old := now.Add(-7 * time.Minute)
	// A topic that nobody sends to gets no twin.
	s.store(put("unifyevents", 1, now), put("unifyevents", 2, old))
	if report := s.replay(3, "--dry-run"); report.Differences != 2 {
		t.Errorf("%+v, want both missing", report)
	}
	s.store(put("unifyevents", 3, old), put("orders", 3, old))
	report := s.replay(0, "--yes")
	if have := s.table(report, "order_events"); have.Missing != 1 || report.Differences != 1 {
		t.Errorf("%+v, want the old one missing only", have)
	}
	s.orders("while it may come", 2)
	s.store(put("orders", 1, now.Add(time.Second)))
	s.orders("it came", 3)
	if last := s.replay(0, "--dry-run"); last.Differences != 0 {
		t.Errorf("afterwards: %+v", last)
	}
	s.verify()
	// One behind it has its twin behind it, or never.
	s.store(put("unifyevents", 4, now))
	if report := s.replay(3, "--dry-run"); report.Differences != 1 {
		t.Errorf("%+v, want the new one missing", report)
	}
}

// Where records of the event's own topic have expired, its own may be among them,
// if it is not much later than what is left.
func TestARecentEventThatHasExpired(t *testing.T) {
	s := newScene(t, 0, nil)
	now := time.Now()
	s.store(put("unifyevents", 1, now), put("orders", 1, now))
	s.expire(1, "orders")
	good := s.content()
	s.exec("UPDATE dingir.order_events SET price = 1")
	if report := s.replay(0, "--yes"); s.table(report, "order_events").Different != 1 {
		t.Errorf("nothing left on the topic: %+v", report)
	}
	s.sameButPositions(good, s.content())
	// What is left is of a later time.
	s.store(put("unifyevents", 2, now.Add(2*time.Second)), put("orders", 2, now.Add(2*time.Second)))
	s.exec("DELETE FROM dingir.order_events WHERE order_id = 1")
	if report := s.replay(0, "--yes"); s.table(report, "order_events").Missing != 1 {
		t.Errorf("a later one left on the topic: %+v", report)
	}
	// Or of one that is long past.
	s.expire(1, "orders")
	s.store(put("orders", 3, now.Add(-3*time.Minute)))
	s.store(put("unifyevents", 3, now.Add(-3*time.Minute)), put("unifyevents", 4, now.Add(3*time.Second)))
	s.exec("DELETE FROM dingir.order_events WHERE order_id = 1")
	if report := s.replay(0, "--dry-run"); report.Differences != 0 {
		t.Errorf("an earlier one left on the topic: %+v", report)
	}
}

// Beyond the ledger a record may come behind a much later one.
func TestALaterRecordComesFirst(t *testing.T) {
	s := newScene(t, 0, nil)
	now := time.Now()
	old := now.Add(-10 * time.Minute)
	s.store(put("unifyevents", 1, old))
	s.Produce(harness.Record{Topic: "orders", Time: now, Value: []byte(`{"event":"order.created","data":{}}`)})
	s.Produce(put("orders", 1, old.Add(time.Second)))
	if report := s.replay(0, "--yes"); report.Differences != 0 {
		t.Errorf("before the ledger is there: %+v", report)
	}
	s.store()
	s.orders("all is stored", 1)
	s.verify()
}

// A double that was made so is found, and the row of the event's own record stays.
func TestADoubledEvent(t *testing.T) {
	s := newScene(t, 0, nil)
	old := time.Now().Add(-7 * time.Minute)
	s.store(put("unifyevents", 1, old), put("unifyevents", 2, old), put("orders", 2, old.Add(time.Second)))
	s.replay(0, "--yes")
	s.orders("as long as there is only the one", 2)
	if last := s.replay(0, "--dry-run"); last.Differences != 0 {
		t.Errorf("as long as there is only the one: %+v", last)
	}
	s.store(put("orders", 1, old.Add(time.Minute)))
	s.orders("it came", 3)
	report := s.replay(3, "--dry-run")
	if have := s.table(report, "order_events"); have.Surplus != 1 || report.Differences != 1 {
		t.Errorf("%+v, want one surplus", have)
	}
	// Where the row of its own is missing, the other takes its place.
	good := s.content()
	if s.exec("DELETE FROM dingir.order_events o USING dingir.topics t WHERE order_id = 1 AND t.id = o.src_topic AND t.name LIKE '%orders'") != 1 {
		t.Fatal("nothing deleted")
	}
	report = s.replay(0, "--yes")
	if have := s.table(report, "order_events"); have.Different != 1 || report.Differences != 1 {
		t.Errorf("%+v, want one different", have)
	}
	s.orders("the one of its own", 2)
	// And where both are there, only --prune takes it out.
	s.exec(`INSERT INTO dingir.order_events SELECT r.* FROM unnest($1::text[]) x
		CROSS JOIN LATERAL jsonb_populate_record(NULL::dingir.order_events, x::jsonb) r ON CONFLICT DO NOTHING`, good["order_events"])
	s.orders("again", 3)
	s.replay(0, "--yes", "--prune")
	s.orders("pruned", 2)
	if last := s.replay(0, "--dry-run"); last.Differences != 0 {
		t.Errorf("afterwards: %+v", last)
	}
	s.verify()
}
