package fetch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codecs in a batch's attributes.
const (
	codecGzip   = 1
	codecSnappy = 2
	codecLZ4    = 3
	codecZstd   = 4
)

var (
	errTooLarge = errors.New("inflates to more than the limit")
	errSnappy   = errors.New("snappy: broken framing")
)

// inflater inflates one batch at a time into memory that it uses again.
type inflater struct {
	limit  int    // most bytes of one inflated batch
	out    []byte // the batch inflated last
	memory memory

	source bytes.Reader
	gzip   *gzip.Reader
	lz4    *lz4.Reader
	zstd   *zstd.Decoder
}

// inflate sets f.out. It fails with errTooLarge before taking more memory than
// the limit (and some slack), whatever the input claims.
func (f *inflater) inflate(codec uint16, b []byte) (err error) {
	f.out = nil
	switch codec {
	case codecGzip:
		f.out, err = f.inflateGzip(b)
	case codecSnappy:
		f.out, err = f.inflateSnappy(b)
	case codecLZ4:
		f.out, err = f.inflateLZ4(b)
	case codecZstd:
		f.out, err = f.inflateZstd(b)
	default:
		return fmt.Errorf("unknown compression codec %d", codec)
	}
	if err == nil {
		f.memory.keep(f.out)
	}
	return err
}

func (f *inflater) inflateGzip(b []byte) ([]byte, error) {
	f.source.Reset(b)
	var err error
	if f.gzip == nil {
		f.gzip, err = gzip.NewReader(&f.source)
	} else {
		err = f.gzip.Reset(&f.source)
	}
	if err != nil {
		return nil, err
	}
	// The trailer's last four bytes are the inflated size of the last member,
	// usually the only one. Believed only as far as deflate's ratio can reach.
	hint := 0
	if len(b) >= 4 {
		hint = int(binary.LittleEndian.Uint32(b[len(b)-4:]))
	}
	return f.readAll(f.gzip, min(hint, 1032*len(b)))
}

func (f *inflater) inflateLZ4(b []byte) ([]byte, error) {
	f.source.Reset(b)
	if f.lz4 == nil {
		f.lz4 = lz4.NewReader(&f.source)
	} else {
		f.lz4.Reset(&f.source)
	}
	return f.readAll(f.lz4, 4*len(b))
}

// readAll reads r to its end, into memory that at first has room for hint bytes.
func (f *inflater) readAll(r io.Reader, hint int) ([]byte, error) {
	// One byte more than needed, so that the end is found without growing.
	out := f.memory.take(min(hint, f.limit) + 1)
	for idle := 0; idle < 100; idle++ {
		if len(out) == cap(out) {
			grown := make([]byte, len(out), min(2*cap(out), f.limit+1))
			copy(grown, out)
			out = grown
		}
		n, err := r.Read(out[len(out):min(cap(out), f.limit+1)])
		if out = out[:len(out)+n]; n > 0 {
			idle = 0
		}
		if len(out) > f.limit {
			return nil, errTooLarge
		}
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, io.ErrNoProgress
}

func (f *inflater) inflateZstd(b []byte) ([]byte, error) {
	if f.zstd == nil {
		d, err := zstd.NewReader(nil,
			zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(uint64(f.limit)),
			zstd.WithDecoderMaxWindow(uint64(max(f.limit, zstd.MinWindowSize))))
		if err != nil {
			return nil, err
		}
		f.zstd = d
	}
	out, err := f.zstd.DecodeAll(b, f.memory.take(0))
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return nil, errTooLarge
	}
	return out, err
}

// xerialMagic begins the framing of snappy-java: 8 bytes of magic, two versions
// of 4 bytes, then blocks behind their lengths. Java producers write it,
// librdkafka writes one bare block.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeader = 16

// inflateSnappy decodes block by block into the output: no reader in between,
// since every block says how large it will be.
func (f *inflater) inflateSnappy(b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, xerialMagic) {
		return f.snappyBlock(f.memory.take(0), b)
	}
	out := f.memory.take(0)
	for len(b) > 0 {
		// snappy-java's reader accepts several streams in a row.
		if bytes.HasPrefix(b, xerialMagic) {
			if len(b) < xerialHeader {
				return nil, errSnappy
			}
			b = b[xerialHeader:]
			continue
		}
		if len(b) < 4 || uint64(be.Uint32(b)) > uint64(len(b)-4) {
			return nil, errSnappy
		}
		end := 4 + int(be.Uint32(b))
		var err error
		if out, err = f.snappyBlock(out, b[4:end]); err != nil {
			return nil, err
		}
		b = b[end:]
	}
	return out, nil
}

// snappyBlock appends an inflated block to out. (s2 reads all of snappy.)
func (f *inflater) snappyBlock(out, block []byte) ([]byte, error) {
	n, err := s2.DecodedLen(block)
	if err != nil {
		return nil, err
	}
	if n > f.limit-len(out) {
		return nil, errTooLarge
	}
	if n > cap(out)-len(out) {
		grown := make([]byte, len(out), max(len(out)+n, min(2*cap(out), f.limit)))
		copy(grown, out)
		out = grown
	}
	if _, err := s2.Decode(out[len(out):len(out)+n], block); err != nil {
		return nil, err
	}
	return out[:len(out)+n], nil
}
