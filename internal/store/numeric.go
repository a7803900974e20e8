package store

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/thaliumx/persistor/internal/swar"
)

// appendNumeric appends a decimal in plain notation as a binary numeric field:
// length, then int16 ndigits, weight, sign and dscale, then base-10000 digits
// aligned at the decimal point (PostgreSQL's numeric_send). Leading and
// trailing zero digits are left out, as the server itself does, so that equal
// values of equal scale are equal bytes. nil is NULL.
//
// The text must have passed event.Decoder: it is not checked again.
func appendNumeric(b []byte, text []byte) []byte {
	if len(text) == 1 {
		return appendDigit(b, text[0]-'0')
	}
	if text == nil {
		return append(b, 0xff, 0xff, 0xff, 0xff)
	}
	sign, digits := uint64(0), text
	if text[0] == '-' {
		sign, digits = 0x4000, text[1:]
	}
	whole, fraction, scale, ok := align(digits)
	if !ok {
		return appendLong(b, text)
	}
	v, weight, n := groups(whole)<<32|groups(fraction), 1, 4
	if v == 0 {
		sign, weight, n = 0, 0, 0
	} else {
		leading := bits.LeadingZeros64(v) / 16
		v <<= 16 * leading
		weight -= leading
		n -= bits.TrailingZeros64(v) / 16
	}
	at := len(b)
	if cap(b)-at < 4+8+8 {
		b = slices.Grow(b, 4+8+8)
	}
	out := b[at : at+4+8+8 : at+4+8+8]
	binary.BigEndian.PutUint32(out, uint32(8+2*n))
	binary.BigEndian.PutUint64(out[4:], uint64(n)<<48|uint64(uint16(int16(weight)))<<32|sign<<16|uint64(scale))
	binary.BigEndian.PutUint64(out[12:], v)
	return b[:at+4+8+2*n]
}

// appendDigit is appendNumeric of what every other amount is, mostly a zero.
func appendDigit(b []byte, digit byte) []byte {
	if digit == 0 {
		return append(b, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	return append(b, 0, 0, 0, 10, 0, 1, 0, 0, 0, 0, 0, 0, 0, digit)
}

// align divides an amount at its point into two words of digits' values, the first
// digit lowest, filled up with zeros on their outer sides. ok is false where there
// are too many digits for that.
func align(text []byte) (whole, fraction uint64, scale int, ok bool) {
	n := len(text)
	var first, last uint64 // the first and the last eight bytes, or all of fewer
	switch {
	case n >= 8:
		first = binary.LittleEndian.Uint64(text) ^ swar.Noughts
		last = binary.LittleEndian.Uint64(text[n-8:]) ^ swar.Noughts
	case n >= 4:
		begin, end := binary.LittleEndian.Uint32(text), binary.LittleEndian.Uint32(text[n-4:])
		first = (uint64(begin) | uint64(end)<<(8*n-32)) ^ swar.Noughts>>(64-8*n)
		last = first << (64 - 8*n)
	default:
		for i, c := range text {
			first |= uint64(c^'0') << (8 * i)
		}
		last = first << (64 - 8*n)
	}
	point := min(swar.Point(first), n)
	if scale = max(n-point-1, 0); scale > 8 || point == 8 && n > 8 {
		return 0, 0, 0, false
	}
	return first << ((8 - point) * 8 & 63), last >> (64 - 8*scale), scale, true
}

// groups makes of eight digits' values two of base 10000, the first one higher.
func groups(x uint64) uint64 {
	x = x*10 + x>>8 // each other byte is two digits now
	x &= 0x00ff00ff_00ff00ff
	x = x*100 + x>>16 // and each other two bytes are four
	return x&0xffff<<16 | x>>32&0xffff
}

// appendLong is appendNumeric for any number of digits.
func appendLong(b []byte, text []byte) []byte {
	const header = 4 + 8
	at := len(b)
	// A group for each four digits, and one more where either side does not come out even.
	b = slices.Grow(b, header+2*(len(text)/4+2))
	out := b[at:cap(b)]
	sign := uint16(0)
	if text[0] == '-' {
		sign, text = 0x4000, text[1:]
	}
	point := bytes.IndexByte(text, '.')
	scale := len(text) - point - 1
	if point < 0 {
		point, scale = len(text), 0
	}

	end := header
	weight := (point+3)/4 - 1 // of the first group that is not 0
	group := func(g uint16) {
		if g == 0 && end == header {
			weight--
			return
		}
		binary.BigEndian.PutUint16(out[end:], g)
		end += 2
	}
	i := point % 4
	if i > 0 {
		group(few(text[:i]))
	}
	for ; i < point; i += 4 {
		group(four(text[i:]))
	}
	for i++; i+4 <= len(text); i += 4 {
		group(four(text[i:]))
	}
	if i < len(text) { // filled up with zeros
		group(few(text[i:]) * [...]uint16{0, 1000, 100, 10}[len(text)-i])
	}
	for end > header && out[end-1] == 0 && out[end-2] == 0 {
		end -= 2
	}
	if end == header {
		weight, sign = 0, 0
	}
	binary.BigEndian.PutUint32(out, uint32(end-4))
	binary.BigEndian.PutUint16(out[4:], uint16((end-header)/2))
	binary.BigEndian.PutUint16(out[6:], uint16(int16(weight)))
	binary.BigEndian.PutUint16(out[8:], sign)
	binary.BigEndian.PutUint16(out[10:], uint16(scale))
	return b[:at+end]
}

// four reads four digits.
func four(text []byte) uint16 {
	v := binary.LittleEndian.Uint32(text) & 0x0f0f0f0f
	v = v*10 + v>>8 // the first and the third byte are pairs of digits now
	return uint16(v&0xff*100 + v>>16&0xff)
}

// few reads up to three digits.
func few(text []byte) (g uint16) {
	for _, c := range text {
		g = g*10 + uint16(c-'0')
	}
	return g
}
