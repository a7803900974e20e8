package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/thaliumx/persistor/internal/exchange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFiles(t *testing.T) {
	directory := t.TempDir()
	stateFile := filepath.Join(directory, "state.json")
	var stdout bytes.Buffer
	err := command(t.Context(), []string{"--out", directory, "--operations", "1000", "--start", start, "--seed", "7", "--state", stateFile}, &stdout, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := expected(t, func(c *exchange.Config) { c.Seed = 7 }, 1000)
	for _, topic := range exchange.Topics() {
		f, err := os.Open(filepath.Join(directory, topic+".jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		scanner := bufio.NewScanner(f)
		n := 0
		for ; scanner.Scan(); n++ {
			value := scanner.Bytes()
			if topic == exchange.UnifyTopic {
				var line struct {
					Type  string          `json:"type"`
					Value json.RawMessage `json:"value"`
				}
				if err := json.Unmarshal(value, &line); err != nil {
					t.Fatal(err)
				}
				if line.Type != tags[string(want[topic][n].Key)] || line.Type == "" {
					t.Fatalf("type %q for key %s", line.Type, want[topic][n].Key)
				}
				value = line.Value
			}
			if !bytes.Equal(value, want[topic][n].Value) {
				t.Fatalf("%s line %d: %s, want %s", topic, n+1, value, want[topic][n].Value)
			}
		}
		if n != len(want[topic]) {
			t.Errorf("%s: %d lines, want %d", topic, n, len(want[topic]))
		}
	}
	var state exchange.State
	text, err := os.ReadFile(stateFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &state); err != nil || state.LastOrderID == 0 || len(state.Users) < 20 {
		t.Errorf("%v, state %s", err, text)
	}
}

func TestUsage(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"unknown flag":   {[]string{"--nonsense"}, "nonsense"},
		"argument":       {[]string{"go"}, `"go"`},
		"both ends":      {[]string{"--records", "1", "--operations", "1"}, "not both"},
		"negative rate":  {[]string{"--rate", "-1"}, "negative"},
		"bad start":      {[]string{"--start", "yesterday"}, "--start"},
		"bad config":     {[]string{"--users", "1"}, "users: 1"},
		"bad time":       {[]string{"--start", "1970-01-01T00:00:00Z"}, "leaves the years"},
		"forget, though": {[]string{"--forget", "5"}, "no crash is"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := command(t.Context(), append(test.args, "--out", t.TempDir()), io.Discard, io.Discard)
			if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	var stderr bytes.Buffer
	if err := command(t.Context(), []string{"--help"}, io.Discard, &stderr); !errors.Is(err, flag.ErrHelp) || !strings.Contains(stderr.String(), "-crash-every") {
		t.Errorf("help: %v, %s", err, stderr.String())
	}
}

// collect is a sink that keeps what it gets and can end the run.
type collect struct {
	messages []exchange.Message
	sends    int
	stopAt   int
	stop     context.CancelFunc
	closed   bool
}

func (c *collect) write(messages []exchange.Message) error {
	c.messages = append(c.messages, messages...)
	if c.stopAt > 0 && len(c.messages) >= c.stopAt {
		c.stop()
	}
	return nil
}
func (c *collect) send() error  { c.sends++; return nil }
func (c *collect) close() error { c.closed = true; return nil }

func TestRateIsKeptInPresentTime(t *testing.T) {
	o, err := parse([]string{"--rate", "4000", "--records", "2000"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var c collect
	started := time.Now()
	if err := o.run(t.Context(), &c, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(started); took < 450*time.Millisecond {
		t.Errorf("2000 records at 4000/s took %s", took)
	}
	if c.sends < 3 {
		t.Errorf("%d sends: the records came in one lump", c.sends)
	}
	if late := time.Since(c.messages[len(c.messages)-1].Time); late < -50*time.Millisecond || late > 30*time.Second {
		t.Errorf("the last record is %s old", late)
	}
	if span := c.messages[len(c.messages)-1].Time.Sub(c.messages[0].Time); span < 400*time.Millisecond {
		t.Errorf("the records' times span %s", span)
	}
}

func TestInterruptEndsAfterAWholeOperation(t *testing.T) {
	o, err := parse([]string{"--start", start}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	c := collect{stopAt: 500, stop: stop}
	var stdout bytes.Buffer
	if err := o.run(ctx, &c, &stdout, io.Discard); err != nil {
		t.Fatal(err)
	}
	if !c.closed || len(c.messages) < 500 || len(c.messages) > 600 || !strings.Contains(stdout.String(), "records") {
		t.Errorf("closed %v, %d messages, summary %q", c.closed, len(c.messages), stdout.String())
	}
}
