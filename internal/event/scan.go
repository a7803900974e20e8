package event

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"

	"github.com/thaliumx/persistor/internal/swar"
)

// kind is the type of a JSON value.
type kind uint8

const (
	missing kind = iota
	null
	boolean
	number
	text
	object
	array
)

// String names the kind in reasons.
func (k kind) String() string {
	return [...]string{"missing", "null", "a boolean", "a number", "a string", "an object", "an array"}[k]
}

// token is a JSON value where it stands in the record; a string's quotes are
// outside of it.
type token struct {
	start, end int32
	kind       kind
	escaped    bool // a string with escapes in it
}

// failed is the position that scanning functions return once they have failed.
const failed = -1

// maxDepth bounds nesting, and with it the recursion. It is the engine's own
// bound (serde_json), which matters for details, where callers' JSON goes
// through; the engine's messages are nested four deep.
const maxDepth = 128

// object scans an object from behind its opening brace, files the values of
// the shape's keys (the shape may be nil) and returns the position after it.
func (d *Decoder) object(i, depth int, s *shape) int {
	if depth > maxDepth {
		d.fail("byte %d: nested deeper than %d", i, maxDepth)
		return failed
	}
	src := d.src
	if i = d.space(i); i < len(src) && src[i] == '}' {
		return i + 1
	}
	var known uint64 // the shape's keys that were seen
	others := members{first: len(d.names)}
	expected := 0
	for {
		if i >= len(src) || src[i] != '"' {
			return d.syntax(i, "a key")
		}
		f := noField
		var end int
		if s != nil && expected < len(s.keys) && expectedKey(src[i+1:], s.keys[expected]) {
			f, end = field(expected), i+1+len(s.keys[expected])
		} else {
			var escaped bool
			if end, escaped = d.str(i + 1); end == failed {
				return failed
			}
			key := src[i+1 : end]
			if escaped {
				key = d.unescape(key)
			}
			if s != nil {
				f = field(s.find(key, expected))
			}
			if f == noField && !others.add(d, key) {
				d.fail("byte %d: the key %s comes twice", i, quote(key))
				return failed
			}
		}
		if f != noField {
			if known&(1<<f) != 0 {
				d.fail("byte %d: the key %s comes twice", i, quote([]byte(s.keys[f])))
				return failed
			}
			known |= 1 << f
			expected = int(f) + 1
			f += s.first
		}

		if i = d.space(end + 1); i >= len(src) || src[i] != ':' {
			return d.syntax(i, "a colon")
		}
		i = d.space(i + 1)
		var v token
		if s != nil && s.inner != nil && f == s.innerAt && i < len(src) && src[i] == '{' {
			v = token{start: int32(i), kind: object}
			i = d.object(i+1, depth+1, s.inner)
			v.end = int32(i)
		} else {
			v, i = d.value(i, depth)
		}
		if i == failed {
			return failed
		}
		if f != noField {
			d.fields[f] = v
		}

		if i = d.space(i); i >= len(src) {
			return d.syntax(i, "a comma or a closing brace")
		}
		switch src[i] {
		case ',':
			i = d.space(i + 1)
		case '}':
			if key := others.close(d); key != nil {
				d.fail("byte %d: the key %s comes twice in the object that ends here", i, quote(key))
				return failed
			}
			return i + 1
		default:
			return d.syntax(i, "a comma or a closing brace")
		}
	}
}

// expectedKey reports whether the bytes after an opening quote are this key.
// Known keys have no escapes, so nothing else needs checking.
func expectedKey(b []byte, key string) bool {
	return len(b) > len(key) && b[len(key)] == '"' && string(b[:len(key)]) == key
}

// array scans an array from behind its opening bracket and returns the
// position after it.
func (d *Decoder) array(i, depth int) int {
	if depth > maxDepth {
		d.fail("byte %d: nested deeper than %d", i, maxDepth)
		return failed
	}
	if i = d.space(i); i < len(d.src) && d.src[i] == ']' {
		return i + 1
	}
	for {
		if _, i = d.value(i, depth); i == failed {
			return failed
		}
		switch i = d.space(i); {
		case i < len(d.src) && d.src[i] == ',':
			i = d.space(i + 1)
		case i < len(d.src) && d.src[i] == ']':
			return i + 1
		default:
			return d.syntax(i, "a comma or a closing bracket")
		}
	}
}

// value scans any value that begins at i, inside of depth objects and arrays,
// and returns it with the position after it.
func (d *Decoder) value(i, depth int) (token, int) {
	if i >= len(d.src) {
		return token{}, d.syntax(i, "a value")
	}
	v := token{start: int32(i)}
	switch c := d.src[i]; {
	case c == '"':
		end, escaped := d.str(i + 1)
		if end == failed {
			return token{}, failed
		}
		return token{start: int32(i + 1), end: int32(end), kind: text, escaped: escaped}, end + 1
	case c == '-' || '0' <= c && c <= '9':
		v.kind, i = number, d.num(i)
	case c == '{':
		v.kind, i = object, d.object(i+1, depth+1, nil)
	case c == '[':
		v.kind, i = array, d.array(i+1, depth+1)
	case c == 't':
		v.kind, i = boolean, d.literal(i, "true")
	case c == 'f':
		v.kind, i = boolean, d.literal(i, "false")
	case c == 'n':
		v.kind, i = null, d.literal(i, "null")
	default:
		i = d.syntax(i, "a value")
	}
	v.end = int32(i)
	return v, i
}

// literal scans true, false or null.
func (d *Decoder) literal(i int, want string) int {
	if end := i + len(want); end <= len(d.src) && string(d.src[i:end]) == want {
		return end
	}
	return d.syntax(i, want)
}

// num scans a number by JSON's grammar (RFC 8259, section 6).
func (d *Decoder) num(i int) int {
	src := d.src
	if src[i] == '-' {
		i++
	}
	switch {
	case i < len(src) && src[i] == '0':
		i++
	case digits(src, i) > i:
		i = digits(src, i)
	default:
		return d.syntax(i, "a digit")
	}
	if i < len(src) && src[i] == '.' {
		end := digits(src, i+1)
		if end == i+1 {
			return d.syntax(end, "a digit after the point")
		}
		i = end
	}
	if i < len(src) && src[i]|0x20 == 'e' {
		i++
		if i < len(src) && (src[i] == '+' || src[i] == '-') {
			i++
		}
		end := digits(src, i)
		if end == i {
			return d.syntax(end, "a digit of the exponent")
		}
		i = end
	}
	return i
}

// digits returns the position after the run of digits that begins at i.
func digits(b []byte, i int) int {
	for i+8 <= len(b) {
		// A byte that is none of the ten gets its top bit; a carry runs upwards
		// from such a byte only, so the lowest mark is right.
		x := binary.LittleEndian.Uint64(b[i:]) ^ swar.Noughts
		if m := others(x); m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
		i += 8
	}
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

// space returns the position of the next byte that is not white space. Records
// come without any, so the loop is left to a function of its own and the check
// is inlined.
func (d *Decoder) space(i int) int {
	if i < len(d.src) && d.src[i] <= ' ' {
		return d.spaces(i)
	}
	return i
}

func (d *Decoder) spaces(i int) int {
	for i < len(d.src) {
		switch d.src[i] {
		case ' ', '\t', '\n', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// str scans a string from behind its opening quote and returns the position of
// the closing one. Whether the string has escapes is only known once it has
// been scanned.
func (d *Decoder) str(i int) (end int, escaped bool) {
	src := d.src
	for {
		for i+8 <= len(src) {
			if m := special(binary.LittleEndian.Uint64(src[i:])); m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		if i >= len(src) {
			return d.syntax(i, "the end of a string"), false
		}
		switch c := src[i]; {
		case c == '"':
			return i, escaped
		case c == '\\':
			escaped = true
			if i = d.escape(i); i == failed {
				return failed, false
			}
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(src[i:])
			if r == utf8.RuneError && n == 1 {
				return d.syntax(i, "valid UTF-8"), false
			}
			i += n
		case c < ' ':
			return d.syntax(i, "no control character in a string"), false
		default:
			i++
		}
	}
}

// special marks the bytes of a word that a string cannot just contain: quote,
// backslash, control characters and everything beyond ASCII. Marks above the
// lowest may be wrong, because a borrow runs upwards; the lowest is right.
func special(w uint64) uint64 {
	quotes, slashes := w^swar.Ones*'"', w^swar.Ones*'\\'
	return ((quotes-swar.Ones)&^quotes | (slashes-swar.Ones)&^slashes | (w - swar.Ones*' ') | w) & swar.Tops
}

// escape checks the escape sequence whose backslash is at i and returns the
// position after it.
func (d *Decoder) escape(i int) int {
	if i+1 >= len(d.src) {
		return d.syntax(i+1, "an escape sequence")
	}
	switch d.src[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
	default:
		return d.syntax(i+1, "an escape sequence")
	}
	r := hex4(d.src, i+2)
	switch {
	case r < 0:
		return d.syntax(i, "four hexadecimal digits after \\u")
	case r == 0:
		d.escapedNUL = true
		return i + 6
	case !surrogate(r):
		return i + 6
	case r < 0xdc00 && i+7 < len(d.src) && d.src[i+6] == '\\' && d.src[i+7] == 'u':
		if low := hex4(d.src, i+8); low >= 0xdc00 && surrogate(low) {
			return i + 12
		}
	}
	d.fail("byte %d is a lone surrogate", i)
	return failed
}

// surrogate reports whether r is half of a UTF-16 pair.
func surrogate(r rune) bool { return 0xd800 <= r && r < 0xe000 }

// hex4 reads four hexadecimal digits at i, or returns -1.
func hex4(b []byte, i int) rune {
	if i+4 > len(b) {
		return -1
	}
	var r rune
	for _, c := range b[i : i+4] {
		n := nibble(c)
		if n > 15 {
			return -1
		}
		r = r<<4 | rune(n)
	}
	return r
}

// nibble is the value of a hexadecimal digit, or above 15.
func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}
