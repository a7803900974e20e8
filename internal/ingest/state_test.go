package ingest_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/harness"
	"github.com/thaliumx/persistor/internal/httpserver"
)

// Settings with which even short logs have snapshots.
const (
	oftenSnapshots = "PERSISTOR_SNAPSHOT_RECORDS=100"
	smallBatches   = "PERSISTOR_BATCH_RECORDS=150"
)

// agree waits until the accounting, the state's included, holds.
func (s *scene) agree(what string) {
	s.t.Helper()
	s.agreeOn(what, "")
}

// agreeOn is agree for what begins with a text. Records that an operator passes
// over are no violation.
func (s *scene) agreeOn(what, prefix string) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		list := slices.DeleteFunc(s.Account(), func(v string) bool { return !strings.HasPrefix(v, prefix) })
		if len(list) == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: violated in %d places:\n%s", what, len(list), strings.Join(list[:min(len(list), 10)], "\n"))
		}
	}
}

func (s *scene) positions(arguments ...string) {
	s.t.Helper()
	if code, output := s.Command(append([]string{"positions", "set", "--yes"}, arguments...)...); code != 0 {
		s.t.Fatalf("positions set %s ends with exit code %d: %s", strings.Join(arguments, " "), code, output)
	}
}

// stateIs tells whether the state's row has the condition.
func (s *scene) stateIs(condition string) bool {
	s.t.Helper()
	return s.count("SELECT count(*) FROM dingir.state WHERE "+condition) == 1
}

// faulty is an exchange with everything in its log that a state has to survive.
func (s *scene) faulty() *exchange.Exchange {
	return s.Exchange(func(c *exchange.Config) { c.Duplicates, c.Foreign = 0.02, 0.02 })
}

// The state follows the event log wherever an operator moves the ledger: the
// past becomes another one, and the tables are those of the log as it is now.
func TestTheStateFollowsTheLedger(t *testing.T) {
	s := newScene(t)
	x := s.faulty()
	unify := s.Prefix + "unifyevents"
	p := s.Start(oftenSnapshots, smallBatches)
	s.ProduceExchange(x, 4000)
	s.WaitDrained(patience)
	s.agree("at first")
	if n := s.count("SELECT count(*) FROM dingir.state_snapshots"); n < 2 {
		t.Errorf("%d snapshots of some 1,400 records, one every 100 to 400", n)
	}

	s.positions(unify, "0", "100")
	s.WaitDrained(patience)
	s.agree("read again from offset 100")
	if !s.stateIs("complete") {
		t.Error("reading again made the state incomplete")
	}

	stop := func() {
		t.Helper()
		p.Term()
		if exit := p.Wait(patience); exit != 0 {
			t.Fatalf("exit %d", exit)
		}
	}
	stop()
	end := s.next("unifyevents", 0)
	s.ProduceExchange(x, 1000)
	s.positions(unify, "0", "latest")
	if !s.stateIs("NOT complete") {
		t.Error("passing over records does not show in the state's row at once")
	}
	p = s.Start(oftenSnapshots, smallBatches)
	s.WaitDrained(patience)
	s.agreeOn("records passed over", "state: ")
	if !s.stateIs("NOT complete") || s.count("SELECT count(*) FROM dingir.balances WHERE known") != 0 {
		t.Error("records were passed over, and the state is complete, or balances are known")
	}
	s.ProduceExchange(x, 1000)
	s.WaitDrained(patience)
	s.agreeOn("going on behind them", "state: ")

	// Moved back while the daemon runs and nothing new comes: what was passed
	// over is read now, so the state becomes complete again.
	stop()
	s.ProduceExchange(x, 500)
	s.positions(unify, "0", "latest")
	p = s.Start(oftenSnapshots, smallBatches)
	s.until("the state has the gap at the end", func() bool { return s.stateIs(fmt.Sprintf("next_offset = %d", s.next("unifyevents", 0))) })
	gap := s.count("SELECT max(first_offset) FROM dingir.gaps WHERE topic = $1", unify)
	s.positions(unify, "0", fmt.Sprint(gap-20))
	s.WaitDrained(patience)
	s.agreeOn("the last gap read after all", "state: ")
	if n := s.count("SELECT count(*) FROM dingir.gaps WHERE topic = $1", unify); n != 1 {
		t.Errorf("%d gaps, want the first only", n)
	}

	// The log was rewritten, for all that the operator knows: the stored one from
	// there on is history, also what the gap left out.
	s.positions(unify, "0", fmt.Sprint(end-50), "--accept-loss")
	s.WaitDrained(patience)
	s.agreeOn("read as it is now", "state: ")
	if !s.stateIs("complete") {
		t.Error("all was read, and the state is incomplete")
	}
	if n := s.count("SELECT count(*) FROM dingir.gaps g JOIN dingir.ledger USING (topic, topic_id) WHERE topic = $1", unify); n != 0 {
		t.Errorf("%d gaps are left", n)
	}
	if status := p.Status(); status.State == nil || !status.State.Complete || status.State.NextOffset != s.next("unifyevents", 0) {
		t.Errorf("the status page has %+v", status.State)
	}
}

// A topic that was made again has a history of its own.
func TestTheStateOfATopicMadeAgain(t *testing.T) {
	s := newScene(t)
	p := s.Start(oftenSnapshots, smallBatches)
	s.ProduceExchange(s.faulty(), 3000)
	s.WaitDrained(patience)
	s.agree("at first")
	before := s.count("SELECT topic_id FROM dingir.state")
	s.remake("unifyevents", 1)
	deposit := harness.Record{Topic: "unifyevents", Key: []byte("deposits"), Value: []byte(
		`{"timestamp":1700000000.0,"user_id":7,"asset":"BTC","business":"deposit","change":"1.5","balance":"1.5","balance_available":"1.5","balance_frozen":"0","detail":"{\"id\":1}"}`)}
	s.produceAnew(deposit)
	s.until("the partition is halted", func() bool { return len(s.halted(p)) > 0 })
	s.positions(s.Prefix+"unifyevents", "0", "earliest", "--accept-new-topic")
	s.until("the new topic is read", func() bool { return s.next("unifyevents", 0) == 1 })
	s.until("the state is that of the new topic", func() bool { return s.stateIs("next_offset = 1 AND base_offset = 0") })
	if after := s.count("SELECT topic_id FROM dingir.state"); after == before {
		t.Error("the state is of the topic that was deleted")
	}
	if n := s.count("SELECT count(*) FROM dingir.balances"); n != 1 {
		t.Errorf("%d balances of one deposit", n)
	}
	if n := s.count("SELECT count(*) FROM dingir.open_orders"); n != 0 {
		t.Errorf("%d orders of a log without any", n)
	}
}

// A database that has an event log and no state gets it when the daemon starts,
// before any record comes; tables that somebody damaged are mended.
func TestTheTablesAreWrittenAnew(t *testing.T) {
	s := newScene(t)
	x := s.faulty()
	run := func(what string, log bool) {
		t.Helper()
		p := s.Start(oftenSnapshots, smallBatches)
		s.until(what+": the state is there", func() bool {
			return strings.Contains(p.Log(), "state restored") && s.stateIs(fmt.Sprintf("next_offset = %d", s.next("unifyevents", 0)))
		})
		s.WaitDrained(patience)
		s.agree(what)
		p.Term()
		if exit := p.Wait(patience); exit != 0 {
			t.Fatalf("%s: exit %d", what, exit)
		}
		if told := strings.Contains(p.Log(), "writing the tables of the state anew"); told != log {
			t.Errorf("%s: the log tells of tables written anew: %v, want %v", what, told, log)
		}
	}
	s.ProduceExchange(x, 3000)
	run("from nothing", true)
	run("as it was left", false)
	for _, damage := range []string{
		"TRUNCATE dingir.state, dingir.balances, dingir.open_orders, dingir.state_snapshots", // as migrated from a version before
		"TRUNCATE dingir.state",
		"UPDATE dingir.balances SET frozen = frozen + 1 WHERE user_id % 3 = 0",
		"UPDATE dingir.balances SET known = NOT known WHERE user_id % 5 = 0",
		"DELETE FROM dingir.balances WHERE user_id % 2 = 0",
		"INSERT INTO dingir.balances VALUES (99999, true, 'it''s \"new\"', 1, 2)",
		"DELETE FROM dingir.open_orders WHERE order_id % 2 = 0",
		"UPDATE dingir.open_orders SET signature = NULL, post_only = NULL, update_time = create_time - interval '1 s'",
		"INSERT INTO dingir.open_orders (order_id, user_id, market, side, type, price, amount, remain, frozen) VALUES (-5, 1, 'm', 'ask', 'limit', 1, 1, 1, 1)",
		"UPDATE dingir.state SET next_offset = next_offset - 7, mismatches = 99",
	} {
		s.exec(damage)
		if list := s.Account(); len(list) == 0 {
			t.Errorf("no difference after %q", damage)
		}
		run(damage, true)
	}
	// Snapshots are no more than a short way: without them, or with bad ones, the
	// log is read.
	s.exec("UPDATE dingir.state_snapshots SET data = overlay(data placing '\\x00'::bytea from 100)")
	s.ProduceExchange(x, 500)
	run("with damaged snapshots", false)
}

// Whoever looks while records come sees balances and orders of exactly the
// offset that the state's row says, which is where the archive ends.
func TestNobodySeesHalf(t *testing.T) {
	s := newScene(t)
	x := s.faulty()
	s.ProduceExchange(x, 30_000)
	p := s.Start(oftenSnapshots, smallBatches)
	s.until("records come", func() bool { return s.count("SELECT coalesce(max(next_offset), 0) FROM dingir.state") > 0 })
	ways := 0
	for more := 0; ; {
		if s.drained() {
			if ways >= 2 || more == 10 {
				break
			}
			more++ // it was quicker than two looks
			s.ProduceExchange(x, 10_000)
		}
		before := s.count("SELECT next_offset FROM dingir.state")
		s.account()
		if after := s.count("SELECT next_offset FROM dingir.state"); after > before {
			ways++
		}
	}
	if ways < 2 {
		t.Errorf("only %d looks while records came", ways)
	}
	s.account()
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Fatalf("exit %d", exit)
	}
}

// Restoring the state keeps back its own partition only, and ends at once with
// the process.
func TestRestoringKeepsNobodyBack(t *testing.T) {
	s := newScene(t)
	x := s.faulty()
	s.ProduceExchange(x, 2000)
	p := s.Start()
	s.WaitDrained(patience)
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Fatalf("exit %d", exit)
	}
	// Nobody can read snapshots for as long as this lasts.
	holder := s.Connect()
	tx, err := holder.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE dingir.state_snapshots"); err != nil {
		t.Fatal(err)
	}
	s.ProduceExchange(x, 2000)
	p = s.Start()
	s.until("all but unifyevents is drained", func() bool {
		behind := s.Behind(s.conn)
		return len(behind) == 1 && strings.HasPrefix(behind[0], s.Prefix+"unifyevents/0")
	})
	waits := func() bool {
		for _, v := range p.Status().Partitions {
			if v.Topic == s.Prefix+"unifyevents" {
				return strings.Contains(v.Reason, "restor")
			}
		}
		return false
	}
	s.until("the status page says what it waits for", waits)
	asked := time.Now()
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Fatalf("exit %d", exit)
	}
	if took := time.Since(asked); took > 6*time.Second {
		t.Errorf("the process took %v to end", took)
	}
	p = s.Start()
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.WaitDrained(patience)
	s.agree("in the end")
}

// With --event-log=false what is read is in no archive, and the state knows.
func TestWithoutEventLog(t *testing.T) {
	s := newScene(t)
	x := s.faulty()
	s.ProduceExchange(x, 2000)
	p := s.Start("PERSISTOR_EVENT_LOG=false")
	s.WaitDrained(patience)
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Fatalf("exit %d", exit)
	}
	if n := s.count("SELECT (SELECT count(*) FROM dingir.event_log) + (SELECT count(*) FROM dingir.state)"); n != 0 {
		t.Errorf("%d rows of archive and state", n)
	}
	p = s.Start()
	s.ProduceExchange(x, 500)
	s.WaitDrained(patience)
	s.until("the state goes on behind what is missing", func() bool {
		return s.stateIs(fmt.Sprintf("NOT complete AND next_offset = %d", s.next("unifyevents", 0)))
	})
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Fatalf("exit %d", exit)
	}
}

// Balances are compared with those that the engine sent: what is on its way is no
// difference, what stays is one until it is gone.
func TestBalancesAreAudited(t *testing.T) {
	s := newScene(t)
	x := s.Exchange(nil)
	s.ProduceExchange(x, 3000)
	p := s.Start("PERSISTOR_AUDIT_EVERY=300ms")
	s.WaitDrained(patience)
	balances := int64(s.count("SELECT count(*) FROM dingir.balances"))
	audit := func() httpserver.Audit {
		if status := p.Status(); status.State != nil && status.State.Audit != nil {
			return *status.State.Audit
		}
		return httpserver.Audit{}
	}
	rounds := func(n int64) func() bool {
		until := audit().Checked + n*balances
		return func() bool { return audit().Checked >= until }
	}
	s.until("all balances were compared some times", rounds(4))
	if a := audit(); a.Differences != 0 {
		t.Errorf("%d differences in the log of a sound engine", a.Differences)
	}
	if n := s.count("SELECT count(*) FROM dingir.balance_audit WHERE agrees"); int64(n) != balances {
		t.Errorf("%d of %d balances agree", n, balances)
	}

	// The engine debits a user, and only balances tells of it.
	var user int64
	var asset, total string
	if err := s.conn.QueryRow(t.Context(), `SELECT user_id, asset, (available + frozen)::text FROM dingir.balances
		WHERE available > 1 ORDER BY user_id, asset LIMIT 1`).Scan(&user, &asset, &total); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	s.Produce(harness.Record{Topic: "balances", Key: []byte{}, Value: fmt.Appendf(nil,
		`{"timestamp":%d.0,"user_id":%d,"business_id":1,"asset":"%s","business":"transfer","market_price":"0","change":"-1","balance":"0.125","balance_available":"0.125","balance_frozen":"0","detail":"{\"id\":1}","signature":""}`,
		now, user, asset)})
	metric := func() float64 { n, _ := p.Metric("persistor_state_balance_audit_differences"); return n }
	s.until("the difference is counted", func() bool { return audit().Differences == 1 && metric() == 1 })
	s.until("it is looked at again", rounds(3))
	if a := audit(); a.Differences != 1 {
		t.Errorf("%d differences, want the one", a.Differences)
	}

	// The next deposit tells both.
	s.Produce(
		harness.Record{Topic: "balances", Key: []byte{}, Value: fmt.Appendf(nil,
			`{"timestamp":%d.0,"user_id":%d,"business_id":2,"asset":"%s","business":"deposit","market_price":"0","change":"2","balance":"2.125","balance_available":"2.125","balance_frozen":"0","detail":"{\"id\":2}","signature":""}`,
			now+1, user, asset)},
		harness.Record{Topic: "unifyevents", Key: []byte("deposits"), Value: fmt.Appendf(nil,
			`{"timestamp":%d.0,"user_id":%d,"asset":"%s","business":"deposit","change":"2","balance":"2.125","balance_available":"2.125","balance_frozen":"0","detail":"{\"id\":2}"}`,
			now+1, user, asset)})
	s.until("the difference is gone", func() bool { return audit().Differences == 0 && metric() == 0 })
	if n, _ := p.Metric("persistor_state_mismatches_total", `check="payment_balance"`); n != 1 {
		t.Errorf("%v failed checks of the deposit's balance, want 1", n)
	}
	if status := p.Status(); status.Mismatches == 0 || status.State.Checks["payment_balance"] != 1 {
		t.Errorf("the status page has %d mismatches, by check %v", status.Mismatches, status.State.Checks)
	}
	s.account()
}

// A daemon that keeps up writes many small segments, and joins them while records
// come.
func TestSmallSegmentsAreJoined(t *testing.T) {
	s := newScene(t)
	x := s.faulty()
	p := s.Start("PERSISTOR_BATCH_RECORDS=10", "PERSISTOR_MERGE_EVERY=200ms", oftenSnapshots)
	s.ProduceExchange(x, 12_000)
	s.WaitDrained(patience)
	joined := func() bool { return strings.Contains(p.Log(), "segments of the event log joined") }
	for more := 0; !joined() && more < 20; more++ {
		s.ProduceExchange(x, 1000)
		s.WaitDrained(patience)
	}
	if !joined() {
		t.Fatal("no segments were joined")
	}
	s.account()
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Fatalf("exit %d", exit)
	}
	p = s.Start(oftenSnapshots)
	s.ProduceExchange(x, 500)
	s.WaitDrained(patience)
	s.agree("behind the joined segments")
}

// While the state cannot be had, only unifyevents waits for it.
func TestOnlyUnifyeventsWaitsForTheState(t *testing.T) {
	s := newScene(t)
	s.exec("ALTER TABLE dingir.state_snapshots RENAME TO away")
	p := s.Start("PERSISTOR_WORKERS=1")
	s.Produce(transfers(0, 30)...)
	s.until("the transfers are stored", func() bool { return s.count("SELECT count(*) FROM dingir.internal_transfers") == 30 })
	s.until("unifyevents waits, and says for what", func() bool { // each attempt to restore the state says otherwise for a moment
		return slices.ContainsFunc(p.Status().Partitions, func(v httpserver.Partition) bool {
			return v.Topic == s.Prefix+"unifyevents" && v.State == httpserver.Waiting && strings.Contains(v.Reason, "state_snapshots")
		})
	})
	s.exec("ALTER TABLE dingir.away RENAME TO state_snapshots")
	s.ProduceExchange(s.faulty(), 500)
	s.WaitDrained(patience)
	s.agree("the table is back")
}

// A slice of the engine that cannot be read is named as such, not as a damaged
// archive, and what the halt says sets the partition going again.
func TestASliceThatCannotBeRead(t *testing.T) {
	s := newScene(t)
	x := s.faulty()
	p := s.Start(oftenSnapshots, smallBatches)
	s.ProduceExchange(x, 2000)
	s.WaitDrained(patience)
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Fatalf("exit %d", exit)
	}
	s.exec("INSERT INTO dingir.engine_slices (topic_id, next_offset, latest_time, data) SELECT topic_id, 50, 'epoch', 'damaged' FROM dingir.state")
	p = s.Start(oftenSnapshots, smallBatches)
	s.until("unifyevents is halted", func() bool { return len(s.halted(p)) > 0 })
	halt := s.halted(p)["unifyevents/0"]
	remedy := regexp.MustCompile("`(DELETE FROM dingir.engine_slices [^`]+)`").FindStringSubmatch(halt.Remedy)
	if !strings.Contains(halt.Reason, "the engine's slice that was taken over at offset 50 cannot be read") || remedy == nil {
		t.Fatalf("halted since %q; %q", halt.Reason, halt.Remedy)
	}
	for _, command := range []struct {
		exit      int
		arguments string
	}{{1, "state"}, {0, "replay --from-earliest --dry-run"}} {
		if exit, output := s.Command(strings.Fields(command.arguments)...); exit != command.exit || !strings.Contains(output, remedy[1]) {
			t.Errorf("%s ends with exit code %d, want %d and the remedy: %s", command.arguments, exit, command.exit, output)
		}
	}
	s.exec(remedy[1])
	s.ProduceExchange(x, 500)
	s.WaitDrained(patience)
	s.agree("without the slice")
	if !s.stateIs("complete") {
		t.Error("the state is incomplete")
	}
}

// The state follows an operator's move within seconds: an audit in between waits
// for it.
func TestAnAuditRightBehindAMove(t *testing.T) {
	s := newScene(t)
	x := s.faulty()
	p := s.Start(oftenSnapshots, smallBatches)
	s.ProduceExchange(x, 4000)
	s.WaitDrained(patience)
	unify := s.Prefix + "unifyevents"
	next := s.next("unifyevents", 0)
	for _, move := range [][]string{
		{fmt.Sprint(next - 70), "--accept-loss"}, {fmt.Sprint(next / 2)}, {"earliest"}, {fmt.Sprint(next / 3), "--accept-loss"},
	} {
		s.positions(append([]string{unify, "0"}, move...)...)
		if exit, output := s.Command("verify"); exit != 0 {
			t.Errorf("verify behind positions set %v ends with %d: %s", move, exit, output)
		}
		s.WaitDrained(patience)
	}
	s.agreeOn("in the end", "state: ")
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Fatalf("exit %d", exit)
	}
}
