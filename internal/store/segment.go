package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/s2"

	"github.com/thaliumx/persistor/internal/event"
)

// A segment of the event log is a byte of version and a compressed stream of
// records, each
//
//	uvarint  offset, less the previous record's (the first: less first_offset)
//	varint   timestamp in ms, less the previous record's (the first: as it is)
//	nullable key, nullable value: uvarint length + 1, or 0 for null, then bytes
//	bytes    headers as Kafka encodes them: uvarint length, then bytes
//
// Version 1 is an S2 stream (github.com/klauspost/compress/s2), as the daemon
// writes them; version 2 a zstd stream, into which small segments are merged.
const (
	segmentS2   = 1
	segmentZstd = 2
)

// segment compresses the records of unifyevents as they come, so that a batch
// holds them compressed only.
type segment struct {
	zw                         compressor // nil: S2
	version                    byte
	out                        bytes.Buffer
	block                      []byte // what is to be compressed next
	log                        Log
	records                    int
	first, last                int64 // offsets
	previous, earliest, latest int64 // timestamps in ms
}

type compressor interface {
	io.WriteCloser
	Reset(to io.Writer)
}

// segmentBlock is how much is compressed at once: it fits a core's cache, and leaves
// 12.7 % of the engine's bytes, where 1 MiB leaves 12.2 %.
const segmentBlock = 256 << 10

// reset does not remember how large one unusually big record was.
func (s *segment) reset() {
	if s.out.Cap() > 16<<20 {
		s.out = bytes.Buffer{}
	}
	if cap(s.block) > 4*segmentBlock {
		s.block = nil
	}
	s.out.Reset()
	s.block, s.records = s.block[:0], 0
}

func (s *segment) add(log Log, offset, at int64, key, value, headers []byte) error {
	if s.records == 0 {
		s.open()
		s.log = log
		s.first, s.last, s.previous, s.earliest, s.latest = offset, offset, 0, at, at
	}
	b := binary.AppendUvarint(s.block, uint64(offset-s.last))
	b = binary.AppendVarint(b, at-s.previous)
	b = append(appendLength(b, key), key...)
	b = append(appendLength(b, value), value...)
	s.block = append(binary.AppendUvarint(b, uint64(len(headers))), headers...)
	s.records++
	s.last, s.previous = offset, at
	s.earliest, s.latest = min(s.earliest, at), max(s.latest, at)
	return s.compress(len(s.block) / segmentBlock * segmentBlock)
}

// compress compresses the first n bytes that wait for it.
func (s *segment) compress(n int) error {
	if n == 0 {
		return nil
	}
	if _, err := s.zw.Write(s.block[:n]); err != nil {
		return fmt.Errorf("compress the event log: %w", err)
	}
	s.block = s.block[:copy(s.block, s.block[n:])]
	return nil
}

// open begins the stream. S2 takes half of zstd's time at its fastest, which was
// a quarter of the daemon's work, and leaves 13 % of the bytes, not 9 %: the
// archive is a small part of the database either way.
func (s *segment) open() {
	if s.zw == nil {
		s.version = segmentS2
		s.zw = s2.NewWriter(nil,
			s2.WriterConcurrency(1), // in the caller's time: no goroutines, no copies
			s2.WriterFlushOnWrite(), // nor one in its own buffer
			s2.WriterBlockSize(segmentBlock))
	}
	s.out.WriteByte(s.version)
	s.zw.Reset(&s.out)
}

// Archive adds the record to the event log, unless it is there already. at is
// the record's timestamp in ms.
func (b *Batch) Archive(p *Progress, offset, at int64, key, value, headers []byte) error {
	if offset < p.archived {
		return nil
	}
	if b.segment.records > 0 && offset != b.segment.last+1 {
		// A segment covers its offsets without a hole.
		if err := b.closeSegment(); err != nil {
			return err
		}
	}
	return b.segment.add(p.Log, offset, at, key, value, headers)
}

// closeSegment ends the open segment and adds its row. It must be called
// before a gap and before the batch is written.
func (b *Batch) closeSegment() error {
	s, err := b.segment.close()
	if err != nil || s.Records == 0 {
		return err
	}
	r := &b.rows[eventLogTable]
	r.begin(len(tables[eventLogTable].columns))
	r.int64(s.First)
	r.int64(s.Last)
	r.time(s.Earliest)
	r.time(s.Latest)
	r.int32(s.Records)
	r.int16(b.segment.log.TopicID)
	r.bytes(s.Data)
	b.segment.reset()
	return nil
}

// appendLength appends the length of a nullable run of bytes.
func appendLength(b, v []byte) []byte {
	if v == nil {
		return append(b, 0)
	}
	return binary.AppendUvarint(b, uint64(len(v))+1)
}

// Segment is a row of the event log.
type Segment struct {
	First, Last      int64        // offsets, both included
	Earliest, Latest event.Micros // of its records' timestamps
	Records          int32
	Data             []byte
}

// SplitSegment divides the segment that begins at first into the records below
// the offset and the others. A side without records is the zero Segment.
func SplitSegment(first int64, data []byte, offset int64) (below, others Segment, err error) {
	var parts [2]segment
	err = ReadSegment(first, data, func(r Archived) error {
		part := &parts[0]
		if r.Offset >= offset {
			part = &parts[1]
		}
		return part.add(Log{}, r.Offset, r.Time, r.Key, r.Value, r.Headers)
	})
	if err == nil {
		below, err = parts[0].close()
	}
	if err == nil {
		others, err = parts[1].close()
	}
	return below, others, err
}

// close ends the stream. What it returns shares the segment's buffer.
func (s *segment) close() (Segment, error) {
	if s.records == 0 {
		return Segment{}, nil
	}
	if err := s.compress(len(s.block)); err != nil {
		return Segment{}, err
	}
	if err := s.zw.Close(); err != nil {
		return Segment{}, fmt.Errorf("compress the event log: %w", err)
	}
	return Segment{s.first, s.last, ClampTime(s.earliest), ClampTime(s.latest), int32(s.records), s.out.Bytes()}, nil
}
