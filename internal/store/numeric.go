package store

import "encoding/binary"

// appendNumeric appends a decimal in plain notation as a binary numeric field:
// length, then int16 ndigits, weight, sign and dscale, then base-10000 digits
// aligned at the decimal point (PostgreSQL's numeric_send). Leading and
// trailing zero digits are left out, as the server itself does, so that equal
// values of equal scale are equal bytes.
//
// The text must have passed event.Decoder: it is not checked again.
func appendNumeric(b []byte, text []byte) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) // length and header, filled in below
	sign := uint16(0)
	if text[0] == '-' {
		sign, text = 0x4000, text[1:]
	}
	point := len(text)
	for i, c := range text {
		if c == '.' {
			point = i
			break
		}
	}
	scale := 0
	if point < len(text) {
		scale = len(text) - point - 1
	}

	ndigits, weight, first := 0, 0, true
	group := func(g uint16, w int) {
		if first {
			if g == 0 {
				return
			}
			first, weight = false, w
		}
		b = binary.BigEndian.AppendUint16(b, g)
		ndigits++
	}
	// The whole part: its first group holds what is left over of four.
	w := (point+3)/4 - 1
	for i := 0; i < point; {
		n := (point-i-1)%4 + 1
		g := uint16(0)
		for ; n > 0; n-- {
			g = g*10 + uint16(text[i]-'0')
			i++
		}
		group(g, w)
		w--
	}
	// The fraction: its last group is filled up with zeros.
	for i := point + 1; i < len(text); i += 4 {
		g := uint16(0)
		for j := i; j < i+4; j++ {
			g *= 10
			if j < len(text) {
				g += uint16(text[j] - '0')
			}
		}
		group(g, w)
		w--
	}
	for ndigits > 0 && b[len(b)-1] == 0 && b[len(b)-2] == 0 {
		b = b[:len(b)-2]
		ndigits--
	}
	if ndigits == 0 {
		weight, sign = 0, 0
	}
	h := b[at:]
	binary.BigEndian.PutUint32(h, uint32(len(h)-4))
	binary.BigEndian.PutUint16(h[4:], uint16(ndigits))
	binary.BigEndian.PutUint16(h[6:], uint16(int16(weight)))
	binary.BigEndian.PutUint16(h[8:], sign)
	binary.BigEndian.PutUint16(h[10:], uint16(scale))
	return b
}
