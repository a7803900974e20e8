package crashtest

import (
	"bufio"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/harness"
)

// mutantsVariable asks for all mutants with the value "all" (`make mutants`).
// Otherwise only those marked "always" are tried.
const mutantsVariable = "PERSISTOR_MUTANTS"

// mutant is a fault put into the program on purpose, which a test must find. Its
// patch begins with what it is, the test, and what that test must say:
//
//	Mutant: the group's offset decides instead of the ledger's
//	Test: TestKill/committed
//	Says: accounting violated
//	Always: yes
//	Patience: 20s (where the test would otherwise wait for what never happens)
type mutant struct {
	patch, what, test string
	patience          string
	says              *regexp.Regexp
	always            bool
}

// TestMutants shows that the tests of this package can fail: each mutant is
// built from a copy of the tree and must not pass its test. A patch that does
// not apply any more is a failure; it has to follow the code.
func TestMutants(t *testing.T) {
	if os.Getenv(harness.BinaryVariable) != "" {
		t.Skip("these tests try a program of their own")
	}
	patches, err := filepath.Glob("testdata/mutants/*.patch")
	if err != nil || len(patches) == 0 {
		t.Fatalf("no mutants: %v", err)
	}
	for _, patch := range patches {
		m := readMutant(t, patch)
		t.Run(strings.TrimSuffix(filepath.Base(patch), ".patch"), func(t *testing.T) {
			if !m.always && os.Getenv(mutantsVariable) != "all" {
				// That it still applies is always checked.
				m.apply(t, copyTree(t))
				t.Skipf("applies; %s=all tries it", mutantsVariable)
			}
			t.Parallel()
			tree := copyTree(t)
			m.apply(t, tree)
			binary := filepath.Join(tree, "mutant")
			if err := harness.Build(tree, binary); err != nil {
				t.Fatal(err)
			}
			output, passed := runTest(t, binary, m)
			switch {
			case passed:
				t.Errorf("%s, and %s passes all the same", m.what, m.test)
			case !m.says.MatchString(output):
				t.Errorf("%s: %s fails for another reason than %q:\n%s", m.what, m.test, m.says, output)
			default:
				t.Logf("%s: found, %s", m.what, m.says.FindString(output))
			}
		})
	}
}

func readMutant(t *testing.T, patch string) mutant {
	t.Helper()
	file, err := os.Open(patch)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	m := mutant{patch: patch}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "Mutant":
			m.what = value
		case "Test":
			m.test = value
		case "Says":
			if m.says, err = regexp.Compile(value); err != nil {
				t.Fatalf("%s: %v", patch, err)
			}
		case "Patience":
			m.patience = value
		case "Always":
			m.always = true
		}
	}
	if m.what == "" || m.test == "" || m.says == nil {
		t.Fatalf("%s lacks Mutant, Test or Says", patch)
	}
	return m
}

// copyTree copies what the program is built from.
func copyTree(t *testing.T) string {
	t.Helper()
	const root = "../.."
	tree := t.TempDir()
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(tree, path), 0o750)
		}
		if !d.Type().IsRegular() || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		content, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(tree, path), content, 0o600)
	})
	if err != nil {
		t.Fatalf("copy the tree: %v", err)
	}
	return tree
}

func (m mutant) apply(t *testing.T, tree string) {
	t.Helper()
	patch, err := filepath.Abs(m.patch)
	if err != nil {
		t.Fatal(err)
	}
	apply := exec.CommandContext(t.Context(), "git", "apply", "--whitespace=nowarn", patch)
	apply.Dir = tree
	// The copy may lie inside of another repository, whose concern it is not.
	apply.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(tree))
	if output, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("%s does not apply any more, so it has to be made anew: %v\n%s", m.patch, err, output)
	}
}

// runTest runs one test of this package with the given program.
func runTest(t *testing.T, binary string, m mutant) (output string, passed bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var pattern []string
	for _, part := range strings.Split(m.test, "/") {
		pattern = append(pattern, "^"+part+"$")
	}
	command := exec.CommandContext(ctx, self, "-test.v", "-test.run", strings.Join(pattern, "/"))
	// TERM, so that the test ends what it started.
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 30 * time.Second
	command.Env = append(os.Environ(), harness.BinaryVariable+"="+binary, sizeVariable+"=", patienceVariable+"="+m.patience)
	text, err := command.CombinedOutput()
	if !strings.Contains(string(text), "--- FAIL: "+m.test) && !strings.Contains(string(text), "--- PASS: "+m.test) {
		t.Fatalf("%s did not run: %v\n%s", m.test, err, text)
	}
	return string(text), err == nil
}
