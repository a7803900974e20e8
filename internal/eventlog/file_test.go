package eventlog

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// dump writes a file, as it is or compressed by what its name ends with.
func dump(t *testing.T, name, text string) *File {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	var b bytes.Buffer
	w := io.WriteCloser(nil)
	var err error
	switch filepath.Ext(name) {
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".xz":
		w, err = xz.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	default:
		b.WriteString(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	if w != nil {
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return NewFile(path)
}

// noted is a sink that keeps "offset key value" of every record.
type noted []string

func (n *noted) Record(r *Record) error {
	if r.Time != 0 || len(r.Headers) != 0 {
		return fmt.Errorf("offset %d has a time or headers", r.Offset)
	}
	*n = append(*n, fmt.Sprintf("%d %s %s", r.Offset, r.Key, r.Value))
	return nil
}

func (n *noted) Gap(first, last int64, reason string) error {
	return fmt.Errorf("a gap from %d to %d, %s", first, last, reason)
}

const text = `{"type":"UserMessage","value":{"user_id":1,"l1_address":"a}\"]","l2_pubkey":""}}
{"type":"DepositMessage","value":{"a":[1,{"b":"\\"}]}}
{"type":"WithdrawMessage","value":{}}
 { "value" : {"n": 1.0 , "m":2} , "type" : "TransferMessage" } ` + "\r" + `
{"type":"OrderMessage","value":{"event":"PUT"}}
{"type":"TradeMessage","value":null}
{"type":"BalanceMessage","value":{"change":"-1"}}
`

// The payload's bytes are those of the file, whatever packs it and whatever its
// name says.
func TestFileComesAsItIs(t *testing.T) {
	want := []string{
		`0 registeruser {"user_id":1,"l1_address":"a}\"]","l2_pubkey":""}`,
		`1 deposits {"a":[1,{"b":"\\"}]}`,
		`2 withdraws {}`,
		`3 internaltransfer {"n": 1.0 , "m":2}`,
		`4 orders {"event":"PUT"}`,
		`5 trades null`,
		`6 balances {"change":"-1"}`,
	}
	for _, name := range []string{"dump.jsonl", "dump.jsonl.gz", "dump.jsonl.xz", "dump.jsonl.zst"} {
		t.Run(name, func(t *testing.T) {
			f := dump(t, name, text)
			renamed := NewFile(filepath.Join(t.TempDir(), "dump"))
			if err := os.Rename(f.path, renamed.path); err != nil {
				t.Fatal(err)
			}
			for _, cut := range []struct{ from, until int64 }{{0, End}, {0, 7}, {2, 5}, {6, 7}, {7, End}, {7, 7}, {3, 3}} {
				var got noted
				if err := renamed.Read(t.Context(), cut.from, cut.until, &got); err != nil {
					t.Fatalf("%v: %v", cut, err)
				}
				if w := want[cut.from:min(cut.until, 7)]; strings.Join(got, "\n") != strings.Join(w, "\n") {
					t.Errorf("%v: got\n%s\nwant\n%s", cut, strings.Join(got, "\n"), strings.Join(w, "\n"))
				}
			}
			if first, next, err := renamed.Bounds(t.Context()); first != 0 || next != 7 || err != nil {
				t.Errorf("bounds %d, %d, %v", first, next, err)
			}
			var out *RangeError
			for _, cut := range []struct{ from, until int64 }{{0, 8}, {8, End}, {9, 10}} {
				if err := renamed.Read(t.Context(), cut.from, cut.until, new(noted)); !errors.As(err, &out) || out.Next != 7 {
					t.Errorf("%v: %v", cut, err)
				}
			}
		})
	}
}

// An engine that wrote a file instead of Kafka tells every change of a balance
// twice; an early one tells payments by it.
func TestFileOfAnEngineWithoutKafka(t *testing.T) {
	balance := func(business, more string) string {
		return `{"type":"BalanceMessage","value":{"timestamp":1.0,"user_id":1,"asset":"ETH","business":"` + business + `","change":"1","balance":"1"` + more + `,"detail":"{\"id\":1,\"signature\":1}"}}` + "\n"
	}
	payment := func(tag string) string { return `{"type":"` + tag + `","value":{"change":"1"}}` + "\n" }
	const modern = `,"business_id":7,"signature":""`
	for name, test := range map[string]struct{ text, want string }{
		"early":                 {balance("deposit", "") + balance("x", "") + payment("OrderMessage") + balance("withdraw", ""), "bbob"},
		"between":               {balance("deposit", "") + payment("DepositMessage") + balance("x", "") + payment("WithdrawMessage") + payment("DepositMessage"), "-d-wd"},
		"trades":                {balance("trade", "") + balance("trade", "") + payment("TradeMessage") + balance("transfer", "") + payment("TransferMessage"), "--t-i"},
		"modern":                {balance("deposit", modern) + payment("DepositMessage") + balance("deposit", modern), "-d-"},
		"an end that is open":   {payment("DepositMessage") + balance("deposit", ""), "db"},
		"two before a deposit":  {balance("deposit", "") + balance("deposit", "") + payment("DepositMessage"), "b-d"},
		"no newline at the end": {strings.TrimSpace(payment("OrderMessage") + balance("deposit", "")), "ob"},
	} {
		t.Run(name, func(t *testing.T) {
			f := dump(t, "x.jsonl", test.text)
			lines := int64(len(test.want))
			for from := range lines {
				for _, until := range []int64{from + 1, lines, End} {
					var got kinds
					if err := f.Read(t.Context(), from, until, &got); err != nil || string(got) != test.want[from:min(until, lines)] {
						t.Errorf("[%d, %d): %s, %v, want %s", from, until, got, err, test.want[from:min(until, lines)])
					}
				}
			}
		})
	}
	var got kinds
	err := dump(t, "x.jsonl", balance("deposit", "")+"{}\n").Read(t.Context(), 0, End, &got)
	var bad *LineError
	if string(got) != "b" || !errors.As(err, &bad) || bad.Line != 2 {
		t.Errorf("before a bad line: %s, %v", got, err)
	}
}

// kinds notes a letter of the key for each record, a dash for each gap.
type kinds []byte

func (k *kinds) Record(r *Record) error { *k = append(*k, r.Key[0]); return nil }

func (k *kinds) Gap(first, last int64, reason string) error {
	if first != last || reason != Control {
		return fmt.Errorf("a gap from %d to %d, %s", first, last, reason)
	}
	*k = append(*k, '-')
	return nil
}

func TestFileWithoutItsLastNewline(t *testing.T) {
	var got noted
	err := dump(t, "x", strings.TrimSpace(text)).Read(t.Context(), 0, End, &got)
	if err != nil || len(got) != 7 {
		t.Errorf("%d records, %v", len(got), err)
	}
	if err := dump(t, "x", "").Read(t.Context(), 0, End, new(noted)); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

// A line that is no record names itself; those before it have come.
func TestFileNamesTheBadLine(t *testing.T) {
	good := `{"type":"OrderMessage","value":{}}` + "\n"
	for name, test := range map[string]struct{ line, reason string }{
		"empty":         {"", "empty"},
		"blank":         {"  \t", "empty"},
		"no object":     {`["type"]`, "want {"},
		"bare payload":  {`{"user_id":1,"l1_address":"x"}`, `unexpected field "user_id"`},
		"unknown type":  {`{"type":"PriceMessage","value":{}}`, `unknown type "PriceMessage"`},
		"type no text":  {`{"type":7,"value":{}}`, "not a text"},
		"no value":      {`{"type":"OrderMessage"}`, "no value"},
		"no type":       {`{"value":{}}`, "no type"},
		"twice":         {`{"type":"OrderMessage","value":{},"value":{}}`, `unexpected field "value"`},
		"cut":           {`{"type":"OrderMessage","value":{"a":1`, "cut short"},
		"cut in a text": {`{"type":"OrderMessage","value":"a\"`, "cut short"},
		"two":           {`{"type":"OrderMessage","value":{}}{}`, "not one JSON object"},
		"nothing":       {`{"type":"OrderMessage","value":}`, "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			f := dump(t, "x.jsonl", good+good+test.line+"\n"+good)
			var got noted
			err := f.Read(t.Context(), 0, End, &got)
			var bad *LineError
			if !errors.As(err, &bad) || bad.Line != 3 || !strings.Contains(bad.Reason, test.reason) || !strings.HasPrefix(err.Error(), f.path+" line 3: ") {
				t.Errorf("%v", err)
			}
			if len(got) != 2 {
				t.Errorf("%d records before it", len(got))
			}
			// What is not asked for need not be good.
			if err := f.Read(t.Context(), 0, 2, new(noted)); err != nil {
				t.Errorf("before the line: %v", err)
			}
		})
	}
}

func TestFileThatIsDamaged(t *testing.T) {
	if err := NewFile(filepath.Join(t.TempDir(), "none")).Read(t.Context(), 0, End, new(noted)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, name := range []string{"x.gz", "x.xz", "x.zst"} {
		f := dump(t, name, strings.Repeat(text, 1000))
		data, err := os.ReadFile(f.path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.path, data[:len(data)*2/3], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.Read(t.Context(), 0, End, new(noted)); err == nil || !strings.Contains(err.Error(), f.path+" is damaged or cut short behind line ") {
			t.Errorf("%s, cut: %v", name, err)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	for line := range strings.SplitSeq(text, "\n") {
		f.Add([]byte(line))
	}
	f.Add([]byte(`{"type":"OrderMessage","value":"a\"`))
	f.Fuzz(func(t *testing.T, line []byte) {
		key, value, reason := parseLine(line)
		if reason == "" && (key == nil || !bytes.Contains(line, value) || len(value) == 0) {
			t.Errorf("%q: key %q, value %q", line, key, value)
		}
	})
}
