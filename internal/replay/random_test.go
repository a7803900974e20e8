package replay_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/replay"
)

// Whatever is done to the tables, in any mixture, a replay makes good, and a
// second one finds nothing.
func TestRandomDamage(t *testing.T) {
	for _, expired := range []float64{0, 0.5} {
		t.Run(fmt.Sprintf("%.0f %% expired", 100*expired), func(t *testing.T) {
			s := newScene(t, 5000, func(c *exchange.Config) { c.Duplicates, c.Foreign = 0.03, 0.03 })
			if expired > 0 {
				s.expire(expired, everyTopic()...)
			}
			before, state := s.content(), s.state()
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 2))
			for range sized(1, 6) {
				for table, clock := range clocks {
					if table == "balance_changes" && expired > 0 {
						continue // nothing tells what they were
					}
					s.damageAtRandom(random, table, clock, expired > 0)
				}
				report := s.replay(0, "--yes", "--prune")
				if report.Differences == 0 {
					t.Error("no difference found")
				}
				if again := s.replay(0, "--dry-run"); again.Differences != 0 {
					t.Errorf("afterwards: %+v", interesting(again))
				}
				// A row may have changed places with its own duplicate.
				s.sameButPositions(before, s.content())
				if list := s.Account(); expired == 0 && len(list) > 0 {
					t.Errorf("%d violations, the first: %s", len(list), list[0])
				}
				s.same(state, s.state())
				s.verify()
				if t.Failed() {
					t.Fatalf("the report was %+v", interesting(report))
				}
			}
		})
	}
}

// interesting leaves out tables that do not differ.
func interesting(r replay.Report) (list []replay.Table) {
	for _, t := range r.Tables {
		if t.Missing+t.Different+t.Surplus > 0 {
			list = append(list, t)
		}
	}
	return list
}

// damageAtRandom alters, deletes and copies a tenth of a table's rows.
func (s *scene) damageAtRandom(random *rand.Rand, table, clock string, expired bool) {
	s.t.Helper()
	rows := s.rows(table)
	random.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	sets := append([]string{
		"content_hash = content_hash + 1",
		"src_offset = src_offset + 1000000", "src_offset = src_offset + 1", "src_partition = src_partition + 1", "src_topic = 99",
		"src_topic = 1 + src_topic % 8", "src_offset = 0",
	}, values[table]...)
	// The clock of an event whose record has expired is nowhere else.
	if !expired || table != "order_events" && table != "users" {
		sets = append(sets, clock+" = "+clock+" + interval '1 ms'")
	}
	for i, row := range rows[:max(len(rows)/10, 3)] {
		at := []any{row.ctid, row.table}
		const where = " WHERE ctid = $1::tid AND tableoid = $2"
		var n int64
		switch set := sets[random.IntN(len(sets))]; random.IntN(4) {
		case 0:
			n = s.exec("DELETE FROM dingir."+table+where, at...)
		case 1:
			s.exec("CREATE TEMP TABLE forged AS SELECT * FROM dingir." + table + " WHERE ctid = '" + row.ctid + "' AND tableoid = " + fmt.Sprint(row.table))
			s.exec(fmt.Sprintf("UPDATE forged SET content_hash = content_hash + %d", 1000+i))
			if random.IntN(2) == 0 {
				s.exec("UPDATE forged SET " + sets[1+random.IntN(6)])
			}
			n = s.exec("INSERT INTO dingir." + table + " SELECT * FROM forged")
			s.exec("DROP TABLE forged")
		default:
			n = s.exec("UPDATE dingir."+table+" SET "+set+where, at...)
		}
		if n != 1 {
			s.t.Fatalf("dingir.%s: %d rows damaged", table, n)
		}
	}
	s.exec("SELECT setseed($1)", random.Float64()) // so that a seed says all
	for _, note := range []string{"duplicates", "rejects"} {
		s.exec("DELETE FROM dingir." + note + " d WHERE random() < 0.1 AND EXISTS (SELECT FROM dingir.ledger l WHERE (l.topic_id, l.partition) = (d.topic_id, d.partition))" + map[bool]string{
			true: " AND false", false: "", // of those that have expired, nothing is known
		}[expired])
	}
}
