package fetch

import (
	"encoding/binary"
	"math"
)

var be = binary.BigEndian

// cursor walks over bytes from outside. After the first read past the end every
// further read gives zero and bad stays set, so that a decoder checks once,
// where it would act on what it has read.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) bytes(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.bad, c.b = true, nil
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) int8() int8 {
	if v := c.bytes(1); v != nil {
		return int8(v[0])
	}
	return 0
}

func (c *cursor) int16() int16 {
	if v := c.bytes(2); v != nil {
		return int16(be.Uint16(v))
	}
	return 0
}

func (c *cursor) int32() int32 {
	if v := c.bytes(4); v != nil {
		return int32(be.Uint32(v))
	}
	return 0
}

func (c *cursor) int64() int64 {
	if v := c.bytes(8); v != nil {
		return int64(be.Uint64(v))
	}
	return 0
}

func (c *cursor) uuid() (id [16]byte) {
	copy(id[:], c.bytes(16))
	return id
}

// uvarint is at most MaxInt32, the most that any length on this wire can be.
func (c *cursor) uvarint() int {
	v, n := binary.Uvarint(c.b)
	if n <= 0 || v > math.MaxInt32 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return int(v)
}

// array is a compact array's length, 0 for null. An element takes at least one
// byte, so a length beyond what is left is malformed, not a reason to loop.
func (c *cursor) array() int {
	n := c.uvarint() - 1
	if n > len(c.b) {
		c.bad, c.b = true, nil
		return 0
	}
	return max(n, 0)
}

// blob is a compact string or compact bytes, nil for null.
func (c *cursor) blob() []byte {
	n := c.uvarint()
	if n == 0 {
		return nil
	}
	return c.bytes(n - 1)
}

// tags skips the tagged fields, none of which this package needs.
func (c *cursor) tags() {
	for n := c.uvarint(); n > 0 && !c.bad; n-- {
		c.uvarint()
		c.bytes(c.uvarint())
	}
}

func appendInt16(b []byte, v int16) []byte { return be.AppendUint16(b, uint16(v)) }
func appendInt32(b []byte, v int32) []byte { return be.AppendUint32(b, uint32(v)) }
func appendInt64(b []byte, v int64) []byte { return be.AppendUint64(b, uint64(v)) }

// appendArray begins a compact array of n elements.
func appendArray(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)+1) }

// appendString appends a compact string.
func appendString(b []byte, s string) []byte { return append(appendArray(b, len(s)), s...) }
