package amount

import (
	"encoding/binary"
	"errors"
	"math/big"
	"math/bits"
)

// AppendTo appends the amount in plain notation without trailing zeros behind
// the point.
func (a Amount) AppendTo(out []byte) []byte {
	var buffer [48]byte
	digits := a.appendDigits(buffer[:0])
	scale := int(a.scale())
	for scale > 0 && len(digits) > 1 && digits[len(digits)-1] == '0' {
		digits, scale = digits[:len(digits)-1], scale-1
	}
	if a.IsZero() {
		scale = 0
	}
	return a.appendPlain(out, digits, scale)
}

// AppendScaled appends the amount in plain notation with all decimals of its
// scale, as it was written.
func (a Amount) AppendScaled(out []byte) []byte {
	var buffer [48]byte
	return a.appendPlain(out, a.appendDigits(buffer[:0]), int(a.scale()))
}

func (a Amount) appendPlain(out, digits []byte, scale int) []byte {
	if a.neg() {
		out = append(out, '-')
	}
	whole := len(digits) - scale
	if whole <= 0 {
		out = append(out, '0')
	} else {
		out = append(out, digits[:whole]...)
	}
	if scale == 0 {
		return out
	}
	out = append(out, '.')
	for ; whole < 0; whole++ {
		out = append(out, '0')
	}
	return append(out, digits[whole:]...)
}

// appendDigits appends the coefficient.
func (a Amount) appendDigits(out []byte) []byte {
	if a.big != nil {
		return a.big.Append(out, 10)
	}
	var digits [40]byte
	at := len(digits)
	hi, lo := a.hi, a.lo
	for hi != 0 {
		// Nineteen digits at a time: hi:lo = quotient * 10^19 + rest.
		high := hi / pow10[wordDigits]
		low, rest := bits.Div64(hi%pow10[wordDigits], lo, pow10[wordDigits])
		hi, lo = high, low
		for range wordDigits {
			at--
			digits[at] = byte('0' + rest%10)
			rest /= 10
		}
	}
	for {
		at--
		digits[at] = byte('0' + lo%10)
		if lo /= 10; lo == 0 {
			break
		}
	}
	first := at
	for first < len(digits)-1 && digits[first] == '0' {
		first++
	}
	return append(out, digits[first:]...)
}

// Bits of an encoded amount's first number, below its scale.
const (
	flagNegative = 1 << iota
	flagHigh     // a second word follows
	flagBig      // a length and so many bytes follow instead of words
	flagBits     = iota
)

// maxScale bounds what Decode accepts: two factors of a thousand decimals each
// are the worst that a log can ask for.
const maxScale = 1 << 16

// Append appends the amount in a compact binary form that keeps its scale.
func (a Amount) Append(out []byte) []byte {
	head := uint64(a.scale()) << flagBits
	if a.neg() {
		head |= flagNegative
	}
	switch {
	case a.big != nil:
		out = binary.AppendUvarint(out, head|flagBig)
		b := a.big.Bytes()
		return append(binary.AppendUvarint(out, uint64(len(b))), b...)
	case a.hi != 0:
		out = binary.AppendUvarint(out, head|flagHigh)
		return binary.AppendUvarint(binary.AppendUvarint(out, a.lo), a.hi)
	}
	return binary.AppendUvarint(binary.AppendUvarint(out, head), a.lo)
}

var errEncoding = errors.New("an encoded amount is damaged")

// Decode reads what Append wrote and returns the bytes behind it.
func Decode(in []byte) (a Amount, rest []byte, err error) {
	head, n := binary.Uvarint(in)
	if n <= 0 || head>>flagBits > maxScale {
		return a, nil, errEncoding
	}
	in = in[n:]
	scale, neg := int32(head>>flagBits), head&flagNegative != 0
	if head&flagBig != 0 {
		size, n := binary.Uvarint(in)
		if n <= 0 || size > uint64(len(in)-n) {
			return a, nil, errEncoding
		}
		in = in[n:]
		b := fromBig(new(big.Int).SetBytes(in[:size]), scale, neg)
		if b.big == nil {
			return a, nil, errEncoding
		}
		return b, in[size:], nil
	}
	if a.lo, n = binary.Uvarint(in); n <= 0 {
		return a, nil, errEncoding
	}
	in = in[n:]
	if head&flagHigh != 0 {
		if a.hi, n = binary.Uvarint(in); n <= 0 {
			return a, nil, errEncoding
		}
		in = in[n:]
	}
	if neg && a.IsZero() {
		return a, nil, errEncoding
	}
	a.form = formOf(scale, neg)
	return a, in, nil
}
