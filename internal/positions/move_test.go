package positions

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// begun is a partition at offset 5 of a log from 0 up to 10.
func begun() Partition {
	return Partition{Topic: "p.trades", Begun: true, Present: true, ClusterID: "c", TopicUUID: [16]byte{1}, LogStart: 0, High: 10, Group: 5,
		Ledger: store.Position{Log: store.Log{Topic: "p.trades", TopicID: 1}, First: 2, Next: 5, High: 5, LastOffset: 4, ClusterID: "c", TopicUUID: [16]byte{1}}}
}

func TestState(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Partition)
		want   string
		lag    int64
	}{
		{"ok", func(*Partition) {}, "ok", 5},
		{"not started", func(p *Partition) { p.Begun = false }, "not started", -1},
		{"missing", func(p *Partition) { p.Present = false }, "missing on Kafka", -1},
		{"unknown", func(p *Partition) { p.Err = errors.New("no leader") }, "no leader", -1},
		{"expired", func(p *Partition) { p.LogStart = 7 }, "log start is beyond the ledger", 5},
		{"truncated", func(p *Partition) { p.High = 4 }, "log ends before the ledger", -1},
		{"made again", func(p *Partition) { p.TopicUUID[0]++ }, "topic was made again", -1},
		{"another cluster", func(p *Partition) { p.ClusterID = "d" }, "another Kafka cluster", -1},
		{"reading again", func(p *Partition) { p.Ledger.High = 9 }, "reading again, up to 9", 5},
		{"group moved", func(p *Partition) { p.Group = 8 }, "somebody moved the group's offset", 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := begun()
			test.change(&p)
			if !strings.Contains(p.State(), test.want) || p.Lag() != test.lag {
				t.Errorf("%s, lag %d", p.State(), p.Lag())
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Partition)
		wish   Wish
		want   string
	}{
		{"no such partition", func(p *Partition) { p.Present = false }, Wish{Offset: "1"}, "Kafka has no topic"},
		{"no leader", func(p *Partition) { p.Err = errors.New("no leader") }, Wish{Offset: "1"}, "no leader"},
		{"no offset", func(*Partition) {}, Wish{Offset: "soon"}, "no offset"},
		{"beyond the end", func(*Partition) {}, Wish{Offset: "11"}, "not in the log"},
		{"before the start", func(p *Partition) { p.LogStart = 3 }, Wish{Offset: "2"}, "not in the log"},
		{"made again", func(p *Partition) { p.TopicUUID[0]++ }, Wish{Offset: "1", AcceptLoss: true}, "--accept-new-topic"},
		{"another cluster", func(p *Partition) { p.ClusterID = "d" }, Wish{Offset: "1"}, "--accept-new-topic"},
		{"truncated", func(p *Partition) { p.High = 3 }, Wish{Offset: "latest", AcceptNewTopic: true}, "--accept-loss"},
		{"truncated, further back", func(p *Partition) { p.High = 3 }, Wish{Offset: "1", AcceptLoss: true}, "only `latest`"},
		{"unifyevents below its archive", func(p *Partition) { p.Topic = "p.unifyevents" }, Wish{Offset: "1"}, "where its archive begins"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := begun()
			test.change(&p)
			_, err := MakePlan(p, "p.", test.wish)
			if _, ok := errors.AsType[*RefusalError](err); !ok || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// stored is a database in which the ledger stands as begun says.
func stored(t *testing.T) *pgx.Conn {
	t.Helper()
	o := store.Options{URL: testenv.Database(t), SynchronousCommit: true}
	if _, err := store.Migrate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	conn, err := store.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	p := begun()
	_, err = conn.Exec(t.Context(), "INSERT INTO dingir.topics (name, cluster_id, topic_uuid) VALUES ('p.trades', 'c', $1)", p.TopicUUID)
	if err == nil {
		_, err = conn.Exec(t.Context(), "INSERT INTO dingir.ledger (topic, partition, topic_id, first_offset, next_offset, high_offset, last_offset, last_hash) VALUES ('p.trades', 0, 1, 2, 5, 5, 4, 1)")
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestExpired(t *testing.T) {
	for _, test := range []struct{ offset, want string }{
		{"earliest", "5-6 expired"},
		{"9", "5-6 expired, 7-8 skipped"},
	} {
		t.Run(test.offset, func(t *testing.T) {
			conn := stored(t)
			p := begun()
			p.LogStart = 7
			w := Wish{Offset: test.offset}
			plan, err := MakePlan(p, "p.", w)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = Move(t.Context(), conn, plan, "p.", w); err != nil {
				t.Fatal(err)
			}
			var gaps string
			err = conn.QueryRow(t.Context(), "SELECT string_agg(format('%s-%s %s', first_offset, last_offset, reason), ', ' ORDER BY first_offset) FROM dingir.gaps").Scan(&gaps)
			if err != nil || gaps != test.want {
				t.Errorf("%s, want %s; %v", gaps, test.want, err)
			}
		})
	}
}

// TestMovedMeanwhile plans a move forward, which the daemon makes one back.
func TestMovedMeanwhile(t *testing.T) {
	conn := stored(t)
	w := Wish{Offset: "7"}
	plan, err := MakePlan(begun(), "p.", w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "SELECT dingir.advance('p.trades', 0, 1::smallint, 5, 9, 8, 1, '{}')"); err != nil {
		t.Fatal(err)
	}
	_, err = Move(t.Context(), conn, plan, "p.", w)
	if _, ok := errors.AsType[*RefusalError](err); !ok || !strings.Contains(err.Error(), "moved to offset 9 meanwhile") {
		t.Errorf("%v", err)
	}
	var next int64
	if err := conn.QueryRow(t.Context(), "SELECT next_offset FROM dingir.ledger").Scan(&next); err != nil || next != 9 {
		t.Errorf("%d, %v", next, err)
	}
}

// TestFenced moves the ledger under a daemon's feet.
func TestFenced(t *testing.T) {
	conn := stored(t)
	w := Wish{Offset: "3"}
	plan, err := MakePlan(begun(), "p.", w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Move(t.Context(), conn, plan, "p.", w); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(t.Context(), "SELECT dingir.advance('p.trades', 0, 1::smallint, 5, 9, 8, 1, '{}')")
	if store.Classify(err) != store.Fenced {
		t.Errorf("%v", err)
	}
}

// TestUnifyEvents goes forward over a part that is in the archive since before
// the ledger was moved back.
func TestUnifyEvents(t *testing.T) {
	conn := stored(t)
	_, err := conn.Exec(t.Context(), `UPDATE dingir.ledger SET topic = 'p.unifyevents', high_offset = 8;
		INSERT INTO dingir.event_log (first_offset, last_offset, first_time, last_time, records, topic_id, data)
		VALUES (2, 5, now(), now(), 4, 1, ''), (7, 7, now(), now(), 1, 1, '')`)
	if err != nil {
		t.Fatal(err)
	}
	p := begun()
	p.Topic = "p.unifyevents"
	w := Wish{Offset: "latest"}
	plan, err := MakePlan(p, "p.", w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Move(t.Context(), conn, plan, "p.", w); err != nil {
		t.Fatal(err)
	}
	var gaps string
	err = conn.QueryRow(t.Context(), "SELECT string_agg(format('%s-%s %s', first_offset, last_offset, reason), ', ' ORDER BY first_offset) FROM dingir.gaps").Scan(&gaps)
	if err != nil || gaps != "6-6 skipped, 8-9 skipped" {
		t.Errorf("%s; %v", gaps, err)
	}
}

// Gaps that are read again stay until they are: the event log's are not noted
// anew below its end.
func TestBackOverGaps(t *testing.T) {
	l := newLog(t, "p.unifyevents")
	l.store("ee--e-")
	l.move(Wish{Offset: "3"})
	l.holds("1: 2-2 control, 1: 3-3 control, 1: 5-5 control", gaps)
	l.clean()
	l.store("e") // an operator skipped it, and it is not archived below the end
	l.holds("1: 2-2 control, 1: 3-3 control", gaps)
	l.store("e-e")
	l.holds("1: 0-1, 1: 4-4, 1: 6-6", archive)
	l.holds("1: 2-2 control, 1: 3-3 control, 1: 5-5 control", gaps)
	l.clean()

	// Moved forward again it needs no other gaps.
	l.move(Wish{Offset: "2"})
	l.move(Wish{Offset: "6"})
	l.holds("1: 2-2 control, 1: 3-3 control, 1: 5-5 control", gaps)
	l.clean()
}

// A cluster that was left and comes back goes on with what is stored of it:
// what is read again is noted once, and taken back where it is not so now.
func TestBackToAFormerCluster(t *testing.T) {
	for _, test := range []struct {
		name, topic, stored, to string
		ledger, gaps            string
		again                   string // what the log holds from there on
		end                     string
	}{
		{"from the start", "p.internaltransfer", "ttr-t", "earliest", "1: 0-0 high 5 last none", "1: 3-3 control", "ttt-ttt", "1: 0-7 high 7 last 6"},
		{"from the middle", "p.internaltransfer", "ttr-t", "2", "1: 0-2 high 5 last none", "1: 3-3 control", "t-ttt", "1: 0-7 high 7 last 6"},
		{"beyond its end", "p.internaltransfer", "tt--t", "7", "1: 0-7 high 7 last none", "1: 2-2 control, 1: 3-3 control, 1: 5-6 skipped", "t", "1: 0-8 high 8 last 7"},
		{"the event log", "p.unifyevents", "ee--e", "1", "1: 0-1 high 5 last none", "1: 2-2 control, 1: 3-3 control", "e--eee", "1: 0-7 high 7 last 6"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLog(t, test.topic)
			l.store(test.stored)
			l.ClusterID = "d"
			l.move(Wish{Offset: "earliest", AcceptNewTopic: true})
			l.holds("2: 0-0 high 0 last none", ledger)
			l.store(strings.Repeat(test.stored[:1], 2))
			l.clean()

			l.ClusterID, l.High = "c", 8
			l.move(Wish{Offset: test.to, AcceptNewTopic: true})
			l.holds(test.ledger, ledger)
			l.holds(test.gaps, gaps)
			l.clean()
			l.store(test.again)
			l.holds(test.end, ledger)
			l.clean()
		})
	}
}

// A cluster that comes back without records that are stored of it goes on only
// on request, and what it lost is history then.
func TestBackToAFormerClusterThatLostRecords(t *testing.T) {
	for _, test := range []struct{ name, topic, stored, again, rows, archive string }{
		{"rows", "p.internaltransfer", "tttt", "tt", "1: 0, 1: 1, 3: 2, 3: 3", ""},
		{"the event log", "p.unifyevents", "eeee", "ee", "", "1: 0-1, 1: 2-3, 3: 2-3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLog(t, test.topic)
			l.store(test.stored)
			l.ClusterID = "d"
			l.move(Wish{Offset: "earliest", AcceptNewTopic: true})
			l.clean()

			l.ClusterID, l.High = "c", 2
			plan, err := MakePlan(l.Partition, "p.", Wish{Offset: "latest", AcceptNewTopic: true})
			if err == nil {
				_, err = Move(t.Context(), l.conn, plan, "p.", Wish{Offset: "latest", AcceptNewTopic: true})
			}
			if _, ok := errors.AsType[*RefusalError](err); !ok || !strings.Contains(err.Error(), "up to offset 4, beyond its log's end at 2") {
				t.Errorf("%v", err)
			}
			l.look()
			l.move(Wish{Offset: "latest", AcceptNewTopic: true, AcceptLoss: true})
			l.holds("1: 0-2 high 2 last none", ledger)
			l.clean()
			l.store(test.again)
			if test.rows != "" {
				l.holds(test.rows, rows)
				l.holds("1: 2, 1: 3", `SELECT format('%s: %s', topic_id, "offset") FROM dingir.duplicates ORDER BY 1`)
			} else {
				l.holds(test.archive, archive)
			}
			l.clean()
		})
	}
}
