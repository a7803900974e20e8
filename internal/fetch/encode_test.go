package fetch

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// testRecord is a record of a hand-built batch.
type testRecord struct {
	delta, elapsed int64
	key, value     []byte
	headers        [][2][]byte
}

// testBatch is a hand-built record batch.
type testBatch struct {
	base      int64
	lastDelta int32 // 0: that of the last record
	codec     uint16
	bareBlock bool // snappy as librdkafka writes it, not as Java does
	flags     uint16
	firstTime int64
	maxTime   int64
	producer  int64
	records   []testRecord
	raw       []byte // instead of records
	count     int32  // with raw
}

func appendNullable(b, v []byte) []byte {
	if v == nil {
		return binary.AppendVarint(b, -1)
	}
	return append(binary.AppendVarint(b, int64(len(v))), v...)
}

func (r testRecord) append(b []byte) []byte {
	x := binary.AppendVarint([]byte{0}, r.elapsed)
	x = binary.AppendVarint(x, r.delta)
	x = appendNullable(appendNullable(x, r.key), r.value)
	x = binary.AppendVarint(x, int64(len(r.headers)))
	for _, h := range r.headers {
		x = appendNullable(appendNullable(x, h[0]), h[1])
	}
	return append(binary.AppendVarint(b, int64(len(x))), x...)
}

func (t testBatch) encode() []byte {
	body, count, lastDelta := t.raw, t.count, t.lastDelta
	if t.raw == nil {
		count = int32(len(t.records))
		for _, r := range t.records {
			body = r.append(body)
			if t.lastDelta == 0 {
				lastDelta = int32(r.delta)
			}
		}
	}
	body = deflate(t.codec, t.bareBlock, body)
	b := appendInt64(nil, t.base)
	b = appendInt32(b, int32(batchHeader-batchPrefix+len(body)))
	b = append(appendInt32(b, 7), 2, 0, 0, 0, 0)
	b = appendInt16(b, int16(t.flags|t.codec))
	b = appendInt32(b, lastDelta)
	b = appendInt64(appendInt64(b, t.firstTime), t.maxTime)
	b = appendInt64(b, t.producer)
	b = appendInt32(appendInt16(b, 0), 0)
	b = append(appendInt32(b, count), body...)
	return seal(b)
}

// seal sets the checksum.
func seal(b []byte) []byte {
	be.PutUint32(b[crcAt:], crc32.Checksum(b[checksumFrom:], castagnoli))
	return b
}

func deflate(codec uint16, bareBlock bool, body []byte) []byte {
	var out bytes.Buffer
	write := func(w io.WriteCloser, err error) []byte {
		if err == nil {
			_, err = w.Write(body)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			panic(err)
		}
		return out.Bytes()
	}
	switch codec {
	case codecGzip:
		return write(gzip.NewWriter(&out), nil)
	case codecSnappy:
		if bareBlock {
			return s2.EncodeSnappy(nil, body)
		}
		b := append([]byte{}, xerialMagic...)
		b = append(b, 0, 0, 0, 1, 0, 0, 0, 1)
		for len(body) > 0 {
			n := min(len(body), 32<<10)
			block := s2.EncodeSnappy(nil, body[:n])
			b = append(appendInt32(b, int32(len(block))), block...)
			body = body[n:]
		}
		return b
	case codecLZ4:
		return write(lz4.NewWriter(&out), nil)
	case codecZstd:
		w, err := zstd.NewWriter(&out)
		return write(w, err)
	}
	return body
}

// records gives n records with distinct keys and values.
func records(n int) []testRecord {
	rs := make([]testRecord, n)
	for i := range rs {
		rs[i] = testRecord{delta: int64(i), elapsed: int64(i), key: []byte{'k', byte(i)}, value: bytes.Repeat([]byte{'v', byte(i)}, 20)}
	}
	return rs
}

// marker is a control batch: a transaction's end.
func marker(base, producer int64, commit bool) testBatch {
	key := []byte{0, 0, 0, 0}
	if commit {
		key[3] = 1
	}
	return testBatch{base: base, producer: producer, flags: attrControl | attrTransactional,
		records: []testRecord{{key: key, value: []byte{0, 0, 0, 0, 0, 1}}}}
}

func encodeAll(batches ...testBatch) (b []byte) {
	for _, t := range batches {
		b = append(b, t.encode()...)
	}
	return b
}

// answerPart is one partition of a hand-built fetch answer.
type answerPart struct {
	want    Want
	code    int16
	aborted []abortedTxn
	records []byte
}

// fetchAnswer is the body behind the response header.
func fetchAnswer(code int16, parts ...answerPart) []byte {
	b := appendInt32(nil, 0)
	b = appendInt32(appendInt16(b, code), 0)
	b = appendArray(b, len(parts))
	for _, p := range parts {
		b = appendArray(append(b, p.want.TopicID[:]...), 1)
		b = appendInt16(appendInt32(b, p.want.Partition), p.code)
		b = appendInt64(appendInt64(appendInt64(b, 1000), 900), 3)
		b = appendArray(b, len(p.aborted))
		for _, a := range p.aborted {
			b = append(appendInt64(appendInt64(b, a.producer), a.first), 0)
		}
		b = appendInt32(b, -1)
		b = append(appendArray(b, len(p.records)), p.records...)
		// A tagged field that this program does not know must be passed over.
		b = append(b, 1, 9, 2, 'h', 'i', 0)
	}
	return append(b, 0)
}

// fakeBroker answers every exchange with body, behind a right header.
type fakeBroker struct {
	body  []byte
	alter func(ctx context.Context, rw *fakeConn) // alters the connection, if set
}

type fakeConn struct {
	sent   []byte
	answer io.Reader
	body   []byte
}

func (c *fakeConn) Write(b []byte) (int, error) {
	c.sent = append(c.sent, b...)
	if c.answer == nil {
		head := append(append([]byte{}, c.sent[8:12]...), 0) // correlation id, tags
		whole := appendInt32(nil, int32(len(head)+len(c.body)))
		c.answer = bytes.NewReader(append(append(whole, head...), c.body...))
	}
	return len(b), nil
}

func (c *fakeConn) Read(b []byte) (int, error) { return c.answer.Read(b) }

func (f *fakeBroker) RoundTrip(ctx context.Context, _ net.Addr, m kafka.Request) (kafka.Response, error) {
	conn := &fakeConn{body: f.body}
	if f.alter != nil {
		f.alter(ctx, conn)
	}
	return m.(protocol.RawExchanger).RawExchange(conn)
}

var testID = [16]byte{1, 2, 3}

// partOf gives the iterator over hand-built batches, wanted from offset on.
func partOf(t testing.TB, offset int64, aborted []abortedTxn, log []byte) *Part {
	t.Helper()
	want := Want{Topic: "trades", TopicID: testID, Offset: offset}
	client := NewClient(&fakeBroker{body: fetchAnswer(0, answerPart{want: want, aborted: aborted, records: log})}, kafka.TCP("fake:1"))
	var resp Response
	if err := client.Fetch(context.Background(), &Request{Partitions: []Want{want}, MaxBytes: 1 << 20}, &resp); err != nil {
		t.Fatal(err)
	}
	return &resp.Partitions[0]
}

// item is what one Next gave, in a form that outlives it.
type item struct {
	offset     int64
	key, value string
	gap        Range
}

const null = "(null)"

func text(b []byte) string {
	if b == nil {
		return null
	}
	return string(b)
}

func (p *Part) item(kind Kind) item {
	if kind == Gap {
		return item{offset: -1, gap: p.Gap}
	}
	return item{offset: p.Record.Offset, key: text(p.Record.Key), value: text(p.Record.Value)}
}

// drain reads p to its end.
func drain(p *Part) (items []item, err error) {
	for {
		kind, err := p.Next()
		if kind == Done || err != nil {
			return items, err
		}
		items = append(items, p.item(kind))
	}
}
