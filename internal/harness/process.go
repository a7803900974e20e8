package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/httpserver"
)

// logShown is how much of a process's log a failed test shows.
const logShown = 6 << 10

// Process is a running `persistor run`, or another command of the program.
type Process struct {
	t       testing.TB
	command *exec.Cmd
	log     *output
	proof   string
	done    chan struct{}
}

// Start starts `persistor run` with the site's settings and the given ones
// ("NAME=value"). It is killed when the test ends; a failed test shows its log.
func (s *Site) Start(settings ...string) *Process {
	s.t.Helper()
	return s.Launch(settings, "run")
}

// Launch is Start for any command.
func (s *Site) Launch(settings []string, arguments ...string) *Process {
	s.t.Helper()
	p := &Process{t: s.t, log: &output{}, proof: filepath.Join(s.t.TempDir(), "proof"), done: make(chan struct{})}
	p.command = exec.Command(Binary(s.t), arguments...) //nolint:gosec,noctx // The program is ours, and killed below.
	p.command.Env = s.environment(append(settings, "FAILPOINT_PROOF="+p.proof))
	p.command.Stdout, p.command.Stderr = p.log, p.log
	if err := p.command.Start(); err != nil {
		s.t.Fatalf("start persistor: %v", err)
	}
	go func() {
		_ = p.command.Wait()
		close(p.done)
	}()
	s.t.Cleanup(func() {
		p.Kill()
		<-p.done
		if s.t.Failed() {
			text := p.Log()
			s.t.Logf("log of process %d, its last part:\n%s", p.PID(), text[max(0, len(text)-logShown):])
		}
	})
	return p
}

// PID is the process's id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Log is all that the process has printed.
func (p *Process) Log() string { return p.log.String() }

// Kill ends the process with SIGKILL.
func (p *Process) Kill() { p.signal(syscall.SIGKILL) }

// Term asks it to end.
func (p *Process) Term() { p.signal(syscall.SIGTERM) }

// Freeze stops it in its tracks.
func (p *Process) Freeze() { p.signal(syscall.SIGSTOP) }

// Thaw lets a frozen one go on.
func (p *Process) Thaw() { p.signal(syscall.SIGCONT) }

func (p *Process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.command.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("send %v to process %d: %v", s, p.PID(), err)
	}
}

// Wait returns the exit code, -1 where a signal ended the process, and fails the
// test where it does not end within the time.
func (p *Process) Wait(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		p.t.Fatalf("process %d still runs after %v", p.PID(), within)
	}
	return p.command.ProcessState.ExitCode()
}

// Running tells whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Stopped tells whether the process is frozen, by its own failpoint or by Freeze.
func (p *Process) Stopped() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return false
	}
	_, after, _ := bytes.Cut(stat, []byte(") "))
	return len(after) > 0 && after[0] == 'T'
}

// Failpoint is the setting that takes an action (kill, stop) at the n-th hit of
// a window.
func Failpoint(window, action string, n int) string {
	return fmt.Sprintf("FAILPOINT=%s:%s:%d", window, action, n)
}

// Hit tells whether the process's failpoint was reached: it writes so just
// before it acts.
func (p *Process) Hit() bool {
	text, err := os.ReadFile(p.proof)
	return err == nil && bytes.HasSuffix(text, []byte(" "+strconv.Itoa(p.PID())+"\n"))
}

var listening = regexp.MustCompile(`msg=listening url=(\S+)/`)

// URL is where the process serves HTTP; it waits until it does.
func (p *Process) URL() string {
	p.t.Helper()
	var found []string
	Until(p.t, 30*time.Second, "the process listens", func() bool {
		found = listening.FindStringSubmatch(p.Log())
		if found == nil && !p.Running() {
			p.t.Fatalf("process %d ended before it listened", p.PID())
		}
		return found != nil
	})
	return found[1]
}

// Get asks the process over HTTP. status is 0 where it does not answer.
func (p *Process) Get(path string) (status int, body string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL()+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	// A connection kept open would outlive the test.
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(text)
}

// Ready asks /readyz.
func (p *Process) Ready() (status int, body string) {
	p.t.Helper()
	return p.Get("/readyz")
}

// Status asks /api/status.
func (p *Process) Status() httpserver.Status {
	p.t.Helper()
	var s httpserver.Status
	if code, body := p.Get("/api/status"); code != http.StatusOK {
		p.t.Fatalf("/api/status answers %d: %s", code, body)
	} else if err := json.Unmarshal([]byte(body), &s); err != nil {
		p.t.Fatalf("/api/status: %v: %s", err, body)
	}
	return s
}

// Metric sums the samples of the name that have all the labels, written as
// /metrics does: topic="trades". found is false where there is none.
func (p *Process) Metric(name string, labels ...string) (sum float64, found bool) {
	p.t.Helper()
	code, body := p.Get("/metrics")
	if code != http.StatusOK {
		p.t.Fatalf("/metrics answers %d: %s", code, body)
	}
lines:
	for line := range strings.Lines(body) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), name)
		if !ok || rest == "" || (rest[0] != '{' && rest[0] != ' ') {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue lines
			}
		}
		value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			p.t.Fatalf("/metrics: %q: %v", line, err)
		}
		sum, found = sum+value, true
	}
	return sum, found
}

// output collects what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
