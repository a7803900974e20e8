package crashtest

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/harness"
)

// TestFrozenOwner freezes a process past its session, has another take over, and
// wakes the first: it must neither keep the second from its work nor store
// anything as the owner that it was.
func TestFrozenOwner(t *testing.T) {
	const ended = "ended the session of a former owner"
	for _, test := range []struct {
		window string
		holds  bool // the ledger's rows, in a transaction that cannot end
	}{
		{"fetched", false},
		{"sending", true},
		{"copied", true},
		{"counted", true},
		{"committed", false},
	} {
		t.Run(test.window, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, harness.New(t))
			if test.holds {
				// No duplicates: the server would end a transaction that has one, and
				// then nobody holds anything.
				s.trade = s.Exchange(func(c *exchange.Config) { c.Foreign = 0.02 })
			}
			s.begin()
			for hit := range sized(1, 20) {
				s.supply(3000)
				former := s.Start(smallBatches, manySnapshots, harness.Failpoint(test.window, "stop", 1+hit%2))
				harness.Until(t, drainTime, "the process freezes", func() bool { return former.Hit() && former.Stopped() })
				if test.holds {
					conn := s.Connect()
					harness.Until(t, drainTime, "the frozen process holds the ledger", func() bool { return s.ledgerHeld(conn) })
					conn.Close(t.Context())
				}
				s.account()

				next := s.Start(smallBatches, manySnapshots)
				s.WaitDrained(drainTime)
				if test.holds && !strings.Contains(next.Log(), ended) {
					t.Errorf("the new owner got on without having %s", ended)
				}
				s.supply(1000)
				s.WaitDrained(drainTime)
				s.account()

				conn := s.Connect()
				stood := s.Ledger(conn)
				former.Thaw()
				// It comes back as a member like any other.
				harness.Until(t, drainTime, "both are members", func() bool {
					for place, next := range s.Ledger(conn) {
						if next < stood[place] {
							t.Fatalf("accounting violated: the ledger of %s partition %d went back from %d to %d", place.Topic, place.Partition, stood[place], next)
						}
					}
					state, members := s.GroupState()
					return state == "Stable" && members == 2
				})
				conn.Close(t.Context())
				if test.window == "fetched" {
					if n, _ := former.Metric("persistor_commits_total", `result="fenced"`); n == 0 {
						t.Error("the former owner was never refused by the ledger")
					}
				}
				s.supply(1000)
				s.settle(former, next)
			}
		})
	}
}

// ledgerHeld tells whether a row of the ledger is locked.
func (s *scene) ledgerHeld(conn *pgx.Conn) bool {
	s.t.Helper()
	var all, free int
	err := conn.QueryRow(s.t.Context(), `SELECT count(*), (SELECT count(*) FROM (SELECT FROM dingir.ledger FOR UPDATE SKIP LOCKED) f)
		FROM dingir.ledger`).Scan(&all, &free)
	if err != nil {
		s.t.Fatal(err)
	}
	return free < all
}

// TestFrozenWithinSession freezes a process for less than its session, in the
// middle of a transaction: nothing happens.
func TestFrozenWithinSession(t *testing.T) {
	t.Parallel()
	s := newScene(t, harness.New(t))
	s.supply(3000)
	p := s.Start(smallBatches, manySnapshots, harness.Failpoint("copied", "stop", 3))
	harness.Until(t, drainTime, "the process freezes", func() bool { return p.Hit() && p.Stopped() })
	s.account()
	p.Thaw()
	s.settle(p)
	if code := p.Wait(time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestFrozenWhileItBegins freezes a process that enters its first partition in
// the ledger: it must not keep others from entering it.
func TestFrozenWhileItBegins(t *testing.T) {
	t.Parallel()
	s := newScene(t, harness.New(t))
	s.supply(500)
	former := s.Start(harness.Failpoint("beginning", "stop", 1))
	harness.Until(t, drainTime, "the process freezes", func() bool { return former.Hit() && former.Stopped() })
	next := s.Start()
	conn := s.Connect()
	// A session that holds something is ended by the server after 60 s only.
	harness.Until(t, 40*time.Second, "the new owner stores what there is", func() bool { return len(s.Behind(conn)) == 0 })
	conn.Close(t.Context())
	s.account()
	former.Thaw()
	s.supply(500)
	s.settle(former, next)
}
