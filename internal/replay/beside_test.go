package replay_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/harness"
)

// damage alters and deletes many rows of every table of records, and forges one
// in each.
func (s *scene) damage() {
	s.t.Helper()
	for table := range clocks {
		done := s.exec("DELETE FROM dingir." + table + " WHERE src_offset % 7 = 3")
		done += s.exec("UPDATE dingir." + table + " SET " + values[table][1] + " WHERE src_offset % 7 = 5")
		s.exec("CREATE TEMP TABLE forged AS SELECT * FROM dingir." + table + " LIMIT 1")
		s.exec("UPDATE forged SET content_hash = content_hash + 9")
		done += s.exec("INSERT INTO dingir." + table + " SELECT * FROM forged")
		s.exec("DROP TABLE forged")
		if done < 4 {
			s.t.Fatalf("dingir.%s: only %d rows damaged", table, done)
		}
	}
}

// sized returns how often, in the size that was asked for (see crashtest).
func sized(small, whole int) int {
	if os.Getenv("PERSISTOR_CRASH") == "full" {
		return whole
	}
	return small
}

// Killed at any moment, a replay has changed nothing, or everything; run again
// it ends with the same rows, and leaves nothing behind.
func TestKilled(t *testing.T) {
	s := newScene(t, 5000, func(c *exchange.Config) { c.Duplicates, c.Foreign = 0.02, 0.02 })
	good := s.content()
	s.damage()
	bad := s.content()
	command := []string{"replay", "--from-earliest", "--yes", "--prune"}

	begun := time.Now()
	s.replay(3, "--dry-run")
	whole := time.Since(begun)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for hits, want := 0, sized(5, 20); hits < want; {
		p := s.Launch(nil, command...)
		moment := time.Duration(random.Int64N(int64(whole)))
		select {
		case <-time.After(moment):
		case <-t.Context().Done():
			t.Fatal("the test's time is over")
		}
		p.Kill()
		p.Wait(10 * time.Second)
		// A COMMIT under way is carried out although nobody waits for it any more.
		harness.Until(t, time.Minute, "the replay's sessions have ended", s.alone)
		if now := s.content(); maps.EqualFunc(now, good, slices.Equal) {
			// It was quicker: everything has changed. Damage it again, and aim earlier.
			s.damage()
			bad, whole = s.content(), max(moment, 50*time.Millisecond)
		} else {
			hits++
			s.same(bad, now)
		}
		if t.Failed() {
			t.Fatalf("killed after %v", moment)
		}
	}

	// With all written and nothing committed, and with all committed and nothing
	// said of it.
	for _, at := range []struct {
		failpoint string
		leaves    map[string][]string
	}{{"repaired", bad}, {"applied", good}} {
		p := s.Launch([]string{harness.Failpoint(at.failpoint, "kill", 1)}, command...)
		if code := p.Wait(time.Minute); code != -1 || !p.Hit() {
			t.Fatalf("%s: ended with %d: %s", at.failpoint, code, p.Log())
		}
		s.same(at.leaves, s.content())
	}
	s.damage()
	bad = s.content()

	// Interrupted between reading and comparing.
	p := s.Launch([]string{harness.Failpoint("staged", "stop", 1)}, command...)
	harness.Until(t, time.Minute, "it has read", p.Stopped)
	p.Term()
	p.Thaw()
	if code := p.Wait(30 * time.Second); code != 1 || !strings.Contains(p.Log(), "interrupted") {
		t.Errorf("interrupted, it ends with %d: %s", code, p.Log())
	}
	s.same(bad, s.content())
	var left int
	if err := s.conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_namespace WHERE nspname = 'dingir_replay'").Scan(&left); err != nil || left != 0 {
		t.Errorf("interrupted, it leaves its schema behind: %d, %v", left, err)
	}

	s.replay(0, "--yes", "--prune")
	s.same(good, s.content())
	s.verify()
	if err := s.conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_namespace WHERE nspname = 'dingir_replay'").Scan(&left); err != nil || left != 0 {
		t.Errorf("it leaves its schema behind: %d, %v", left, err)
	}
}

// alone tells whether no other client is connected to the database.
func (s *scene) alone() bool {
	var others int
	if err := s.conn.QueryRow(context.Background(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
		AND backend_type = 'client backend' AND pid <> pg_backend_pid()`).Scan(&others); err != nil {
		s.t.Fatal(err)
	}
	return others == 0
}

// The second of two is told, and the first does not notice.
func TestTwoAtOnce(t *testing.T) {
	s := newScene(t, 500, nil)
	first := s.Launch([]string{harness.Failpoint("staged", "stop", 1)}, "replay", "--from-earliest", "--dry-run")
	harness.Until(t, 20*time.Second, "the first is in the middle", first.Stopped)
	code, output := s.Command("replay", "--from-earliest", "--dry-run", "--log-level", "error")
	if code != 1 || !strings.Contains(output, "another replay works on this database") {
		t.Errorf("the second ends with %d: %s", code, output)
	}
	first.Thaw()
	if code := first.Wait(time.Minute); code != 0 {
		t.Errorf("the first ends with %d: %s", code, first.Log())
	}
}

// The daemon stores what comes while a replay reads, compares and repairs, and
// is at the end of the topics soon after.
func TestBesideTheDaemon(t *testing.T) {
	s := newScene(t, 2000, func(c *exchange.Config) { c.Duplicates = 0.02 })
	s.damage()
	daemon := s.Start()
	x := s.Exchange(func(c *exchange.Config) { c.Seed, c.Duplicates = 2, 0.02 })
	stopped := s.Launch([]string{harness.Failpoint("staged", "stop", 1)}, "replay", "--from-earliest", "--yes", "--prune")
	for !stopped.Stopped() && stopped.Running() {
		s.ProduceExchange(x, 50)
	}
	if !stopped.Stopped() {
		t.Fatalf("the replay has ended: %s", stopped.Log())
	}
	s.ProduceExchange(x, 1000)
	s.WaitDrained(time.Minute) // while the replay stands between reading and comparing
	stopped.Thaw()
	for stopped.Running() {
		s.ProduceExchange(x, 50)
	}
	if code := stopped.Wait(time.Minute); code != 0 {
		t.Fatalf("the replay ends with %d: %s", code, stopped.Log())
	}
	s.WaitDrained(time.Minute)
	if code, body := daemon.Ready(); code != 200 {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if again := s.replay(0, "--dry-run"); again.Differences != 0 {
		t.Errorf("afterwards: %+v", again)
	}
	daemon.Term()
	if code := daemon.Wait(30 * time.Second); code != 0 {
		t.Errorf("the daemon ends with %d", code)
	}
	if strings.Contains(daemon.Log(), "partition halted") {
		t.Error("the daemon halted a partition")
	}
	if list := s.Account(); len(list) > 0 {
		t.Errorf("%d violations, the first: %s", len(list), list[0])
	}
	s.verify()
}
