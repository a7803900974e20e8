package event

import "bytes"

// Decoder decodes the values of records. The zero value is ready; it may not be
// used by two goroutines at once. Its methods return nil or an *Error, and
// after an error the event is not to be used.
//
// Decoding has two steps. One pass over the bytes checks the JSON as a whole
// and notes where the value of each known key stands; then the fields are read
// from there, in the dialect that they reveal. Keys may come in any order.
type Decoder struct {
	src     []byte
	shape   *shape
	fields  [maxFields]token
	names   []name // of the objects that the scan is inside of
	scratch []byte // resolved escapes, written-out exponents, signatures
	err     *Error

	escapedNUL bool // the scan has passed a \u0000

	cursor  cursor
	reckons bool // decimals are to come with their values

	parts tradeParts // of the last trade
	inner *Decoder   // for the objects in a trade
}

// maxFields is enough for the message with most keys, an order in both dialects.
const maxFields = 32

// maxScratch and maxNames bound what one monstrous record leaves behind in a
// Decoder that lives as long as the daemon.
const (
	maxScratch = 1 << 16
	maxNames   = 1 << 10
)

// maxValue keeps positions inside a token's 32 bits. Kafka's own limit for a
// record is lower.
const maxValue = 1 << 30

// field is the index of a known key in the Decoder's fields.
type field int

// noField stands for a key that no shape knows.
const noField field = -1

// shape lists the keys of a message that are looked at, of both dialects
// together, in the order in which the engine writes them: the next key is
// mostly the one after the last, and is found with a single comparison.
type shape struct {
	prefix  string   // of the keys in reasons
	keys    []string // keys[i] is filed under first+i
	first   field
	inner   *shape // of the object under innerAt, nil where there is none
	innerAt field
}

// path names a field in reasons.
func (s *shape) path(f field) string {
	if i := int(f - s.first); i < len(s.keys) {
		return s.prefix + s.keys[i]
	}
	return s.inner.path(f)
}

// find looks for a key, beginning where it is expected.
func (s *shape) find(key []byte, expected int) int {
	for i := expected; i < len(s.keys); i++ {
		if string(key) == s.keys[i] {
			return i
		}
	}
	for i := range s.keys[:expected] {
		if string(key) == s.keys[i] {
			return i
		}
	}
	return -1
}

// scan checks that value is one strict JSON object and files the values of the
// shape's keys. It reports whether the fields can be read.
func (d *Decoder) scan(value []byte, s *shape) bool {
	if d.scratch = d.scratch[:0]; cap(d.scratch) > maxScratch {
		d.scratch = nil
	}
	return d.rescan(value, s)
}

// rescan is a scan that leaves the scratch space to what was read before.
func (d *Decoder) rescan(value []byte, s *shape) bool {
	d.src, d.shape, d.err, d.escapedNUL = value, s, nil, false
	d.fields = [maxFields]token{}
	d.forgetNames()
	switch {
	case value == nil:
		d.fail("tombstone: the record has no value")
	case len(value) == 0:
		d.fail("the value is empty")
	case len(value) > maxValue:
		d.fail("the value has %d bytes, more than %d", len(value), maxValue)
	case bytes.HasPrefix(value, []byte("\xef\xbb\xbf")):
		d.fail("the value begins with a byte-order mark")
	default:
		d.document()
	}
	if d.escapedNUL { // fine as JSON, as in a detail, but PostgreSQL stores none
		d.fail("the value has an escaped NUL in it")
	}
	return d.err == nil
}

// document scans the one object that the value must be.
func (d *Decoder) document() {
	i := d.space(0)
	if i == len(d.src) || d.src[i] != '{' {
		d.syntax(i, "a JSON object")
		return
	}
	if i = d.object(i+1, 1, d.shape); i == failed {
		return
	}
	if i = d.space(i); i != len(d.src) {
		d.syntax(i, "nothing after the JSON object")
	}
}

// result is what the exported methods return. A nil *Error must not become a
// non-nil error.
func (d *Decoder) result() error {
	if d.err == nil {
		return nil
	}
	return d.err
}
