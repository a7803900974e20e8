package exchange

import (
	"fmt"
	"math/big"
	"math/bits"
	"strings"
)

// decimal is a signed number coef / 10^scale with a 128-bit coefficient. It
// follows rust_decimal 1.14, which the engine computes with, in the one thing
// that shows on the wire: which scale a result has. A sum keeps the larger
// scale, except that adding a zero leaves the other operand as it is; a product
// has the sum of the scales, except that a zero factor gives a plain 0.
//
// The zero value is 0. Exceeding 128 bits panics: no configuration that
// Validate accepts comes near it.
type decimal struct {
	hi, lo uint64
	scale  uint8
	neg    bool
}

var pow10 = func() (p [20]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// newDecimal returns coef / 10^scale.
func newDecimal(coef int64, scale uint8) decimal {
	if coef < 0 {
		return decimal{lo: uint64(-coef), scale: scale, neg: true}
	}
	return decimal{lo: uint64(coef), scale: scale}
}

// parseDecimal reads plain notation, keeping the scale as written.
func parseDecimal(s string) (decimal, error) {
	digits, neg := strings.CutPrefix(s, "-")
	whole, fraction, dotted := strings.Cut(digits, ".")
	if whole == "" || (dotted && fraction == "") || len(whole)+len(fraction) > 29 || len(fraction) > 28 {
		return decimal{}, fmt.Errorf("%q is not a plain decimal of at most 29 digits", s)
	}
	d := decimal{scale: uint8(len(fraction)), neg: neg}
	for _, c := range []byte(whole + fraction) {
		if c < '0' || c > '9' {
			return decimal{}, fmt.Errorf("%q is not a plain decimal of at most 29 digits", s)
		}
		d.hi, d.lo = mulSmall(d.hi, d.lo, 10)
		var carry uint64
		d.lo, carry = bits.Add64(d.lo, uint64(c-'0'), 0)
		d.hi += carry
	}
	return d, nil
}

// mulSmall multiplies a 128-bit number by a 64-bit one.
func mulSmall(hi, lo, by uint64) (uint64, uint64) {
	over, high := bits.Mul64(hi, by)
	carry, low := bits.Mul64(lo, by)
	high, c := bits.Add64(high, carry, 0)
	if over != 0 || c != 0 {
		panic("exchange: an amount exceeds 128 bits")
	}
	return high, low
}

// scaledUp writes the same number with a scale that is at least as large.
func (d decimal) scaledUp(scale uint8) decimal {
	for d.scale < scale {
		step := min(scale-d.scale, 19)
		d.hi, d.lo = mulSmall(d.hi, d.lo, pow10[step])
		d.scale += step
	}
	return d
}

func (d decimal) isZero() bool { return d.hi == 0 && d.lo == 0 }

func (d decimal) negated() decimal {
	d.neg = !d.neg && !d.isZero()
	return d
}

// positive is max(d, 0), which is what a fee charges (wire 0.9).
func (d decimal) positive() decimal {
	if d.neg {
		return decimal{}
	}
	return d
}

func compareCoef(a, b decimal) int {
	switch {
	case a.hi != b.hi && a.hi > b.hi, a.hi == b.hi && a.lo > b.lo:
		return 1
	case a.hi == b.hi && a.lo == b.lo:
		return 0
	}
	return -1
}

func (d decimal) compare(other decimal) int {
	if d.scale != other.scale {
		scale := max(d.scale, other.scale)
		d, other = d.scaledUp(scale), other.scaledUp(scale)
	}
	switch {
	case d.isZero() && other.isZero():
		return 0
	case d.neg && !other.neg:
		return -1
	case other.neg && !d.neg:
		return 1
	case d.neg:
		return compareCoef(other, d)
	}
	return compareCoef(d, other)
}

func (d decimal) less(other decimal) bool { return d.compare(other) < 0 }

func (d decimal) plus(other decimal) decimal {
	if d.isZero() {
		return other
	}
	if other.isZero() {
		return d
	}
	if d.scale != other.scale {
		scale := max(d.scale, other.scale)
		d, other = d.scaledUp(scale), other.scaledUp(scale)
	}
	if d.neg == other.neg {
		var carry uint64
		d.lo, carry = bits.Add64(d.lo, other.lo, 0)
		d.hi, carry = bits.Add64(d.hi, other.hi, carry)
		if carry != 0 {
			panic("exchange: an amount exceeds 128 bits")
		}
		return d
	}
	if compareCoef(d, other) < 0 {
		d, other = other, d
	}
	var borrow uint64
	d.lo, borrow = bits.Sub64(d.lo, other.lo, 0)
	d.hi, _ = bits.Sub64(d.hi, other.hi, borrow)
	if d.isZero() {
		d.neg = false
	}
	return d
}

func (d decimal) minus(other decimal) decimal { return d.plus(other.negated()) }

func (d decimal) times(other decimal) decimal {
	if d.isZero() || other.isZero() {
		return decimal{}
	}
	if d.hi != 0 {
		d, other = other, d
	}
	if d.hi != 0 {
		panic("exchange: an amount exceeds 128 bits")
	}
	hi, lo := mulSmall(other.hi, other.lo, d.lo)
	return decimal{hi: hi, lo: lo, scale: d.scale + other.scale, neg: d.neg != other.neg}
}

// truncated rounds toward zero to at most scale decimals. A zero gets exactly
// that many, and a number that has fewer keeps them, as in rust_decimal's
// round_dp: "0" becomes "0.00000000" where "1.5" stays.
func (d decimal) truncated(scale uint8) decimal {
	if d.isZero() {
		return decimal{scale: scale}
	}
	for d.scale > scale {
		step := min(d.scale-scale, 19)
		high, rest := bits.Div64(0, d.hi, pow10[step])
		d.hi = high
		d.lo, _ = bits.Div64(rest, d.lo, pow10[step])
		d.scale -= step
	}
	if d.isZero() {
		d.neg = false
	}
	return d
}

// quotient is d / by, truncated to scale decimals. Both are positive. The only
// division of the engine is the rare last cut of a market bid (wire 3), so
// speed does not matter.
func (d decimal) quotient(by decimal, scale uint8) decimal {
	common := max(d.scale, by.scale)
	dividend, divisor := d.scaledUp(common).big(), by.scaledUp(common).big()
	dividend.Mul(dividend, new(big.Int).SetUint64(pow10[scale]))
	dividend.Quo(dividend, divisor)
	low := new(big.Int).And(dividend, new(big.Int).SetUint64(^uint64(0)))
	return decimal{hi: new(big.Int).Rsh(dividend, 64).Uint64(), lo: low.Uint64(), scale: scale}
}

func (d decimal) big() *big.Int {
	n := new(big.Int).SetUint64(d.hi)
	n.Lsh(n, 64)
	return n.Or(n, new(big.Int).SetUint64(d.lo))
}

// stripped drops trailing zeros behind the point.
func (d decimal) stripped() decimal {
	if d.isZero() {
		return decimal{}
	}
	for d.scale > 0 {
		high, rest := bits.Div64(0, d.hi, 10)
		low, rest := bits.Div64(rest, d.lo, 10)
		if rest != 0 {
			break
		}
		d.hi, d.lo, d.scale = high, low, d.scale-1
	}
	return d
}

// appendTo writes plain notation with all of the scale's digits.
func (d decimal) appendTo(b []byte) []byte {
	var text [42]byte
	at := len(text)
	hi, lo := d.hi, d.lo
	for written := uint8(0); hi != 0 || lo != 0 || written <= d.scale; written++ {
		if written == d.scale && d.scale > 0 {
			at--
			text[at] = '.'
		}
		var digit uint64
		if hi == 0 {
			digit, lo = lo%10, lo/10
		} else {
			hi, digit = hi/10, hi%10
			lo, digit = bits.Div64(digit, lo, 10)
		}
		at--
		text[at] = byte('0' + digit)
	}
	if d.neg {
		at--
		text[at] = '-'
	}
	return append(b, text[at:]...)
}

func (d decimal) String() string { return string(d.appendTo(nil)) }
