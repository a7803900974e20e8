package event

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// FuzzDecoder holds the decoder against jsontext, which is strict JSON too: what
// it refuses is refused here, what is refused here as syntax it refuses, and
// what is accepted has the values that encoding/json finds.
func FuzzDecoder(f *testing.F) {
	for _, base := range everyMessage {
		f.Add([]byte(base))
	}
	for i, l := range corpus(f, false) {
		if i%10 == 0 {
			f.Add([]byte(l.Value))
		}
	}
	for _, s := range []string{
		``, `{}`, ` {"a":[1,2.5e-3,true,null,{"b":"\ud83d\ude00\n"}]} `, "\xef\xbb\xbf{}", `{"a":1,"\u0061":2}`,
		`{"event":"order.created","data":{}}`, `{"id":1e5,"timestamp":1.6e9}`, `[[[[]]]]`, `{"":"\u0000"}`,
		strings.Replace(balance, `"-100.000"`, `-1.5e-3`, 1),
	} {
		f.Add([]byte(s))
	}
	var m messages
	f.Fuzz(func(t *testing.T, data []byte) { agree(t, &m, data) })
}

// FuzzValue puts any bytes in the place of one value of a good message, so that
// the fields' own rules are reached, not only the scan's.
func FuzzValue(f *testing.F) {
	for message := range everyMessage {
		for place, raw := range []string{`-0.00`, `"1e2"`, `null`, `{"a":1,"a":2}`, `"\u00e9\ud83d\ude00"`, `18446744073709551615`, `"2024-01-15T10:30:00.5+02:00"`, `1.6310972802399391E+9`} {
			f.Add(uint8(message), uint8(place), []byte(raw))
		}
	}
	var m messages
	f.Fuzz(func(t *testing.T, message, place uint8, raw []byte) {
		base := everyMessage[int(message)%len(everyMessage)]
		values := valuesIn(t, base)
		at := values[int(place)%len(values)]
		agree(t, &m, slices.Concat([]byte(base[:at[0]]), raw, []byte(base[at[1]:])))
	})
}

// valuesIn finds where the values of a message's members begin and end.
func valuesIn(t *testing.T, base string) (found [][2]int) {
	d := jsontext.NewDecoder(strings.NewReader(base))
	for {
		_, err := d.ReadToken()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		kind, n := d.StackIndex(d.StackDepth())
		if kind != '{' || n%2 == 0 {
			continue // not behind a key
		}
		begin := int(d.InputOffset()) + len(":")
		if next := d.PeekKind(); next == '{' {
			continue
		}
		v, err := d.ReadValue()
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, [2]int{begin, begin + len(v)})
	}
}

// agree feeds the same bytes to every message's decoder and compares with what
// the references say.
func agree(t *testing.T, m *messages, data []byte) {
	valid := jsontext.Value(data).IsValid()
	isObject := valid && jsontext.Value(data).Kind() == '{'
	for _, base := range typeOf {
		err := m.decode(base, data)
		switch wrong, _ := errors.AsType[*Error](err); {
		case err == nil && !isObject:
			t.Errorf("accepted what is no JSON object: %q", data)
		case err == nil:
			checker{TB: t, value: data}.message(base, m)
		case wrong == ErrForeign:
			if base != engineOrder || !isObject {
				t.Errorf("%q is foreign", data)
			}
		case isSyntax(wrong) && isObject:
			t.Errorf("%s, but it is valid JSON: %q", wrong, data)
		default:
			printable(t, wrong)
			if !isObject && !isSyntax(wrong) && !isOther(wrong) {
				t.Errorf("%s, but the JSON is broken: %q", wrong, data)
			}
		}
	}
}

// isSyntax recognises the reasons about broken JSON.
func isSyntax(err *Error) bool {
	return (strings.HasPrefix(err.Reason, "byte ") || strings.HasPrefix(err.Reason, "the JSON ends")) && !strings.Contains(err.Reason, "nested")
}

// isOther recognises the reasons about a value as a whole, and about nesting.
func isOther(err *Error) bool {
	return strings.Contains(err.Reason, "nested") || strings.HasPrefix(err.Reason, "the value ") || strings.HasPrefix(err.Reason, "tombstone")
}
