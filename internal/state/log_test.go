package state

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ulikunitz/xz"

	"github.com/thaliumx/persistor/internal/event"
)

// record is one record of a log.
type record struct {
	key, value []byte
}

// keysOf maps the tags of a dump to the keys on the topic (wire 2).
var keysOf = map[string]string{
	"UserMessage": "registeruser", "DepositMessage": "deposits", "WithdrawMessage": "withdraws",
	"TransferMessage": "internaltransfer", "OrderMessage": "orders", "TradeMessage": "trades", "BalanceMessage": "balances",
}

func openTestdata(t testing.TB, name string) io.Reader {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	var r io.Reader = f
	switch filepath.Ext(name) {
	case ".xz":
		r, err = xz.NewReader(bufio.NewReader(f))
	case ".gz":
		r, err = gzip.NewReader(f)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// dumps are the logs that have been read; tests only read them.
var dumps = map[string][]record{}

// dump reads a log as dump_unify_messages writes it.
func dump(t testing.TB, name string) (log []record) {
	t.Helper()
	if read := dumps[name]; read != nil {
		return slices.Clip(read)
	}
	scanner := bufio.NewScanner(openTestdata(t, name))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var line struct {
			Type  string          `json:"type"`
			Value json.RawMessage `json:"value"`
		}
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		key := keysOf[line.Type]
		if key == "" {
			t.Fatalf("type %q", line.Type)
		}
		log = append(log, record{[]byte(key), bytes.Clone(line.Value)})
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	dumps[name] = log
	return slices.Clip(log)
}

// player decodes records and applies them.
type player struct {
	*State
	decoder event.Decoder
	unify   event.Unify
}

func newPlayer(s *State) *player { return &player{State: s} }

// play applies a log from the state's next offset on; the log begins at 0.
func (p *player) play(t testing.TB, log []record) *player {
	t.Helper()
	for i := p.Next(); i < int64(len(log)); i++ {
		r := &log[i]
		if err := p.decoder.Unify(r.key, r.value, &p.unify); err != nil {
			t.Fatalf("offset %d: %v: %s", i, err, r.value)
		}
		p.Apply(i, 0, &p.unify)
	}
	return p
}

// noMismatch reports every check that failed.
func noMismatch(t testing.TB, s *State) {
	t.Helper()
	for _, c := range s.Checks() {
		if c.Failed > 0 {
			t.Errorf("%s: %d passed, %d failed, such as %+v", c.Name, c.Passed, c.Failed, c.Examples)
		}
	}
}
