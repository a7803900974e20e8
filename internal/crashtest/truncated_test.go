package crashtest

import (
	"fmt"
	"testing"
	"time"

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
