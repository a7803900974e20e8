package event

import (
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// amountOf decodes an amount as it stands in JSON.
func amountOf(raw string) (Decimal, error) {
	var d Decoder
	var e Transfer
	value := fmt.Sprintf(`{"time":1631097274.0,"user_from":1,"user_to":2,"asset":"USDT","amount":%s}`, raw)
	err := d.Transfer([]byte(value), &e)
	return e.Amount, err
}

// dec is an amount that comes without its value.
func dec(text string) Decimal { return Decimal{Text: []byte(text)} }

func TestDecimal(t *testing.T) {
	long := strings.Repeat("9", maxDigits)
	for _, c := range []struct{ name, raw, want string }{
		{"integer", `"5"`, "5"},
		{"scale kept", `"500000.0"`, "500000.0"},
		{"zero with scale", `"0.000000"`, "0.000000"},
		{"29 digits", `"79228162514264337593543950335"`, "79228162514264337593543950335"},
		{"28 decimals", `"-0.0000000000000000000000000001"`, "-0.0000000000000000000000000001"},
		{"negative", `"-3.000001"`, "-3.000001"},
		{"JSON number", `-12.50`, "-12.50"},
		{"beyond float64", `9007199254740993.10`, "9007199254740993.10"},
		{"negative zero", `"-0.00"`, "0.00"},
		{"negative zero, number", `-0`, "0"},
		{"negative zero with exponent", `-0e-3`, "0.000"},
		{"leading zeros", `"007.50"`, "7.50"},
		{"leading zeros, negative", `"-007.50"`, "-7.50"},
		{"leading zeros only", `"000"`, "0"},
		{"leading zeros before the point", `"00.5"`, "0.5"},
		{"exponent", `1e3`, "1000"},
		{"exponent with plus", `"1.5E+3"`, "1500"},
		{"exponent within the decimals", `"1.2345e2"`, "123.45"},
		{"exponent keeps scale", `1.50e1`, "15.0"},
		{"negative exponent", `"25e-4"`, "0.0025"},
		{"negative exponent across the point", `"123.4e-2"`, "1.234"},
		{"exponent zero", `"1.10e0"`, "1.10"},
		{"exponent on zero", `"0e5"`, "0"},
		{"exponent with leading zeros", `"1e0000000000000000000000000000002"`, "100"},
		{"exponent of a small fraction", `"0.0015e2"`, "0.15"},
		{"escaped digits", `"\u0031\u002e5"`, "1.5"},
		{"longest", `"` + long + `"`, long},
		{"largest exponent", `1e999`, "1" + strings.Repeat("0", 999)},
		{"smallest exponent", `-1e-999`, "-0." + strings.Repeat("0", 998) + "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := amountOf(c.raw)
			if err != nil || string(got.Text) != c.want {
				t.Errorf("got %q (%v), expected %q", got.Text, err, c.want)
			}
		})
	}
	for name, raw := range map[string]string{
		"empty":                 `""`,
		"space":                 `" 1"`,
		"trailing space":        `"1 "`,
		"plus":                  `"+1"`,
		"bare leading point":    `".5"`,
		"bare trailing point":   `"5."`,
		"point only":            `"."`,
		"minus only":            `"-"`,
		"two signs":             `"--1"`,
		"two points":            `"1.2.3"`,
		"comma":                 `"1,5"`,
		"separator":             `"1_000"`,
		"NaN":                   `"NaN"`,
		"Infinity":              `"-Infinity"`,
		"hexadecimal":           `"0x10"`,
		"words":                 `"abc"`,
		"other digits":          `"\u0661"`,
		"bare exponent":         `"1e"`,
		"bare exponent sign":    `"1e-"`,
		"fractional exponent":   `"1e1.5"`,
		"no mantissa":           `"e5"`,
		"exponent too large":    `1e10000000`,
		"exponent too small":    `"1e-10000000"`,
		"exponent beyond int64": `1e99999999999999999999999999`,
		"zero, large exponent":  `0e10000000`,
		"too long":              `"` + long + `9"`,
		"too long by exponent":  `"12345e998"`,
		"a megabyte":            `"` + strings.Repeat("1", 1<<20) + `"`,
		"boolean":               `true`,
		"null":                  `null`,
		"array":                 `["1"]`,
		"object":                `{}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := amountOf(raw)
			wrong, ok := errors.AsType[*Error](err)
			if !ok || !strings.HasPrefix(wrong.Reason, "amount is ") {
				t.Fatalf("got %q and error %v, expected a reason with the field", got.Text, err)
			}
			printable(t, wrong)
		})
	}
}

var decimalGrammar = regexp.MustCompile(`^-?[0-9]+(\.([0-9]+))?([eE]([+-]?[0-9]+))?$`)

// leadingZero finds numbers that JSON does not have.
var leadingZero = regexp.MustCompile(`^-?0[0-9]`)

// exactly writes an amount out by way of exact fractions, and reports false for
// what is no amount or beyond the bounds on exponents.
func exactly(s string) (string, bool) {
	m := decimalGrammar.FindStringSubmatch(s)
	if m == nil {
		return "", false
	}
	exponent := new(big.Int)
	if m[4] != "" {
		exponent.SetString(m[4], 10)
	}
	if !exponent.IsInt64() || exponent.Int64() < -maxExponent || exponent.Int64() > maxExponent {
		return "", false
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return "", false
	}
	return r.FloatString(max(0, len(m[2])-int(exponent.Int64()))), true
}

// exponentOf is the magnitude of an exponent that is known to be one.
func exponentOf(s string) int {
	n, _ := strconv.Atoi(decimalGrammar.FindStringSubmatch(s)[4])
	return max(n, -n)
}

// FuzzDecimal compares with exact fractions, and holds the grammar against a
// regular expression.
func FuzzDecimal(f *testing.F) {
	for _, s := range []string{"1", "-0.00", "007.5", "1.50e1", "0.0015E-2", "1e1000", "-1e-1000", "", ".", "1e+", "9999999999999999999999999999.99"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range s {
			if c < ' ' || c > '~' || c == '"' || c == '\\' {
				return
			}
		}
		got, err := amountOf(`"` + s + `"`)
		want, ok := exactly(s)
		switch {
		case err == nil && !ok:
			t.Errorf("%q was accepted as %s", s, got.Text)
		case err == nil && string(got.Text) != want:
			t.Errorf("%q is %s, expected %s", s, got.Text, want)
		case err != nil && ok && len(s) < maxDigits/2 && exponentOf(s) < maxDigits/2:
			t.Errorf("%q was refused: %v", s, err)
		}
	})
}

func TestDifference(t *testing.T) {
	for _, c := range []struct{ name, a, b, want string }{
		{"none filled", "1.0", "0.0", "1.0"},
		{"all filled", "1.0", "1.00", "0.00"},
		{"greater scale wins", "1", "0.125", "0.875"},
		{"borrow through zeros", "1000.00", "0.01", "999.99"},
		{"overfilled", "1", "1.5", "-0.5"},
		{"zeros", "0", "0.000", "0.000"},
		{"negative fill adds, with a carry", "99.5", "-0.5", "100.0"},
		{"negative amount", "-1", "2", "-3"},
		{"both negative", "-1", "-2.5", "1.5"},
		{"29 digits", "79228162514264337593543950335", "0.0000000000000000000000000001", "79228162514264337593543950334.9999999999999999999999999999"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			if got := d.difference(dec(c.a), dec(c.b)); string(got.Text) != c.want {
				t.Errorf("%s - %s is %s, expected %s", c.a, c.b, got.Text, c.want)
			}
		})
	}
}

// FuzzDifference compares with exact fractions.
func FuzzDifference(f *testing.F) {
	f.Add("1.0", "0.25")
	f.Add("-3", "99999999999999999999.000000000000000001")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, errX := amountOf(`"` + a + `"`)
		y, errY := amountOf(`"` + b + `"`)
		if errX != nil || errY != nil {
			return
		}
		p, _ := new(big.Rat).SetString(string(x.Text))
		q, _ := new(big.Rat).SetString(string(y.Text))
		_, after, _ := strings.Cut(string(x.Text), ".")
		_, more, _ := strings.Cut(string(y.Text), ".")
		want := p.Sub(p, q).FloatString(max(len(after), len(more)))
		var d Decoder
		if got := d.difference(x, y); string(got.Text) != want {
			t.Errorf("%s - %s is %s, expected %s", x.Text, y.Text, got.Text, want)
		}
	})
}
