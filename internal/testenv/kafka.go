package testenv

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

var sharedKafka = sync.OnceValues(service{
	name:     "Kafka",
	variable: brokersVariable,
	ask:      askKafka,
	contain:  containKafka,
}.find)

// Kafka returns the brokers, as PERSISTOR_KAFKA_BROKERS has them, of a Kafka
// that every test shares. Work under a TopicPrefix there.
func Kafka(t testing.TB) string {
	t.Helper()
	brokers, err := sharedKafka()
	if err != nil {
		unavailable(t, "Kafka", err)
	}
	return brokers
}

// TopicPrefix returns a prefix that no other test has. Topics on the shared
// Kafka whose names begin with it are deleted when the test ends.
func TopicPrefix(t testing.TB) string {
	t.Helper()
	brokers := Kafka(t)
	prefix := "t" + randomName() + "."
	t.Cleanup(func() {
		if err := deleteTopics(brokers, prefix); err != nil {
			t.Errorf("delete the test's topics %s*: %v", prefix, err)
		}
	})
	return prefix
}

// CreateTopic creates a topic and returns when each of its partitions has a
// leader, so that the first produce or fetch does not have to retry.
func CreateTopic(t testing.TB, brokers, topic string, partitions int, settings ...kafka.ConfigEntry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, closeClient, err := kafkaClient(ctx, brokers)
	if err != nil {
		t.Fatalf("create topic %s: %v", topic, err)
	}
	defer closeClient()

	answer, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: topic, NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: settings,
	}}})
	if err == nil {
		err = answer.Errors[topic]
	}
	if err != nil {
		t.Fatalf("create topic %s: %v", topic, err)
	}
	for {
		ready, err := leaders(ctx, client, topic)
		if ready == partitions {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("topic %s: %d of %d partitions have a leader (%v)", topic, ready, partitions, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// leaders counts the topic's partitions that have a leader.
func leaders(ctx context.Context, client *kafka.Client, topic string) (int, error) {
	// A Transport answers metadata requests from what it remembers, up to its
	// MetadataTTL, which metadataAge keeps short.
	answer, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, err
	}
	ready := 0
	for _, found := range answer.Topics {
		if found.Error != nil {
			return 0, found.Error
		}
		for _, partition := range found.Partitions {
			if partition.Error != nil {
				err = partition.Error
				continue
			}
			ready++
		}
	}
	return ready, err
}

func deleteTopics(brokers, prefix string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, closeClient, err := kafkaClient(ctx, brokers)
	if err != nil {
		return err
	}
	defer closeClient()

	answer, err := client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return err
	}
	var mine []string
	for _, topic := range answer.Topics {
		if strings.HasPrefix(topic.Name, prefix) {
			mine = append(mine, topic.Name)
		}
	}
	if len(mine) == 0 {
		return nil
	}
	deleted, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: mine})
	if err != nil {
		return err
	}
	for topic, err := range deleted.Errors {
		if err != nil {
			return fmt.Errorf("%s: %w", topic, err)
		}
	}
	return nil
}

// askKafka fails unless a broker answers with the cluster's metadata.
func askKafka(ctx context.Context, brokers string) error {
	_, closeClient, err := kafkaClient(ctx, brokers)
	if err != nil {
		return err
	}
	closeClient()
	return nil
}

// metadataAge bounds how old a test's client's view of the cluster is. kafka-go
// takes it for the time that an answer may need, too.
const metadataAge = 250 * time.Millisecond

// KafkaClient returns a client whose view of the cluster is kept fresh, of all
// topics or of the given ones. It ends with the test.
func KafkaClient(t testing.TB, brokers string, topics ...string) *kafka.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), answerTimeout)
	defer cancel()
	client, closeClient, err := kafkaClient(ctx, brokers, topics...)
	if err != nil {
		t.Fatalf("reach Kafka at %s: %v", brokers, err)
	}
	t.Cleanup(closeClient)
	return client
}

// kafkaClient returns a client with a connection pool of its own, once it has
// seen the cluster, and the function that ends the pool's goroutines. Where its
// first look fails, as on a machine so busy that the answer takes longer than
// metadataAge, kafka-go would call the next request's broker not available.
func kafkaClient(ctx context.Context, brokers string, topics ...string) (*kafka.Client, func(), error) {
	transport := &kafka.Transport{MetadataTTL: metadataAge, MetadataTopics: topics}
	client := &kafka.Client{
		Addr:      kafka.TCP(slices.Collect(strings.SplitSeq(brokers, ","))...),
		Timeout:   time.Minute,
		Transport: transport,
	}
	for {
		answer, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{}})
		switch {
		case err == nil && answer.Controller.Host != "":
			return client, transport.CloseIdleConnections, nil
		case err == nil: // it has just started
			err = errors.New("the cluster names no controller")
		case errors.Is(err, syscall.ECONNREFUSED):
			transport.CloseIdleConnections()
			return nil, nil, err
		}
		select {
		case <-ctx.Done():
			transport.CloseIdleConnections()
			return nil, nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// randomName returns eight characters that are good in any name.
func randomName() string {
	return strings.ToLower(rand.Text()[:8])
}

// Headers encodes a record's headers as Kafka does.
func Headers(list ...kafka.Header) []byte {
	b := binary.AppendVarint(nil, int64(len(list)))
	for _, h := range list {
		b = append(binary.AppendVarint(b, int64(len(h.Key))), h.Key...)
		if h.Value == nil {
			b = binary.AppendVarint(b, -1)
			continue
		}
		b = append(binary.AppendVarint(b, int64(len(h.Value))), h.Value...)
	}
	return b
}
