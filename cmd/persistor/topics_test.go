package main

import (
	"strings"
	"testing"

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

func TestTopicsWithoutKafka(t *testing.T) {
	got := execute(t, nil, "topics", "check", "--kafka-brokers", "127.0.0.1:1")
	if got.code != 1 || !strings.Contains(got.stderr, "127.0.0.1:1") || !strings.Contains(got.stderr, "is Kafka up") {
		t.Errorf("%+v", got)
	}
}
