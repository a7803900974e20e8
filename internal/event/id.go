package event

import (
	"bytes"
	"math"
)

// id reads a required id: a JSON number without sign, fraction or exponent, up
// to limit.
func (d *Decoder) id(f field, limit uint64, want string) int64 {
	if v := d.fields[f]; v.kind == number {
		if n, ok := parseID(d.src[v.start:v.end], limit); ok {
			return int64(n)
		}
	}
	d.refuse(f, want)
	return NoID
}

// entityID reads the id of an order or a trade. The engine's are u64; above
// bigint they are refused, since they could not be stored.
func (d *Decoder) entityID(f field) int64 {
	return d.id(f, math.MaxInt64, "an integer from 0 to 2^63-1")
}

// userID reads a user's id, the engine's u32.
func (d *Decoder) userID(f field) int64 {
	return d.id(f, math.MaxUint32, "an integer from 0 to 2^32-1")
}

// businessID reads a full u64, which may be absent, as the digits it has.
func (d *Decoder) businessID(f field) Decimal {
	if d.absent(f) {
		return Decimal{}
	}
	if v := d.fields[f]; v.kind == number {
		digits := d.src[v.start:v.end]
		if _, ok := parseID(digits, math.MaxUint64); ok {
			return Decimal{Text: digits}
		}
	}
	return Decimal{Text: d.refuse(f, "an integer from 0 to 2^64-1")}
}

// prefixedID reads an id of the documented shapes: a string such as
// "order_123", the number without leading zeros, so that no id has two
// spellings.
func (d *Decoder) prefixedID(f field, prefix, want string) int64 {
	if d.fields[f].kind == text {
		digits, found := bytes.CutPrefix(d.content(f), []byte(prefix))
		if n, ok := parseID(digits, math.MaxInt64); found && ok && (digits[0] != '0' || len(digits) == 1) {
			return int64(n)
		}
	}
	d.refuse(f, want)
	return NoID
}

// orderID reads a documented order id.
func (d *Decoder) orderID(f field) int64 {
	return d.prefixedID(f, "order_", `"order_" and an integer up to 2^63-1`)
}

// parseID reads digits, and nothing but digits, up to limit.
func parseID(b []byte, limit uint64) (uint64, bool) {
	const safe = 19 // so many digits cannot overflow
	var n uint64
	for i, c := range b {
		c -= '0'
		if c > 9 || i > safe || i == safe && (n > math.MaxUint64/10 || n*10 > math.MaxUint64-uint64(c)) {
			return 0, false
		}
		n = n*10 + uint64(c)
	}
	return n, len(b) > 0 && n <= limit
}
