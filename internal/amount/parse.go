package amount

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"math/bits"

	"github.com/thaliumx/persistor/internal/swar"
)

// Parse reads plain notation, -?[0-9]+(\.[0-9]+)?, and keeps the scale as
// written. Empty text and everything else is an error.
func Parse(text []byte) (Amount, error) {
	a, ok := parse(text)
	if !ok {
		return Amount{}, fmt.Errorf("%q is no decimal in plain notation", text)
	}
	return a, nil
}

// Of is Parse for text that is known to be plain, such as event.Decimal's; it is
// 0 for anything else, nil included.
func Of(text []byte) Amount {
	a, _ := parse(text)
	return a
}

// isNought recognises what every third amount of the engine is.
func isNought(text []byte) bool { return len(text) == 1 && text[0] == '0' }

// wordDigits is how many decimal digits a uint64 holds whatever they are.
const wordDigits = 19

func parse(text []byte) (a Amount, ok bool) {
	if isNought(text) {
		return Amount{}, true
	}
	neg := len(text) > 0 && text[0] == '-'
	if neg {
		text = text[1:]
	}
	if len(text) > wordDigits {
		return parseLong(text, neg)
	}
	n, scale, ok := parseShort(text)
	if !ok {
		return Amount{}, false
	}
	return Amount{lo: n, form: formOf(scale, neg && n != 0)}, true
}

// parseShort reads what fits into one word and has no sign. 4 to 8 bytes, which are
// the most, are read all at once: they stand at the end of a word, each less '0', the
// first one lowest.
func parseShort(text []byte) (n uint64, scale int32, ok bool) {
	switch n := len(text); {
	case n > 8 && n <= 16:
		return parseTwoWords(text)
	case n < 4 || n > 16:
		return parseSlowly(text)
	}
	missing := 8 * (8 - len(text)) // bits
	first, last := binary.LittleEndian.Uint32(text), binary.LittleEndian.Uint32(text[len(text)-4:])
	word := (uint64(first)<<(missing&63) | uint64(last)<<32) ^ swar.Noughts>>(missing&63)<<(missing&63)
	if at := swar.Point(word); at < 8 {
		word, scale = swar.Without(word, at), int32(7-at)
	}
	ok = digits(word) && int(scale) < len(text)-1 && text[len(text)-1] != '.'
	return swar.Eight(word), scale, ok
}

// parseTwoWords is parseShort for 9 to 16 bytes; those before the last eight stand
// at the end of another word.
func parseTwoWords(text []byte) (n uint64, scale int32, ok bool) {
	missing := 8 * (16 - len(text))
	high := (binary.LittleEndian.Uint64(text) ^ swar.Noughts) << (missing & 63)
	low := binary.LittleEndian.Uint64(text[len(text)-8:]) ^ swar.Noughts
	if at := swar.Point(low); at < 8 {
		low, scale = swar.Without(low, at)|high>>56, int32(7-at)
		high <<= 8
	} else if at := swar.Point(high); at < 8 {
		high, scale = swar.Without(high, at), int32(15-at)
	}
	ok = digits(high) && digits(low) && int(scale) < len(text)-1 && text[len(text)-1] != '.'
	return swar.Eight(high)*100_000_000 + swar.Eight(low), scale, ok
}

// parseSlowly is parseShort for any length.
func parseSlowly(text []byte) (n uint64, scale int32, ok bool) {
	k := 0
	for ; k < len(text); k++ {
		c := text[k] - '0'
		if c > 9 {
			break
		}
		n = n*10 + uint64(c)
	}
	if k == len(text) || k == 0 {
		return n, 0, k > 0
	}
	fraction := text[k+1:]
	if text[k] != '.' || len(fraction) == 0 {
		return 0, 0, false
	}
	for _, c := range fraction {
		if c -= '0'; c > 9 {
			return 0, 0, false
		}
		n = n*10 + uint64(c)
	}
	return n, int32(len(fraction)), true
}

// digits reports whether each byte of a word is 0 to 9.
func digits(word uint64) bool { return (word|(word+(0x7f-9)*swar.Ones))&swar.Tops == 0 }

// parseLong reads what may not fit into one word, without its sign.
func parseLong(text []byte, neg bool) (a Amount, ok bool) {
	point := -1
	for k, c := range text {
		c -= '0'
		if c > 9 {
			if text[k] != '.' || point >= 0 || k == 0 {
				return Amount{}, false
			}
			point = k
			continue
		}
		over, high := bits.Mul64(a.hi, 10)
		carry, low := bits.Mul64(a.lo, 10)
		low, c1 := bits.Add64(low, uint64(c), 0)
		high, c2 := bits.Add64(high, carry, c1)
		if over != 0 || c2 != 0 {
			return parseBig(text, neg)
		}
		a.hi, a.lo = high, low
	}
	if point == len(text)-1 {
		return Amount{}, false
	}
	scale := 0
	if point >= 0 {
		scale = len(text) - 1 - point
	}
	a.form = formOf(int32(scale), neg && !a.IsZero())
	return a, true
}

// parseBig reads what does not fit into 128 bits.
func parseBig(text []byte, neg bool) (Amount, bool) {
	digits := make([]byte, 0, len(text))
	scale, point := 0, false
	for k, c := range text {
		switch {
		case c == '.' && !point && k > 0 && k < len(text)-1:
			point, scale = true, len(text)-1-k
		case c >= '0' && c <= '9':
			digits = append(digits, c)
		default:
			return Amount{}, false
		}
	}
	n, ok := new(big.Int).SetString(string(digits), 10)
	if !ok {
		return Amount{}, false
	}
	return fromBig(n, int32(scale), neg), true
}
