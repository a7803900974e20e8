package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/thaliumx/persistor/internal/config"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// result is what a shell would see of one call.
type result struct {
	code           int
	stdout, stderr string
}

func execute(t *testing.T, env []string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), t.Context(), args, env, &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

func TestRun(t *testing.T) {
	for _, test := range []struct {
		name           string
		args           string
		env            []string
		code           int
		stdout, stderr string // parts of them
	}{
		{"no command", "", nil, 2, "", "persistor: which command? `persistor help` lists them"},
		{"unknown command", "dance", nil, 2, "", `unknown command "dance"`},
		{"flag before the command", "--workers=2 version", nil, 2, "", "the command comes first"},
		{"group without its command", "topics", nil, 2, "", "which one? topics check, topics create"},
		{"group with an unknown command", "topics burn", nil, 2, "", "which one? topics check, topics create"},
		{"version", "version", nil, 0, "persistor ", ""},
		{"version as a flag", "--version", nil, 0, "commit ", ""},
		{"version knows the compiler", "version", nil, 0, "go1.", ""},
		{"argument too many", "version 2", nil, 2, "", `persistor version: unexpected argument "2"`},
		{"unknown flag", "version --fast", nil, 2, "", "persistor version: unknown flag --fast"},
		{"unknown variable", "version", []string{"PERSISTOR_KAFKA_BROKER=x"}, 2, "", "did you mean PERSISTOR_KAFKA_BROKERS?"},
		{"variable that is not needed", "version", []string{"PERSISTOR_KAFKA_BROKERS=broken"}, 0, "persistor ", ""},
		{"broken variable", "topics check", []string{"PERSISTOR_KAFKA_BROKERS=broken"}, 2, "", "persistor topics check: PERSISTOR_KAFKA_BROKERS (--kafka-brokers)"},
		{"replication", "topics create --replication-factor 0", nil, 2, "", "0 is not between"},

		{"help", "help", nil, 0, "topics create", ""},
		{"help as a flag", "--help", nil, 0, "Exit codes:", ""},
		{"help in one letter", "-h", nil, 0, "topics create", ""},
		{"help in spite of a wrong variable", "help settings", []string{"PERSISTOR_NONSENSE=1"}, 0, "PERSISTOR_KAFKA_BROKERS (default localhost:9092)", ""},
		{"help of a command", "help topics create", nil, 0, "--replication-factor copies (default 1)", ""},
		{"help behind a command", "topics create --help", []string{"PERSISTOR_NONSENSE=1"}, 0, "PERSISTOR_KAFKA_BROKERS", ""},
		{"help of a group", "help topics", nil, 0, "topics check", ""},
		{"help behind a group", "topics --help", nil, 0, "topics check", ""},
		{"help of what is not there", "help dance", nil, 2, "", `unknown command "dance"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := execute(t, test.env, strings.Fields(test.args)...)
			if got.code != test.code || !strings.Contains(got.stdout, test.stdout) || !strings.Contains(got.stderr, test.stderr) {
				t.Errorf("%+v", got)
			}
			if got.code == 0 && got.stderr != "" || got.code != 0 && strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("stderr: %q", got.stderr)
			}
		})
	}
}

func TestCommandsAreDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range commands() {
		if c.name == "" || c.summary == "" || c.prepare == nil || seen[c.name] {
			t.Errorf("%+v", c)
		}
		seen[c.name] = true
		found, rest, err := find(append(strings.Fields(c.name), "x"))
		if err != nil || found.name != c.name || len(rest) != 1 {
			t.Errorf("%s: found %s, %q, %v", c.name, found.name, rest, err)
		}
	}
}

func TestExitCode(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want int
	}{
		{"done", nil, 0},
		{"failed", errors.New("x"), 1},
		{"usage", usageError("x"), 2},
		{"configuration", &config.UsageError{Err: errors.New("x")}, 2},
		{"differences", foundDifferences("x"), 3},
		{"halted", &exitError{exitHalted, errors.New("x")}, 4},
		{"wrapped", errors.Join(errors.New("x"), foundDifferences("x")), 3},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("%s: %d", test.name, got)
		}
	}
}

// full refuses every write, as a full disk does.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestOutputThatCannotBeWritten(t *testing.T) {
	var stderr bytes.Buffer
	code := run(t.Context(), t.Context(), []string{"version"}, nil, full{}, &stderr)
	if code != 1 || !strings.Contains(stderr.String(), "write to standard output: no space left") {
		t.Errorf("%d %s", code, stderr.String())
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, ctx, []string{"topics", "check", "--kafka-brokers", "127.0.0.1:1"}, nil, &stdout, &stderr)
	if code != 1 || stderr.String() != "persistor topics check: interrupted before it was done\n" {
		t.Errorf("%d %s", code, stderr.String())
	}
}

func TestSignals(t *testing.T) {
	ctx, hurry := untilSignalled(t.Context())
	send := func() {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	wait := func(c context.Context) {
		t.Helper()
		select {
		case <-c.Done():
		case <-time.After(10 * time.Second):
			t.Fatal("the signal did not arrive")
		}
	}
	send()
	wait(ctx)
	if hurry.Err() != nil {
		t.Error("one signal is enough to cut short")
	}
	send()
	wait(hurry)
}

func TestErrorsAreOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "plain",
		"cannot connect:\n\t127.0.0.1:1: refused\n\t127.0.0.1:2: no such role\n": "cannot connect: 127.0.0.1:1: refused; 127.0.0.1:2: no such role",
		"a\r\n\r\nb": "a; b",
	} {
		if got := oneLine(text); got != want {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}
