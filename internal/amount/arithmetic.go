package amount

import (
	"cmp"
	"math/big"
	"math/bits"
)

var pow10 = func() (p [wordDigits + 1]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// scaledUp writes the same coefficient with n decimals more. It is not ok where
// 128 bits do not hold it.
func (a Amount) scaledUp(n int32) (_ Amount, ok bool) {
	if a.big != nil {
		return a, false
	}
	a.form += form(n) << 1
	if a.hi == 0 && n <= wordDigits {
		a.hi, a.lo = bits.Mul64(a.lo, pow10[n])
		return a, true
	}
	for n > 0 {
		step := min(n, wordDigits)
		n -= step
		by := pow10[step]
		over, high := bits.Mul64(a.hi, by)
		carry, low := bits.Mul64(a.lo, by)
		high, c := bits.Add64(high, carry, 0)
		if over|c != 0 {
			return a, false
		}
		a.hi, a.lo = high, low
	}
	return a, true
}

// aligned gives both amounts the greater of their scales. It is not ok where
// one of them does not fit into 128 bits.
func aligned(a, b Amount) (_, _ Amount, ok bool) {
	ok = true
	switch d := a.scale() - b.scale(); {
	case d < 0:
		a, ok = a.scaledUp(-d)
	case d > 0:
		b, ok = b.scaledUp(d)
	}
	return a, b, ok && a.big == nil && b.big == nil
}

// Add is a + b, with the greater of their scales, or that of one where the other
// is 0.
func (a Amount) Add(b Amount) Amount {
	a.Plus(&b)
	return a
}

// Plus makes a into a + b, as Add does.
func (a *Amount) Plus(b *Amount) { a.plus(b, b.form) }

// Minus makes a into a - b, as Sub does.
func (a *Amount) Minus(b *Amount) { a.plus(b, b.form^1) }

// plus adds b with the sign of a form.
func (a *Amount) plus(b *Amount, sign form) {
	if d := a.form>>1 - b.form>>1; d <= wordDigits && b.hi == 0 && a.big == nil && b.big == nil {
		if hi, lo := bits.Mul64(b.lo, pow10[d]); a.add(hi, lo, sign) {
			return
		}
	}
	a.plusUnequal(b, sign)
}

// add adds a coefficient of the same scale, with the sign of a form. Where the sum
// does not fit it is not ok, and a is unchanged.
func (a *Amount) add(hi, lo uint64, sign form) (ok bool) {
	if (a.form^sign)&1 == 0 {
		low, c := bits.Add64(a.lo, lo, 0)
		high, c := bits.Add64(a.hi, hi, c)
		if c != 0 {
			return false
		}
		a.hi, a.lo = high, low
		return true
	}
	low, borrow := bits.Sub64(a.lo, lo, 0)
	high, borrow := bits.Sub64(a.hi, hi, borrow)
	if borrow != 0 { // a is the smaller
		low, borrow = bits.Sub64(0, low, 0)
		high, _ = bits.Sub64(0, high, borrow)
		a.form ^= 1
	}
	a.hi, a.lo = high, low
	if high|low == 0 {
		a.form &^= 1
	}
	return true
}

// plusUnequal is plus for all amounts.
func (a *Amount) plusUnequal(b *Amount, sign form) {
	if b.IsZero() {
		return
	}
	by := *b
	by.form = by.form&^1 | sign&1
	if a.IsZero() {
		*a = by
		return
	}
	x, y, ok := aligned(*a, by)
	if ok {
		ok = x.add(y.hi, y.lo, y.form)
	}
	if !ok {
		x = addBig(*a, by)
	}
	*a = x
}

// Sub is a - b.
func (a Amount) Sub(b Amount) Amount {
	a.Minus(&b)
	return a
}

// Mul is a * b, with the sum of their scales.
func (a Amount) Mul(b Amount) Amount {
	if a.big != nil || b.big != nil {
		return mulBig(a, b)
	}
	if a.hi != 0 {
		a, b = b, a
	}
	if a.hi != 0 {
		return mulBig(a, b)
	}
	over, high := bits.Mul64(b.hi, a.lo)
	carry, low := bits.Mul64(b.lo, a.lo)
	high, c := bits.Add64(high, carry, 0)
	if over|c != 0 {
		return mulBig(a, b)
	}
	return Amount{hi: high, lo: low, form: formOf(a.scale()+b.scale(), a.neg() != b.neg() && high|low != 0)}
}

// Cmp is -1, 0 or 1 where a is less than, equal to or greater than b.
func (a *Amount) Cmp(b *Amount) int {
	if a.hi|b.hi|uint64((a.form|b.form)&1) == 0 && a.big == nil && b.big == nil {
		if d := b.form>>1 - a.form>>1; d <= wordDigits {
			hi, lo := bits.Mul64(a.lo, pow10[d])
			return compare(hi, lo, 0, b.lo)
		}
		if d := a.form>>1 - b.form>>1; d <= wordDigits {
			hi, lo := bits.Mul64(b.lo, pow10[d])
			return compare(0, a.lo, hi, lo)
		}
	}
	if a.neg() != b.neg() {
		if a.neg() {
			return -1
		}
		return 1
	}
	var c int
	if x, y, ok := aligned(*a, *b); ok {
		c = compare(x.hi, x.lo, y.hi, y.lo)
	} else {
		c = a.coefficientAt(b.scale()).Cmp(b.coefficientAt(a.scale()))
	}
	if a.neg() {
		return -c
	}
	return c
}

// compare compares coefficients of 128 bits.
func compare(high, low, otherHigh, otherLow uint64) int {
	if high != otherHigh {
		return cmp.Compare(high, otherHigh)
	}
	return cmp.Compare(low, otherLow)
}

// Equal reports whether both are the same number.
func (a Amount) Equal(b Amount) bool { return a.Same(&b) }

// Same is Equal, for numbers that are somewhere.
func (a *Amount) Same(b *Amount) bool {
	if a.form == b.form && a.big == nil && b.big == nil {
		return a.lo == b.lo && a.hi == b.hi
	}
	if d := a.scale() - b.scale(); d > 0 && d <= wordDigits && b.hi == 0 && a.big == nil && b.big == nil {
		hi, lo := bits.Mul64(b.lo, pow10[d])
		return a.lo == lo && a.hi == hi && a.neg() == b.neg()
	}
	return a.Cmp(b) == 0
}

// Is reports whether a text is this number in plain notation: it is Same with
// Of(text), and cheaper.
func (a *Amount) Is(text []byte) bool {
	if isNought(text) {
		return a.IsZero()
	}
	if len(text) > 0 && len(text) <= wordDigits && text[0] != '-' && a.hi == 0 && a.big == nil {
		n, scale, ok := parseShort(text)
		if more := a.scale() - scale; ok && more >= 0 && more <= wordDigits {
			hi, lo := bits.Mul64(n, pow10[more])
			return hi == 0 && lo == a.lo && !a.neg()
		}
	}
	b := Of(text)
	return a.Same(&b)
}

// coefficient is the magnitude of the coefficient; it may be shared.
func (a Amount) coefficient() *big.Int {
	if a.big != nil {
		return a.big
	}
	n := new(big.Int).SetUint64(a.hi)
	return n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(a.lo))
}

// coefficientAt is the magnitude of the coefficient for a scale that is not
// less than the amount's own; else for its own.
func (a Amount) coefficientAt(scale int32) *big.Int {
	n := a.coefficient()
	if scale <= a.scale() {
		return n
	}
	return new(big.Int).Mul(n, tenTo(scale-a.scale()))
}

func tenTo(n int32) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// fromBig takes a magnitude, which nobody else may change any more. Where it is
// larger than 128 bits, trailing zeros go, so that what needs little room gets
// back to the fast path.
func fromBig(n *big.Int, scale int32, neg bool) Amount {
	for step := int32(16); step > 0 && n.BitLen() > 128; {
		quotient, rest := new(big.Int).QuoRem(n, new(big.Int).SetUint64(pow10[step]), new(big.Int))
		if scale < step || rest.Sign() != 0 {
			step /= 2
			continue
		}
		n, scale = quotient, scale-step
	}
	if n.BitLen() > 128 {
		return Amount{big: n, form: formOf(scale, neg)}
	}
	lo := new(big.Int).And(n, new(big.Int).SetUint64(1<<64-1)).Uint64()
	return Amount{hi: new(big.Int).Rsh(n, 64).Uint64(), lo: lo, form: formOf(scale, neg && n.Sign() != 0)}
}

func addBig(a, b Amount) Amount {
	x, y := a.coefficientAt(b.scale()), b.coefficientAt(a.scale())
	scale := max(a.scale(), b.scale())
	if a.neg() == b.neg() {
		return fromBig(new(big.Int).Add(x, y), scale, a.neg())
	}
	n := new(big.Int).Sub(x, y)
	return fromBig(n.Abs(n), scale, a.neg() == (x.Cmp(y) > 0))
}

func mulBig(a, b Amount) Amount {
	n := new(big.Int).Mul(a.coefficient(), b.coefficient())
	return fromBig(n, a.scale()+b.scale(), a.neg() != b.neg())
}
