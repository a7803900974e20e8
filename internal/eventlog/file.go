package eventlog

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/thaliumx/persistor/internal/topics"
)

// File is a dump of the log, a record a line: {"type":"<Tag>","value":<payload>},
// as the engine's dump_unify_messages writes it (wire format, section 2). It may
// be compressed by gzip, xz or zstd, whatever its name. Offsets are line numbers
// from 0; there are no timestamps, and no gaps but where a line is no record of
// the log.
type File struct {
	path string
}

// NewFile names a dump; it is opened by each Read.
func NewFile(path string) *File { return &File{path: path} }

// LineError says which line of a dump cannot be read, and why.
type LineError struct {
	Path   string
	Line   int64 // from 1, as editors count
	Reason string
}

// Error names file, line and reason.
func (e *LineError) Error() string { return fmt.Sprintf("%s line %d: %s", e.Path, e.Line, e.Reason) }

// Bounds counts the lines, which reads the whole file.
func (f *File) Bounds(ctx context.Context) (first, next int64, err error) {
	err = f.lines(ctx, func([]byte, int64) error {
		next++
		return nil
	})
	return 0, next, err
}

// Read delivers the lines [from, until). Whether the file has as many shows at
// its end only.
func (f *File) Read(ctx context.Context, from, until int64, sink Sink) error {
	reading := readAhead(ctx, f.path, from, until, f.fill)
	defer reading.close()
	return reading.deliver(sink)
}

func (f *File) fill(ctx context.Context, to *filler) error {
	from, lines := to.next, int64(0)
	var held *Record // a balance, until the next line has told what it is
	err := f.lines(ctx, func(line []byte, offset int64) error {
		lines = offset + 1
		switch {
		case to.next >= to.until:
			return errFull
		case offset < to.next:
			return nil
		}
		key, value, reason := parseLine(line)
		if held != nil {
			echo := reason == "" && (string(key) == topics.Deposits || string(key) == topics.Withdraws)
			if err := to.balance(held, echo); err != nil {
				return err
			}
			held = nil
		}
		if reason != "" {
			return &LineError{f.path, lines, reason}
		}
		r := &Record{Offset: offset, Key: key, Value: value}
		if string(key) != topics.Balances {
			return to.record(r)
		}
		if isEcho(value) {
			return to.balance(r, true)
		}
		r.Value = bytes.Clone(value)
		held = r
		return nil
	})
	if err == nil && held != nil {
		err = to.balance(held, false)
	}
	if err == nil && (from > lines || to.until != End && to.next < to.until) {
		return &RangeError{Source: f.path, From: from, Until: to.until, First: 0, Next: lines}
	}
	return err
}

// balance takes a line of type BalanceMessage. Until 2021-08-16 these were the
// deposits and withdrawals. An engine that writes a file instead of Kafka (wire
// format, section 1.10) has put every change of a balance there besides the
// message that is about it: such an echo is no record of the log.
func (f *filler) balance(r *Record, echo bool) error {
	if echo {
		return f.gap(r.Offset, r.Offset, Control)
	}
	return f.record(r)
}

// isEcho knows those that no payment can be: what trades and transfers change,
// and what has fields of an engine that sends payments of their own. An echo of a
// payment precedes it at once. Inside texts, quotes have a backslash.
func isEcho(balance []byte) bool {
	for _, part := range []string{`"business":"trade"`, `"business":"transfer"`, `"signature":`, `"business_id":`} {
		if bytes.Contains(balance, []byte(part)) {
			return true
		}
	}
	return false
}

// largestLine is more than Kafka's largest message on the platform (10 MiB), so
// that a file which is no dump does not fill the memory.
const largestLine = 64 << 20

// lines gives every line without its end.
func (f *File) lines(ctx context.Context, take func(line []byte, offset int64) error) error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	text, done, err := inflate(file)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	defer done()
	source := &fallible{Reader: text}
	scanner := bufio.NewScanner(source)
	scanner.Buffer(make([]byte, 0, 1<<20), largestLine)
	offset := int64(0)
	for ; scanner.Scan(); offset++ {
		if offset%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := take(scanner.Bytes(), offset)
		if _, bad := errors.AsType[*LineError](err); bad && source.err != nil {
			break // the scanner hands on what came before it as a line
		}
		if err != nil {
			return err
		}
	}
	switch err := scanner.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return &LineError{f.path, offset + 1, "longer than 64 MiB; is this a dump?"}
	case source.err != nil:
		return fmt.Errorf("%s is damaged or cut short behind line %d: %w", f.path, offset, source.err)
	}
	return nil
}

// fallible remembers why a reader failed.
type fallible struct {
	io.Reader
	err error
}

func (r *fallible) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// inflate recognises the compression by the first bytes. done frees what the
// reader holds.
func inflate(file io.Reader) (r io.Reader, done func(), err error) {
	b := bufio.NewReaderSize(file, 256<<10)
	magic, err := b.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		r, err = gzip.NewReader(b)
	case bytes.HasPrefix(magic, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		r, err = xz.NewReader(b)
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d, err := zstd.NewReader(b)
		if err != nil {
			return nil, nil, err
		}
		return d, d.Close, nil
	default:
		r, err = b, nil
	}
	return r, func() {}, err
}

// keys are what the engine's records of these types have on unifyevents (wire
// format, section 2). BalanceMessage is from before 2021-08-16, and from
// engines that wrote a file instead of Kafka.
var keys = map[string][]byte{
	"UserMessage":     []byte(topics.RegisterUser),
	"DepositMessage":  []byte(topics.Deposits),
	"WithdrawMessage": []byte(topics.Withdraws),
	"TransferMessage": []byte(topics.InternalTransfer),
	"OrderMessage":    []byte(topics.Orders),
	"TradeMessage":    []byte(topics.Trades),
	"BalanceMessage":  []byte(topics.Balances),
}

// parseLine takes a line apart. The payload stays as it is: judging it is the
// decoder's affair. reason says what is wrong with the line.
func parseLine(line []byte) (key, value []byte, reason string) {
	c := lineCursor{b: line}
	if len(bytes.TrimSpace(line)) == 0 {
		return nil, nil, "empty"
	}
	if !c.token('{') {
		return nil, nil, `want {"type":…,"value":…}`
	}
	var tag []byte
	for {
		name, ok := c.text()
		if !ok || !c.token(':') {
			return nil, nil, "not JSON, or cut short"
		}
		part, ok := c.value()
		switch {
		case !ok:
			return nil, nil, "not JSON, or cut short"
		case string(name) == "type" && tag == nil:
			tag = part
		case string(name) == "value" && value == nil:
			value = part
		default:
			return nil, nil, fmt.Sprintf("unexpected field %q, want type and value once each", name)
		}
		if c.token(',') {
			continue
		}
		if !c.token('}') || len(bytes.TrimSpace(c.b)) > 0 {
			return nil, nil, "not one JSON object, or cut short"
		}
		break
	}
	switch {
	case tag == nil || value == nil:
		return nil, nil, "has no type or no value"
	case len(tag) < 2 || tag[0] != '"':
		return nil, nil, "its type is not a text"
	}
	if key = keys[string(tag[1:len(tag)-1])]; key == nil {
		return nil, nil, fmt.Sprintf("unknown type %s", tag)
	}
	return key, value, ""
}

// lineCursor finds where the parts of a JSON line end.
type lineCursor struct{ b []byte }

func (c *lineCursor) skip() { c.b = bytes.TrimLeft(c.b, " \t\r") }

func (c *lineCursor) token(want byte) bool {
	c.skip()
	if len(c.b) == 0 || c.b[0] != want {
		return false
	}
	c.b = c.b[1:]
	return true
}

// text takes a string, without its quotes and as it is written.
func (c *lineCursor) text() ([]byte, bool) {
	c.skip()
	n := textEnd(c.b)
	if n < 0 {
		return nil, false
	}
	v := c.b[1 : n-1]
	c.b = c.b[n:]
	return v, true
}

// textEnd is where the string ends that b begins with, or -1.
func textEnd(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return -1
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}

// value takes one JSON value, as it is written.
func (c *lineCursor) value() ([]byte, bool) {
	c.skip()
	depth := 0
	for i := 0; i < len(c.b); i++ {
		switch c.b[i] {
		case '"':
			n := textEnd(c.b[i:])
			if n < 0 {
				return nil, false
			}
			i += n - 1
		case '{', '[':
			depth++
		case '}', ']', ',':
			if depth == 0 {
				return c.took(i)
			}
			if c.b[i] != ',' {
				depth--
			}
		}
	}
	return nil, false
}

func (c *lineCursor) took(n int) ([]byte, bool) {
	v := bytes.TrimRight(c.b[:n], " \t\r")
	c.b = c.b[n:]
	return v, len(v) > 0
}
