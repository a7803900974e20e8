package main

import (
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/testenv"
)

func TestTopics(t *testing.T) {
	env := []string{"PERSISTOR_KAFKA_BROKERS=" + testenv.Kafka(t), "PERSISTOR_TOPIC_PREFIX=" + testenv.TopicPrefix(t)}
	for _, test := range []struct {
		name           string
		command        string
		code           int
		stdout, stderr string
	}{
		{"check before", "check", 3, "thaliumx.dlq.general: missing", "10 differences from the documented topics"},
		{"create", "create", 0, "created ", ""},
		{"create again", "create", 0, "exists ", ""},
		{"check after", "check", 0, "all 10 topics are as documented", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := execute(t, env, "topics", test.command)
			if got.code != test.code || !strings.Contains(got.stdout, test.stdout) || !strings.Contains(got.stderr, test.stderr) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// What exists is left as it is, which is what creating is asked for.
func TestTopicsThatExistOtherwise(t *testing.T) {
	brokers, prefix := testenv.Kafka(t), testenv.TopicPrefix(t)
	env := []string{"PERSISTOR_KAFKA_BROKERS=" + brokers, "PERSISTOR_TOPIC_PREFIX=" + prefix}
	makeTopic(t, brokers, prefix+"trades", 1)
	const says = "trades: 1 partition"
	if got := execute(t, env, "topics", "create"); got.code != 0 || !strings.Contains(got.stdout, says) || got.stderr != "" {
		t.Errorf("create: %+v", got)
	}
	if got := execute(t, env, "topics", "check"); got.code != 3 || !strings.Contains(got.stdout, says) {
		t.Errorf("check: %+v", got)
	}
}

func makeTopic(t *testing.T, brokers, name string, partitions int) {
	t.Helper()
	answer, err := testenv.KafkaClient(t, brokers, name).CreateTopics(t.Context(), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: name, NumPartitions: partitions, ReplicationFactor: 1}}})
	if err == nil {
		err = answer.Errors[name]
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTopicsWithoutKafka(t *testing.T) {
	got := execute(t, nil, "topics", "check", "--kafka-brokers", "127.0.0.1:1")
	if got.code != 1 || !strings.Contains(got.stderr, "127.0.0.1:1") || !strings.Contains(got.stderr, "is Kafka up") {
		t.Errorf("%+v", got)
	}
}
