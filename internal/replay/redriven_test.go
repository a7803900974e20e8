package replay_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/harness"
)

// transfer is a record of internaltransfer.
func transfer(amount string) harness.Record {
	return harness.Record{Topic: "internaltransfer", Key: []byte{}, Value: fmt.Appendf(nil,
		`{"time":1700000000.5,"user_from":1,"user_to":2,"asset":"ETH","amount":%q,"signature":""}`, amount)}
}

// reject has the daemon reject a record, and returns the reject's id.
func (s *scene) reject(record harness.Record) (id string) {
	s.t.Helper()
	daemon := s.Start()
	s.Produce(record)
	s.WaitDrained(time.Minute)
	daemon.Term()
	if code := daemon.Wait(30 * time.Second); code != 0 {
		s.t.Fatalf("the daemon ends with %d", code)
	}
	ids := s.read("id", "rejects")["rejects"]
	if len(ids) != 1 {
		s.t.Fatalf("rejects %v, want one", ids)
	}
	return ids[0]
}

// redriveIn redrives a reject while a replay stands in a window, and returns how
// the replay ends.
func (s *scene) redriveIn(window, id string) (exit int, log string) {
	s.t.Helper()
	p := s.Launch([]string{harness.Failpoint(window, "stop", 1)}, "replay", "--from-earliest", "--yes")
	harness.Until(s.t, time.Minute, "the replay stands", func() bool { return p.Stopped() || !p.Running() })
	if !p.Hit() {
		s.t.Fatalf("the replay has ended: %s", p.Log())
	}
	if exit, output := s.Command("rejects", "redrive", id); exit != 0 {
		s.t.Fatalf("redrive ends with %d: %s", exit, output)
	}
	p.Thaw()
	return p.Wait(time.Minute), p.Log()
}

func (s *scene) stored(what string, transfers, unresolved int) {
	s.t.Helper()
	all := s.read("resolved_at IS NULL", "rejects")["rejects"]
	n := strings.Count(strings.Join(all, " "), "true")
	if rows := len(s.read("1", "internal_transfers")["internal_transfers"]); n != unresolved || rows != transfers {
		s.t.Errorf("%s: %d transfers and %d unresolved rejects, want %d and %d", what, rows, n, transfers, unresolved)
	}
}

// An altered reject that is redriven when the comparison is over has its row,
// and does not come back.
func TestARejectRedrivenBeforeTheRepair(t *testing.T) {
	s := newScene(t, 0, nil)
	id := s.reject(transfer("much"))
	s.exec("UPDATE dingir.rejects SET value = $1", transfer("2.50").Value)
	if exit, log := s.redriveIn("compared", id); exit != 0 {
		t.Fatalf("the replay ends with %d: %s", exit, log)
	}
	s.stored("behind the replay", 1, 0)
}

// What the database refused when the replay began, and takes meanwhile, is a row
// and no reject: a replay that has read otherwise changes nothing.
func TestARefusalRedrivenWhileTheLogIsRead(t *testing.T) {
	s := newScene(t, 0, nil)
	s.exec("ALTER TABLE dingir.internal_transfers ADD CONSTRAINT few CHECK (amount < 10)")
	id := s.reject(transfer("13.50"))
	s.exec("ALTER TABLE dingir.internal_transfers DROP CONSTRAINT few")
	if exit, log := s.redriveIn("staged", id); exit != 1 || !strings.Contains(log, "1 rejects were redriven meanwhile: run it again") {
		t.Errorf("the replay ends with %d: %s", exit, log)
	}
	s.stored("behind the replay", 1, 0)
	s.replay(0, "--yes")
	s.stored("run again", 1, 0)
	s.verify()
}
