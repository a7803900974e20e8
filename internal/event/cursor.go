package event

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/thaliumx/persistor/internal/swar"
)

// A cursor reads a message in the very layout in which the engine writes it
// today: all keys, in its order, no white space, plain numbers, ASCII. Each of
// its methods takes a key with what stands before it and the value after it. A
// message of any other layout, good or bad, strands the cursor, and the Decoder
// begins again with the scan, which is several times slower and the only judge of
// what is wrong.
//
// Most of the daemon's decoding is here, so each value has two ways. The usual one
// looks at the key and a window behind it by words, and takes the same steps
// whatever the length, since a jump on that is guessed wrong as often as not. What is
// longer, or near the end of the message, goes byte by byte.
type cursor struct {
	src     []byte // nil once it is stranded
	at      int
	scratch []byte // resolved escapes and signatures
}

// strand ends the reading: nothing that follows is taken any more.
func (c *cursor) strand() { c.src, c.at = nil, 0 }

// done reports whether all of the message was read.
func (c *cursor) done() bool { return c.src != nil && c.at == len(c.src) }

// next takes these bytes if they come next.
func (c *cursor) next(want string) bool {
	if n := len(want); len(c.src)-c.at >= n && string(c.src[c.at:c.at+n]) == want {
		c.at += n
		return true
	}
	return false
}

// literal takes these bytes.
func (c *cursor) literal(want string) {
	if !c.next(want) {
		c.strand()
	}
}

// decimal takes an amount in a string: plain, of moderate length, no leading zero
// too many, no negative zero. It is stored as it stands. Its end is looked for by
// itself: the next key can be read from there while the digits are still checked.
func (c *cursor) decimal(key string) Decimal {
	at, n := c.at, len(key)
	if !isKey(n) || len(c.src)-at < n+17 || !begins(c.src[at:at+n+17:at+n+17], key) {
		c.literal(key)
		return c.anyDecimal()
	}
	b := c.src[at+n : at+n+17 : at+n+17]
	low, high := word(b), word(b[8:])
	// All bytes of an amount are at least a minus, the closing quote is not.
	end := bits.TrailingZeros32(gather(below(low, '-')) | gather(below(high, '-'))<<8 | 1<<16)
	sign, zero, several := 0, 0, 0
	if low&0xff == '-' {
		sign = 1
	}
	if b[sign] == '0' {
		zero = 1
	}
	marks := (gather(others(low^swar.Noughts)) | gather(others(high^swar.Noughts))<<8) & (1<<end - 1) &^ uint32(sign)
	whole := bits.TrailingZeros32(marks | 1<<end)
	if whole > 1 {
		several = 1
	}
	point := b[whole]&^('"'^'.') == '"' // or the closing quote; the others are below a minus
	if b[end] != '"' || whole <= sign || whole == end-1 || marks&(marks-1) != 0 || !point || zero&several != 0 {
		c.at = at + n
		return c.anyDecimal()
	}
	c.at = at + n + end + 1
	return Decimal(b[:end:end])
}

// anyDecimal takes an amount of any length whose key was taken.
func (c *cursor) anyDecimal() Decimal {
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
	at, n := c.at, len(key)
	if !isKey(n) || len(c.src)-at < n+17 || !begins(c.src[at:at+n+17:at+n+17], key) {
		c.literal(key)
		return c.anyText()
	}
	b := c.src[at+n : at+n+17 : at+n+17]
	end := bits.TrailingZeros32(gather(special(word(b))) | gather(special(word(b[8:])))<<8 | 1<<16)
	if b[end] != '"' {
		c.at = at + n
		return c.anyText()
	}
	c.at = at + n + end + 1
	return Text(b[:end:end])
}

// anyText takes a string of any length whose key was taken.
func (c *cursor) anyText() Text {
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
		if m := special(word(src[i:])); m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
		i += 8
	}
	for i < len(src) && src[i] != '"' && src[i] != '\\' && src[i]-' ' < 0x80-' ' {
		i++
	}
	return i
}

// escaped goes on with a string whose first escape is at i. It copies by words; what
// of the last one is too much is written over.
func (c *cursor) escaped(start, i int) Text {
	src, from := c.src, len(c.scratch)
	c.scratch = slices.Grow(c.scratch, len(src)-start+8)
	out := c.scratch[from:cap(c.scratch)]
	n := copy(out, src[start:i])
	for i+1 < len(src) && src[i] == '\\' && (src[i+1] == '"' || src[i+1] == '\\') {
		out[n] = src[i+1]
		n, i = n+1, i+2
		for i+8 <= len(src) && n+8 <= len(out) {
			w := word(src[i:])
			binary.LittleEndian.PutUint64(out[n:], w)
			size := bits.TrailingZeros64(special(w)) / 8
			n, i = n+size, i+size
			if size < 8 {
				break
			}
		}
		for i < len(src) && src[i] != '"' && src[i] != '\\' && src[i]-' ' < 0x80-' ' {
			out[n] = src[i]
			n, i = n+1, i+1
		}
	}
	if i >= len(src) || src[i] != '"' {
		c.strand()
		return nil
	}
	c.scratch = c.scratch[:from+n]
	c.at = i + 1
	return Text(out[:n:n])
}

// detail takes a text that is mostly longer than text's window.
func (c *cursor) detail(key string) Text {
	c.literal(key)
	return c.anyText()
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
	at, n := c.at, len(key)
	if !isKey(n) || len(c.src)-at < n+8 || !begins(c.src[at:at+n+8:at+n+8], key) {
		c.literal(key)
		return c.anyInteger()
	}
	x := word(c.src[at+n:at+n+8:at+n+8]) ^ swar.Noughts
	size := bits.TrailingZeros64(others(x)) / 8
	if uint(size-1) > 6 || x&0xff == 0 && size > 1 {
		c.at = at + n
		return c.anyInteger()
	}
	c.at = at + n + size
	return int64(swar.Eight(x << ((8 - size) * 8 & 63)))
}

// anyInteger takes a number whose key was taken.
func (c *cursor) anyInteger() int64 {
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

// number takes an integer and leaves it as it stands.
func (c *cursor) number(key string) Decimal {
	start := c.at + len(key)
	if c.integer(key); c.src == nil {
		return nil
	}
	return Decimal(c.src[start:c.at:c.at])
}

// time takes seconds since the epoch: ten digits, a point, any number of digits.
func (c *cursor) time(key string) Micros {
	at, n := c.at, len(key)
	if !isKey(n) || len(c.src)-at < n+20 || !begins(c.src[at:at+n+20:at+n+20], key) {
		c.literal(key)
		return c.anyTime()
	}
	b := c.src[at+n : at+n+20 : at+n+20]
	// Eight digits, two more with the point, and what there is of a fraction.
	first, next := word(b)^swar.Noughts, word(b[8:])^swar.Noughts
	fraction := next>>24 | uint64(binary.LittleEndian.Uint32(b[16:])^swar.Noughts&math.MaxUint32)<<40
	marks := others(fraction)
	size := bits.TrailingZeros64(marks) / 8
	if others(first)|others(next)&0x8080 != 0 || first&0xff == 0 || next>>16&0xff != '.'^'0' || uint(size-1) > 6 {
		c.at = at + n
		return c.anyTime()
	}
	fraction &= marks&-marks>>7 - 1 // zeros behind the digits
	t := Micros(swar.Eight(first)*100+next&0xff*10+next>>8&0xff)*1_000_000 + Micros((swar.Eight(fraction)+50)/100)
	if t < minTime || t >= maxTime {
		c.strand()
		return NoTime
	}
	c.at = at + n + 11 + size
	return t
}

// anyTime takes seconds since the epoch whose key was taken.
func (c *cursor) anyTime() Micros {
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

// either takes one of two keys, each with its value, and tells which: 0 or 1.
func (c *cursor) either(first, second string) int {
	at, n := c.at, len(first)
	if isKey(n) && len(c.src)-at >= n && begins(c.src[at:at+n:at+n], first) {
		c.at = at + n
		return 0
	}
	c.literal(second)
	return 1
}

// nibbles are the values of hexadecimal digits.
var nibbles = func() (t [256]byte) {
	for c := range t {
		t[c] = nibble(byte(c))
	}
	return t
}()

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
	start, wrong := len(c.scratch), byte(0)
	for digits := c.src[c.at:end]; len(digits) > 1; digits = digits[2:] {
		high, low := nibbles[digits[0]], nibbles[digits[1]]
		wrong |= high | low
		c.scratch = append(c.scratch, high<<4|low)
	}
	if wrong > 15 {
		c.strand()
		return nil
	}
	c.at = end + 1
	return c.scratch[start:len(c.scratch):len(c.scratch)]
}

// isKey tells whether begins can compare keys of this length.
func isKey(n int) bool { return uint(n-8) <= 16 }

// begins reports whether b begins with a key, of 8 to 24 bytes with what stands
// around it. Three words, which may overlap, are all of it: no loop, and no call of
// the runtime's comparison.
func begins(b []byte, key string) bool {
	k, n := []byte(key), len(key)
	return word(b) == word(k) && word(b[n-8:]) == word(k[n-8:]) && (n <= 16 || word(b[8:]) == word(k[8:]))
}

// word is the first eight bytes, the first one lowest.
func word(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// others marks the bytes of a word, less its noughts, that are no digits. Marks
// above one of a byte that is neither a quote nor a point may be wrong.
func others(x uint64) uint64 { return (x + swar.Ones*(0x80-10) | x) & swar.Tops }

// below marks the bytes of a word that are less than c, of ASCII; marks above the
// lowest may be wrong.
func below(w uint64, c uint64) uint64 { return (w - swar.Ones*c) &^ w & swar.Tops }

// gather makes a number of eight bits of a word's marks.
func gather(marks uint64) uint32 { return uint32(marks * 0x0002040810204081 >> 56) }
