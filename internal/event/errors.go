package event

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Error says why a record's value is no event. Its reason is what an operator
// reads beside the rejected record: which field, what was found there and what
// belongs there, or at which byte the JSON breaks. Reasons are printable ASCII
// and of bounded length, whatever the record holds.
type Error struct {
	Reason string
}

// Error returns the reason.
func (e *Error) Error() string { return e.Reason }

// ErrForeign is returned for the platform backend's own records on `orders`
// (wire format, section 1.11). They are well-formed and meant for others, so
// they are told apart from records that are wrong.
var ErrForeign = &Error{Reason: "foreign"}

// maxShown bounds how many bytes of a record are quoted in a reason.
const maxShown = 64

// fail keeps the first thing that was wrong; what follows from it is noise.
func (d *Decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = &Error{Reason: fmt.Sprintf(format, args...)}
	}
}

// syntax fails for bytes that are not JSON and returns the position that ends
// the scan.
func (d *Decoder) syntax(at int, want string) int {
	if at >= len(d.src) {
		d.fail("the JSON ends after %d bytes, expected %s", len(d.src), want)
	} else {
		d.fail("byte %d is %s, expected %s", at, strconv.QuoteToASCII(string(d.src[at:at+1])), want)
	}
	return failed
}

// refuse fails for a field whose value is missing, of the wrong type or out of
// its range. It always returns nil, so that it can end a reading function.
func (d *Decoder) refuse(f field, want string) []byte {
	name := d.shape.path(f)
	switch v := d.fields[f]; v.kind {
	case missing:
		d.fail("%s is missing, it must be %s", name, want)
	case number:
		d.fail("%s is %s, it must be %s", name, clip(d.src[v.start:v.end]), want)
	case text:
		d.fail("%s is %s, it must be %s", name, quote(d.src[v.start:v.end]), want)
	default:
		d.fail("%s is %s, it must be %s", name, v.kind, want)
	}
	return nil
}

// quote shows bytes of the record as a bounded, printable string.
func quote(b []byte) string {
	if len(b) <= maxShown {
		return strconv.QuoteToASCII(string(b))
	}
	cut := maxShown
	for cut > 0 && !utf8.RuneStart(b[cut]) {
		cut--
	}
	return fmt.Sprintf("%s... (%d bytes)", strconv.QuoteToASCII(string(b[:cut])), len(b))
}

// clip shows a number, which is ASCII already.
func clip(b []byte) string {
	if len(b) <= maxShown {
		return string(b)
	}
	return fmt.Sprintf("%s... (%d bytes)", b[:maxShown], len(b))
}
