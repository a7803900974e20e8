package ingest_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/thaliumx/persistor/internal/harness"
)

// What a former owner commits while we begin, and wait for it, counts as there.
func TestIdsOfAFormerOwnersLastBatch(t *testing.T) {
	s := newScene(t)
	const only = "PERSISTOR_TOPICS=registeruser"
	first := s.Start(only)
	s.Produce(user(0, 1))
	s.until("the topic is in the ledger", func() bool { return s.count("SELECT count(*) FROM dingir.users") == 1 })
	first.Term()
	first.Wait(patience)

	former := s.Start(only, harness.Failpoint("counted", "stop", 1))
	// Else it may freeze while it takes up another partition, and the new owner waits for that one.
	s.until("the former owner works on every partition", func() bool { return strings.Count(former.Log(), "partition in work") == 3 })
	s.Produce(user(0, 7))
	s.until("the former owner freezes within its transaction", func() bool { return former.Hit() && former.Stopped() })
	next := s.Start(only)
	s.until("the new owner waits for the ledger", func() bool {
		return s.count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") > 0
	})
	former.Thaw()
	s.until("the former's batch is stored", func() bool { return s.count("SELECT count(*) FROM dingir.users") == 2 })
	former.Kill() // before it is a member again, which would begin anew
	changed := user(0, 7)
	changed.Value = bytes.Replace(changed.Value, []byte(`"0x"`), []byte(`"0xff"`), 1)
	s.Produce(changed)
	s.until("all are stored", func() bool { return s.count("SELECT count(*) FROM dingir.users") == 3 })
	// It counts what it has committed a moment later.
	counted := func() int { n, _, _ := outcomes(next); return n }
	s.until("the new owner has counted it", func() bool { return counted() > 0 })
	if n := counted(); n != 1 {
		t.Fatalf("the new owner stored %v records, want the last one: the former's batch did not get through", n)
	}
	s.until("the conflict is counted", func() bool { n, _ := next.Metric("persistor_conflicts_total"); return n == 1 })
}
