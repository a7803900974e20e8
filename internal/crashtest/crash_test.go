// Package crashtest ends, freezes and cuts off the daemon in every window in
// which that could lose or double a record, and compares what is stored then
// with what is on the topics. Each fault is proven to have happened.
//
// The whole size (`make crash`) hits each window some twenty times, the small
// one, which every run of the tests includes, a few times.
package crashtest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/harness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.Cleanup(harness.Exit)) }

// sizeVariable asks for the whole size with the value "full".
const sizeVariable = "PERSISTOR_CRASH"

// sized returns how often, or how much, in the size that was asked for.
func sized(small, whole int) int {
	if os.Getenv(sizeVariable) == "full" {
		return whole
	}
	return small
}

// patienceVariable shortens drainTime, for a program that will never be done.
const patienceVariable = "PERSISTOR_CRASH_PATIENCE"

// drainTime includes a dead member's session of 6 s and a busy machine.
var drainTime = func() time.Duration {
	if d, err := time.ParseDuration(os.Getenv(patienceVariable)); err == nil {
		return d
	}
	return 2 * time.Minute
}()

// scene is a site with an exchange that keeps it supplied.
type scene struct {
	*harness.Site
	t     *testing.T
	trade *exchange.Exchange
	bad   int
}

func newScene(t *testing.T, s *harness.Site) *scene {
	t.Helper()
	// Its operations come from each test's own seed, and include what is a
	// duplicate or a reject.
	x := s.Exchange(func(c *exchange.Config) {
		c.Duplicates, c.Foreign = 0.02, 0.02
	})
	return &scene{Site: s, t: t, trade: x}
}

// supply produces records, some of them no messages at all.
func (s *scene) supply(records int) {
	s.t.Helper()
	for range 3 {
		s.bad++
		bad := fmt.Appendf(nil, "no message %d", s.bad)
		s.Produce(
			harness.Record{Topic: "trades", Partition: int32(s.bad % 6), Key: []byte{}, Value: bad},
			harness.Record{Topic: "unifyevents", Key: []byte("deposits"), Value: bad})
	}
	s.ProduceExchange(s.trade, records)
}

// begin has a process enter all partitions in the ledger.
func (s *scene) begin() {
	s.t.Helper()
	s.supply(500)
	p := s.Start()
	s.WaitDrained(drainTime)
	p.Term()
	p.Wait(30 * time.Second)
}

// account fails the test where the accounting does not hold just now.
func (s *scene) account() {
	s.t.Helper()
	list := s.Account()
	if len(list) == 0 {
		return
	}
	s.t.Errorf("accounting violated in %d places:", len(list))
	for _, v := range list[:min(len(list), 10)] {
		s.t.Log(v)
	}
	s.t.FailNow()
}

// settle has a process of the given ones, or a new one, drain the topics, ends
// them all in peace and looks at the outcome.
func (s *scene) settle(running ...*harness.Process) {
	s.t.Helper()
	if len(running) == 0 {
		running = append(running, s.Start())
	}
	s.WaitDrained(drainTime)
	for _, p := range running {
		p.URL() // before that it may not have come to listen for signals
		p.Term()
	}
	for _, p := range running {
		if code := p.Wait(30 * time.Second); code != 0 {
			s.t.Errorf("exit code %d after SIGTERM", code)
		}
	}
	s.account()
	if code, output := s.Command("verify"); code != 0 {
		s.t.Errorf("verify ends with exit code %d:\n%s", code, output)
	}
}

// smallBatches makes many transactions of few records.
const smallBatches = "PERSISTOR_BATCH_RECORDS=200"

// manySnapshots has the state kept as a whole often, so that restoring it begins
// with a snapshot.
const manySnapshots = "PERSISTOR_SNAPSHOT_RECORDS=200"
