package event

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

// line is one line of a dump: a message's type and its value's bytes.
type line struct {
	Type  string          `json:"type"`
	Value json.RawMessage `json:"value"`
}

// corpus reads every dump below testdata and, where it is at hand, the whole
// corpus that testdata is a sample of. Lines of `balances` have no envelope.
func corpus(tb testing.TB, whole bool) []line {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.jsonl")
	if err != nil || len(files) != 3 {
		tb.Fatalf("testdata has the dumps %v, expected 3 (%v)", files, err)
	}
	if whole {
		for _, pattern := range []string{"*.jsonl", "*.jsonl.xz"} {
			more, _ := filepath.Glob(filepath.Join("../../../shared/corpus", pattern))
			files = append(files, more...)
		}
	}
	var lines []line
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			tb.Fatal(err)
		}
		defer f.Close()
		var r io.Reader = f
		if strings.HasSuffix(name, ".xz") {
			if r, err = xz.NewReader(f); err != nil {
				tb.Fatal(err)
			}
		}
		s := bufio.NewScanner(r)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			l := line{Type: "BalanceMessage", Value: bytes.Clone(s.Bytes())}
			if !strings.Contains(name, "balances") {
				if err := json.Unmarshal(s.Bytes(), &l); err != nil {
					tb.Fatalf("%s: %v", name, err)
				}
			}
			lines = append(lines, l)
		}
		if err := s.Err(); err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
	}
	return lines
}

// values picks the corpus' values of one type.
func values(tb testing.TB, kind string) (picked [][]byte) {
	for _, l := range corpus(tb, false) {
		if l.Type == kind {
			picked = append(picked, l.Value)
		}
	}
	if len(picked) == 0 {
		tb.Fatalf("testdata has no %s", kind)
	}
	return picked
}
