// Package amount is exact decimal arithmetic: nothing is ever rounded and
// nothing overflows. Amounts with a coefficient of up to 128 bits, which is what
// the engine's own numbers have, are computed without allocating; larger ones
// go through math/big and come back as soon as they fit again.
package amount

import (
	"fmt"
	"math/big"
	"math/bits"
)

// Amount is the number ±coefficient / 10^scale. The zero value is 0. Amounts are
// values: only Plus and Minus change their receiver. Equal numbers may differ in their
// scale, so compare them with Cmp or Equal, never with ==.
type Amount struct { //nolint:recvcheck // a value, but for Plus, Minus, Same and Is, which spare the hot path copies
	hi, lo uint64
	// big is the coefficient where 128 bits do not hold it; hi and lo are 0
	// then. It is never changed once it is in an Amount.
	big   *big.Int
	scale int32
	neg   bool // never of a zero
}

// Int is a whole number.
func Int(n int64) Amount {
	if n < 0 {
		return Amount{lo: -uint64(n), neg: true}
	}
	return Amount{lo: uint64(n)}
}

// Parse reads plain notation, -?[0-9]+(\.[0-9]+)?, and keeps the scale as
// written. Empty text and everything else is an error.
func Parse(text []byte) (Amount, error) {
	a, ok := parse(text)
	if !ok {
		return Amount{}, fmt.Errorf("%q is no decimal in plain notation", text)
	}
	return a, nil
}

// Of is Parse for text that is known to be plain, such as event.Decimal; it is
// 0 for anything else, nil included.
func Of(text []byte) Amount {
	a, _ := parse(text)
	return a
}

// wordDigits is how many decimal digits a uint64 holds whatever they are.
const wordDigits = 19

func parse(text []byte) (a Amount, ok bool) {
	i := 0
	if len(text) > 0 && text[0] == '-' {
		a.neg, i = true, 1
	}
	if len(text)-i > wordDigits {
		return parseLong(text, i, a.neg)
	}
	if a.lo, a.scale, ok = parseShort(text[i:]); !ok {
		return Amount{}, false
	}
	a.neg = a.neg && a.lo != 0
	return a, true
}

// parseShort reads what fits into one word and has no sign.
func parseShort(text []byte) (n uint64, scale int32, ok bool) {
	k := 0
	for ; k < len(text); k++ {
		c := text[k] - '0'
		if c > 9 {
			break
		}
		n = n*10 + uint64(c)
	}
	if k == len(text) || k == 0 {
		return n, 0, k > 0
	}
	fraction := text[k+1:]
	if text[k] != '.' || len(fraction) == 0 {
		return 0, 0, false
	}
	for _, c := range fraction {
		if c -= '0'; c > 9 {
			return 0, 0, false
		}
		n = n*10 + uint64(c)
	}
	return n, int32(len(fraction)), true
}

// parseLong reads what may not fit into one word, beginning behind the sign.
func parseLong(text []byte, i int, neg bool) (a Amount, ok bool) {
	a.neg = neg
	point := -1
	for k := i; k < len(text); k++ {
		c := text[k] - '0'
		if c > 9 {
			if text[k] != '.' || point >= 0 || k == i {
				return Amount{}, false
			}
			point = k
			continue
		}
		over, high := bits.Mul64(a.hi, 10)
		carry, low := bits.Mul64(a.lo, 10)
		low, c1 := bits.Add64(low, uint64(c), 0)
		high, c2 := bits.Add64(high, carry, c1)
		if over != 0 || c2 != 0 {
			return parseBig(text, i, neg)
		}
		a.hi, a.lo = high, low
	}
	if point == len(text)-1 {
		return Amount{}, false
	}
	if point >= 0 {
		a.scale = int32(len(text) - 1 - point)
	}
	a.neg = a.neg && !a.IsZero()
	return a, true
}

// parseBig reads what does not fit into 128 bits.
func parseBig(text []byte, i int, neg bool) (Amount, bool) {
	digits := make([]byte, 0, len(text))
	scale, point := 0, false
	for k := i; k < len(text); k++ {
		switch c := text[k]; {
		case c == '.' && !point && k > i && k < len(text)-1:
			point, scale = true, len(text)-1-k
		case c >= '0' && c <= '9':
			digits = append(digits, c)
		default:
			return Amount{}, false
		}
	}
	n, ok := new(big.Int).SetString(string(digits), 10)
	if !ok {
		return Amount{}, false
	}
	return fromBig(n, int32(scale), neg), true
}

// IsZero reports whether the amount is 0.
func (a Amount) IsZero() bool { return a.hi|a.lo == 0 && a.big == nil }

// Sign is -1, 0 or 1.
func (a Amount) Sign() int {
	switch {
	case a.IsZero():
		return 0
	case a.neg:
		return -1
	}
	return 1
}

// Neg is -a.
func (a Amount) Neg() Amount {
	a.neg = !a.neg && !a.IsZero()
	return a
}

// Max0 is the greater of a and 0.
func (a Amount) Max0() Amount {
	if a.neg {
		return Amount{}
	}
	return a
}

// String is the amount in plain notation without trailing zeros.
func (a Amount) String() string { return string(a.AppendTo(nil)) }
