package event

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/swar"
)

// A cursor reads a message in the very layout in which the engine writes it
// today: all keys, in its order, no white space, plain numbers, ASCII. Each of
// its methods takes what it is named for at a position and returns the position
// behind it, or the message's end where that is not what stands there: no message
// that goes astray so is complete. One of any other layout, good or bad, is read
// again with the scan, which is several times slower and the only judge of what is
// wrong.
//
// Most of the daemon's decoding is here, and each value waits for the position
// behind the one before: so positions are handed on and not kept in memory. Each
// value has two ways. The usual one looks at a window by words, and takes the same
// steps whatever the length, since a jump on that is guessed wrong as often as not.
// What is longer, or near the end of the message, goes byte by byte.
type cursor struct {
	src     []byte
	scratch []byte // resolved escapes and signatures
	reckons bool   // decimals come with their values
}

// astray is the position of a message that is not as it should be.
func (c *cursor) astray() int { return len(c.src) }

// ends reports whether these bytes, which are all that is left, come next.
func (c *cursor) ends(at int, want string) bool { return string(c.src[at:]) == want }

// key takes a key with what stands around it, of 8 to 16 bytes, as two words, which
// may overlap. It becomes a part of its caller, so that these are not put together
// anew each time.
func (c *cursor) key(at int, k string) int {
	end := at + len(k)
	if s := c.src; end <= len(s) && word(s[at:end]) == word([]byte(k)) && word(s[end-8:end]) == word([]byte(k)[len(k)-8:]) {
		return end
	}
	return c.astray()
}

// is reports whether these bytes come next.
func (c *cursor) is(at int, want string) bool {
	return len(c.src)-at >= len(want) && string(c.src[at:at+len(want)]) == want
}

// literal takes these bytes.
func (c *cursor) literal(at int, want string) int {
	if !c.is(at, want) {
		return c.astray()
	}
	return at + len(want)
}

// decimal takes an amount and the quote behind it: plain, of moderate length, no
// leading zero too many, no negative zero. It is stored as it stands. The first of its
// bytes that is no digit ends its whole part, and the next one all of it.
func (c *cursor) decimal(at int) (Decimal, int) {
	if len(c.src)-at < 16 {
		return c.anyDecimal(at)
	}
	b := c.src[at : at+16 : at+16]
	low, high := word(b)^swar.Noughts, word(b[8:])^swar.Noughts
	// Where nothing is marked it is the last byte, which is looked at below.
	marks := others(low)
	whole, rest := lowest(marks), marks&(marks-1)
	if whole == 0 || low&0xff == 0 && whole > 1 {
		return c.anyDecimal(at)
	}
	if b[whole] == '"' {
		d := Decimal{Text: b[:whole:whole]}
		if c.reckons {
			d.value = amount.NewShort(swar.Eight(low<<((8-whole)*8&63)), 0)
		}
		return d, at + whole + 1
	}
	end := lowest(rest)
	if rest == 0 {
		end = 8 + lowest(others(high))
	}
	scale := end - whole - 1
	if b[whole] != '.' || scale < 1 || b[end] != '"' {
		return c.anyDecimal(at)
	}
	d := Decimal{Text: b[:end:end]}
	if c.reckons && scale <= 8 {
		n := swar.Eight(low<<((8-whole)*8&63)) * pow10[scale]
		fraction := low>>((whole+1)*8) | high<<((7-whole)*8&63)
		d.value = amount.NewShort(n+swar.Eight(fraction<<((8-scale)*8&63)), scale)
	}
	return d, at + end + 1
}

var pow10 = [9]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}

// anyDecimal is decimal for any length.
func (c *cursor) anyDecimal(at int) (Decimal, int) {
	src, i := c.src, at
	negative := i < len(src) && src[i] == '-'
	if negative {
		i++
	}
	first := i
	i = digits(src, i)
	whole := i - first
	if whole == 0 || whole > 1 && src[first] == '0' || i >= len(src) {
		return Decimal{}, c.astray()
	}
	if src[i] == '.' {
		point := i
		if i = digits(src, i+1); i == point+1 {
			return Decimal{}, c.astray()
		}
	}
	if i >= len(src) || src[i] != '"' || i-at > 64 || negative && isZero(src[first:i]) {
		return Decimal{}, c.astray()
	}
	return Decimal{Text: src[at:i:i]}, i + 1
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

// text takes printable ASCII and the quote behind it. Of escapes it knows those of
// quotes and backslashes, which details are full of.
func (c *cursor) text(at int) (Text, int) {
	if len(c.src)-at < 17 {
		return c.anyText(at)
	}
	b := c.src[at : at+17 : at+17]
	end := bits.TrailingZeros32(gather(special(word(b))) | gather(special(word(b[8:])))<<8 | 1<<16)
	if b[end] != '"' {
		return c.anyText(at)
	}
	return Text(b[:end:end]), at + end + 1
}

// anyText is text for any length.
func (c *cursor) anyText(at int) (Text, int) {
	i := c.plain(at)
	if i >= len(c.src) {
		return nil, c.astray()
	}
	if c.src[i] == '"' {
		return Text(c.src[at:i:i]), i + 1
	}
	return c.escaped(at, i)
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

// escaped goes on with a text whose first escape is at i. It copies by words; what
// of the last one is too much is written over.
func (c *cursor) escaped(start, i int) (Text, int) {
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
		return nil, c.astray()
	}
	c.scratch = c.scratch[:from+n]
	return Text(out[:n:n]), i + 1
}

// name takes the name of a market or an asset, mostly of at most eight bytes, and the
// quote behind it.
func (c *cursor) name(at int) (Text, int) {
	if len(c.src)-at >= 9 {
		b := c.src[at : at+9 : at+9]
		if end := bits.TrailingZeros64(special(word(b))) / 8; b[end] == '"' {
			return Text(b[:end:end]), at + end + 1
		}
	}
	t, at := c.anyText(at)
	if len(t) > maxName {
		return nil, c.astray()
	}
	return t, at
}

// integer takes a number without sign, fraction or exponent of at most 18 digits.
func (c *cursor) integer(at int) (int64, int) {
	if len(c.src)-at < 8 {
		return c.anyInteger(at)
	}
	x := word(c.src[at:at+8:at+8]) ^ swar.Noughts
	size := bits.TrailingZeros64(others(x)) / 8
	if uint(size-1) > 6 || x&0xff == 0 && size > 1 {
		return c.anyInteger(at)
	}
	return int64(swar.Eight(x << ((8 - size) * 8 & 63))), at + size
}

// anyInteger is integer for any length.
func (c *cursor) anyInteger(at int) (int64, int) {
	src, i := c.src, at
	var n int64
	for i < len(src) && src[i]-'0' <= 9 {
		n = n*10 + int64(src[i]-'0')
		i++
	}
	if i == at || i-at > 18 || src[at] == '0' && i > at+1 {
		return NoID, c.astray()
	}
	return n, i
}

// user takes a user's id.
func (c *cursor) user(at int) (int64, int) {
	n, at := c.integer(at)
	if n > math.MaxUint32 {
		return NoID, c.astray()
	}
	return n, at
}

// number takes an integer and leaves it as it stands.
func (c *cursor) number(at int) (Decimal, int) {
	_, end := c.integer(at)
	if end == c.astray() {
		return Decimal{}, end
	}
	return Decimal{Text: c.src[at:end:end]}, end
}

// time takes seconds since the epoch: ten digits, a point, any number of digits.
func (c *cursor) time(at int) (Micros, int) {
	if len(c.src)-at < 20 {
		return c.anyTime(at)
	}
	b := c.src[at : at+20 : at+20]
	// Eight digits, two more with the point, and what there is of a fraction.
	first, next := word(b)^swar.Noughts, word(b[8:])^swar.Noughts
	fraction := next>>24 | uint64(binary.LittleEndian.Uint32(b[16:])^swar.Noughts&math.MaxUint32)<<40
	marks := others(fraction)
	size := bits.TrailingZeros64(marks) / 8
	if others(first)|others(next)&0x8080 != 0 || first&0xff == 0 || next>>16&0xff != '.'^'0' || uint(size-1) > 6 {
		return c.anyTime(at)
	}
	fraction &= marks&-marks>>7 - 1 // zeros behind the digits
	t := Micros(swar.Eight(first)*100+next&0xff*10+next>>8&0xff)*1_000_000 + Micros((swar.Eight(fraction)+50)/100)
	if t < minTime || t >= maxTime {
		return NoTime, c.astray()
	}
	return t, at + 11 + size
}

// anyTime is time for any length.
func (c *cursor) anyTime(at int) (Micros, int) {
	src, i := c.src, at
	if i+12 > len(src) || src[i] == '0' || src[i+10] != '.' || src[i+11]-'0' > 9 {
		return NoTime, c.astray()
	}
	var t Micros
	for _, b := range src[i : i+10] {
		if b -= '0'; b > 9 {
			return NoTime, c.astray()
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
		return NoTime, c.astray()
	}
	return t, i
}

// either takes one of two keys, each with its value, and tells which: 0 or 1. The
// first has 8 to 24 bytes.
func (c *cursor) either(at int, first, second string) (int, int) {
	if n := len(first); len(c.src)-at >= n && begins(c.src[at:at+n:at+n], first) {
		return 0, at + n
	}
	return 1, c.literal(at, second)
}

// nibbles are the values of hexadecimal digits.
var nibbles = func() (t [256]byte) {
	for c := range t {
		t[c] = nibble(byte(c))
	}
	return t
}()

// signature takes an order's signature and the quote behind it; nil where it is all
// zeros.
func (c *cursor) signature(at int) ([]byte, int) {
	if c.is(at, noSignature+`"`) {
		return nil, at + len(noSignature) + 1
	}
	end := at + 2*signatureSize
	if end >= len(c.src) || c.src[end] != '"' {
		return nil, c.astray()
	}
	start, wrong := len(c.scratch), byte(0)
	for digits := c.src[at:end]; len(digits) > 1; digits = digits[2:] {
		high, low := nibbles[digits[0]], nibbles[digits[1]]
		wrong |= high | low
		c.scratch = append(c.scratch, high<<4|low)
	}
	if wrong > 15 {
		return nil, c.astray()
	}
	return c.scratch[start:len(c.scratch):len(c.scratch)], end + 1
}

// begins reports whether b begins with a key of 8 to 24 bytes. Three words, which may
// overlap, are all of it: no loop, and no call of the runtime's comparison.
func begins(b []byte, key string) bool {
	k, n := []byte(key), len(key)
	return word(b) == word(k) && word(b[n-8:]) == word(k[n-8:]) && (n <= 16 || word(b[8:]) == word(k[8:]))
}

// word is the first eight bytes, the first one lowest.
func word(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// others marks the bytes of a word, less its noughts, that are no digits. Marks
// above one of a byte that is neither a quote nor a point may be wrong.
func others(x uint64) uint64 { return (x + swar.Ones*(0x80-10) | x) & swar.Tops }

// lowest is the place of the first byte that is marked, the last place if none is.
func lowest(marks uint64) int { return bits.TrailingZeros64(marks|1<<63) / 8 }

// gather makes a number of eight bits of a word's marks.
func gather(marks uint64) uint32 { return uint32(marks * 0x0002040810204081 >> 56) }
