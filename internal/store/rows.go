package store

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/fetch"
)

// copyHeader opens every binary COPY stream: signature, flags, no extension.
var copyHeader = []byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")

// copyTrailer ends every binary COPY stream.
var copyTrailer = []byte{0xff, 0xff}

// postgresEpoch is 2000-01-01 in µs of the Unix epoch: binary timestamptz
// counts from there.
const postgresEpoch event.Micros = 946_684_800_000_000

// rows is a binary COPY stream under construction. The buffer is reused from
// batch to batch and grows to the largest one.
type rows struct {
	buf []byte
	n   int
}

func (r *rows) reset() {
	r.buf, r.n = append(r.buf[:0], copyHeader...), 0
}

func (r *rows) begin(columns int) {
	r.n++
	r.buf = binary.BigEndian.AppendUint16(r.buf, uint16(columns))
}

func (r *rows) null() { r.buf = append(r.buf, 0xff, 0xff, 0xff, 0xff) }

func (r *rows) int16(v int16) {
	r.buf = binary.BigEndian.AppendUint16(append(r.buf, 0, 0, 0, 2), uint16(v))
}

func (r *rows) int32(v int32) {
	r.buf = binary.BigEndian.AppendUint32(append(r.buf, 0, 0, 0, 4), uint32(v))
}

func (r *rows) int64(v int64) {
	r.buf = binary.BigEndian.AppendUint64(append(r.buf, 0, 0, 0, 8), uint64(v))
}

// id writes an id, or NULL where the message had none.
func (r *rows) id(v int64) {
	if v == event.NoID {
		r.null()
		return
	}
	r.int64(v)
}

// time writes a timestamptz, or NULL where the message had none.
func (r *rows) time(t event.Micros) {
	if t == event.NoTime {
		r.null()
		return
	}
	r.int64(int64(t - postgresEpoch))
}

func (r *rows) flag(f event.Flag) {
	if f == event.NoFlag {
		r.null()
		return
	}
	r.buf = append(r.buf, 0, 0, 0, 1, byte(f-event.False))
}

// numeric writes an amount, or NULL where the message had none.
func (r *rows) numeric(d event.Decimal) { r.buf = appendNumeric(r.buf, d.Text) }

func (r *rows) bytes(v []byte) {
	if v == nil {
		r.null()
		return
	}
	r.buf = append(binary.BigEndian.AppendUint32(r.buf, uint32(len(v))), v...)
}

func (r *rows) string(v string) {
	r.buf = append(binary.BigEndian.AppendUint32(r.buf, uint32(len(v))), v...)
}

// headers writes a record's headers as jsonb: version 1 of the binary form, then
// the JSON text.
func (r *rows) headers(h fetch.Headers) {
	at := len(r.buf)
	r.buf = appendHeaders(append(r.buf, 0, 0, 0, 0, 1), h)
	binary.BigEndian.PutUint32(r.buf[at:], uint32(len(r.buf)-at-4))
}

func (r *rows) source(s Source) {
	r.int16(s.TopicID)
	r.int32(s.Partition)
	r.int64(s.Offset)
}

// row is one row of a COPY stream, split into its fields; nil is NULL.
type row struct {
	raw    []byte
	fields [][]byte
}

// split cuts the stream into its rows again. It is used off the hot path only:
// to merge duplicates and to find a bad row, so that the hot path keeps nothing
// about a row but its bytes.
func (r *rows) split(columns int) []row {
	out := make([]row, 0, r.n)
	fields := make([][]byte, r.n*columns)
	b := r.buf[len(copyHeader):]
	for range r.n {
		f := fields[:columns:columns]
		fields = fields[columns:]
		at := 2
		for i := range f {
			n := int32(binary.BigEndian.Uint32(b[at:]))
			at += 4
			if n >= 0 {
				f[i] = b[at : at+int(n) : at+int(n)]
				at += int(n)
			}
		}
		out = append(out, row{raw: b[:at:at], fields: f})
		b = b[at:]
	}
	if len(b) != 0 {
		panic(fmt.Sprintf("store: %d bytes left after the last row of a COPY stream", len(b)))
	}
	return out
}

// Fields of the source columns, counted from a row's end.
func (w row) source() Source {
	f := w.fields[len(w.fields)-3:]
	return Source{
		TopicID:   int16(binary.BigEndian.Uint16(f[0])),
		Partition: int32(binary.BigEndian.Uint32(f[1])),
		Offset:    int64(binary.BigEndian.Uint64(f[2])),
	}
}

// same tells whether two rows of one table hold the same but for the record
// that they came from.
func (w row) same(other row, t *table) bool {
	for i := range len(t.columns) - t.record {
		if (w.fields[i] == nil) != (other.fields[i] == nil) || !bytes.Equal(w.fields[i], other.fields[i]) {
			return false
		}
	}
	return true
}
