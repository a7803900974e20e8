package amount

// Short is a number of up to 17 digits in one word: the coefficient, its form in the
// five bits below, and in the lowest bit whether there is one. The zero value is none.
type Short uint64

// NewShort is coefficient / 10^scale, of at most 17 digits and 15 decimals.
func NewShort(coefficient uint64, scale int) Short {
	return Short(coefficient<<6 | uint64(formOf(int32(scale), false))<<1 | 1)
}

// Short is the amount in one word; it is not ok where that does not hold it.
func (a *Amount) Short() (_ Short, ok bool) {
	return Short(a.lo<<6 | uint64(a.form)<<1 | 1), a.hi|a.lo>>58|uint64(a.form>>5) == 0 && a.big == nil
}

// Known reports whether there is a number.
func (s Short) Known() bool { return s&1 != 0 }

// Amount is the number.
func (s Short) Amount() Amount { return Amount{lo: uint64(s >> 6), form: form(s >> 1 & 0x1f)} }

// Looks reports whether the number is a to the last decimal. What only has another
// scale is not told.
func (s Short) Looks(a *Amount) bool {
	return uint64(s>>6) == a.lo && s&0x3f == Short(a.form)<<1|1 && a.hi == 0 && a.big == nil
}
