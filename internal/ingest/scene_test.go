package ingest_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/thaliumx/persistor/internal/harness"
	"github.com/thaliumx/persistor/internal/httpserver"
	"github.com/thaliumx/persistor/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.Cleanup(harness.Exit)) }

// patience covers a dead member's session of 6 s on a busy machine.
const patience = time.Minute

// scene is a site with a session for looking and a client for meddling.
type scene struct {
	*harness.Site
	t     *testing.T
	conn  *pgx.Conn
	admin *kafka.Client
}

func newScene(t *testing.T) *scene {
	t.Helper()
	t.Parallel()
	return sceneOf(t, harness.New(t))
}

func sceneOf(t *testing.T, site *harness.Site) *scene {
	t.Helper()
	return &scene{Site: site, t: t, conn: site.Connect(), admin: testenv.KafkaClient(t, site.Brokers)}
}

func (s *scene) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.conn.Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) count(sql string, args ...any) int {
	s.t.Helper()
	var n int
	if err := s.conn.QueryRow(s.t.Context(), sql, args...).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *scene) until(what string, condition func() bool) {
	s.t.Helper()
	harness.Until(s.t, patience, what, condition)
}

// account fails the test where the accounting does not hold just now.
func (s *scene) account() {
	s.t.Helper()
	if list := s.Account(); len(list) > 0 {
		s.t.Fatalf("accounting violated in %d places:\n%s", len(list), strings.Join(list[:min(len(list), 10)], "\n"))
	}
}

// noRejects fails the test where a record was rejected.
func (s *scene) noRejects() {
	s.t.Helper()
	if n := s.count("SELECT count(*) FROM dingir.rejects"); n != 0 {
		var reason string
		_ = s.conn.QueryRow(s.t.Context(), "SELECT topic || ': ' || reason FROM dingir.rejects LIMIT 1").Scan(&reason)
		s.t.Fatalf("%d records rejected: %s", n, reason)
	}
}

// transfer is a good record of internaltransfer; n tells it from others.
func transfer(partition int32, n int) harness.Record {
	return harness.Record{Topic: "internaltransfer", Partition: partition, Key: []byte{}, Value: fmt.Appendf(nil,
		`{"time":1700000000.5,"user_from":1,"user_to":2,"asset":"ETH","amount":"%d.500","signature":""}`, n)}
}

// transfers are count of them, told apart from first on, spread over the
// partitions of the topic.
func transfers(first, count int) []harness.Record {
	var list []harness.Record
	for i := range count {
		list = append(list, transfer(int32(i%3), first+i))
	}
	return list
}

// user is a good record of registeruser.
func user(partition int32, id int) harness.Record {
	return harness.Record{Topic: "registeruser", Partition: partition, Key: []byte{}, Value: fmt.Appendf(nil,
		`{"user_id":%d,"l1_address":"0x%d","l2_pubkey":"0x"}`, id, id)}
}

// produceAnew produces through a client that knows no topic yet: the site's own
// holds fast to the ids of topics that were made again.
func (s *scene) produceAnew(records ...harness.Record) {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(s.Brokers, ",")...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(80<<20))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	for _, r := range records {
		record := &kgo.Record{Topic: s.Prefix + r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value}
		if err := client.ProduceSync(s.t.Context(), record).FirstErr(); err != nil {
			s.t.Fatalf("produce to %s: %v", record.Topic, err)
		}
	}
}

// halted are the halted partitions, by topic without prefix and number.
func (s *scene) halted(p *harness.Process) map[string]httpserver.Partition {
	s.t.Helper()
	found := map[string]httpserver.Partition{}
	for _, v := range p.Status().Partitions {
		if v.State == httpserver.Halted {
			found[fmt.Sprintf("%s/%d", strings.TrimPrefix(v.Topic, s.Prefix), v.Partition)] = v
		}
	}
	return found
}

func keys[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// remake deletes a topic and makes it again.
func (s *scene) remake(topic string, partitions int) {
	s.t.Helper()
	name := s.Prefix + topic
	answer, err := s.admin.DeleteTopics(s.t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{name}})
	if err == nil {
		err = answer.Errors[name]
	}
	if err != nil {
		s.t.Fatalf("delete topic %s: %v", name, err)
	}
	// As long as it is seen, records may still go to it.
	s.until("topic "+name+" is gone", func() bool {
		answer, err := s.admin.Metadata(s.t.Context(), &kafka.MetadataRequest{Topics: []string{name}})
		return err == nil && len(answer.Topics) == 1 && answer.Topics[0].Error != nil
	})
	s.makeTopic(topic, partitions)
}

// makeTopic makes a topic as soon as the one deleted before is gone.
func (s *scene) makeTopic(topic string, partitions int) {
	s.t.Helper()
	name := s.Prefix + topic
	s.until("topic "+name+" is made", func() bool {
		answer, err := s.admin.CreateTopics(s.t.Context(), &kafka.CreateTopicsRequest{
			Topics: []kafka.TopicConfig{{Topic: name, NumPartitions: partitions, ReplicationFactor: 1}}})
		return err == nil && answer.Errors[name] == nil
	})
	s.awaitPartitions(topic, partitions)
}

// awaitPartitions waits until the broker shows so many, each with a leader: it does
// so some milliseconds after it has said that they are made.
func (s *scene) awaitPartitions(topic string, partitions int) {
	s.t.Helper()
	name := s.Prefix + topic
	s.until("topic "+name+" has leaders", func() bool {
		answer, err := s.admin.Metadata(s.t.Context(), &kafka.MetadataRequest{Topics: []string{name}})
		if err != nil || len(answer.Topics) != 1 || answer.Topics[0].Error != nil || len(answer.Topics[0].Partitions) != partitions {
			return false
		}
		for _, p := range answer.Topics[0].Partitions {
			if p.Error != nil || p.Leader.Host == "" {
				return false
			}
		}
		return true
	})
}

func full() bool { return os.Getenv("PERSISTOR_OUTAGE") == "full" }
