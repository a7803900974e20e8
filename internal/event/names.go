package event

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// name is a member's key, with a fingerprint to compare first.
type name struct {
	fingerprint uint64
	key         []byte // escapes resolved
}

// fewNames is how many names of one object are compared as they come. Beyond
// that, comparing each with each would let one hostile record stall a
// partition, so the names of a larger object are sorted once, at its end.
const fewNames = 32

// members watches that no key of an object comes twice. The names of all the
// objects that are open share the Decoder's names as a stack.
type members struct {
	first  int    // of this object's names in the stack
	filter uint64 // bits of the fingerprints so far: mostly the only look needed
}

// add notes a key and reports whether it is new, as far as is known by now.
func (m *members) add(d *Decoder, key []byte) bool {
	f := fingerprint(key)
	if own := d.names[m.first:]; len(own) < fewNames {
		bit := uint64(1) << (f >> 58)
		if m.filter&bit != 0 {
			for i := range own {
				if own[i].fingerprint == f && bytes.Equal(own[i].key, key) {
					return false
				}
			}
		}
		m.filter |= bit
	}
	d.names = append(d.names, name{f, key})
	return true
}

// close takes the object's names off the stack and returns a key that came
// twice, or nil.
func (m *members) close(d *Decoder) []byte {
	own := d.names[m.first:]
	d.names = d.names[:m.first]
	if len(own) <= fewNames {
		return nil
	}
	slices.SortFunc(own, func(a, b name) int { return bytes.Compare(a.key, b.key) })
	for i := 1; i < len(own); i++ {
		if bytes.Equal(own[i-1].key, own[i].key) {
			return own[i].key
		}
	}
	return nil
}

// forgetNames empties the stack before a scan: one that failed inside of objects
// has left their names there.
func (d *Decoder) forgetNames() {
	if d.names = d.names[:0]; cap(d.names) > maxNames {
		d.names = nil
	}
}

// fingerprint mixes a key's length, head and tail. Keys that differ elsewhere
// only share it, and are then compared in full.
func fingerprint(key []byte) uint64 {
	const k = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	n := len(key)
	var head, tail uint64
	switch {
	case n >= 8:
		head, tail = binary.LittleEndian.Uint64(key), binary.LittleEndian.Uint64(key[n-8:])
	case n >= 4:
		head, tail = uint64(binary.LittleEndian.Uint32(key)), uint64(binary.LittleEndian.Uint32(key[n-4:]))
	case n > 0:
		head, tail = uint64(key[0]), uint64(key[n/2])<<8|uint64(key[n-1])
	}
	return ((head+uint64(n))*k ^ tail) * k
}
