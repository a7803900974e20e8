package event

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// A cursor reads a message in the very layout in which the engine writes it
// today: all keys, in its order, no white space, plain numbers, ASCII. Each of
// its methods takes a key with what stands before it and the value after it. A
// message of any other layout, good or bad, strands the cursor, and the Decoder
// begins again with the scan, which is three times slower and the only judge of
// what is wrong.
type cursor struct {
	src     []byte // nil once it is stranded
	at      int
	scratch []byte // resolved escapes and signatures
}

// strand ends the reading: nothing that follows is taken any more.
func (c *cursor) strand() { c.src, c.at = nil, 0 }

// done reports whether all of the message was read.
func (c *cursor) done() bool { return c.src != nil && c.at == len(c.src) }

// literal takes these bytes.
func (c *cursor) literal(want string) {
	if !c.next(want) {
		c.src, c.at = nil, 0 // strand, which would not be inlined here
	}
}

// next takes these bytes if they come next. It compares by words: keys are short,
// and a third of the time went into calls of the runtime's comparison.
func (c *cursor) next(want string) bool {
	at, n := c.at, len(want)
	if len(c.src)-at < n {
		return false
	}
	b := c.src[at : at+n]
	if n >= 8 {
		if binary.LittleEndian.Uint64(b) != word(want) || binary.LittleEndian.Uint64(b[n-8:]) != word(want[n-8:]) {
			return false
		}
		for i := 8; i+8 < n; i += 8 {
			if binary.LittleEndian.Uint64(b[i:]) != word(want[i:]) {
				return false
			}
		}
	} else {
		for i := range b {
			if b[i] != want[i] {
				return false
			}
		}
	}
	c.at = at + n
	return true
}

// word is binary.LittleEndian.Uint64 of a string; the compiler makes it one load.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// decimal takes an amount in a string: plain, of moderate length, no leading zero
// too many, no negative zero. It is stored as it stands.
func (c *cursor) decimal(key string) Decimal {
	c.literal(key)
	src, i := c.src, c.at
	negative := i < len(src) && src[i] == '-'
	if negative {
		i++
	}
	first := i
	i = digits(src, i)
	whole := i - first
	if whole == 0 || whole > 1 && src[first] == '0' || i >= len(src) {
		c.strand()
		return nil
	}
	if src[i] == '.' {
		point := i
		if i = digits(src, i+1); i == point+1 {
			c.strand()
			return nil
		}
	}
	if i >= len(src) || src[i] != '"' || i-c.at > 64 || negative && isZero(src[first:i]) {
		c.strand()
		return nil
	}
	d := Decimal(src[c.at:i:i])
	c.at = i + 1
	return d
}

// isZero reports whether there are but zeros and a point.
func isZero(b []byte) bool {
	for _, c := range b {
		if c > '0' {
			return false
		}
	}
	return true
}

// text takes a string of printable ASCII, its quotes behind the key. Of escapes
// it knows those of quotes and backslashes, which details are full of.
func (c *cursor) text(key string) Text {
	c.literal(key)
	src, start := c.src, c.at
	i := c.plain(start)
	if i >= len(src) {
		c.strand()
		return nil
	}
	if src[i] == '"' {
		c.at = i + 1
		return Text(src[start:i:i])
	}
	return c.escaped(start, i)
}

// plain returns the position of the first byte from i on that a string cannot
// just contain.
func (c *cursor) plain(i int) int {
	src := c.src
	for i+8 <= len(src) {
		if m := special(binary.LittleEndian.Uint64(src[i:])); m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
		i += 8
	}
	for i < len(src) && src[i] != '"' && src[i] != '\\' && src[i]-' ' < 0x80-' ' {
		i++
	}
	return i
}

// escaped goes on with a string whose first escape is at i.
func (c *cursor) escaped(start, i int) Text {
	src, from := c.src, len(c.scratch)
	for i+1 < len(src) && src[i] == '\\' && (src[i+1] == '"' || src[i+1] == '\\') {
		c.scratch = append(append(c.scratch, src[start:i]...), src[i+1])
		start = i + 2
		i = c.plain(start)
	}
	if i >= len(src) || src[i] != '"' {
		c.strand()
		return nil
	}
	c.scratch = append(c.scratch, src[start:i]...)
	c.at = i + 1
	return Text(c.scratch[from:len(c.scratch):len(c.scratch)])
}

// name takes the name of a market or an asset.
func (c *cursor) name(key string) Text {
	t := c.text(key)
	if len(t) > maxName {
		c.strand()
	}
	return t
}

// integer takes a number without sign, fraction or exponent of at most 18 digits.
func (c *cursor) integer(key string) int64 {
	c.literal(key)
	src, start := c.src, c.at
	i := start
	var n int64
	for i < len(src) && src[i]-'0' <= 9 {
		n = n*10 + int64(src[i]-'0')
		i++
	}
	if i == start || i-start > 18 || src[start] == '0' && i > start+1 {
		c.strand()
		return NoID
	}
	c.at = i
	return n
}

// user takes a user's id.
func (c *cursor) user(key string) int64 {
	n := c.integer(key)
	if n > math.MaxUint32 {
		c.strand()
	}
	return n
}

// time takes seconds since the epoch: ten digits, a point, any number of digits.
func (c *cursor) time(key string) Micros {
	c.literal(key)
	src, i := c.src, c.at
	if i+12 > len(src) || src[i] == '0' || src[i+10] != '.' || src[i+11]-'0' > 9 {
		c.strand()
		return NoTime
	}
	var t Micros
	for _, b := range src[i : i+10] {
		if b -= '0'; b > 9 {
			c.strand()
			return NoTime
		}
		t = t*10 + Micros(b)
	}
	i += 11
	scale := Micros(1_000_000)
	for ; i < len(src) && src[i]-'0' <= 9 && scale > 1; i++ {
		t, scale = t*10+Micros(src[i]-'0'), scale/10
	}
	t *= scale
	if i < len(src) && src[i]-'0' <= 9 {
		if src[i] >= '5' {
			t++
		}
		for i < len(src) && src[i]-'0' <= 9 {
			i++
		}
	}
	if t < minTime || t >= maxTime {
		c.strand()
		return NoTime
	}
	c.at = i
	return t
}

// either takes one of two words and reports whether it is the second.
func (c *cursor) either(key, first, second string) bool {
	c.literal(key)
	if c.next(first) {
		return false
	}
	c.literal(second)
	return true
}

// signature takes an order's signature; nil where it is all zeros.
func (c *cursor) signature(key string) []byte {
	c.literal(key)
	if c.next(noSignature + `"`) {
		return nil
	}
	end := c.at + 2*signatureSize
	if end >= len(c.src) || c.src[end] != '"' {
		c.strand()
		return nil
	}
	start := len(c.scratch)
	for digits := c.src[c.at:end]; len(digits) > 0; digits = digits[2:] {
		high, low := nibble(digits[0]), nibble(digits[1])
		if high > 15 || low > 15 {
			c.strand()
			return nil
		}
		c.scratch = append(c.scratch, high<<4|low)
	}
	c.at = end + 1
	return c.scratch[start:len(c.scratch):len(c.scratch)]
}
