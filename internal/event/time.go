package event

import "time"

// Times before 2000 or from 2100 on are refused: each would make a chunk of its
// own in the hypertables.
const (
	minTime Micros = 946_684_800_000_000   // 2000-01-01T00:00:00Z
	maxTime Micros = 4_102_444_800_000_000 // 2100-01-01T00:00:00Z
)

// engineTime reads the engine's required times: seconds since the epoch as a
// JSON number. It is an f64 there, whose text is read as the decimal that it is
// and rounded to the nearest µs, a half upwards; a float64 on the way would
// move some of them (wire format, section 1.2).
func (d *Decoder) engineTime(f field) Micros {
	const want = "seconds since the epoch as a number, from 2000 to 2099"
	v := d.fields[f]
	if v.kind != number {
		d.refuse(f, want)
		return NoTime
	}
	t, ok := parseSeconds(d.src[v.start:v.end])
	if !ok || t < minTime || t >= maxTime {
		d.refuse(f, want)
		return NoTime
	}
	return t
}

// isoTime reads the documented shapes' required times: RFC 3339, any number of
// fraction digits, rounded to the nearest µs.
func (d *Decoder) isoTime(f field) Micros {
	const want = "an RFC 3339 time with its zone, from 2000 to 2099"
	if d.fields[f].kind != text {
		d.refuse(f, want)
		return NoTime
	}
	t, ok := parseISO(d.content(f))
	if !ok || t < minTime || t >= maxTime {
		d.refuse(f, want)
		return NoTime
	}
	return t
}

// parseSeconds reads a number of seconds as µs. It reports false for a negative
// number, and for one far outside of any year wanted.
func parseSeconds(b []byte) (Micros, bool) {
	n, ok := parseNumeral(b)
	if !ok || n.negative {
		return 0, false
	}
	point := len(n.whole) + n.exponent
	first := 0
	for first < point && n.digit(first) == '0' && first < len(n.whole)+len(n.fraction) {
		first++
	}
	const most = 10 // digits of a number of seconds before 2100
	if point-first > most {
		return 0, false
	}
	var t Micros
	for i := first; i < point+6; i++ {
		t = t*10 + Micros(n.digit(i)-'0')
	}
	if n.digit(point+6) >= '5' {
		t++
	}
	return t, true
}

// parseISO reads 2024-01-15T10:30:00.000Z, also with an offset such as +02:00.
// A leap second is refused, since no µs since the epoch stands for it.
func parseISO(b []byte) (Micros, bool) {
	const layout = "0000-00-00T00:00:00"
	if len(b) <= len(layout) || !shaped(b[:len(layout)], layout) {
		return 0, false
	}
	year, month, day := two(b[0:])*100+two(b[2:]), two(b[5:]), two(b[8:])
	hour, minute, second := two(b[11:]), two(b[14:]), two(b[17:])
	if month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	date := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if date.Day() != day { // 30 February is in March
		return 0, false
	}
	t := Micros(date.Unix())

	b = b[len(layout):]
	fraction := numeral{}
	if b[0] == '.' {
		end := digits(b, 1)
		if end == 1 {
			return 0, false
		}
		fraction.fraction, b = b[1:end], b[end:]
	}
	offset, ok := parseZone(b)
	t -= offset
	for i := range 6 {
		t = t*10 + Micros(fraction.digit(i)-'0')
	}
	if fraction.digit(6) >= '5' {
		t++
	}
	return t, ok
}

// parseZone reads Z or ±hh:mm as seconds east of Greenwich.
func parseZone(b []byte) (Micros, bool) {
	if string(b) == "Z" {
		return 0, true
	}
	if len(b) == 0 || b[0] != '+' && b[0] != '-' || !shaped(b[1:], "00:00") {
		return 0, false
	}
	hours, minutes := two(b[1:]), two(b[4:])
	offset := Micros(hours*3600 + minutes*60)
	if b[0] == '-' {
		offset = -offset
	}
	return offset, hours < 24 && minutes < 60
}

// shaped reports whether b looks like the layout, where a 0 stands for any digit
// and any other byte for itself.
func shaped(b []byte, layout string) bool {
	if len(b) != len(layout) {
		return false
	}
	for i := range b {
		if layout[i] == '0' {
			if b[i]-'0' > 9 {
				return false
			}
		} else if b[i] != layout[i] {
			return false
		}
	}
	return true
}

// two reads two digits.
func two(b []byte) int { return int(b[0]-'0')*10 + int(b[1]-'0') }
