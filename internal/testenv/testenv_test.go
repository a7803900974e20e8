package testenv

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDatabaseIsFreshAndDroppedUnderOpenConnections(t *testing.T) {
	var address string
	var open *pgx.Conn
	t.Run("in use", func(t *testing.T) {
		address = Database(t)
		open = connect(t, address)
		var tables int
		query(t, open, &tables, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
		if tables != 0 {
			t.Errorf("%d relations in a fresh database", tables)
		}
		if _, err := open.Exec(t.Context(), "CREATE EXTENSION timescaledb"); err != nil {
			t.Error(err)
		}
	})
	if open == nil {
		t.Skip("no TimescaleDB")
	}
	defer open.Close(context.Background())
	if err := open.Ping(t.Context()); err == nil {
		t.Error("the connection survived its database")
	}
	if late, err := pgx.Connect(t.Context(), address); err == nil {
		late.Close(t.Context())
		t.Errorf("%s is still there after its test", address)
	}
}

func TestTopicsUnderAPrefixAreDeleted(t *testing.T) {
	var prefix string
	t.Run("in use", func(t *testing.T) {
		prefix = TopicPrefix(t)
		brokers := Kafka(t)
		CreateTopic(t, brokers, prefix+"trades", 3)
		CreateTopic(t, brokers, prefix+"orders", 1, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "60000"})
		awaitTopics(t, brokers, prefix, 2)
	})
	awaitTopics(t, Kafka(t), prefix, 0)
}

func TestOwnPostgresKeepsItsRowsOverStopAndKill(t *testing.T) {
	server := OwnPostgres(t)
	address := server.Database()
	first := connect(t, address)
	if _, err := first.Exec(t.Context(), "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	for _, end := range []struct {
		name string
		call func()
	}{{"stop", server.Stop}, {"kill", server.Kill}} {
		t.Run(end.name, func(t *testing.T) {
			end.call()
			if late, err := pgx.Connect(t.Context(), address); err == nil {
				late.Close(t.Context())
				t.Error("it still answers")
			}
			server.Start()
			var rows int
			query(t, connect(t, address), &rows, "SELECT count(*) FROM kept")
			if rows != 1 {
				t.Errorf("%d rows afterwards, want 1", rows)
			}
		})
	}
}

func TestOwnKafkaKeepsItsTopicsOverStopAndKill(t *testing.T) {
	server := OwnKafka(t)
	CreateTopic(t, server.Brokers(), "kept", 2)
	for _, end := range []struct {
		name string
		call func()
	}{{"stop", server.Stop}, {"kill", server.Kill}} {
		t.Run(end.name, func(t *testing.T) {
			end.call()
			if err := askKafka(t.Context(), server.Brokers()); err == nil {
				t.Error("it still answers")
			}
			server.Start()
			awaitTopics(t, server.Brokers(), "kept", 1)
		})
	}
}

func TestLocalStackReadsTheFileAbove(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "internal", "x")
	for _, dir := range []string{deep, filepath.Join(root, ".devstack")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	content := "export PERSISTOR_KAFKA_BROKERS=127.0.0.1:1\nexport PERSISTOR_DATABASE_URL='postgres://h/d?sslmode=disable'\n"
	if err := os.WriteFile(filepath.Join(root, ".devstack", "env"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(deep)
	for variable, want := range map[string]string{
		brokersVariable:  "127.0.0.1:1",
		databaseVariable: "postgres://h/d?sslmode=disable",
	} {
		if got, err := localStack(variable); got != want || err != nil {
			t.Errorf("localStack(%s) = %q, %v, want %q", variable, got, err, want)
		}
	}
	if got, err := localStack("PERSISTOR_OTHER"); err == nil {
		t.Errorf("localStack of an absent variable = %q, want an error", got)
	}
}

func TestDatabaseNameFitsPostgres(t *testing.T) {
	name := databaseName("TestSomething/Quoted \"x\"/" + strings.Repeat("long", 40))
	if len(name) > 63 || strings.ContainsAny(name, "\"/ ") {
		t.Errorf("%q is no good database name", name)
	}
}

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close(context.Background()) })
	return connection
}

func query(t *testing.T, connection *pgx.Conn, into any, sql string) {
	t.Helper()
	if err := connection.QueryRow(t.Context(), sql).Scan(into); err != nil {
		t.Fatal(err)
	}
}

// awaitTopics waits until so many topics are seen: a broker shows what was
// created or deleted some milliseconds after it has said that it is done.
func awaitTopics(t *testing.T, brokers, prefix string, want int) {
	t.Helper()
	deadline := time.Now().Add(answerTimeout)
	found := topicsUnder(t, brokers, prefix)
	for found != want && time.Now().Before(deadline) {
		<-time.After(20 * time.Millisecond)
		found = topicsUnder(t, brokers, prefix)
	}
	if found != want {
		t.Errorf("%d topics under %s, want %d", found, prefix, want)
	}
}

func topicsUnder(t *testing.T, brokers, prefix string) int {
	t.Helper()
	client, closeClient, err := kafkaClient(t.Context(), brokers)
	if err != nil {
		t.Fatal(err)
	}
	defer closeClient()
	answer, err := client.Metadata(t.Context(), &kafka.MetadataRequest{})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, topic := range answer.Topics {
		if strings.HasPrefix(topic.Name, prefix) {
			found++
		}
	}
	return found
}

// ended notes how a test was ended, which it goes on after.
type ended struct {
	testing.TB
	how []string
}

func (e *ended) Helper()      {}
func (e *ended) Skip(...any)  { e.how = append(e.how, "skipped") }
func (e *ended) Fatal(...any) { e.how = append(e.how, "failed") }

// In CI a test that cannot run is no skip that nobody reads.
func TestWhatIsLackingFailsInCI(t *testing.T) {
	for ci, want := range map[string]string{"": "skipped", "true": "failed"} {
		t.Setenv("CI", ci)
		e := &ended{TB: t}
		if unavailable(e, "disk", errors.New("none here")); len(e.how) == 0 || e.how[0] != want {
			t.Errorf("with CI=%q the test is %v, want %s", ci, e.how, want)
		}
	}
}
