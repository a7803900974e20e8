package crashtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/harness"
	"github.com/thaliumx/persistor/internal/testenv"
)

// TestCommitUnanswered cuts the connection while the server has committed and
// not said so: it waits for a standby that does not exist.
func TestCommitUnanswered(t *testing.T) {
	t.Parallel()
	server := testenv.OwnPostgres(t)
	s := newScene(t, harness.On(t, server.Database()))
	admin, err := pgx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	execute := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	s.supply(1000)
	p := s.Start(smallBatches, manySnapshots)
	s.WaitDrained(drainTime)
	conn := s.Connect()
	// It locks a row, which is written: else its own commit could wait for the standby, for ever.
	if _, err := conn.Exec(t.Context(), "SET synchronous_commit = local"); err != nil {
		t.Fatal(err)
	}
	// unanswered has what produce produces written and its commits not answered.
	unanswered := func(produce func(), all func() bool) {
		t.Helper()
		execute("ALTER SYSTEM SET synchronous_standby_names = 'ghost'")
		execute("SELECT pg_reload_conf()")
		harness.Until(t, drainTime, "commits wait for the standby", func() bool { return hangs(t, server.URL()) })
		produce()
		polls := 0
		harness.Until(t, drainTime, "the commits of all workers wait for the standby", func() bool {
			var writing, waiting int
			err := admin.QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE wait_event = 'SyncRep') FROM pg_stat_activity
				WHERE application_name = 'persistor' AND (query LIKE 'BEGIN;SELECT dingir.advance(%' OR query = 'COMMIT') AND xact_start IS NOT NULL`).Scan(&writing, &waiting)
			if err != nil || waiting == 0 || waiting != writing {
				return false
			}
			// A worker may be caught in a batch without what is wanted: then the next round.
			polls++
			return all() || polls > 50
		})
		before, _ := p.Metric("persistor_commits_total", `result="retry"`)
		var cut int
		if err := admin.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
			WHERE application_name = 'persistor' AND wait_event = 'SyncRep'`).Scan(&cut); err != nil || cut == 0 {
			t.Fatalf("%d sessions that wait are ended: %v", cut, err)
		}
		execute("ALTER SYSTEM RESET synchronous_standby_names")
		execute("SELECT pg_reload_conf()")
		harness.Until(t, drainTime, "the process notices that its commit was not answered", func() bool {
			after, _ := p.Metric("persistor_commits_total", `result="retry"`)
			return after > before
		})
		s.WaitDrained(drainTime)
		s.account()
	}
	for range sized(3, 20) {
		unanswered(func() { s.supply(2000) }, func() bool { return s.unifyHeld(conn) })
	}
	// Each batch whose commit was not answered was found to be stored.
	if n, _ := p.Metric("persistor_commits_total", `result="fenced"`); n == 0 {
		t.Fatal("no commit was found to have got through")
	}
	// Ids that one of them brought with other content count.
	user := func(key string) harness.Record {
		return harness.Record{Topic: "registeruser", Key: []byte{}, Value: fmt.Appendf(nil, `{"user_id":4000000000,"l1_address":"0x","l2_pubkey":"%s"}`, key)}
	}
	s.Produce(user("0x1"))
	s.WaitDrained(drainTime)
	before, _ := p.Metric("persistor_conflicts_total")
	unanswered(func() { s.Produce(user("0x2")) }, func() bool { return true })
	harness.Until(t, drainTime, "the conflict is counted", func() bool {
		after, _ := p.Metric("persistor_conflicts_total")
		return after == before+1
	})
	s.settle(p)
}

// hangs tells whether a commit is not answered: the setting that has commits wait
// takes effect when the checkpointer comes to read it.
func hangs(t *testing.T, url string) bool {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err = conn.Exec(ctx, "SELECT pg_logical_emit_message(true, '', '')"); err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	return err != nil
}

// unifyHeld tells whether a transaction holds the ledger's row of unifyevents,
// the one partition whose archive cannot be told from a second copy by its rows.
func (s *scene) unifyHeld(conn *pgx.Conn) bool {
	s.t.Helper()
	tag, err := conn.Exec(s.t.Context(), "SELECT FROM dingir.ledger WHERE topic = $1 FOR UPDATE SKIP LOCKED", s.Prefix+"unifyevents")
	if err != nil {
		s.t.Fatal(err)
	}
	return tag.RowsAffected() == 0
}

// TestRefusedAtCommit has the server refuse transactions at their very end, when
// all rows are written.
func TestRefusedAtCommit(t *testing.T) {
	for _, test := range []struct {
		name, sqlstate string
	}{
		{"serialization failure", "40001"},
		{"deadlock", "40P01"},
		{"out of memory", "53200"},
		{"unheard of", "ZZ123"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, harness.New(t))
			conn := s.Connect()
			// A sequence is not rolled back: it counts what was refused. An
			// error that nobody knows halts a partition at the fifth time.
			refusals := 4
			_, err := conn.Exec(t.Context(), fmt.Sprintf(`
				CREATE SEQUENCE refusals;
				CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
				BEGIN
					IF nextval('public.refusals') <= %d THEN
						RAISE EXCEPTION 'refused by the test' USING ERRCODE = '%s';
					END IF;
					RETURN NULL;
				END $$;
				CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON dingir.ledger
					DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`, refusals, test.sqlstate))
			if err != nil {
				t.Fatal(err)
			}
			for round := range sized(1, 5) {
				if _, err := conn.Exec(t.Context(), "SELECT setval('refusals', 1, false)"); err != nil {
					t.Fatal(err)
				}
				s.supply(2000)
				p := s.Start(smallBatches, manySnapshots)
				s.WaitDrained(drainTime)
				var refused int
				if err := conn.QueryRow(t.Context(), "SELECT last_value FROM refusals").Scan(&refused); err != nil || refused <= refusals {
					t.Errorf("round %d: %d commits refused, want %d (%v)", round, refused, refusals, err)
				}
				// In this order: the last commit may be counted in between.
				stored, _ := p.Metric("persistor_commits_total", `result="ok"`)
				all, _ := p.Metric("persistor_commits_total")
				if all-stored < float64(refusals) {
					t.Errorf("round %d: the process counts %v refused commits", round, all-stored)
				}
				s.settle(p)
			}
		})
	}
}
