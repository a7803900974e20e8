package event

// Bounds of an amount. The engine's have at most 29 digits (wire format,
// section 1.2); these leave ample room and keep whatever an exponent asks for
// small, before anything is written out or computed.
const (
	maxDigits   = 1000 // of an amount in plain notation, before and after the point together
	maxExponent = 1000
)

// decimal reads a required amount: a JSON number, or a string that holds
// -?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?. The digits stay as they came, the scale
// included, but for three things: an exponent is written out, leading zeros go,
// a negative zero loses its sign.
func (d *Decoder) decimal(f field) Decimal { return Decimal{Text: d.plainText(f)} }

// plainText is the text of a required amount.
func (d *Decoder) plainText(f field) []byte {
	const want = "a decimal, as a string or a number"
	if k := d.fields[f].kind; k != text && k != number {
		return d.refuse(f, want)
	}
	b := d.content(f)
	if isPlain(b) {
		return b
	}
	n, ok := parseNumeral(b)
	if !ok {
		return d.refuse(f, want)
	}
	if n.exponent < -maxExponent || n.exponent > maxExponent || n.size() > maxDigits {
		return d.refuse(f, "a decimal of at most 1000 digits with an exponent of at most 1000")
	}
	return d.plain(n)
}

// plain writes a number into the scratch space.
func (d *Decoder) plain(n numeral) []byte {
	start := len(d.scratch)
	d.scratch = n.appendPlain(d.scratch)
	return d.scratch[start:len(d.scratch):len(d.scratch)]
}

// optionalDecimal reads an amount that may be absent.
func (d *Decoder) optionalDecimal(f field) Decimal {
	if d.absent(f) {
		return Decimal{}
	}
	return d.decimal(f)
}

// isPlain recognises what nearly every amount is: of moderate length, in plain
// notation without a leading zero too many, and surely no negative zero. Such
// an amount is stored as it stands.
func isPlain(b []byte) bool {
	i := 0
	if len(b) > 1 && b[0] == '-' && b[1] != '0' {
		i = 1
	}
	point := digits(b, i)
	if point == i || len(b) > 64 || b[i] == '0' && point > i+1 {
		return false
	}
	if point == len(b) {
		return true
	}
	return b[point] == '.' && point+1 < len(b) && digits(b, point+1) == len(b)
}

// numeral is a number taken apart: sign, digits before and after the point,
// and the exponent.
type numeral struct {
	negative        bool
	whole, fraction []byte
	exponent        int // saturated far beyond every bound
}

// parseNumeral takes apart a number in JSON's notation, leading zeros allowed.
func parseNumeral(b []byte) (n numeral, ok bool) {
	n.negative = len(b) > 0 && b[0] == '-'
	if n.negative {
		b = b[1:]
	}
	end := digits(b, 0)
	if n.whole = b[:end]; end == 0 {
		return n, false
	}
	if b = b[end:]; len(b) > 0 && b[0] == '.' {
		end = digits(b, 1)
		if n.fraction = b[1:end]; end == 1 {
			return n, false
		}
		b = b[end:]
	}
	if len(b) == 0 {
		return n, true
	}
	if b[0]|0x20 != 'e' {
		return n, false
	}
	b = b[1:]
	down := len(b) > 0 && b[0] == '-'
	if down || len(b) > 0 && b[0] == '+' {
		b = b[1:]
	}
	if len(b) == 0 || digits(b, 0) != len(b) {
		return n, false
	}
	const saturated = 1 << 40 // beyond the length of any value
	for _, c := range b {
		n.exponent = min(n.exponent*10+int(c-'0'), saturated)
	}
	if down {
		n.exponent = -n.exponent
	}
	return n, true
}

// size is how many digits the number has at most in plain notation.
func (n *numeral) size() int {
	before := max(len(n.whole)+n.exponent, 1)
	after := max(len(n.fraction)-n.exponent, 0)
	return before + after
}

// digit returns the digit at position i, counted from the first one of whole;
// beyond both ends there are zeros.
func (n *numeral) digit(i int) byte {
	switch {
	case i < 0:
	case i < len(n.whole):
		return n.whole[i]
	case i-len(n.whole) < len(n.fraction):
		return n.fraction[i-len(n.whole)]
	}
	return '0'
}

// appendPlain writes the number in plain notation. Its scale is what the
// exponent leaves of the digits after the point, as in PostgreSQL.
func (n *numeral) appendPlain(out []byte) []byte {
	point := len(n.whole) + n.exponent // how many digits stand before the point
	end := max(len(n.whole)+len(n.fraction), point)
	zero := true
	for i := range len(n.whole) + len(n.fraction) {
		zero = zero && n.digit(i) == '0'
	}
	if n.negative && !zero {
		out = append(out, '-')
	}
	first := min(0, point-1)
	for first < point-1 && n.digit(first) == '0' {
		first++
	}
	for i := first; i < end; i++ {
		if i == point {
			out = append(out, '.')
		}
		out = append(out, n.digit(i))
	}
	return out
}

// difference is a - b of two plain amounts, exact, with the greater of their
// scales.
func (d *Decoder) difference(a, b Decimal) Decimal {
	x, _ := parseNumeral(a.Text)
	y, _ := parseNumeral(b.Text)
	y.negative = !y.negative
	whole, scale := max(len(x.whole), len(y.whole)), max(len(x.fraction), len(y.fraction))
	add := x.negative == y.negative
	if !add && compare(&x, &y, whole, scale) < 0 {
		x, y = y, x
	}

	// The digits come from the last to the first, with room for a carry.
	start := len(d.scratch)
	d.scratch = append(d.scratch, make([]byte, 1+whole+scale)...)
	sum := d.scratch[start:]
	carry := byte(0)
	for i := len(sum) - 1; i >= 0; i-- {
		p := x.digit(i-1-whole+len(x.whole)) - '0'
		q := y.digit(i-1-whole+len(y.whole)) - '0' + carry
		switch {
		case add:
			p, carry = (p+q)%10, (p+q)/10
		case p < q:
			p, carry = p+10-q, 1
		default:
			p, carry = p-q, 0
		}
		sum[i] = '0' + p
	}
	return Decimal{Text: d.plain(numeral{negative: x.negative, whole: sum[:1+whole], fraction: sum[1+whole:]})}
}

// compare orders the magnitudes of two numerals, both seen with so many digits
// before and after the point.
func compare(x, y *numeral, whole, scale int) int {
	for i := -whole; i < scale; i++ {
		p, q := x.digit(i+len(x.whole)), y.digit(i+len(y.whole))
		if p != q {
			return int(p) - int(q)
		}
	}
	return 0
}
