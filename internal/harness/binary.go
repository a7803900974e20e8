// Package harness runs the daemon as its users do, as a process, on topics and
// a database of the test's own, and compares what it stored with what is on the
// topics. It shares no code with the daemon's way of reading Kafka: the records
// that it compares with come through another client library.
package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// BinaryVariable names a program to test instead of one built from this tree,
// such as one with a fault put in on purpose.
const BinaryVariable = "PERSISTOR_TEST_BINARY"

// place is a directory of this test process, so that one of another checkout
// does not try this one's program; empty until something is built.
var place string

var built = sync.OnceValues(func() (path string, err error) {
	if path := os.Getenv(BinaryVariable); path != "" {
		return filepath.Abs(path)
	}
	if place, err = os.MkdirTemp("", "persistor-harness-*"); err != nil {
		return "", fmt.Errorf("make a place for the program under test: %w", err)
	}
	path = filepath.Join(place, "persistor")
	return path, Build("", path)
})

// Exit ends the test process and leaves nothing behind: TestMain calls it last.
func Exit(code int) {
	if place != "" {
		_ = os.RemoveAll(place)
	}
	os.Exit(code)
}

// Build builds the program, with its failpoints, from the tree that dir is in
// (empty: the working directory) and puts it at path.
func Build(dir, path string) error {
	//nolint:gosec,noctx // The program and its arguments are ours; go test bounds the time.
	build := exec.Command("go", "build", "-tags", "failpoint", "-o", path, "github.com/thaliumx/persistor/cmd/persistor")
	build.Dir = dir
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the program under test: %w\n%s", err, output)
	}
	return nil
}

// Binary returns the program under test; it is built once for each test process.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
