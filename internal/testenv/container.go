package testenv

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
)

// The images of the shared servers, as variables for those who mirror them.
const (
	kafkaImageVariable    = "PERSISTOR_TEST_KAFKA_IMAGE"
	kafkaImage            = "apache/kafka:4.1.0"
	databaseImageVariable = "PERSISTOR_TEST_DATABASE_IMAGE"
	databaseImage         = "timescale/timescaledb:2.19.3-pg17"
)

const (
	// containerTimeout includes the download of an image on a slow line.
	containerTimeout = 10 * time.Minute
	// containerStart is what a started server may take to answer.
	containerStart = time.Minute
)

// inContainer returns the address of the service in a container that all test
// binaries of a run share.
func inContainer(s service) (address string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), containerTimeout)
	defer cancel()
	// The library's reaper would remove, after this run, what later ones use as
	// well, and its connection is a goroutine that the tests would find leaking.
	if err := os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true"); err != nil {
		return "", err
	}
	if err := dockerAnswers(ctx); err != nil {
		return "", fmt.Errorf("%s in a container: no Docker engine: %w", s.name, err)
	}
	// Two packages' tests start at once, and the second to come finds the
	// container by its name only when the first has made it.
	unlock, err := lockContainers()
	if err != nil {
		return "", err
	}
	defer unlock()
	if address, err = s.contain(ctx); err != nil {
		return "", fmt.Errorf("%s in a container: %w", s.name, err)
	}
	// Asking the server itself, instead of the library's wait strategies: they
	// look for published ports on another address when they themselves run in
	// a container.
	deadline := time.Now().Add(containerStart)
	for {
		err := s.answers(address)
		if err == nil {
			return address, nil
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("in a container since %s: %w", containerStart, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// dockerAnswers turns the library's panic over a missing engine into an error.
func dockerAnswers(ctx context.Context) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("%v", reason)
		}
	}()
	provider, err := testcontainers.NewDockerProvider()
	if err != nil {
		return err
	}
	return errors.Join(provider.Health(ctx), provider.Close())
}

func lockContainers() (unlock func(), err error) {
	path := filepath.Join(os.TempDir(), "persistor-testenv.lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the tests' containers: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock the tests' containers: %s: %w", path, err)
	}
	// Closing the file gives up the lock.
	return func() { file.Close() }, nil
}

// containKafka publishes a port chosen beforehand, because a broker has to
// advertise the address that its clients reach it at. Nothing listens on that
// port inside the container, where the broker is a client of its own in
// transactions: it reaches itself by another listener.
func containKafka(ctx context.Context) (string, error) {
	port, err := freePort(1)
	if err != nil {
		return "", err
	}
	return run(ctx, imageName(kafkaImageVariable, kafkaImage), "persistor-test-kafka", "9092/tcp", port,
		map[string]string{
			"KAFKA_NODE_ID":                                  "1",
			"KAFKA_PROCESS_ROLES":                            "broker,controller",
			"KAFKA_CONTROLLER_QUORUM_VOTERS":                 "1@localhost:9093",
			"KAFKA_CONTROLLER_LISTENER_NAMES":                "CONTROLLER",
			"KAFKA_LISTENERS":                                "PLAINTEXT://:9092,INTERNAL://localhost:9094,CONTROLLER://localhost:9093",
			"KAFKA_ADVERTISED_LISTENERS":                     "PLAINTEXT://127.0.0.1:" + strconv.Itoa(port) + ",INTERNAL://localhost:9094",
			"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP":           "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
			"KAFKA_INTER_BROKER_LISTENER_NAME":               "INTERNAL",
			"KAFKA_AUTO_CREATE_TOPICS_ENABLE":                "false",
			"KAFKA_MESSAGE_MAX_BYTES":                        "12582912",
			"KAFKA_REPLICA_FETCH_MAX_BYTES":                  "12582912",
			"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR":         "1",
			"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
			"KAFKA_TRANSACTION_STATE_LOG_MIN_ISR":            "1",
			"KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS":         "0",
			"KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS":             "6000",
		})
}

func containDatabase(ctx context.Context) (string, error) {
	port, err := freePort(1)
	if err != nil {
		return "", err
	}
	address, err := run(ctx, imageName(databaseImageVariable, databaseImage), "persistor-test-timescaledb", "5432/tcp", port,
		map[string]string{"POSTGRES_HOST_AUTH_METHOD": "trust", "TIMESCALEDB_TELEMETRY": "off"})
	if err != nil {
		return "", err
	}
	return "postgres://postgres@" + address + "/postgres?sslmode=disable", nil
}

// run returns the address on 127.0.0.1 where the named container's port is
// published: the given one, or that of an earlier run's container.
func run(ctx context.Context, image, name, inside string, outside int, settings map[string]string) (string, error) {
	inner, err := network.ParsePort(inside)
	if err != nil {
		return "", err
	}
	server, err := testcontainers.Run(ctx, image,
		testcontainers.WithReuseByName(name),
		testcontainers.WithExposedPorts(inside),
		testcontainers.WithEnv(settings),
		testcontainers.WithHostConfigModifier(func(host *container.HostConfig) {
			host.PortBindings = network.PortMap{inner: {{
				HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: strconv.Itoa(outside),
			}}}
		}),
	)
	if err != nil {
		return "", err
	}
	published, err := server.MappedPort(ctx, inside)
	if err != nil {
		return "", err
	}
	return "127.0.0.1:" + strconv.Itoa(int(published.Num())), nil
}

func imageName(variable, standard string) string {
	if name := os.Getenv(variable); name != "" {
		return name
	}
	return standard
}
