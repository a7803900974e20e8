package ingest_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/harness"
	"github.com/thaliumx/persistor/internal/httpserver"
)

// outcomes are the records that the process counted, by what became of them.
func outcomes(p *harness.Process) (stored, duplicate, rejected int) {
	count := func(outcome string) int {
		n, _ := p.Metric("persistor_records_total", `outcome="`+outcome+`"`)
		return int(n)
	}
	return count("stored"), count("duplicate"), count("rejected")
}

// The ledger moved back has records read again: nothing is stored twice,
// nothing is lost, and each record is counted as what it is now.
func TestTheLedgerIsMovedBack(t *testing.T) {
	s := newScene(t)
	x := s.Exchange(func(c *exchange.Config) { c.Duplicates = 0.05; c.Foreign = 0.02 })
	p := s.Start()
	s.ProduceExchange(x, 3000)
	s.Produce(harness.Record{Topic: "trades", Value: []byte("bad")})
	s.WaitDrained(patience)
	s.account()
	image := s.image()
	stored, duplicate, rejected := outcomes(p)
	if sum := s.records(); stored+duplicate+rejected != sum {
		t.Errorf("counted %d + %d + %d records, want %d in all", stored, duplicate, rejected, sum)
	}
	if notes := s.count("SELECT count(*) FROM dingir.duplicates"); duplicate != notes || notes == 0 {
		t.Errorf("%d duplicates counted, %d noted", duplicate, notes)
	}
	s.exec("UPDATE dingir.ledger SET next_offset = first_offset")
	s.until("all was read again", func() bool {
		a, b, c := outcomes(p)
		return a+b+c >= 2*s.records() && s.drained()
	})
	s.account()
	if again := s.image(); again != image {
		t.Errorf("the tables changed:\nbefore %s\nafter  %s", image, again)
	}
	a, b, c := outcomes(p)
	if sum := 2 * s.records(); a+b+c != sum {
		t.Errorf("counted %d + %d + %d records, want %d in all", a, b, c, sum)
	}
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Fatalf("exit %d", exit)
	}

	// And once more while nobody runs, with part of the rows gone.
	s.exec("DELETE FROM dingir.balance_changes WHERE src_offset % 3 = 0")
	s.exec("UPDATE dingir.ledger SET next_offset = first_offset")
	p = s.Start()
	s.until("all was read again", func() bool { a, b, c := outcomes(p); return a+b+c == s.records() && s.drained() })
	s.account()
	if again := s.image(); again != image {
		t.Errorf("the tables changed:\nbefore %s\nafter  %s", image, again)
	}
	if n, _ := p.Metric("persistor_conflicts_total"); n != 0 {
		t.Errorf("%v conflicts counted among records that are there already", n)
	}
}

// records counts the records on the consumed topics.
func (s *scene) records() (n int) {
	_, end := s.Offsets()
	for _, offset := range end {
		n += int(offset)
	}
	return n
}

func (s *scene) drained() bool {
	_, end := s.Offsets()
	ledger := s.Ledger(s.conn)
	for place, offset := range end {
		if ledger[place] != offset {
			return false
		}
	}
	return true
}

// image is what is stored, as counts and sums of hashes.
func (s *scene) image() string {
	s.t.Helper()
	var parts []string
	for _, table := range []string{"trades", "order_events", "balance_changes", "deposits", "withdrawals", "internal_transfers", "users"} {
		parts = append(parts, fmt.Sprintf("(SELECT '%[1]s ' || count(*) || ' ' || coalesce(sum(content_hash), 0) FROM dingir.%[1]s)", table))
	}
	parts = append(parts, "(SELECT 'rejects ' || count(*) FROM dingir.rejects)", "(SELECT 'event log ' || sum(records) FROM dingir.event_log)")
	var text string
	if err := s.conn.QueryRow(s.t.Context(), "SELECT concat_ws(', ', "+strings.Join(parts, ", ")+")").Scan(&text); err != nil {
		s.t.Fatal(err)
	}
	return text
}

func trade(partition int32, id int, price string) harness.Record {
	return harness.Record{Topic: "trades", Partition: partition, Key: []byte{}, Value: fmt.Appendf(nil,
		`{"id":"trade_%d","timestamp":"2024-01-15T10:30:00.000Z","market":"BTC_USDT","price":"%s","amount":"0.5","quote_amount":"1.00","taker_side":"buy","maker_order_id":"order_1","taker_order_id":"order_2"}`, id, price)}
}

func order(partition int32, event string, id int, price string) harness.Record {
	return harness.Record{Topic: "orders", Partition: partition, Key: []byte{}, Value: fmt.Appendf(nil,
		`{"event":"%s","order":{"id":"order_%d","user_id":1001,"market":"BTC_USDT","side":"buy","type":"limit","price":"%s","amount":"1.0","filled_amount":"0.0","status":"open","created_at":"2024-01-15T10:30:00.000Z"}}`, event, id, price)}
}

// Ids that return with other content are kept as both rows and counted
// exactly, in one batch, across batches and across restarts.
func TestIdsThatReturnAreCounted(t *testing.T) {
	s := newScene(t)
	changed := func(id int) harness.Record {
		u := user(1, id)
		u.Value = []byte(strings.Replace(string(u.Value), `"0x"`, `"0xff"`, 1))
		return u
	}
	s.Produce(
		trade(0, 1, "1"), trade(0, 2, "1"), trade(0, 1, "2"), trade(1, 1, "1"), // 1: other content, then a duplicate
		order(0, "ORDER_CREATED", 1, "1"), order(0, "ORDER_UPDATED", 1, "2"), order(1, "ORDER_CREATED", 1, "3"), // the update is none
		user(0, 7), user(0, 8), changed(7))
	p := s.Start()
	s.WaitDrained(patience)
	conflicts := func(topic string) int {
		n, _ := p.Metric("persistor_conflicts_total", `topic="`+s.Prefix+topic+`"`)
		return int(n)
	}
	check := func(when string, trades, orders, users int) {
		t.Helper()
		s.until(when+": the conflicts are counted", func() bool {
			return conflicts("trades") >= trades && conflicts("orders") >= orders && conflicts("registeruser") >= users
		})
		if conflicts("trades") != trades || conflicts("orders") != orders || conflicts("registeruser") != users {
			t.Errorf("%s: %d, %d and %d conflicts of trades, orders and users, want %d, %d and %d",
				when, conflicts("trades"), conflicts("orders"), conflicts("registeruser"), trades, orders, users)
		}
	}
	check("in the first batches", 1, 1, 1)
	s.Produce(trade(3, 2, "9"), trade(3, 3, "9"), order(2, "ORDER_CREATED", 5, "1"), user(2, 9))
	s.WaitDrained(patience)
	check("in another batch", 2, 1, 1)
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Fatalf("exit %d", exit)
	}
	p = s.Start()
	s.Produce(trade(4, 3, "8"), trade(4, 4, "1"), order(3, "ORDER_CREATED", 5, "2"), changed(9), user(0, 9))
	s.WaitDrained(patience)
	check("after a restart", 1, 1, 1)
	s.account()
	s.noRejects()
	if n := s.count("SELECT count(*) FROM dingir.trades WHERE trade_id = 1"); n != 2 {
		t.Errorf("%d rows of trade 1, want both contents", n)
	}
}

// Topics and partitions that come later are picked up, and one that goes away
// is waited for.
func TestTopicsAndPartitionsComeLater(t *testing.T) {
	s := newScene(t)
	name := s.Prefix + "internaltransfer"
	answer, err := s.admin.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{name}})
	if err != nil || answer.Errors[name] != nil {
		t.Fatal(err, answer)
	}
	p := s.Start("PERSISTOR_TOPICS=internaltransfer,registeruser")
	s.produceAnew(user(0, 1))
	s.until("the topic that is there is read", func() bool { return s.count("SELECT count(*) FROM dingir.users") == 1 })
	s.makeTopic("internaltransfer", 1)
	s.produceAnew(transfer(0, 1))
	s.until("the topic that came is read", func() bool { return s.count("SELECT count(*) FROM dingir.internal_transfers") == 1 })
	grown, err := s.admin.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: name, Count: 3}}})
	if err != nil || grown.Errors[name] != nil {
		t.Fatal(err, grown)
	}
	s.awaitPartitions("internaltransfer", 3)
	s.produceAnew(transfer(1, 2), transfer(2, 3))
	s.until("the partitions that came are read", func() bool { return s.count("SELECT count(*) FROM dingir.internal_transfers") == 3 })
	s.until("/readyz is content", func() bool { status, _ := p.Ready(); return status == http.StatusOK })
	if n, _ := p.Metric("persistor_ready"); n != 1 {
		t.Errorf("persistor_ready is %v", n)
	}
	answer, err = s.admin.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{name}})
	if err != nil || answer.Errors[name] != nil {
		t.Fatal(err, answer)
	}
	s.until("/readyz tells that a topic is gone of which records are stored", func() bool {
		status, body := p.Ready()
		return status == http.StatusServiceUnavailable && strings.Contains(body, "topic_gone") && strings.Contains(body, name)
	})
	if n, _ := p.Metric("persistor_ready"); n != 0 {
		t.Errorf("persistor_ready is %v", n)
	}
	if exit, output := s.Command("run", "--check"); exit != 1 || !strings.Contains(output, "topic "+name+" cannot be read, of which records are stored") {
		t.Errorf("run --check: exit %d: %s", exit, output)
	}
	s.produceAnew(user(0, 2))
	s.until("the other topic is read all the same", func() bool { return s.count("SELECT count(*) FROM dingir.users") == 2 })
	s.noRejects()
}

// Two processes that share a topic ask about every id: of late ids only in the
// newest chunks, of early ones in all.
func TestIdsThatReturnToSharedTopics(t *testing.T) {
	s := newScene(t)
	at := func(partition int32, id int, day, price string) harness.Record {
		r := trade(partition, id, price)
		r.Value = []byte(strings.Replace(string(r.Value), "2024-01-15", day, 1))
		return r
	}
	s.Produce(at(0, 1, "2024-01-01", "1"), at(1, 2, "2024-02-01", "1"), at(2, 3, "2024-03-01", "1"), at(0, 4, "2024-03-02", "1"))
	both := []*harness.Process{s.Start("PERSISTOR_TOPICS=trades"), s.Start("PERSISTOR_TOPICS=trades")}
	s.until("both have partitions in work", func() bool {
		working := 0
		for _, p := range both {
			list := p.Status().Partitions
			for _, v := range list {
				if v.State == httpserver.Running {
					working++
				}
			}
			if len(list) == 0 || len(list) == 6 {
				return false
			}
		}
		return working == 6
	})
	stored := func(n int) {
		t.Helper()
		s.until("the trades are stored", func() bool { return s.count("SELECT count(*) FROM dingir.trades") == n })
	}
	stored(4)
	sum := func() (n float64) {
		for _, p := range both {
			one, _ := p.Metric("persistor_conflicts_total")
			n += one
		}
		return n
	}
	before := sum()
	s.Produce(at(0, 1, "2024-03-02", "8"), at(1, 3, "2024-03-02", "8"), at(2, 4, "2024-03-02", "8"), at(0, 5, "2024-03-02", "8"), at(1, 5, "2024-03-02", "9"))
	stored(9)
	s.until("4 conflicts are counted", func() bool { return sum()-before >= 4 })
	if n := sum() - before; n > 5 { // both see the other's 5 where they are stored at once
		t.Errorf("%v conflicts", n)
	}
	s.noRejects()
}

// What somebody does with one partition's ledger for minutes keeps that partition
// waiting and no other, not even of the same worker.
func TestALockedLedgerKeepsOnePartition(t *testing.T) {
	s := newScene(t)
	s.Produce(append(transfers(0, 30), user(0, 1), user(1, 2), user(2, 3))...)
	p := s.Start("PERSISTOR_WORKERS=1")
	s.WaitDrained(patience)
	holder := s.Connect()
	if _, err := holder.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	if tag, err := holder.Exec(t.Context(), "SELECT FROM dingir.ledger WHERE topic = $1 AND partition = 1 FOR UPDATE", s.Prefix+"internaltransfer"); err != nil || tag.RowsAffected() != 1 {
		t.Fatal(err, tag)
	}
	rows := func() int { return s.count("SELECT count(*) FROM dingir.internal_transfers") }
	s.Produce(append(transfers(30, 30), user(0, 4))...)
	s.until("the other partitions' records are stored", func() bool { return rows() == 50 && s.count("SELECT count(*) FROM dingir.users") == 4 })
	s.until("the partition says why it waits", func() bool {
		for _, v := range p.Status().Partitions {
			if v.Topic == s.Prefix+"internaltransfer" && v.Partition == 1 {
				return v.State == httpserver.Waiting && strings.Contains(v.Reason, "holds its row of the ledger")
			}
		}
		return false
	})
	// Over and over, not once and by chance.
	for i := range 3 {
		s.Produce(transfer(0, 100+2*i), transfer(2, 101+2*i))
		s.until("the other partitions go on", func() bool { return rows() == 50+2*(i+1) })
	}
	if _, err := holder.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatalf("the session was ended: %v", err)
	}
	s.WaitDrained(patience)
	if n := rows(); n != 66 {
		t.Errorf("%d rows, want 66", n)
	}
	s.account()
	s.noRejects()
}

// A unique index of somebody's own refuses what no merging helps: the records'
// partition halts, and no other.
func TestAnIndexOfTheirOwnHaltsOnePartition(t *testing.T) {
	s := newScene(t)
	s.Produce(append(transfers(0, 30), user(0, 1))...)
	p := s.Start("PERSISTOR_WORKERS=1")
	s.WaitDrained(patience)
	s.exec("CREATE UNIQUE INDEX theirs ON dingir.internal_transfers (amount, time)")
	doubled := transfer(1, 17)
	doubled.Value = []byte(strings.Replace(string(doubled.Value), `"user_to":2`, `"user_to":3`, 1))
	s.Produce(append(transfers(30, 30), doubled, user(0, 2))...)
	s.until("the partition is halted", func() bool { return len(s.halted(p)) > 0 })
	s.until("all others are stored", func() bool {
		return s.count("SELECT count(*) FROM dingir.internal_transfers WHERE src_partition <> 1") == 40 && s.count("SELECT count(*) FROM dingir.users") == 2
	})
	for range 3 {
		if list := s.halted(p); !slices.Equal(keys(list), []string{"internaltransfer/1"}) || !strings.Contains(list["internaltransfer/1"].Reason, "theirs") {
			t.Fatalf("halted are %+v", list)
		}
		s.Produce(transfer(0, 200+s.count("SELECT count(*) FROM dingir.internal_transfers")))
		s.until("the others go on", func() bool { return p.Status().Partitions != nil && len(s.halted(p)) == 1 })
	}
	s.exec("DROP INDEX dingir.theirs")
	s.WaitDrained(patience)
	s.account()
	s.noRejects()
}

// Transactions: what is committed becomes rows, what is aborted and the
// markers become gaps.
func TestTransactionsLeaveGaps(t *testing.T) {
	s := newScene(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(s.Brokers, ",")...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(s.Prefix+"tx"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p := s.Start()
	for i, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit, kgo.TryAbort} {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for j := range 5 {
			r := transfer(0, 10*i+j)
			if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: s.Prefix + r.Topic, Key: r.Key, Value: r.Value}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := client.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	s.Produce(transfer(0, 100))
	s.WaitDrained(patience)
	s.account()
	s.noRejects()
	if n := s.count("SELECT count(*) FROM dingir.internal_transfers"); n != 11 {
		t.Errorf("%d rows, want those of two transactions and one besides", n)
	}
	if n := s.count("SELECT sum(last_offset - first_offset + 1) FROM dingir.gaps WHERE reason = 'control'"); n != 14 {
		t.Errorf("%d offsets in gaps, want 4 markers and 10 aborted records", n)
	}
	if n, _ := p.Metric("persistor_records_total", `topic="`+s.Prefix+`internaltransfer"`); n != 11 {
		t.Errorf("%v records counted, want 11", n)
	}
}

// What the group committed decides nothing.
func TestGroupOffsetsDecideNothing(t *testing.T) {
	s := newScene(t)
	s.Produce(transfers(0, 300)...)
	p := s.Start()
	s.WaitDrained(patience)
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Fatalf("exit %d", exit)
	}
	for _, moved := range []int64{0, 50, 1_000_000} {
		s.commitOffsets("internaltransfer", moved)
		p = s.Start()
		s.Produce(transfers(1000+int(moved), 3)...)
		s.WaitDrained(patience)
		s.account()
		s.noRejects()
		s.until("the group's offsets are the ledger's again", func() bool {
			return s.GroupOffsets()[harness.Place{Topic: s.Prefix + "internaltransfer"}] == s.next("internaltransfer", 0)
		})
		if stored, duplicate, _ := outcomes(p); stored != 3 || duplicate != 0 {
			t.Errorf("moved to %d: %d records stored, %d duplicates; want the 3 new ones", moved, stored, duplicate)
		}
		p.Term()
		if exit := p.Wait(patience); exit != 0 {
			t.Fatalf("exit %d", exit)
		}
	}
}

// commitOffsets moves the offsets of the group as kafka-consumer-groups does.
func (s *scene) commitOffsets(topic string, offset int64) {
	s.t.Helper()
	var list []kafka.OffsetCommit
	for i := range 3 {
		list = append(list, kafka.OffsetCommit{Partition: i, Offset: offset})
	}
	s.until("the group is empty and its offsets moved", func() bool {
		answer, err := s.admin.OffsetCommit(context.WithoutCancel(s.t.Context()), &kafka.OffsetCommitRequest{
			GroupID: s.Group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{s.Prefix + topic: list}})
		if err != nil {
			return false
		}
		for _, p := range answer.Topics[s.Prefix+topic] {
			if p.Error != nil {
				return false
			}
		}
		return true
	})
}
