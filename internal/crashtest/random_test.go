package crashtest

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/harness"
)

// TestRandomKills kills one of two processes whenever a random amount of work
// has been done.
func TestRandomKills(t *testing.T) {
	t.Parallel()
	kills, records := sized(5, 50), sized(60_000, 1_000_000)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))

	s := newScene(t, harness.New(t))
	s.supply(records / 2)
	processes := []*harness.Process{s.Start(smallBatches, manySnapshots), s.Start(smallBatches)}
	conn := s.Connect()
	done := func() (sum int64) {
		for _, next := range s.Ledger(conn) {
			sum += next
		}
		return sum
	}
	for kill := range kills {
		s.supply(records / 2 / kills)
		target := done() + random.Int64N(int64(records/2/kills))
		harness.Until(t, drainTime, "more is stored", func() bool { return done() >= target })
		i := random.IntN(len(processes))
		processes[i].Kill()
		if code := processes[i].Wait(10 * time.Second); code != -1 {
			t.Errorf("kill %d: exit code %d", kill, code)
		}
		processes[i] = s.Start(smallBatches, manySnapshots)
	}
	s.settle(processes...)
}
