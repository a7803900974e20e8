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
	"strings"
	"sync"
	"testing"
)

// BinaryVariable names a program to test instead of one built from this tree,
// such as one with a fault put in on purpose.
const BinaryVariable = "PERSISTOR_TEST_BINARY"

var built = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(BinaryVariable); path != "" {
		return filepath.Abs(path)
	}
	// One file a test binary, replaced by the next run, so that nothing piles
	// up: a test process has no end at which it could remove it.
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("persistor-harness-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make a place for the program under test: %w", err)
	}
	path := filepath.Join(dir, strings.TrimSuffix(filepath.Base(os.Args[0]), ".test"))
	return path, Build("", path)
})

// Build builds the program, with its failpoints, from the tree that dir is in
// (empty: the working directory) and puts it at path.
func Build(dir, path string) error {
	// Beside its place and moved: another process may be running the old one.
	fresh, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("make a place for the program under test: %w", err)
	}
	defer func() { _ = os.Remove(fresh.Name()) }() // gone already, if all went well
	fresh.Close()
	//nolint:gosec,noctx // The program and its arguments are ours; go test bounds the time.
	build := exec.Command("go", "build", "-tags", "failpoint", "-o", fresh.Name(), "github.com/thaliumx/persistor/cmd/persistor")
	build.Dir = dir
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the program under test: %w\n%s", err, output)
	}
	if err := os.Rename(fresh.Name(), path); err != nil {
		return fmt.Errorf("build the program under test: %w", err)
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
