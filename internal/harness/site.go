package harness

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/thaliumx/persistor/internal/testenv"
	"github.com/thaliumx/persistor/internal/topics"
)

// Site is one installation: topics, a consumer group and a database that no
// other test has.
type Site struct {
	Brokers     string
	Prefix      string // of the topics' names
	Group       string
	DatabaseURL string

	t      testing.TB
	kafka  *kgo.Client
	placed map[string]int // records produced so far, by topic
}

// New makes a site on the servers that all tests share, with the documented
// topics and a migrated database.
func New(t testing.TB) *Site {
	t.Helper()
	return On(t, testenv.Database(t))
}

// On is New with a database that the caller made, empty.
func On(t testing.TB, databaseURL string) *Site {
	t.Helper()
	return build(t, testenv.Kafka(t), testenv.TopicPrefix(t), databaseURL)
}

// OnBroker is New with a broker that the test has for itself.
func OnBroker(t testing.TB, broker *testenv.Broker) *Site {
	t.Helper()
	return OnBrokers(t, broker.Brokers())
}

// OnBrokers is New with a Kafka that the caller made.
func OnBrokers(t testing.TB, brokers string) *Site {
	t.Helper()
	return build(t, brokers, "own.", testenv.Database(t))
}

func build(t testing.TB, brokers, prefix, databaseURL string) *Site {
	t.Helper()
	s := &Site{
		Brokers: brokers, Prefix: prefix, Group: prefix + "group", DatabaseURL: databaseURL,
		t: t, placed: map[string]int{},
	}
	s.createTopics()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(s.Brokers, ",")...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.SnappyCompression()),
		kgo.ProducerBatchMaxBytes(topics.MaxMessageBytes),
		kgo.ProducerLinger(5*time.Millisecond),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s.kafka = client
	// By the program under test: its schema is a part of it.
	if code, output := s.Command("migrate"); code != 0 {
		t.Fatalf("migrate ends with exit code %d: %s", code, output)
	}
	return s
}

func (s *Site) createTopics() {
	s.t.Helper()
	want := topics.Documented(s.Prefix)
	client := testenv.KafkaClient(s.t, s.Brokers, topics.Names(want)...)
	defer client.Transport.(*kafka.Transport).CloseIdleConnections() //nolint:forcetypeassert // it is
	if _, err := topics.Create(s.t.Context(), client, want, 1); err != nil {
		s.t.Fatal(err)
	}
}

// environment is the test process's without its own settings, with the site's
// and the given ones behind them.
func (s *Site) environment(settings []string) []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "PERSISTOR_") && !strings.HasPrefix(e, "FAILPOINT") {
			env = append(env, e)
		}
	}
	env = append(env,
		"PERSISTOR_KAFKA_BROKERS="+s.Brokers, "PERSISTOR_TOPIC_PREFIX="+s.Prefix,
		"PERSISTOR_GROUP_ID="+s.Group, "PERSISTOR_DATABASE_URL="+s.DatabaseURL,
		"PERSISTOR_LISTEN=127.0.0.1:0", "PERSISTOR_LOG_LEVEL=debug", "PERSISTOR_LOG_FORMAT=text")
	return append(env, settings...)
}

// Command runs another command of the program and returns its exit code and
// what it printed.
func (s *Site) Command(arguments ...string) (exit int, output string) {
	s.t.Helper()
	command := exec.CommandContext(s.t.Context(), Binary(s.t), arguments...) //nolint:gosec // the program under test
	command.Env = s.environment(nil)
	text, err := command.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		s.t.Fatalf("run persistor %s: %v", strings.Join(arguments, " "), err)
	}
	return command.ProcessState.ExitCode(), string(text)
}

// Connect opens a session in the site's database; it ends with the test.
func (s *Site) Connect() *pgx.Conn {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.DatabaseURL)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// Until polls until the condition holds, and fails the test where it does not
// within the time.
func Until(t testing.TB, within time.Duration, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !condition() {
		if time.Now().After(deadline) && !condition() { // this process, too, may have been held up
			t.Fatalf("after %v still not: %s", within, what)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatalf("the test ended before: %s", what)
		}
	}
}
