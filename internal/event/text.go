package event

import "unicode/utf8"

// maxName bounds the names that tables index: an index entry of PostgreSQL
// ends at 2,704 bytes, and a name beyond that could never be stored.
const maxName = 1024

// absent reports whether an optional field has no value. A null says the same
// as no key at all.
func (d *Decoder) absent(f field) bool { return d.fields[f].kind <= null }

// content returns a string or a number as bytes, escapes resolved.
func (d *Decoder) content(f field) []byte {
	v := d.fields[f]
	if v.escaped {
		return d.unescape(d.src[v.start:v.end])
	}
	return d.src[v.start:v.end]
}

// text reads a required string.
func (d *Decoder) text(f field) Text {
	if d.fields[f].kind != text {
		return d.refuse(f, "a string")
	}
	return d.content(f)
}

// optionalText reads a string that may be absent.
func (d *Decoder) optionalText(f field) Text {
	if d.absent(f) {
		return nil
	}
	return d.text(f)
}

// name reads the required name of a market or an asset.
func (d *Decoder) name(f field) Text {
	t := d.text(f)
	if len(t) > maxName {
		d.fail("%s has %d bytes, more than %d", d.shape.path(f), len(t), maxName)
	}
	return t
}

// choice reads a required string that must be one of a few words, and returns
// which; spelled names them in reasons.
func (d *Decoder) choice(f field, spelled string, words ...string) int {
	if d.fields[f].kind == text {
		got := d.content(f)
		for i, word := range words {
			if string(got) == word {
				return i
			}
		}
	}
	d.refuse(f, spelled)
	return 0
}

// flag reads a boolean that may be absent.
func (d *Decoder) flag(f field) Flag {
	switch v := d.fields[f]; {
	case v.kind <= null:
	case v.kind != boolean:
		d.refuse(f, "a boolean")
	case d.src[v.start] == 't':
		return True
	default:
		return False
	}
	return NoFlag
}

// unescape resolves the escapes of a string that the scan has checked, into the
// scratch space.
func (d *Decoder) unescape(s []byte) []byte {
	start := len(d.scratch)
	out := d.scratch
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(s, i+1)
			i += 4
			if surrogate(r) {
				r = 0x10000 + (r-0xd800)<<10 + hex4(s, i+3) - 0xdc00
				i += 6
			}
			out = utf8.AppendRune(out, r)
		default: // a quote, a backslash or a slash stands for itself
			out = append(out, s[i])
		}
	}
	d.scratch = out
	return out[start:len(out):len(out)]
}
