package crashtest

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/harness"
)

// TestStateTakenOver kills the process that has the exchange's state, of two,
// while it is at work: the other restores it and goes on.
func TestStateTakenOver(t *testing.T) {
	t.Parallel()
	s := newScene(t, harness.New(t))
	processes := []*harness.Process{s.Start(smallBatches, manySnapshots), s.Start(smallBatches, manySnapshots)}
	conn := s.Connect()
	unify := harness.Place{Topic: s.Prefix + "unifyevents"}
	hits, most := 0, sized(3, 30)
	for try := 0; hits < most; try++ {
		if try > 5*most {
			t.Fatalf("%d kills, only %d of them of a process that had the state and work to do", try, hits)
		}
		before := s.Ledger(conn)[unify]
		s.supply(4000)
		owner := -1
		harness.Until(t, drainTime, "somebody has the state, and goes on", func() bool {
			owner = s.keeper(processes)
			return owner >= 0 && s.Ledger(conn)[unify] > before
		})
		processes[owner].Kill()
		if code := processes[owner].Wait(10 * time.Second); code != -1 {
			t.Errorf("exit code %d", code)
		}
		if s.behind(conn, unify) {
			hits++
		}
		s.account()
		other := 1 - owner
		harness.Until(t, drainTime, "the other has the state", func() bool { return s.keeper(processes[other:other+1]) == 0 })
		processes[owner] = s.Start(smallBatches, manySnapshots)
	}
	s.settle(processes...)
}

// keeper is which of the processes has the state; -1 if none.
func (s *scene) keeper(processes []*harness.Process) int {
	s.t.Helper()
	for i, p := range processes {
		if p.Running() && p.Status().State != nil {
			return i
		}
	}
	return -1
}

func (s *scene) behind(conn *pgx.Conn, place harness.Place) bool {
	s.t.Helper()
	_, end := s.Offsets()
	return s.Ledger(conn)[place] < end[place]
}
