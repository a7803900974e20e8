package replay_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/harness"
)

// deposit is a record of a deposit, as it is on any topic.
func deposit(topic string, user int) harness.Record {
	return harness.Record{Topic: topic, Key: []byte("deposits"), Value: fmt.Appendf(nil,
		`{"timestamp":1700000000.0,"user_id":%[1]d,"business_id":7,"asset":"ETH","business":"deposit","change":"%[1]d.00","balance":"%[1]d.00","balance_available":"%[1]d.00","balance_frozen":"0","detail":"{\"id\":7}"}`, user)}
}

// store has the daemon store records.
func (s *scene) store(records ...harness.Record) {
	s.t.Helper()
	daemon := s.Start()
	if len(records) > 0 {
		s.Produce(records...)
	}
	s.WaitDrained(time.Minute)
	daemon.Term()
	if code := daemon.Wait(30 * time.Second); code != 0 {
		s.t.Fatalf("the daemon ends with %d", code)
	}
}

// A row that somebody has altered makes a hash collision of its own record, once
// that is read again. The row is still the record's: it is repaired, and the rejects
// at its position and at that of its duplicate are resolved.
func TestACollisionWithAnAlteredRow(t *testing.T) {
	s := newScene(t, 0, nil)
	s.store(deposit("deposits", 1), deposit("deposits", 2))
	s.store(deposit("deposits", 1)) // a duplicate
	good := s.content()
	s.exec("UPDATE dingir.deposits SET change = 500 WHERE user_id = 1")
	if exit, output := s.Command("positions", "set", "deposits", "0", "0", "--yes"); exit != 0 {
		t.Fatalf("positions set ends with %d: %s", exit, output)
	}
	s.store()
	if list := s.read("reason", "rejects")["rejects"]; len(list) != 2 || !strings.HasPrefix(list[0], "hash collision: ") {
		t.Fatalf("rejects %v, want two collisions", list)
	}
	report := s.replay(0, "--yes")
	if have := s.table(report, "deposits"); have.Different != 1 || have.Missing+have.Surplus != 0 {
		t.Errorf("%+v, want one different row", have)
	}
	if unresolved := s.read("resolved_at IS NULL", "rejects")["rejects"]; strings.Contains(strings.Join(unresolved, " "), "true") {
		t.Errorf("rejects are left: %v", unresolved)
	}
	after := s.content()
	delete(good, "rejects")
	s.same(good, after)
	if last := s.replay(0, "--dry-run"); last.Differences != 0 {
		t.Errorf("afterwards: %+v", last)
	}
	s.verify()
}

// The same bytes that come on another topic collide with the altered row, too.
// They stay a reject until somebody redrives it; the row's own record has its row.
func TestACollisionOnAnotherTopic(t *testing.T) {
	s := newScene(t, 0, nil)
	s.store(deposit("deposits", 1), deposit("deposits", 2))
	good := s.read("to_jsonb(t)", "deposits")
	s.exec("UPDATE dingir.deposits SET change = 500 WHERE user_id = 1")
	s.store(deposit("unifyevents", 1))
	ids := s.read("id", "rejects")["rejects"]
	if len(ids) != 1 {
		t.Fatalf("rejects %v, want one", ids)
	}
	report := s.replay(0, "--yes")
	if have := s.table(report, "deposits"); have.Different != 1 || have.Missing+have.Surplus != 0 {
		t.Errorf("%+v, want one different row", have)
	}
	s.same(good, s.read("to_jsonb(t)", "deposits"))
	if last := s.replay(0, "--dry-run"); last.Differences != 0 {
		t.Errorf("afterwards: %+v", last)
	}
	s.verify()
	if exit, output := s.Command("rejects", "redrive", ids[0]); exit != 0 {
		t.Errorf("redrive ends with %d: %s", exit, output)
	}
	if last := s.replay(0, "--dry-run"); last.Differences != 0 {
		t.Errorf("redriven: %+v", last)
	}
	s.verify()
}
