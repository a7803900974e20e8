package fetch

import (
	"hash/crc32"
	"math"
)

// Layout of a record batch, magic 2 (Kafka protocol, "Record Batch"): base
// offset 8, length 4, leader epoch 4, magic 1, crc 4, then under the checksum
// attributes 2, last offset delta 4, base timestamp 8, max timestamp 8, producer
// id 8, producer epoch 2, base sequence 4, record count 4, records.
const (
	batchPrefix  = 12 // base offset and length, which length does not count
	batchHeader  = 61
	crcAt        = 17
	checksumFrom = 21

	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20

	// smallestRecord: length, attributes, time, offset, key, value and header
	// count, each of one byte.
	smallestRecord = 7
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batch is one record batch whose header has been checked.
type batch struct {
	base, last         int64 // offsets, both inclusive
	firstTime, maxTime int64 // ms
	producer           int64
	attributes         uint16
	count              int
	payload            []byte // records, possibly compressed
}

// splitBatch takes the first batch off b. complete is false if b ends inside
// it, as the last batch of an answer may. reason is not empty if the batch is
// corrupt.
func splitBatch(b []byte) (h batch, rest []byte, complete bool, reason string) {
	if len(b) < batchPrefix {
		return h, b, false, ""
	}
	base, length := int64(be.Uint64(b)), int64(be.Uint32(b[8:]))
	if int64(len(b)) > crcAt-1 && b[crcAt-1] != 2 {
		return h, b, true, "its magic is not 2: written by a client older than Kafka 0.11, or damaged"
	}
	if length < batchHeader-batchPrefix {
		return h, b, true, "its length is too small for a header"
	}
	if int64(len(b)) < batchPrefix+length {
		return h, b, false, ""
	}
	b, rest = b[:batchPrefix+length], b[batchPrefix+length:]
	if crc32.Checksum(b[checksumFrom:], castagnoli) != be.Uint32(b[crcAt:]) {
		return h, rest, true, "its checksum does not match"
	}
	delta, count := int32(be.Uint32(b[23:])), int32(be.Uint32(b[57:]))
	h = batch{
		base:       base,
		last:       base + int64(delta),
		attributes: be.Uint16(b[21:]),
		firstTime:  int64(be.Uint64(b[27:])),
		maxTime:    int64(be.Uint64(b[35:])),
		producer:   int64(be.Uint64(b[43:])),
		count:      int(count),
		payload:    b[batchHeader:],
	}
	if base < 0 || delta < 0 || h.last < base || h.last == math.MaxInt64 || count < 0 || int64(count) > int64(delta)+1 {
		return h, rest, true, "its offsets or its record count are impossible"
	}
	return h, rest, true, ""
}

// varint reads a zigzag varint at b[i:]; next is negative if there is none.
func varint(b []byte, i int) (v int64, next int) {
	if uint(i) < uint(len(b)) && b[i] < 0x80 {
		u := uint64(b[i])
		return int64(u>>1) ^ -int64(u&1), i + 1
	}
	return longVarint(b, i)
}

func longVarint(b []byte, i int) (v int64, next int) {
	var u uint64
	for shift := uint(0); shift < 64 && uint(i) < uint(len(b)); shift += 7 {
		c := b[i]
		i++
		u |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return int64(u>>1) ^ -int64(u&1), i
		}
	}
	return 0, -1
}
