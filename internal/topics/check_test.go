package topics_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/testenv"
	"github.com/thaliumx/persistor/internal/topics"
)

// newClient returns a client whose transport knows want only, as config's does.
func newClient(t *testing.T, brokers string, want []topics.Topic) *kafka.Client {
	t.Helper()
	transport := &kafka.Transport{MetadataTopics: topics.Names(want)}
	t.Cleanup(transport.CloseIdleConnections)
	return &kafka.Client{Addr: kafka.TCP(brokers), Timeout: 15 * time.Second, Transport: transport}
}

func TestCreateAndCheck(t *testing.T) {
	brokers, prefix := testenv.Kafka(t), testenv.TopicPrefix(t)
	want := topics.Documented(prefix)

	missing, err := topics.Check(t.Context(), newClient(t, brokers, want), want)
	if err != nil {
		t.Fatal(err)
	}
	if len(missing) != len(want) {
		t.Errorf("on an empty cluster %d topics are missing: %v", len(missing), missing)
	}

	client := newClient(t, brokers, want)
	done, err := topics.Create(t.Context(), client, want, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Made) != len(want) || len(done.Existed) != 0 || len(done.Remained) != 0 {
		t.Errorf("first time: %+v", done)
	}
	done, err = topics.Create(t.Context(), client, want, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Made) != 0 || len(done.Existed) != len(want) || len(done.Remained) != 0 {
		t.Errorf("second time: %+v", done)
	}
	// Another client has no cache of what this one made.
	if diffs, err := topics.Check(t.Context(), newClient(t, brokers, want), want); err != nil || len(diffs) != 0 {
		t.Errorf("after creation: %v, %v", diffs, err)
	}
}

func TestCheckFindsWhatDiffers(t *testing.T) {
	brokers, prefix := testenv.Kafka(t), testenv.TopicPrefix(t)
	entry := func(key, value string) kafka.ConfigEntry {
		return kafka.ConfigEntry{ConfigName: key, ConfigValue: value}
	}
	documented := func(retention string, others ...kafka.ConfigEntry) []kafka.ConfigEntry {
		return append([]kafka.ConfigEntry{
			entry("retention.ms", retention), entry("compression.type", "snappy"),
			entry("max.message.bytes", "10485760"), entry("message.timestamp.type", "CreateTime"),
		}, others...)
	}
	const week, month = "604800000", "2592000000"
	testenv.CreateTopic(t, brokers, prefix+"trades", 6, documented(week)...)
	testenv.CreateTopic(t, brokers, prefix+"orders", 2, documented(week)...)
	testenv.CreateTopic(t, brokers, prefix+"balances", 4, documented("86400000")...)
	testenv.CreateTopic(t, brokers, prefix+"deposits", 3, documented("-1")...)
	testenv.CreateTopic(t, brokers, prefix+"unifyevents", 3, documented(week)...)
	testenv.CreateTopic(t, brokers, prefix+"registeruser", 3, entry("retention.ms", month), entry("compression.type", "producer"),
		entry("max.message.bytes", "1000"), entry("message.timestamp.type", "LogAppendTime"), entry("cleanup.policy", "compact"))

	want := topics.Documented(prefix)
	diffs, err := topics.Check(t.Context(), newClient(t, brokers, want), want)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, d := range diffs {
		if d.Remedy == "" {
			t.Errorf("no remedy: %v", d)
		}
		lines = append(lines, strings.ReplaceAll(d.String(), prefix, ""))
	}
	all := strings.Join(lines, "\n")
	for _, expected := range []string{
		"orders: 2 partitions, documented 6: kafka-topics.sh --alter --topic orders --partitions 6",
		"balances: 4 partitions, documented 3: Kafka cannot take partitions away",
		"balances: retention.ms is 86400000 (1 day), documented 604800000 (7 days): kafka-configs.sh --alter --entity-type topics --entity-name balances --add-config retention.ms=604800000",
		"deposits: retention.ms is -1 (for ever), documented 2592000000 (30 days)",
		"GRAVE: unifyevents: 3 partitions, documented 1: its total order is lost",
		"registeruser: compression.type is producer, documented snappy",
		"registeruser: max.message.bytes is 1000, documented 10485760",
		"registeruser: message.timestamp.type is LogAppendTime, documented CreateTime",
		"GRAVE: registeruser: cleanup.policy is compact, documented delete",
		"withdraws: missing: create it", "internaltransfer: missing", "thaliumx.dlq.general: missing", "thaliumx.dlq.transactions: missing",
	} {
		if !strings.Contains(all, expected) {
			t.Errorf("not found: %s", expected)
		}
	}
	if len(diffs) != 13 || !topics.AnyGrave(diffs) {
		t.Errorf("%d differences:\n%s", len(diffs), all)
	}

	done, err := topics.Create(t.Context(), newClient(t, brokers, want), want, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Made) != 4 || len(done.Existed) != 6 || len(done.Remained) != 9 {
		t.Errorf("creation beside others: %+v", done)
	}
}

func TestCreateRefused(t *testing.T) {
	brokers, prefix := testenv.Kafka(t), testenv.TopicPrefix(t)
	want := topics.Documented(prefix)
	_, err := topics.Create(t.Context(), newClient(t, brokers, want), want, 99)
	if err == nil || !strings.Contains(err.Error(), "99 replicas") {
		t.Errorf("replication that the cluster cannot give: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	_ = listener.Close()
	want := topics.Documented("")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := topics.Check(ctx, newClient(t, nobody, want), want); err == nil || !strings.Contains(err.Error(), nobody) {
		t.Errorf("got %v", err)
	}
}
