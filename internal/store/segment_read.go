package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Archived is one record of the event log. Key and Value are nil where null.
type Archived struct {
	Offset  int64
	Time    int64 // ms
	Key     []byte
	Value   []byte
	Headers []byte // as Kafka encodes them
}

// ReadSegment decodes a segment and calls fn for each of its records, whose
// bytes are valid until fn returns. Who reads many keeps a SegmentReader.
func ReadSegment(first int64, data []byte, fn func(Archived) error) error {
	var r SegmentReader
	return r.each(first, data, func(a *Archived) error { return fn(*a) })
}

// SegmentReader decodes segments one after another, in memory that does not
// grow with them but with their largest record. The zero value is ready for
// Reset; it is not for concurrent use.
type SegmentReader struct {
	source bytes.Reader
	s2     *s2.Reader
	zstd   *zstd.Decoder
	stream io.Reader // one of the two, on source

	buf     []byte // inflated, not decoded yet: from at on
	at      int
	ended   bool // nothing comes behind buf
	segment int64
	last    Archived
}

// The reader's window holds many records of the usual 830 bytes. A larger one
// makes it grow, up to the largest that Kafka's protocol knows.
const (
	windowSize    = 64 << 10
	largestRecord = 1 << 30
)

// Reset begins with the segment that begins at offset first. data must stay as
// it is until the segment is read.
func (r *SegmentReader) Reset(first int64, data []byte) error {
	if cap(r.buf) > 16<<20 {
		r.buf = nil // one unusually big record must not be remembered
	}
	r.buf, r.at, r.ended = r.buf[:0], 0, false
	r.segment, r.last = first, Archived{Offset: first}
	if len(data) == 0 {
		return r.damaged(io.ErrUnexpectedEOF)
	}
	r.source.Reset(data[1:])
	switch data[0] {
	case segmentS2:
		if r.s2 == nil {
			r.s2 = s2.NewReader(nil, s2.ReaderMaxBlockSize(1<<20), s2.ReaderAllocBlock(64<<10))
		}
		r.s2.Reset(&r.source)
		r.stream = r.s2
	case segmentZstd:
		if r.zstd == nil {
			var err error
			if r.zstd, err = newZstdReader(); err != nil {
				return r.damaged(err)
			}
		}
		if err := r.zstd.Reset(&r.source); err != nil {
			return r.damaged(err)
		}
		r.stream = r.zstd
	default:
		return fmt.Errorf("event log segment at offset %d: unknown version %d; a newer persistor wrote it", first, data[0])
	}
	return nil
}

// each calls fn for the records of one segment.
func (r *SegmentReader) each(first int64, data []byte, fn func(*Archived) error) error {
	if err := r.Reset(first, data); err != nil {
		return err
	}
	var a Archived
	for {
		if ok, err := r.Next(&a); !ok || err != nil {
			return err
		}
		if err := fn(&a); err != nil {
			return err
		}
	}
}

// newZstdReader works in the caller's time: no goroutines to end.
func newZstdReader() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(mergeWindow))
}

// Next decodes the next record into a, whose bytes are valid until the next
// call; false behind the last one.
func (r *SegmentReader) Next(a *Archived) (bool, error) {
	for {
		d := segmentDecoder{b: r.buf[r.at:]}
		if len(d.b) > 0 {
			next := r.last
			next.Offset += int64(d.uvarint())
			next.Time += d.varint()
			next.Key = d.nullable()
			next.Value = d.nullable()
			next.Headers = d.bytes(d.uvarint())
			if d.state == decodedWhole {
				r.at, r.last, *a = len(r.buf)-len(d.b), next, next
				return true, nil
			}
		}
		switch {
		case d.state == decodedWrong, d.state == decodedCut && r.ended:
			return false, fmt.Errorf("event log segment at offset %d: damaged behind offset %d", r.segment, r.last.Offset)
		case r.ended:
			return false, nil
		}
		if err := r.fill(); err != nil {
			return false, err
		}
	}
}

// fill makes room and takes more of the stream.
func (r *SegmentReader) fill() error {
	left := copy(r.buf[:cap(r.buf)], r.buf[r.at:])
	r.buf, r.at = r.buf[:left], 0
	if left == cap(r.buf) {
		grown := make([]byte, left, max(windowSize, 2*left))
		copy(grown, r.buf)
		r.buf = grown
	}
	for len(r.buf) < cap(r.buf) {
		n, err := r.stream.Read(r.buf[len(r.buf):cap(r.buf)])
		r.buf = r.buf[:len(r.buf)+n]
		if errors.Is(err, io.EOF) {
			r.ended = true
			return nil
		}
		if err != nil {
			return r.damaged(err)
		}
	}
	return nil
}

func (r *SegmentReader) damaged(err error) error {
	return fmt.Errorf("event log segment at offset %d: %w", r.segment, err)
}

// segmentDecoder reads the parts of a record and remembers whether one was
// missing, so that its caller asks once a record.
type segmentDecoder struct {
	b     []byte
	state decoded
}

type decoded uint8

const (
	decodedWhole decoded = iota
	decodedCut           // more bytes would help
	decodedWrong         // no bytes would
)

func (d *segmentDecoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	return d.took(v, n)
}

func (d *segmentDecoder) varint() int64 {
	v, n := binary.Varint(d.b)
	return int64(d.took(uint64(v), n))
}

func (d *segmentDecoder) took(v uint64, n int) uint64 {
	switch {
	case d.state != decodedWhole:
	case n > 0:
		d.b = d.b[n:]
		return v
	case n < 0:
		d.state = decodedWrong
	default:
		d.state = decodedCut
	}
	return 0
}

func (d *segmentDecoder) nullable() []byte {
	n := d.uvarint()
	if n == 0 {
		return nil
	}
	return d.bytes(n - 1)
}

func (d *segmentDecoder) bytes(n uint64) []byte {
	switch {
	case d.state != decodedWhole:
		return nil
	case n > largestRecord:
		d.state = decodedWrong
		return nil
	case n > uint64(len(d.b)):
		d.state = decodedCut
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}
