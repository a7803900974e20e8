package ingest_test

import (
	"strings"
	"testing"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/harness"
)

// Two installations in one database have one state between them. It stays that
// of the first; the second's unifyevents is halted, and every command that has to
// do with the state says so.
func TestTwoInstallationsInOneDatabase(t *testing.T) {
	first := newScene(t)
	p := first.Start(oftenSnapshots)
	x := first.faulty()
	first.ProduceExchange(x, 2000)
	first.WaitDrained(patience)
	first.agree("at first")

	second := sceneOf(t, harness.On(t, first.DatabaseURL))
	second.ProduceExchange(second.Exchange(func(c *exchange.Config) { c.Seed = 99 }), 2000)
	q := second.Start(oftenSnapshots)
	halted := func(s *scene, p *harness.Process) func() bool {
		return func() bool {
			v, is := s.halted(p)["unifyevents/0"]
			return is && strings.Contains(v.Reason, "are those of "+s.other(first, second)+"unifyevents, not of "+s.Prefix+"unifyevents") &&
				strings.Contains(v.Remedy, "DELETE FROM dingir.state")
		}
	}
	second.until("the second's unifyevents is halted", halted(second, q))
	second.until("its other topics are stored", func() bool {
		behind := second.Behind(second.conn)
		return len(behind) == 1 && strings.HasPrefix(behind[0], second.Prefix+"unifyevents/0")
	})
	// The first goes on, also where the second's position is moved.
	second.positions(second.Prefix+"unifyevents", "0", "latest")
	if !first.stateIs("complete") {
		t.Error("the second's gap has made the first's state incomplete")
	}
	second.positions(second.Prefix+"unifyevents", "0", "earliest")
	first.ProduceExchange(x, 2000)
	first.WaitDrained(patience)
	first.agreeOn("beside the second", "state: ")

	const says = "a database of its own"
	for command, want := range map[string]int{"state --user 1": 0, "run --check": 4, "replay --from-earliest --dry-run": 0} {
		if exit, output := second.Command(strings.Fields(command)...); exit != want || !strings.Contains(output, says) {
			t.Errorf("%s ends with exit code %d, want %d, and tells of the other installation: %s", command, exit, want, output)
		}
		if exit, output := first.Command(strings.Fields(command)...); exit != 0 || strings.Contains(output, says) {
			t.Errorf("the first's %s ends with exit code %d: %s", command, exit, output)
		}
	}
	if _, output := first.Command("verify"); !strings.Contains(output, says) || strings.Contains(output, "balance: ") {
		t.Errorf("verify: %s", output)
	}
	// A repair of the second's tables leaves the state alone.
	second.Command("replay", "--from-earliest", "--yes")
	first.agreeOn("behind the second's replay", "state: ")

	// The first is given up.
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Fatalf("exit %d", exit)
	}
	first.exec("DELETE FROM dingir.state")
	second.WaitDrained(patience)
	second.agreeOn("the second has it", "state: ")
	p = first.Start()
	first.until("now the first's is halted", halted(first, p))
	second.agreeOn("the second keeps it", "state: ")
}

// other is the prefix of the other one.
func (s *scene) other(a, b *scene) string {
	if s == a {
		return b.Prefix
	}
	return a.Prefix
}
