package replay_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/harness"
	"github.com/thaliumx/persistor/internal/replay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.Cleanup(harness.Exit)) }

// scene is an installation that has stored what an exchange did.
type scene struct {
	*harness.Site
	t    *testing.T
	conn *pgx.Conn
}

// newScene lets an exchange put out so many records and the daemon store them.
func newScene(t *testing.T, records int, change func(*exchange.Config), settings ...string) *scene {
	t.Helper()
	t.Parallel() // most of the time they wait
	s := &scene{Site: harness.New(t), t: t}
	s.conn = s.Connect()
	s.ProduceExchange(s.Exchange(change), records)
	daemon := s.Start(settings...)
	s.WaitDrained(time.Minute)
	daemon.Term()
	if code := daemon.Wait(30 * time.Second); code != 0 {
		t.Fatalf("the daemon ends with %d", code)
	}
	return s
}

func (s *scene) exec(sql string, args ...any) int64 {
	s.t.Helper()
	tag, err := s.conn.Exec(s.t.Context(), sql, args...)
	if err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return tag.RowsAffected()
}

// replay runs `persistor replay --from-earliest` and reads its report.
func (s *scene) replay(exit int, flags ...string) replay.Report {
	s.t.Helper()
	code, output := s.Command(append([]string{"replay", "--from-earliest", "--format", "json", "--log-level", "error"}, flags...)...)
	if code != exit {
		s.t.Fatalf("replay %s ends with %d, want %d: %s", strings.Join(flags, " "), code, exit, output)
	}
	var report replay.Report
	if exit == 0 || exit == 3 {
		if err := json.NewDecoder(strings.NewReader(output)).Decode(&report); err != nil {
			s.t.Fatalf("%v: %s", err, output)
		}
	}
	return report
}

// table is one table of a report.
func (s *scene) table(r replay.Report, name string) replay.Table {
	s.t.Helper()
	for _, t := range r.Tables {
		if t.Name == name {
			return t
		}
	}
	s.t.Fatalf("the report has no table %s: %+v", name, r)
	return replay.Table{}
}

// verify fails the test where the audit finds anything.
func (s *scene) verify() {
	s.t.Helper()
	if code, output := s.Command("verify"); code != 0 {
		s.t.Errorf("verify ends with %d: %s", code, output)
	}
}

// content is everything in the tables of records and in the accounting, as text.
func (s *scene) content() map[string][]string {
	s.t.Helper()
	all := s.read("to_jsonb(t)", "trades", "order_events", "balance_changes", "deposits", "withdrawals", "internal_transfers", "users")
	for table, columns := range map[string]string{
		"duplicates": "to_jsonb(t) - 'noted_at'", "gaps": "to_jsonb(t) - 'noted_at'",
		"rejects": "to_jsonb(t) - 'id' - 'rejected_at' - 'published_at' - 'resolved_at'",
	} {
		all[table] = s.read(columns, table)[table]
	}
	return all
}

// read returns the rows of tables as text.
func (s *scene) read(columns string, tables ...string) map[string][]string {
	s.t.Helper()
	all := map[string][]string{}
	for _, table := range tables {
		rows, err := s.conn.Query(context.Background(), "SELECT ("+columns+")::text FROM dingir."+table+" t ORDER BY 1")
		if err != nil {
			s.t.Fatal(err)
		}
		if all[table], err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			s.t.Fatal(err)
		}
	}
	return all
}

// same compares two contents.
func (s *scene) same(before, after map[string][]string) {
	s.t.Helper()
	for table, want := range before {
		have := after[table]
		at := map[string]int{}
		for _, row := range want {
			at[row]++
		}
		for _, row := range have {
			at[row]--
		}
		shown := 0
		for row, n := range at {
			if n != 0 && shown < 5 {
				shown++
				s.t.Errorf("dingir.%s has %d more and should have %+d: %s", table, max(-n, 0), n, row)
			}
		}
	}
}
