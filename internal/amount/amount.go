// Package amount is exact decimal arithmetic: nothing is ever rounded and
// nothing overflows. Amounts with a coefficient of up to 128 bits, which is what
// the engine's own numbers have, are computed without allocating; larger ones
// go through math/big and come back as soon as they fit again.
package amount

import "math/big"

// Amount is the number ±coefficient / 10^scale. The zero value is 0. Amounts are
// values: only Plus and Minus change their receiver. Equal numbers may differ in their
// scale, so compare them with Cmp or Equal, never with ==.
type Amount struct { //nolint:recvcheck // a value, but for Plus, Minus, Cmp, Same and Is, which spare the hot path copies
	hi, lo uint64
	// big is the coefficient where 128 bits do not hold it; hi and lo are 0
	// then. It is never changed once it is in an Amount.
	big  *big.Int
	form form
}

// form is the scale, and in the lowest bit whether the amount is negative, which a
// zero never is. (The compiler keeps structs of up to four fields in registers.)
type form uint32

func formOf(scale int32, neg bool) form {
	f := form(scale) << 1
	if neg {
		f |= 1
	}
	return f
}

func (a *Amount) scale() int32 { return int32(a.form >> 1) }

func (a *Amount) neg() bool { return a.form&1 != 0 }

// Int is a whole number.
func Int(n int64) Amount {
	if n < 0 {
		return Amount{lo: -uint64(n), form: formOf(0, true)}
	}
	return Amount{lo: uint64(n)}
}

// IsZero reports whether the amount is 0.
func (a Amount) IsZero() bool { return a.hi|a.lo == 0 && a.big == nil }

// Sign is -1, 0 or 1.
func (a Amount) Sign() int {
	switch {
	case a.neg():
		return -1
	case a.IsZero():
		return 0
	}
	return 1
}

// Neg is -a.
func (a Amount) Neg() Amount {
	if !a.IsZero() {
		a.form ^= 1
	}
	return a
}

// String is the amount in plain notation without trailing zeros.
func (a Amount) String() string { return string(a.AppendTo(nil)) }
