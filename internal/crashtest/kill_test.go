package crashtest

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/harness"
)

// TestKill kills the process in one window of its way from a fetched record to
// the group's offset, again and again.
func TestKill(t *testing.T) {
	for _, window := range []string{
		"fetched",   // records are in memory
		"sending",   // the ledger's moves are sent, no row
		"copied",    // all rows are sent but those of the last table
		"counted",   // all rows are there, COMMIT is not sent
		"committed", // the rows are stored, the group does not know
	} {
		t.Run(window, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, harness.New(t))
			// The state's tables are written first of all, which moves nothing.
			s.begin()
			conn := s.Connect()
			for hit := range sized(2, 20) {
				s.supply(2000)
				// Of the second round of answers some are empty.
				nth := 1 + hit%2
				if window != "fetched" {
					nth = 1 + hit%5
				}
				p := s.Start(smallBatches, manySnapshots, harness.Failpoint(window, "kill", nth))
				if code := p.Wait(drainTime); code != -1 || !p.Hit() {
					t.Fatalf("exit code %d, window hit: %v", code, p.Hit())
				}
				if len(s.Behind(conn)) == 0 {
					t.Error("all records were stored when the process was killed")
				}
				if window == "committed" && !s.groupBehind(conn) {
					t.Error("the group's offsets are where the ledger is, so this was not before they were committed")
				}
				s.account()
			}
			s.settle()
		})
	}
}

// groupBehind tells whether the ledger is ahead of the group's offset somewhere.
func (s *scene) groupBehind(conn *pgx.Conn) bool {
	offsets := s.GroupOffsets()
	for place, next := range s.Ledger(conn) {
		if committed := offsets[place]; next > committed {
			return true
		}
	}
	return false
}

// TestKillDuringRebalance kills one of two members between the coordinator's
// call to rejoin and the new assignment.
func TestKillDuringRebalance(t *testing.T) {
	t.Parallel()
	s := newScene(t, harness.New(t))
	stable := func(members int) func() bool {
		return func() bool {
			state, n := s.GroupState()
			return state == "Stable" && n == members
		}
	}
	hits, most := 0, sized(2, 20)
	for try := 0; hits < most; try++ {
		if try > 5*most {
			t.Fatalf("%d kills, only %d of them during a rebalance", try, hits)
		}
		s.supply(3000)
		victim := s.Start(smallBatches, manySnapshots)
		harness.Until(t, drainTime, "the group has one member", stable(1))
		other := s.Start(smallBatches, manySnapshots)
		if hits%2 == 1 { // the rebalance comes from leaving instead
			harness.Until(t, drainTime, "the group has two members", stable(2))
			other.Term()
		}
		// Until the members' next heartbeat, a second at most: it may be over unseen.
		want := 2 - hits%2
		harness.Until(t, drainTime, "the group rebalances", func() bool {
			state, n := s.GroupState()
			return state == "PreparingRebalance" || state == "Stable" && n == want
		})
		victim.Kill()
		// The coordinator still waits for the dead member.
		if state, _ := s.GroupState(); state == "PreparingRebalance" {
			hits++
		}
		victim.Wait(10 * time.Second)
		s.account()
		other.Kill()
		other.Wait(30 * time.Second)
	}
	s.settle()
}
