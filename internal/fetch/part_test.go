package fetch

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

var codecs = []struct {
	name  string
	codec uint16
	bare  bool
}{
	{"none", 0, false}, {"gzip", codecGzip, false}, {"snappy of Java", codecSnappy, false},
	{"snappy of librdkafka", codecSnappy, true}, {"lz4", codecLZ4, false}, {"zstd", codecZstd, false},
}

func TestCodecs(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.name, func(t *testing.T) {
			large := testRecord{key: []byte{}, value: bytes.Repeat([]byte("0123456789abcdef"), 10<<10)}
			rest := records(20)
			for i := range rest {
				rest[i].delta++
			}
			log := encodeAll(
				testBatch{base: 5, codec: c.codec, bareBlock: c.bare, records: append([]testRecord{large}, rest...)},
				testBatch{base: 26, codec: c.codec, bareBlock: c.bare, records: records(3)})
			p := partOf(t, 5, nil, log)
			items, err := drain(p)
			if err != nil || len(items) != 24 || p.Position() != 29 {
				t.Fatalf("%d items up to %d: %v", len(items), p.Position(), err)
			}
			if items[0].key != "" || items[0].value != string(large.value) {
				t.Error("the large record differs")
			}
			for i, it := range items {
				if it.offset != int64(5+i) {
					t.Errorf("item %d has offset %d", i, it.offset)
				}
			}
			if want := string(rest[19].value); items[20].value != want {
				t.Errorf("value %q, want %q", items[20].value, want)
			}
		})
	}
}

func TestNullIsNotEmpty(t *testing.T) {
	p := partOf(t, 0, nil, testBatch{firstTime: 1000, maxTime: 5000, records: []testRecord{
		{delta: 0, key: nil, value: nil},
		{delta: 1, key: []byte{}, value: []byte{}, elapsed: -3},
		{delta: 2, key: []byte("k"), value: []byte("v"), elapsed: 300,
			headers: [][2][]byte{{[]byte("a"), nil}, {[]byte("a"), {}}, {{}, []byte("x")}}},
	}}.encode())
	want := []struct {
		key, value string
		time       int64
		headers    []string
	}{
		{null, null, 1000, nil},
		{"", "", 997, nil},
		{"k", "v", 1300, []string{"a=" + null, "a=", "=x"}},
	}
	for _, w := range want {
		kind, err := p.Next()
		r := p.Record
		if kind != Data || err != nil || text(r.Key) != w.key || text(r.Value) != w.value || r.Timestamp != w.time {
			t.Errorf("got %v %v %q %q at %d, want %+v", kind, err, text(r.Key), text(r.Value), r.Timestamp, w)
		}
		var headers []string
		for k, v := range r.Headers.All() {
			headers = append(headers, string(k)+"="+text(v))
		}
		if !slices.Equal(headers, w.headers) || r.Headers.Len() != len(w.headers) {
			t.Errorf("headers %q, want %q", headers, w.headers)
		}
	}
}

func TestLogAppendTime(t *testing.T) {
	p := partOf(t, 0, nil, testBatch{flags: attrLogAppendTime, firstTime: 1000, maxTime: 5000, records: records(3)}.encode())
	for range 3 {
		if kind, err := p.Next(); kind != Data || err != nil || p.Record.Timestamp != 5000 {
			t.Errorf("%v %v at %d, want the broker's time 5000", kind, err, p.Record.Timestamp)
		}
	}
}

// describeItems is a short form of a log as read: offsets, and gaps in brackets.
func describeItems(items []item) (s string) {
	for _, it := range items {
		if it.offset < 0 {
			s += fmt.Sprintf("[%d-%d]", it.gap.First, it.gap.Last)
		} else {
			s += fmt.Sprintf("%d ", it.offset)
		}
	}
	return s
}

func TestTransactions(t *testing.T) {
	txn := func(base, producer int64, n int) testBatch {
		return testBatch{base: base, producer: producer, flags: attrTransactional, records: records(n)}
	}
	tests := []struct {
		name    string
		from    int64
		aborted []abortedTxn
		log     []testBatch
		want    string
	}{
		{"committed", 0, nil, []testBatch{txn(0, 1, 2), marker(2, 1, true)}, "0 1 [2-2]"},
		{"aborted", 0, []abortedTxn{{1, 0}}, []testBatch{txn(0, 1, 2), marker(2, 1, false), txn(3, 1, 1), marker(4, 1, true)}, "[0-1][2-2]3 [4-4]"},
		{"aborted after committed, of one producer", 0, []abortedTxn{{1, 3}},
			[]testBatch{txn(0, 1, 2), marker(2, 1, true), txn(3, 1, 2), marker(5, 1, false), txn(6, 1, 1)}, "0 1 [2-2][3-4][5-5]6 "},
		{"interleaved, listed in the order of their ends", 0, []abortedTxn{{2, 2}, {1, 0}},
			[]testBatch{txn(0, 1, 1), txn(1, 3, 1), txn(2, 2, 1), marker(3, 2, false), txn(4, 2, 1), txn(5, 1, 1), marker(6, 1, false), marker(7, 3, true), marker(8, 2, true)},
			"[0-0]1 [2-2][3-3]4 [5-5][6-6][7-7][8-8]"},
		{"another producer's commit ends nothing", 0, []abortedTxn{{1, 0}},
			[]testBatch{txn(0, 1, 1), marker(1, 2, true), txn(2, 1, 1), marker(3, 1, false)}, "[0-0][1-1][2-2][3-3]"},
		{"begun before the wanted offset", 11, []abortedTxn{{1, 4}}, []testBatch{txn(10, 1, 4), marker(14, 1, false)}, "[11-13][14-14]"},
		{"plain records of an aborted producer's id count", 0, []abortedTxn{{1, 0}},
			[]testBatch{{base: 0, producer: 1, records: records(1)}}, "0 "},
		{"two aborted in a row", 0, []abortedTxn{{1, 0}, {1, 2}},
			[]testBatch{txn(0, 1, 1), marker(1, 1, false), txn(2, 1, 1), marker(3, 1, false), txn(4, 1, 1)}, "[0-0][1-1][2-2][3-3]4 "},
		{"a control batch that compaction emptied", 0, nil,
			[]testBatch{{base: 0, flags: attrControl | attrTransactional, raw: []byte{}}, {base: 1, records: records(1)}}, "[0-0]1 "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			items, err := drain(partOf(t, tt.from, tt.aborted, encodeAll(tt.log...)))
			if got := describeItems(items); got != tt.want || err != nil {
				t.Errorf("got %q %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestJumps(t *testing.T) {
	holed := records(4)
	holed[2].delta, holed[3].delta = 5, 6
	tests := []struct {
		name     string
		from     int64
		log      []testBatch
		want     string
		expected int64
		found    int64
	}{
		{"before the first batch", 0, []testBatch{{base: 4, records: records(1)}}, "", 0, 4},
		{"between batches", 0, []testBatch{{records: records(2)}, {base: 5, records: records(1)}}, "0 1 ", 2, 5},
		{"inside a batch", 0, []testBatch{{records: holed}}, "0 1 ", 2, 5},
		{"inside a batch, wanted from the hole on", 3, []testBatch{{records: holed}}, "", 3, 5},
		{"at a batch's end", 0, []testBatch{{records: records(2), lastDelta: 9}}, "0 1 ", 2, 10},
		{"an empty batch", 0, []testBatch{{raw: []byte{}, lastDelta: 9}}, "", 0, 10},
		{"empty batches before one with records", 0, []testBatch{{records: records(2)}, {base: 4, raw: []byte{}, lastDelta: 1}, {base: 7, raw: []byte{}}, {base: 9, records: records(2)}}, "0 1 ", 2, 9},
		{"empty batches before a marker", 0, []testBatch{{raw: []byte{}}, {base: 1, raw: []byte{}}, marker(3, 1, true)}, "", 0, 3},
		{"inside a batch before an empty one", 0, []testBatch{{records: holed}, {base: 7, raw: []byte{}}}, "0 1 ", 2, 5},
		{"before a marker", 0, []testBatch{{records: records(1)}, marker(3, 1, true)}, "0 ", 1, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := partOf(t, tt.from, nil, encodeAll(tt.log...))
			items, err := drain(p)
			var jump *JumpError
			if !errors.As(err, &jump) || jump.Expected != tt.expected || jump.Found != tt.found || p.Position() != tt.expected {
				t.Errorf("error %v at %d, want a jump from %d to %d", err, p.Position(), tt.expected, tt.found)
			}
			if got := describeItems(items); got != tt.want {
				t.Errorf("items before it %q, want %q", got, tt.want)
			}
			if _, again := p.Next(); !errors.Is(again, err) {
				t.Errorf("then %v, want the same error", again)
			}
		})
	}
	t.Run("beyond the hole all is normal", func(t *testing.T) {
		items, err := drain(partOf(t, 5, nil, testBatch{records: holed}.encode()))
		if got := describeItems(items); got != "5 6 " || err != nil {
			t.Errorf("got %q %v", got, err)
		}
	})
}

func TestTruncatedLastBatch(t *testing.T) {
	first := testBatch{records: records(3)}.encode()
	whole := append(slices.Clone(first), testBatch{base: 3, records: records(3)}.encode()...)
	for n := range whole {
		p := partOf(t, 0, nil, whole[:n])
		items, err := drain(p)
		var corrupt *CorruptError
		switch {
		case n == 0:
			if err != nil || len(items) != 0 {
				t.Errorf("nothing: %v %v", items, err)
			}
		case n < len(first):
			if !errors.As(err, &corrupt) {
				t.Errorf("%d bytes: %v, want an error, as the same would come again for ever", n, err)
			}
		default:
			if err != nil || len(items) != 3 || p.Position() != 3 {
				t.Errorf("%d bytes: %d items up to %d, %v", n, len(items), p.Position(), err)
			}
		}
	}
}

// TestFlippedBytes damages every byte of a log of two batches. The checksum does
// not cover the base offset and the leader epoch; all else must be noticed.
func TestFlippedBytes(t *testing.T) {
	for _, c := range codecs {
		first := testBatch{base: 10, codec: c.codec, bareBlock: c.bare, records: records(3)}.encode()
		log := append(slices.Clone(first), testBatch{base: 13, codec: c.codec, bareBlock: c.bare, records: records(3)}.encode()...)
		good, err := drain(partOf(t, 10, nil, log))
		if err != nil || len(good) != 6 {
			t.Fatalf("%s: %v %v", c.name, good, err)
		}
		for i := range log {
			at := i % len(first)
			for _, flip := range []byte{1, 0x80, 0xff} {
				bad := slices.Clone(log)
				bad[i] ^= flip
				p := partOf(t, 10, nil, bad)
				items, err := drain(p)
				if at >= 12 && at < 16 {
					if err != nil || len(items) != 6 {
						t.Errorf("%s: byte %d (leader epoch): %d items, %v", c.name, i, len(items), err)
					}
					continue
				}
				// A length that reaches beyond the answer looks like a batch that
				// was cut; it must not count as progress.
				cut := err == nil && i >= len(first)+8 && i < len(first)+12 && p.Position() == 13
				if err == nil && !cut {
					t.Errorf("%s: byte %d flipped by %#x: no error", c.name, i, flip)
				}
				if at >= 8 && !slices.Equal(items, good[:len(items)]) {
					t.Errorf("%s: byte %d flipped by %#x: wrong records", c.name, i, flip)
				}
			}
		}
	}
}

func TestCorruptBatches(t *testing.T) {
	change := func(at int, v ...byte) []byte {
		b := testBatch{records: records(2)}.encode()
		copy(b[at:], v)
		return seal(b)
	}
	one := testRecord{key: []byte("k"), value: []byte("v")}.append(nil)
	raw := func(count int32, b []byte) []byte {
		return testBatch{raw: b, count: count, lastDelta: count - 1}.encode()
	}
	tests := map[string][]byte{
		"old magic":                 change(16, 1),
		"length below the header":   change(8, 0, 0, 0, 10),
		"negative last delta":       change(23, 0xff),
		"negative count":            change(57, 0xff),
		"more records than offsets": change(57, 0, 0, 0, 9),
		"unknown codec":             change(22, 5),
		"garbage for gzip":          change(22, codecGzip),
		"garbage for snappy":        change(22, codecSnappy),
		"garbage for lz4":           change(22, codecLZ4),
		"garbage for zstd":          change(22, codecZstd),
		"records missing":           raw(3, one),
		"bytes behind":              raw(1, append(slices.Clone(one), 0)),
		"offsets repeat":            raw(2, append(slices.Clone(one), one...)),
		"record cut":                raw(1, one[:len(one)-1]),
		"record of nothing":         raw(1, []byte{0}),
		"endless varint":            raw(1, bytes.Repeat([]byte{0xff}, 30)),
		"negative record length":    raw(1, []byte{1, 0, 0, 0, 0, 0, 0, 0}),
		"key length -2":             raw(1, []byte{12, 0, 0, 0, 3, 0, 0}),
		"headers missing":           raw(1, []byte{12, 0, 0, 0, 1, 1, 4}),
		"negative header count":     raw(1, []byte{12, 0, 0, 0, 1, 1, 1}),
		"null header key":           raw(1, []byte{16, 0, 0, 0, 1, 1, 2, 1, 1}),
		"marker without a type":     testBatch{flags: attrControl, records: []testRecord{{key: []byte{0}}}}.encode(),
		"batches overlap":           encodeAll(testBatch{records: records(3)}, testBatch{base: 2, records: records(3)}),
		"only batches below":        encodeAll(testBatch{base: -20, records: records(3)}),
	}
	for name, log := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := drain(partOf(t, 0, nil, log))
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) || corrupt.Topic != "trades" {
				t.Errorf("got %v, want a *CorruptError", err)
			}
		})
	}
	t.Run("below the wanted offset", func(t *testing.T) {
		_, err := drain(partOf(t, 50, nil, testBatch{records: records(3)}.encode()))
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || corrupt.Offset != 50 {
			t.Errorf("got %v, want a *CorruptError at 50", err)
		}
	})
}

// What follows a damaged batch is what an operator has to know to go on.
func TestNextAfterDamage(t *testing.T) {
	two := encodeAll(testBatch{base: 5, records: records(3)}, testBatch{base: 10, records: records(1)})
	flip := func(b []byte, at int) []byte {
		b = slices.Clone(b)
		b[at] ^= 0x40
		return b
	}
	first := len(testBatch{base: 5, records: records(3)}.encode())
	for name, tt := range map[string]struct {
		log  []byte
		high int64
		want int64
	}{
		"the next batch tells":                 {flip(two, first-1), 11, 10},
		"the next batch's beginning tells":     {flip(two, first-1)[:first+batchPrefix], 11, 10},
		"alone, its own header tells":          {flip(two, first-1)[:first], 11, 8},
		"a header that reaches beyond the log": {flip(two, 25)[:first], 11, -1},
		"a length that leads astray":           {flip(two, 11), 11, -1},
		"magic":                                {flip(two, 16), 11, 8},
		"what is inside it is damaged":         {testBatch{base: 5, raw: []byte{1}, count: 1, lastDelta: 2}.encode(), 11, 8},
	} {
		t.Run(name, func(t *testing.T) {
			p := partOf(t, 5, nil, tt.log)
			p.HighWatermark = tt.high
			_, err := drain(p)
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) || corrupt.Offset != 5 || corrupt.Next != tt.want {
				t.Errorf("%+v, want the next offset to be %d", err, tt.want)
			}
		})
	}
}

func TestBombs(t *testing.T) {
	for _, c := range codecs[1:] {
		t.Run(c.name, func(t *testing.T) {
			log := testBatch{codec: c.codec, bareBlock: c.bare, records: []testRecord{{value: make([]byte, 3<<20)}}}.encode()
			p := partOf(t, 0, nil, log)
			p.response.inflater.limit = 1 << 20
			_, err := drain(p)
			var large *BatchTooLargeError
			if !errors.As(err, &large) || large.Limit != 1<<20 {
				t.Errorf("got %v, want a *BatchTooLargeError", err)
			}
			if n := p.response.Memory(); n > 6<<20 {
				t.Errorf("%d bytes of memory", n)
			}
		})
	}
}
