package crashtest

import (
	"testing"

	"github.com/thaliumx/persistor/internal/harness"
)

// TestDroppedRows has a trigger that somebody adds under the running process drop
// rows without an error, and takes the process, or its sessions, away when the
// server has told how many rows it took: the ledger must not be ahead of them.
func TestDroppedRows(t *testing.T) {
	for _, action := range []string{"kill", "stop"} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, harness.New(t))
			conn := s.Connect()
			execute := func(sql string) {
				t.Helper()
				if _, err := conn.Exec(t.Context(), sql); err != nil {
					t.Fatalf("%s: %v", sql, err)
				}
			}
			execute(`CREATE FUNCTION drop_some() RETURNS trigger LANGUAGE plpgsql AS $$
				BEGIN
					IF NEW.src_offset % 3 = 0 THEN RETURN NULL; END IF;
					RETURN NEW;
				END $$`)
			s.begin()
			for range sized(1, 5) {
				p := s.Start(smallBatches, manySnapshots, harness.Failpoint("dropped", action, 1))
				s.supply(500)
				s.WaitDrained(drainTime)
				execute("CREATE TRIGGER drop_some BEFORE INSERT ON dingir.order_events FOR EACH ROW EXECUTE FUNCTION drop_some()")
				s.supply(2000)
				if action == "kill" {
					if code := p.Wait(drainTime); code != -1 || !p.Hit() {
						t.Fatalf("exit code %d, window hit: %v", code, p.Hit())
					}
					s.account()
					execute("DROP TRIGGER drop_some ON dingir.order_events")
					continue
				}
				harness.Until(t, drainTime, "the process freezes", func() bool { return p.Hit() && p.Stopped() })
				execute(`SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
					WHERE application_name = 'persistor' AND datname = current_database()`)
				s.account()
				p.Thaw()
				harness.Until(t, drainTime, "the process is refused its batch again", func() bool {
					n, _ := p.Metric("persistor_commits_total", `result="unknown"`)
					return n > 0
				})
				s.account()
				execute("DROP TRIGGER drop_some ON dingir.order_events")
				s.settle(p)
			}
			s.settle()
		})
	}
}
