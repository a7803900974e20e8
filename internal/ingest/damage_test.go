package ingest_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/thaliumx/persistor/internal/harness"
	"github.com/thaliumx/persistor/internal/testenv"
)

// A log with holes that no transaction explains, and batches that a disk has
// damaged, halt their partitions and no others, the rows before them stored, and
// what the message says sets them going again.
func TestDamagedLogsHalt(t *testing.T) {
	t.Parallel()
	server := testenv.OwnKafka(t)
	s := sceneOf(t, harness.OnBroker(t, server))
	p := s.Start()
	s.Produce(transfers(0, 9)...)
	s.Produce(user(0, 1), user(1, 2), user(2, 3))
	s.WaitDrained(patience)
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Fatalf("exit %d", exit)
	}

	// Compaction takes three of the five records that nobody has read yet.
	s.configure(kafka.ResourceTypeBroker, "1", "log.cleaner.backoff.ms", "100")
	s.configure(kafka.ResourceTypeTopic, s.Prefix+"internaltransfer",
		"cleanup.policy", "compact", "segment.ms", "1", "min.cleanable.dirty.ratio", "0.001")
	for i, key := range []string{"a", "b", "b", "b", "b", "c", "d"} {
		r := transfer(0, 100+i)
		r.Key = []byte(key)
		s.produceAnew(r)
	}
	behind := 0
	s.until("the topic is compacted", func() bool {
		if offsets := s.offsetsOf("internaltransfer", 0, 3); slices.Equal(offsets[:min(4, len(offsets))], []int64{3, 7, 8, 9}) {
			return true
		}
		// A segment is rolled only by a record that comes once the broker has taken
		// in the settings.
		behind++
		r := transfer(0, 200+behind)
		r.Key = fmt.Appendf(nil, "behind %d", behind)
		s.produceAnew(r)
		return false
	})
	s.configure(kafka.ResourceTypeTopic, s.Prefix+"internaltransfer", "cleanup.policy", "delete")

	// Each record is a batch of its own.
	for i := range 4 {
		s.produceAnew(trade(1, 10+i, "1"), order(2, "ORDER_CREATED", 20+i, "1"))
	}
	server.Stop()
	mend := s.flip(server, "trades", 1, 2)
	s.flip(server, "orders", 2, 2)
	s.flip(server, "registeruser", 0, 0) // stored already, and compared with what is there
	server.Start()

	want := map[string]struct {
		reason string
		next   int64
	}{
		"internaltransfer/0": {"no records from offset 4 to 6", 4},
		"trades/1":           {"checksum", 2},
		"orders/2":           {"checksum", 2},
		"registeruser/0":     {"cannot be compared with the log", 1},
	}
	p = s.Start()
	s.until("what is damaged is halted", func() bool { return len(s.halted(p)) == len(want) })
	halted := s.halted(p)
	if !slices.Equal(keys(halted), keys(want)) {
		t.Fatalf("halted are %v, want %v", keys(halted), keys(want))
	}
	for name, w := range want {
		if v := halted[name]; !strings.Contains(v.Reason, w.reason) {
			t.Errorf("%s is halted since %q; want %q", name, v.Reason, w.reason)
		}
		s.until("what lies before the damage of "+name+" is stored", func() bool { return s.halted(p)[name].NextOffset == w.next })
	}
	// It stays so, and the others go on.
	s.produceAnew(user(1, 5), trade(0, 5, "1"))
	s.until("what is not damaged is stored", func() bool {
		return s.count("SELECT count(*) FROM dingir.users WHERE user_id = 5") == 1 && s.count("SELECT count(*) FROM dingir.trades WHERE trade_id = 5") == 1
	})
	if status, body := p.Ready(); status != http.StatusServiceUnavailable || strings.Count(body, "partition_halted") != len(want) {
		t.Errorf("/readyz: %d %s", status, body)
	}

	for _, name := range []string{"internaltransfer/0", "orders/2", "registeruser/0"} {
		command := remedyCommand.FindStringSubmatch(halted[name].Remedy)
		if command == nil {
			t.Fatalf("%s: no command in %q", name, halted[name].Remedy)
		}
		if exit, output := s.Command(append(strings.Fields(command[1]), "--yes")...); exit != 0 {
			t.Errorf("%s: persistor %s: exit %d: %s", name, command[1], exit, output)
		}
	}
	s.until("all that was passed over goes on", func() bool { return slices.Equal(keys(s.halted(p)), []string{"trades/1"}) })
	server.Stop()
	mend()
	server.Start()
	s.until("nothing is halted", func() bool { return len(s.halted(p)) == 0 })
	s.produceAnew(user(0, 6))
	s.WaitDrained(patience)
	s.until("/readyz is content", func() bool { status, _ := p.Ready(); return status == http.StatusOK })
	s.noRejects()
	if gaps := s.gaps(); gaps != "internaltransfer/0 4-6 skipped, orders/2 2-2 skipped" {
		t.Errorf("gaps: %s", gaps)
	}
	for table, rows := range map[string]int{"internal_transfers": 9 + 4 + behind, "trades": 5, "order_events": 3, "users": 5} {
		if n := s.count("SELECT count(*) FROM dingir." + table); n != rows {
			t.Errorf("%d rows in %s, want %d", n, table, rows)
		}
	}
	if exit, output := s.Command("verify"); exit != 0 {
		t.Errorf("verify: exit %d: %s", exit, output)
	}
}

// A log whose last stored record was compacted away cannot prove that it is the
// same log.
func TestTheLastRecordIsCompactedAway(t *testing.T) {
	t.Parallel()
	server := testenv.OwnKafka(t)
	s := sceneOf(t, harness.OnBroker(t, server))
	p := s.Start()
	s.produceAnew(transfer(0, 1), transfer(0, 2))
	s.WaitDrained(patience)
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Fatalf("exit %d", exit)
	}
	s.configure(kafka.ResourceTypeBroker, "1", "log.cleaner.backoff.ms", "100")
	s.configure(kafka.ResourceTypeTopic, s.Prefix+"internaltransfer",
		"cleanup.policy", "compact", "segment.ms", "1", "min.cleanable.dirty.ratio", "0.001")
	s.produceAnew(transfer(0, 3))
	// Only what lies before the active segment is compacted, and a segment is
	// rolled only by a record that comes once the broker has taken in the settings.
	behind := 1
	s.until("the topic is compacted", func() bool {
		behind++
		next := transfer(0, 2+behind)
		next.Key = fmt.Append(nil, behind)
		s.produceAnew(next)
		return s.offsetsOf("internaltransfer", 0, 0)[0] == 2
	})

	p = s.Start()
	s.until("the partition is halted", func() bool { return len(s.halted(p)) == 1 })
	v := s.halted(p)["internaltransfer/0"]
	command := remedyCommand.FindStringSubmatch(v.Remedy)
	if !strings.Contains(v.Reason, "offset 1") || command == nil {
		t.Fatalf("halted since %q; %q", v.Reason, v.Remedy)
	}
	if exit, output := s.Command(append(strings.Fields(command[1]), "--yes")...); exit != 0 {
		t.Errorf("persistor %s: exit %d: %s", command[1], exit, output)
	}
	s.WaitDrained(patience)
	s.noRejects()
	if n := s.count("SELECT count(*) FROM dingir.internal_transfers"); n != 2+behind {
		t.Errorf("%d rows, want the two that were compacted away and the %d behind", n, behind)
	}
}

// configure sets a topic's or a broker's settings, given as names and values.
func (s *scene) configure(kind kafka.ResourceType, name string, settings ...string) {
	s.t.Helper()
	var list []kafka.IncrementalAlterConfigsRequestConfig
	for pair := range slices.Chunk(settings, 2) {
		list = append(list, kafka.IncrementalAlterConfigsRequestConfig{Name: pair[0], Value: pair[1], ConfigOperation: kafka.ConfigOperationSet})
	}
	answer, err := s.admin.IncrementalAlterConfigs(s.t.Context(), &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{ResourceType: kind, ResourceName: name, Configs: list}}})
	if err == nil {
		err = answer.Resources[0].Error
	}
	if err != nil {
		s.t.Fatalf("set %v of %s: %v", settings, name, err)
	}
}

// offsetsOf are the offsets of the records that the log has from there on.
func (s *scene) offsetsOf(topic string, partition int32, from int64) (offsets []int64) {
	s.t.Helper()
	_, end := s.Offsets()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(s.Brokers, ",")...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.Prefix + topic: {partition: kgo.NewOffset().At(from)}}))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	last := end[harness.Place{Topic: s.Prefix + topic, Partition: partition}] - 1
	for len(offsets) == 0 || offsets[len(offsets)-1] < last {
		fetches := client.PollFetches(s.t.Context())
		if err := fetches.Err(); err != nil {
			s.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { offsets = append(offsets, r.Offset) })
	}
	return offsets
}

// flip turns the last bit of the batch that begins at the offset, on the disk of
// a stopped broker, and returns what turns it back.
func (s *scene) flip(server *testenv.Broker, topic string, partition int32, offset int64) (back func()) {
	s.t.Helper()
	name := filepath.Join(server.Dir(), "kafka", "data", fmt.Sprintf("%s%s-%d", s.Prefix, topic, partition), "00000000000000000000.log")
	turn := func() {
		data, err := os.ReadFile(name)
		if err != nil {
			s.t.Fatal(err)
		}
		for at := 0; at < len(data); {
			end := at + 12 + int(binary.BigEndian.Uint32(data[at+8:]))
			if int64(binary.BigEndian.Uint64(data[at:])) == offset {
				data[end-1] ^= 1
				if err := os.WriteFile(name, data, 0o600); err != nil {
					s.t.Fatal(err)
				}
				return
			}
			at = end
		}
		s.t.Fatalf("%s: no batch begins at offset %d", name, offset)
	}
	turn()
	return turn
}

// gaps are those noted, in words.
func (s *scene) gaps() (text string) {
	s.t.Helper()
	err := s.conn.QueryRow(s.t.Context(), `SELECT coalesce(string_agg(format('%s/%s %s-%s %s', substr(topic, length($1) + 1), partition, first_offset, last_offset, reason),
		', ' ORDER BY topic, partition, first_offset), '') FROM dingir.gaps`, s.Prefix).Scan(&text)
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

// A record batch above what the client takes in halts its partition alone, and
// the message says which setting lets it in.
func TestAnAnswerTooLargeHaltsOnePartition(t *testing.T) {
	t.Parallel()
	s := sceneOf(t, harness.OnBroker(t, testenv.OwnKafka(t)))
	s.configure(kafka.ResourceTypeTopic, s.Prefix+"internaltransfer", "max.message.bytes", fmt.Sprint(80<<20))
	large := transfer(1, 2)
	random := make([]byte, 50<<20) // which the broker cannot compress
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	large.Value = fmt.Appendf(nil, `{"more":"%s",%s`, base64.StdEncoding.EncodeToString(random), large.Value[1:])
	s.produceAnew(transfer(0, 1), large, transfer(1, 3))

	p := s.Start("PERSISTOR_WORKERS=1")
	s.until("the partition is halted", func() bool { return len(s.halted(p)) == 1 })
	v, found := s.halted(p)["internaltransfer/1"]
	if !found || !strings.Contains(v.Reason, "offset 0 is too large") {
		t.Fatalf("halted are %v", s.halted(p))
	}
	// It stays so however often it is tried, and the others of its worker go on.
	tried := func() int {
		return strings.Count(p.Log(), `msg="partition in work" worker=0 topic=`+s.Prefix+"internaltransfer partition=1 ")
	}
	for i := range 5 {
		s.produceAnew(transfer(0, 10+i), user(1, 5+i))
		s.until("what others have is stored", func() bool {
			return s.count("SELECT count(*) FROM dingir.internal_transfers") == 2+i && s.count("SELECT count(*) FROM dingir.users") == 1+i
		})
		s.until("it is tried again", func() bool { return tried() > (i+1)/2 })
	}
	if !slices.Equal(keys(s.halted(p)), []string{"internaltransfer/1"}) {
		t.Errorf("halted are %v", keys(s.halted(p)))
	}
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Fatalf("exit %d", exit)
	}

	setting := regexp.MustCompile(`set (PERSISTOR_BATCH_BYTES) to (\d+MiB)`).FindStringSubmatch(v.Remedy)
	if setting == nil {
		t.Fatalf("no setting in %q", v.Remedy)
	}
	p = s.Start(setting[1] + "=" + setting[2])
	s.WaitDrained(patience)
	s.noRejects()
	if n := s.count("SELECT count(*) FROM dingir.internal_transfers"); n != 8 {
		t.Errorf("%d transfers, want 8", n)
	}
	p.Term()
	p.Wait(patience)
}
