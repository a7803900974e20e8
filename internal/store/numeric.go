package store

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// appendNumeric appends a decimal in plain notation as a binary numeric field:
// length, then int16 ndigits, weight, sign and dscale, then base-10000 digits
// aligned at the decimal point (PostgreSQL's numeric_send). Leading and
// trailing zero digits are left out, as the server itself does, so that equal
// values of equal scale are equal bytes.
//
// The text must have passed event.Decoder: it is not checked again.
func appendNumeric(b []byte, text []byte) []byte {
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
