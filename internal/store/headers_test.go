package store

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/testenv"
)

func header(key string, value []byte) kafka.Header { return kafka.Header{Key: key, Value: value} }

// Headers are taken apart up to a bound, and kept as their bytes beyond it.
func TestHeadersBeyondTheBoundAreKeptAsBytes(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.trades", 0, 0)
	odd := header("\x00\xff", []byte{0, 255})
	cases := []struct {
		name    string
		headers fetch.Headers
		raw     bool
	}{
		{"none", nil, false},
		{"as many as are taken apart", testenv.Headers(make([]kafka.Header, mostHeaders)...), false},
		{"one more", testenv.Headers(make([]kafka.Header, mostHeaders+1)...), true},
		{"as large as is taken apart", testenv.Headers(header("", make([]byte, mostHeaderBytes-5))), false},
		{"one byte more", testenv.Headers(header("", make([]byte, mostHeaderBytes-4))), true},
		{"a large key", testenv.Headers(header(strings.Repeat("\x00\xff", mostHeaderBytes), nil)), true},
		{"very many", testenv.Headers(append(make([]kafka.Header, 2_000_000), odd)...), true},
		{"one that is called raw", testenv.Headers(header("raw", []byte("x"))), false},
	}
	b := NewBatch()
	p := b.Partition(log, 0, 0)
	for i, c := range cases {
		b.Record(p, int64(i), 1)
		b.Reject(p, RejectedRecord{Offset: int64(i), Reason: "bad", Headers: c.headers})
	}
	r.write(b)
	for i, c := range cases {
		var text []byte
		if err := r.conn.QueryRow(t.Context(), `SELECT headers::text FROM dingir.rejects WHERE "offset" = $1`, i).Scan(&text); err != nil {
			t.Fatal(err)
		}
		var list []map[string]*string
		if err := json.Unmarshal(text, &list); err != nil {
			t.Fatal(err)
		}
		if !c.raw {
			if len(list) != c.headers.Len() || len(list) > 0 && (list[0]["key"] == nil || list[0]["raw"] != nil) {
				t.Errorf("%s: %d elements for %d headers", c.name, len(list), c.headers.Len())
			}
			continue
		}
		if len(list) != 1 || len(list[0]) != 1 || list[0]["raw"] == nil {
			t.Errorf("%s: %d elements for %d headers, want one of their bytes", c.name, len(list), c.headers.Len())
			continue
		}
		if got, err := base64.StdEncoding.DecodeString(*list[0]["raw"]); err != nil || !bytes.Equal(got, c.headers) {
			t.Errorf("%s: the bytes are not those of the headers (%v)", c.name, err)
		}
	}
}

// Memory is in proportion to the bytes, however many headers they are.
func TestVeryManyHeadersTakeLittleMemory(t *testing.T) {
	headers := testenv.Headers(make([]kafka.Header, 500_000)...)
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			appendHeaders(nil, headers)
		}
	})
	if got, limit := result.AllocedBytesPerOp(), int64(2*len(headers)); got > limit {
		t.Errorf("%d bytes of headers take %d, want at most %d", len(headers), got, limit)
	}
}
