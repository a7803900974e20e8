package ingest_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/thaliumx/persistor/internal/harness"
)

// remedyCommand is the command in a remedy: what an operator would type.
var remedyCommand = regexp.MustCompile("`persistor (positions set [^`]+)`(?: (--accept-loss))?")

// Whatever makes going on lose or double records halts the partition and no
// other, says why, and the command that it names sets the partition going again.
func TestWhatWouldLoseOrDoubleHaltsItsPartitionOnly(t *testing.T) {
	s := newScene(t)
	x := s.Exchange(nil)
	s.ProduceExchange(x, 2000)
	p := s.Start()
	s.WaitDrained(patience)
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Fatalf("exit %d", exit)
	}

	// The damage, each to partitions of its own.
	s.ProduceExchange(x, 500)
	stored := s.next("trades", 1)
	s.deleteBefore("trades", 0, s.next("trades", 0)+2)
	s.exec("UPDATE dingir.ledger SET next_offset = next_offset + 1000 WHERE topic = $1 AND partition = 1", s.Prefix+"trades")
	s.remake("registeruser", 3)
	s.exec("UPDATE dingir.topics SET cluster_id = 'elsewhere' WHERE name = $1", s.Prefix+"balances")
	s.exec("UPDATE dingir.ledger SET last_hash = last_hash + 1 WHERE topic = $1 AND partition = 2", s.Prefix+"orders")
	s.remake("unifyevents", 3)
	want := map[string]string{
		"trades/0":       "the log starts at offset",
		"trades/1":       "the log ends at offset",
		"registeruser/0": "deleted and made again", "registeruser/1": "deleted and made again", "registeruser/2": "deleted and made again",
		"balances/0": "the ledger belongs to elsewhere", "balances/1": "the ledger belongs to elsewhere", "balances/2": "the ledger belongs to elsewhere",
		"orders/2":      "is not the one that was stored",
		"unifyevents/0": "3 partitions", "unifyevents/1": "3 partitions", "unifyevents/2": "3 partitions",
	}

	p = s.Start()
	s.until("all that is damaged is halted", func() bool { return len(s.halted(p)) >= len(want) })
	halted := s.halted(p)
	if !slices.Equal(keys(halted), keys(want)) {
		t.Fatalf("halted are %v, want %v", keys(halted), keys(want))
	}
	for name, reason := range want {
		if v := halted[name]; !strings.Contains(v.Reason, reason) || v.Remedy == "" {
			t.Errorf("%s is halted since %q; %q: want %q", name, v.Reason, v.Remedy, reason)
		}
		topic, partition, _ := strings.Cut(name, "/")
		if n, found := p.Metric("persistor_halted", `topic="`+s.Prefix+topic+`"`, `partition="`+partition+`"`); n != 1 || !found {
			t.Errorf("persistor_halted of %s is %v", name, n)
		}
	}
	if n, _ := p.Metric("persistor_halted"); int(n) != len(want) {
		t.Errorf("persistor_halted is 1 for %v partitions, want %d", n, len(want))
	}
	if status, body := p.Ready(); status != http.StatusServiceUnavailable || strings.Count(body, "partition_halted") != len(want) {
		t.Errorf("/readyz: %d %s", status, body)
	}
	// The others go on.
	s.until("what is not damaged is stored", func() bool {
		_, end := s.Offsets()
		ledger := s.Ledger(s.conn)
		for place, offset := range end {
			_, bad := want[strings.TrimPrefix(place.Topic, s.Prefix)+"/"+strconv.Itoa(int(place.Partition))]
			if !bad && ledger[place] != offset {
				return false
			}
		}
		return true
	})
	if n := strings.Count(p.Log(), "partition halted"); n != len(want) {
		t.Errorf("the log says %d times that a partition is halted, want %d", n, len(want))
	}

	// The operator does what it says.
	s.remake("unifyevents", 1)
	for _, name := range keys(want) {
		topic, _, _ := strings.Cut(name, "/")
		if topic == "unifyevents" && name != "unifyevents/0" {
			continue
		}
		command := remedyCommand.FindStringSubmatch(halted[name].Remedy)
		if command == nil {
			t.Fatalf("%s: no command in %q", name, halted[name].Remedy)
		}
		arguments := append(strings.Fields(command[1]), "--yes")
		if command[2] != "" {
			arguments = append(arguments, command[2])
		}
		if exit, output := s.Command(arguments...); exit != 0 {
			t.Errorf("%s: persistor %s: exit %d: %s", name, strings.Join(arguments, " "), exit, output)
		}
	}
	// The log's end is where going on begins; what it holds below is read again on
	// request only, and here that is what no ledger has seen.
	if exit, output := s.Command("positions", "set", "trades", "1", fmt.Sprint(stored), "--yes"); exit != 0 {
		t.Errorf("positions set: exit %d: %s", exit, output)
	}
	s.until("nothing is halted", func() bool { return len(s.halted(p)) == 0 })
	s.produceAnew(append(transfers(1, 9), user(0, 1001), user(1, 1002), user(2, 1003),
		harness.Record{Topic: "unifyevents", Key: []byte("registeruser"), Value: user(0, 1001).Value})...)
	s.WaitDrained(patience)
	s.until("/readyz is content", func() bool { status, _ := p.Ready(); return status == http.StatusOK })
	if exit, output := s.Command("verify"); exit != 0 {
		t.Errorf("verify: exit %d: %s", exit, output)
	}
	s.noRejects()
}

// next is where the ledger stands.
func (s *scene) next(topic string, partition int32) int64 {
	s.t.Helper()
	next, found := s.Ledger(s.conn)[harness.Place{Topic: s.Prefix + topic, Partition: partition}]
	if !found {
		s.t.Fatalf("%s/%d is not in the ledger", topic, partition)
	}
	return next
}

// deleteBefore does what retention does: the log starts at the offset.
func (s *scene) deleteBefore(topic string, partition int32, offset int64) {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(s.Brokers, ",")...))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 30_000
	top := kmsg.NewDeleteRecordsRequestTopic()
	top.Topic = s.Prefix + topic
	part := kmsg.NewDeleteRecordsRequestTopicPartition()
	part.Partition, part.Offset = partition, offset
	top.Partitions = append(top.Partitions, part)
	req.Topics = append(req.Topics, top)
	for _, shard := range client.RequestSharded(s.t.Context(), req) {
		if shard.Err != nil {
			s.t.Fatal(shard.Err)
		}
		for _, answered := range shard.Resp.(*kmsg.DeleteRecordsResponse).Topics[0].Partitions {
			if answered.ErrorCode != 0 || answered.LowWatermark != offset {
				s.t.Fatalf("delete the records before %d: the log starts at %d, error %d", offset, answered.LowWatermark, answered.ErrorCode)
			}
		}
	}
}

// A process that can do nothing at all ends, so that somebody looks.
func TestAllHaltedEndsWithExitCode4(t *testing.T) {
	s := newScene(t)
	s.remake("unifyevents", 3)
	p := s.Start("PERSISTOR_TOPICS=unifyevents")
	if exit := p.Wait(patience); exit != 4 {
		t.Errorf("exit %d, want 4", exit)
	}
	if !strings.Contains(p.Log(), "every partition is halted") {
		t.Error("the log does not say why")
	}
}
