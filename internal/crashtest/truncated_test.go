package crashtest

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/thaliumx/persistor/internal/harness"
	"github.com/thaliumx/persistor/internal/httpserver"
)

// TestTruncatedLog has a log that lost its last records, which are stored, as
// after an unclean leader election, and that then grows beyond them again: the
// partition must not go on in either state. The ledger is set as if it had
// stored them, since a broker does not lose records at will.
func TestTruncatedLog(t *testing.T) {
	t.Parallel()
	s := newScene(t, harness.New(t))
	s.begin()
	s.supply(1000)
	p := s.Start()
	s.WaitDrained(drainTime)
	p.Term()
	p.Wait(30 * time.Second)

	const lost = 30
	place := harness.Place{Topic: s.Prefix + "balances", Partition: 1}
	conn := s.Connect()
	tag, err := conn.Exec(t.Context(), fmt.Sprintf(`UPDATE dingir.ledger
		SET next_offset = next_offset + %[1]d, high_offset = high_offset + %[1]d, last_offset = next_offset + %[1]d - 1, last_hash = 1
		WHERE topic = $1 AND partition = $2`, lost), place.Topic, place.Partition)
	if err != nil || tag.RowsAffected() != 1 {
		t.Fatalf("%v, %v", tag, err)
	}
	before := s.Ledger(conn)[place]

	p = s.Start()
	halted := func() (reason string) {
		for _, v := range p.Status().Partitions {
			if v.Topic != place.Topic || v.Partition != int(place.Partition) {
				continue
			}
			switch v.State { //nolint:exhaustive // of the others nothing follows yet
			case httpserver.Halted:
				return v.Reason
			case httpserver.Running:
				s.supply(1000)
				s.WaitDrained(drainTime)
				s.account()
				t.Fatal("the partition is in work, although its log has lost records")
			}
		}
		return ""
	}
	var short string
	harness.Until(t, drainTime, "the partition is halted", func() bool {
		short = halted()
		return short != ""
	})
	s.supply(1000)
	if _, end := s.Offsets(); end[place] <= before {
		t.Fatalf("the log ends at %d, not yet beyond the ledger's %d", end[place], before)
	}
	harness.Until(t, drainTime, "the partition is halted for the other records in the place of those that were lost", func() bool {
		reason := halted()
		return reason != "" && reason != short
	})
	if next := s.Ledger(conn)[place]; next != before {
		t.Errorf("the ledger went from %d to %d", before, next)
	}
	if n, found := p.Metric("persistor_halted", fmt.Sprintf("topic=%q", place.Topic), `partition="1"`); !found || n != 1 {
		t.Errorf("persistor_halted is %v", n)
	}
	p.Term()
	if code := p.Wait(30 * time.Second); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

// A broker that was away for a moment may come back with another log than the one that
// was read, and be beyond where the daemon stands before it asks again: what it has is
// compared with the ledger before more of it is stored. No broker loses records at
// will, nor one connection of many: a fake does the latter, while the group goes on,
// and the ledger is set as if another record had been stored last.
func TestRewrittenWhileItsLeaderWasAway(t *testing.T) {
	t.Parallel()
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	s := newScene(t, harness.OnBrokers(t, strings.Join(fake.ListenAddrs(), ",")))
	s.begin()
	s.supply(1000)
	p := s.Start()
	s.WaitDrained(drainTime)
	place := harness.Place{Topic: s.Prefix + "balances", Partition: 1}
	conn := s.Connect()
	before, generation := s.Ledger(conn)[place], p.Status().Group.Generation
	tag, err := conn.Exec(t.Context(), "UPDATE dingir.ledger SET last_hash = last_hash + 1 WHERE topic = $1 AND partition = $2", place.Topic, place.Partition)
	if err != nil || tag.RowsAffected() != 1 {
		t.Fatalf("%v, %v", tag, err)
	}
	var cut atomic.Int32
	const each = 4 // of three workers
	fake.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		if cut.Add(1) > 3*each {
			return nil, nil, false
		}
		fake.KeepControl()
		return nil, errors.New("its connection is cut"), true
	})
	harness.Until(t, drainTime, "the fetches are cut off", func() bool { return cut.Load() > 3*each })
	s.supply(1000)
	if _, end := s.Offsets(); end[place] <= before {
		t.Fatalf("the log ends at %d, not beyond the ledger's %d", end[place], before)
	}
	harness.Until(t, drainTime, "the partition is halted", func() bool {
		n, _ := p.Metric("persistor_halted", fmt.Sprintf("topic=%q", place.Topic), `partition="1"`)
		return n == 1 || s.Ledger(conn)[place] != before
	})
	if next := s.Ledger(conn)[place]; next != before {
		t.Errorf("the ledger went from %d to %d, on a log that is another one", before, next)
	}
	if now := p.Status().Group.Generation; now != generation {
		t.Errorf("the group has rebalanced, which compares by itself: generation %d, then %d", generation, now)
	}
}
