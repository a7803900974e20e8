package replay

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/topics"
)

// step is one statement of the comparison and what it is for.
type step struct{ what, sql string }

// compare finds, in one snapshot of the database, what differs between the live
// tables and what was read. The differences go to tables of the run's schema.
func (r *run) compare(ctx context.Context) (err error) {
	return pgx.BeginTxFunc(ctx, r.conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		// Sorts and hashes over whole tables, and nothing that compiling helps.
		if _, err := tx.Exec(ctx, "SET LOCAL work_mem = '64MB'; SET LOCAL jit = off; SET LOCAL lock_timeout = 0; SET LOCAL default_statistics_target = 10"); err != nil {
			return fmt.Errorf("begin the comparison: %w", err)
		}
		if err := r.checkLedger(ctx, tx); err != nil {
			return err
		}
		if err := r.checkRefusals(ctx, tx); err != nil {
			return err
		}
		if err := r.forget(ctx, tx); err != nil {
			return err
		}
		if err := r.writeZones(ctx, tx); err != nil {
			return err
		}
		for _, s := range r.shapes {
			r.Progress.Phase("compare "+s.Name, 0)
			if err := r.compareTable(ctx, tx, s); err != nil {
				return fmt.Errorf("compare dingir.%s: %w", s.Name, err)
			}
		}
		r.Progress.Phase("compare the accounting", 0)
		if err := r.compareNotes(ctx, tx); err != nil {
			return err
		}
		r.Progress.Phase("compare the state", 0)
		return r.compareState(ctx, tx)
	})
}

// forget takes back an earlier comparison of the same run.
func (r *run) forget(ctx context.Context, tx pgx.Tx) error {
	list := []string{"history", "dark", "rows_final", "duplicates_due", "duplicates_plan", "rejects_plan", "gaps_plan"}
	for _, s := range r.shapes {
		list = append(list, s.Name+"_groups", s.Name+"_plan", s.Name+"_final")
	}
	sql := "TRUNCATE " + Schema + ".zones"
	for _, table := range list {
		sql += "; DROP TABLE IF EXISTS " + Schema + "." + table
	}
	if _, err := tx.Exec(ctx, sql); err != nil {
		return fmt.Errorf("forget the comparison before: %w", err)
	}
	return nil
}

// checkLedger fails where somebody has moved the ledger since the range was
// fixed: what was read is then not what the ledger means any more.
func (r *run) checkLedger(ctx context.Context, tx pgx.Tx) error {
	for _, s := range r.spans {
		var next, high int64
		err := tx.QueryRow(ctx, `SELECT next_offset, high_offset FROM dingir.ledger
			WHERE topic = $1 AND partition = $2 AND topic_id = $3 AND first_offset = $4 AND moves = $5`,
			s.Topic, s.Partition, s.TopicID, s.First, s.Moves).Scan(&next, &high)
		if err == nil && next < s.Next {
			err = pgx.ErrNoRows
		}
		if err == pgx.ErrNoRows { //nolint:errorlint // as it comes from Scan, or from above
			return fmt.Errorf("the ledger of topic %s partition %d was moved meanwhile: run it again", s.Topic, s.Partition)
		}
		if err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
		s.High = high
	}
	return nil
}

// writeZones tells the database which positions can be what.
func (r *run) writeZones(ctx context.Context, tx pgx.Tx) error {
	var zones [][]any
	for _, s := range r.spans {
		home := []string{topics.TableOf(s.topic)}
		below := "expired"
		if s.unify() {
			home, below = nil, "cut"
			for _, sh := range r.shapes {
				if sh.logged {
					home = append(home, sh.Name)
				}
			}
		}
		add := func(class string, first, until int64) {
			if first < until {
				zones = append(zones, []any{s.TopicID, s.Partition, s.Topic, class, first, until, home})
			}
		}
		add(below, s.First, s.start)
		at := s.start
		for _, hole := range s.holes {
			last := min(hole[1], s.read-1)
			add("read", at, min(hole[0], s.read))
			add("expired", hole[0], last+1)
			at = max(at, last+1)
		}
		add("read", at, s.read)
		add("later", s.read, max(s.High, s.Next))
	}
	for _, sql := range []string{
		"CREATE TABLE " + Schema + ".history (topic_id smallint, home text[])",
		"CREATE TABLE " + Schema + ".dark (since timestamptz, until timestamptz)",
	} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("note the range: %w", err)
		}
	}
	copies := []struct {
		table   string
		columns []string
		rows    [][]any
	}{
		{"zones", []string{"topic_id", "partition", "topic", "class", "first", "until", "home"}, zones},
		{"dark", []string{"since", "until"}, r.darkRows()},
	}
	for _, c := range copies {
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{Schema, c.table}, c.columns, pgx.CopyFromRows(c.rows)); err != nil {
			return fmt.Errorf("note the range: %w", err)
		}
	}
	return r.writeHistory(ctx, tx)
}

func (r *run) darkRows() (rows [][]any) {
	for _, d := range r.dark {
		rows = append(rows, []any{bounded(d.from), bounded(d.until)})
	}
	return rows
}

// bounded is a timestamp in ms, or the nearest to it in years that both sides know.
func bounded(ms int64) time.Time {
	return time.UnixMicro(int64(millis(min(max(ms, -60_000_000_000_000), 250_000_000_000_000))))
}

// writeHistory lists the incarnations of topics that are no more, and which
// tables have rows of theirs: nobody can say what those should be.
func (r *run) writeHistory(ctx context.Context, tx pgx.Tx) error {
	for _, t := range topics.Consumed() {
		table := topics.TableOf(t.Name)
		if table == "" {
			continue
		}
		if err := r.history(ctx, tx, t.Name, table); err != nil {
			return err
		}
	}
	for _, s := range r.shapes {
		if s.logged {
			if err := r.history(ctx, tx, topics.UnifyEvents, s.Name); err != nil {
				return err
			}
		}
	}
	for _, name := range []string{"history", "later", "zones", "rejects", "gaps"} {
		if _, err := tx.Exec(ctx, "ANALYZE "+Schema+"."+name); err != nil {
			return fmt.Errorf("note the range: %w", err)
		}
	}
	return nil
}

func (r *run) history(ctx context.Context, tx pgx.Tx, topic, table string) error {
	var current []int16
	for _, s := range r.spans {
		current = append(current, s.TopicID)
	}
	_, err := tx.Exec(ctx, "INSERT INTO "+Schema+".history SELECT id, ARRAY[$2::text] FROM dingir.topics WHERE name LIKE '%' || $1::text AND NOT (id = ANY ($3))",
		topic, table, current)
	if err != nil {
		return fmt.Errorf("list the topics that are history: %w", err)
	}
	return nil
}

// judgedUntil is the timestamp in ms up to which unifyevents has told all there
// was: where its ledger is behind, its newest events' rows may be there already.
func (r *run) judgedUntil() int64 {
	if s := r.unifySpan(); s != nil && s.behind {
		return r.logLast - slack
	}
	return r.logLast
}

// compareTable fills a table's plan.
func (r *run) compareTable(ctx context.Context, tx pgx.Tx, s *shape) error {
	steps := []step{
		{"learn the sizes", "ANALYZE {s}"},
		{"group the records", groupSQL},
		{"learn the sizes", "ANALYZE {groups}"},
		{"make room for the differences", "CREATE TABLE {plan} (kind text, old {s}, new {s}, rank smallint, class text)"},
	}
	if s.Name == "order_events" {
		steps = append(steps, step{"match the rows", matchOrdersSQL}, step{"look for missing rows", missingHotSQL}, step{"look for missing rows", missingLogSQL})
	} else {
		steps = append(steps, step{"match the rows", matchSQL})
	}
	steps = append(steps,
		step{"learn the sizes", "ANALYZE {plan}"},
		step{"compare the rows", refineSQL},
		step{"leave out what is equal", "DELETE FROM {plan} p WHERE kind = 'both'"},
	)
	if s.documented != "" {
		steps = append(steps, step{"take the documented shape for what it says", documentedLogSQL},
			step{"take the documented shape for what it says", documentedLiveSQL})
	}
	ways := []string{pairsByPosition, pairsByHash, pairsByContent}
	if s.documented != "" {
		ways = append(ways, pairsByDocumented)
	}
	for _, pairs := range ways {
		steps = append(steps, step{"pair altered rows with their records", "CREATE TEMP TABLE pairs ON COMMIT DROP AS " + pairs},
			step{"pair altered rows with their records", pairSQL},
			step{"pair altered rows with their records", "DELETE FROM {plan} p USING pairs WHERE p.ctid = pairs.gid"},
			step{"pair altered rows with their records", "DROP TABLE pairs"})
	}
	surplus := surplusSQL
	if !s.logged {
		surplus = surplusUnloggedSQL
	}
	steps = append(steps, step{"look for surplus rows", surplus}, step{"name the missing rows", "UPDATE {plan} SET kind = 'missing' WHERE kind = 'log'"},
		step{"look for rows of one position", twiceSQL}, step{"note the positions", finalSQL}, step{"learn the sizes", "ANALYZE {final}"})
	for _, st := range steps {
		args := []any{}
		if st.sql == surplusSQL || st.sql == surplusUnloggedSQL {
			args = append(args, time.UnixMilli(min(r.UntilTime, 4_102_444_800_000)), time.UnixMilli(r.judgedUntil()))
		}
		if st.sql == groupSQL && s.clocked {
			args = append(args, r.twinBound(s.Name))
		}
		begun := time.Now()
		tag, err := tx.Exec(ctx, s.sql(st.sql), args...)
		if err != nil {
			return fmt.Errorf("%s: %w", st.what, err)
		}
		r.Log.Debug("replay: "+st.what, "table", s.Name, "rows", tag.RowsAffected(), "took", time.Since(begun).String())
	}
	return nil
}
