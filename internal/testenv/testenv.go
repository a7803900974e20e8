// Package testenv gives integration tests a real Kafka and a real
// TimescaleDB: shared ones, on which each test works in its own database and
// under its own topic prefix, or private ones, which a test may stop and kill.
//
// The shared servers are, in this order: the ones that
// PERSISTOR_KAFKA_BROKERS and PERSISTOR_DATABASE_URL name; containers, where a
// Docker engine answers and has or gets the images; the local stack that `make
// up` started. Without any of them a test is skipped, except where CI is set:
// there a test that cannot run is a failure.
package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The variables that name running servers. They are the daemon's own, so that
// one `source .devstack/env` serves both.
const (
	brokersVariable  = "PERSISTOR_KAFKA_BROKERS"
	databaseVariable = "PERSISTOR_DATABASE_URL"
)

// answerTimeout bounds the question whether a server is there. A server on
// this machine answers within milliseconds; a broker that was just started on a
// loaded one has needed 8 s.
const answerTimeout = 30 * time.Second

// A service is a kind of server that tests share, and the ways to come by one.
type service struct {
	name     string
	variable string
	// ask fails unless a usable server answers at the address.
	ask func(ctx context.Context, address string) error
	// contain starts or finds a container and returns its address.
	contain func(ctx context.Context) (string, error)
}

// find returns the address of a running server, or every reason why there is
// none.
func (s service) find() (string, error) {
	if address := os.Getenv(s.variable); address != "" {
		if err := s.answers(address); err != nil {
			return "", fmt.Errorf("%s is set: %w", s.variable, err)
		}
		return address, nil
	}
	address, noContainer := inContainer(s)
	if noContainer == nil {
		return address, nil
	}
	address, noStack := localStack(s.variable)
	if noStack == nil {
		noStack = s.answers(address)
	}
	if noStack != nil {
		return "", errors.Join(noContainer, noStack)
	}
	return address, nil
}

func (s service) answers(address string) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	if err := s.ask(ctx, address); err != nil {
		return fmt.Errorf("%s at %s does not answer: %w", s.name, address, err)
	}
	return nil
}

// localStack reads the variable from .devstack/env, which `make up` writes.
func localStack(variable string) (string, error) {
	path, err := findUpward(filepath.Join(".devstack", "env"))
	if err != nil {
		return "", fmt.Errorf("find the local stack: %w", err)
	}
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the local stack's addresses: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "export "+variable+"="); ok {
			return strings.Trim(value, "'"), nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return "", fmt.Errorf("%s does not set %s", path, variable)
}

// findUpward looks for the relative path in the working directory, which for
// a test is its package's, and in each directory above it.
func findUpward(path string) (string, error) {
	directory, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		candidate := filepath.Join(directory, path)
		if _, err := os.Stat(candidate); err == nil {
			return candidate, nil
		}
		parent := filepath.Dir(directory)
		if parent == directory {
			return "", fmt.Errorf("%s: %w in the working directory and above", path, fs.ErrNotExist)
		}
		directory = parent
	}
}

// unavailable ends the test for want of a server.
func unavailable(t testing.TB, name string, reason error) {
	t.Helper()
	lacking(t, fmt.Sprintf("no %s to test against, run `make up`: %v", name, reason))
}

// lacking ends a test that cannot run here: skipped on a developer's machine,
// failed in CI.
func lacking(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}
