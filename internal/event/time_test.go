package event

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

// secondsOf decodes an engine's time as it stands in JSON.
func secondsOf(raw string) (Micros, error) {
	var d Decoder
	var e Transfer
	value := fmt.Sprintf(`{"time":%s,"user_from":1,"user_to":2,"asset":"USDT","amount":"1"}`, raw)
	err := d.Transfer([]byte(value), &e)
	return e.Time, err
}

// isoOf decodes a documented time.
func isoOf(t testing.TB, s string) (Micros, error) {
	var d Decoder
	var e Trade
	err := d.Trade(edit(t, documentedTrade, "2024-01-15T10:30:00.000Z", s), &e)
	return e.Time, err
}

func TestEngineTime(t *testing.T) {
	for _, c := range []struct {
		name, raw string
		want      Micros
	}{
		{"whole seconds", "1631097273.0", 1631097273000000},
		{"no point", "1631097273", 1631097273000000},
		{"µs", "1631097280.812695", 1631097280812695},
		{"what truncation gets wrong", "1631097274.239939", 1631097274239939},
		{"noise rounded up", "1795448409.9396558", 1795448409939656},
		{"noise rounded down", "1795448409.9396554999999", 1795448409939655},
		{"half a µs", "1795448409.9396555", 1795448409939656},
		{"rounded into the next second", "1795448409.9999999", 1795448410000000},
		{"exponent", "1.631097273e9", 1631097273000000},
		{"exponent with fraction", "1.6310972802399391E+9", 1631097280239939},
		{"negative exponent", "1631097280239939e-6", 1631097280239939},
		{"large mantissa, small exponent", "1631097280239939" + strings.Repeat("0", 100) + "e-106", 1631097280239939},
		{"small mantissa", "0.000001631097273e15", 1631097273000000},
		{"first", "946684800.0", minTime},
		{"rounded up to the first", "946684799.9999995", minTime},
		{"last", "4102444799.999999", maxTime - 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := secondsOf(c.raw)
			if err != nil || got != c.want {
				t.Errorf("got %d (%v), expected %d", got, err, c.want)
			}
		})
	}
	for name, raw := range map[string]string{
		"before 2000":       "946684799.999999",
		"2100":              "4102444800.0",
		"rounded up to it":  "4102444799.9999999",
		"zero":              "0.0",
		"negative":          "-1631097273.0",
		"milliseconds":      "1631097273000",
		"year 9999":         "253402300799.0",
		"absurd exponent":   "1e999999999999999999999",
		"absurdly small":    "1e-999999999999999999999",
		"zero, absurd":      "0e999999999999999999999",
		"many digits":       strings.Repeat("9", 100_000),
		"a string":          `"1631097273.0"`,
		"an ISO time":       `"2021-09-08T10:34:33Z"`,
		"null":              "null",
		"a boolean":         "true",
		"seconds in object": `{"secs":1631097273}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := secondsOf(raw)
			wrong, ok := errors.AsType[*Error](err)
			if !ok || !strings.HasPrefix(wrong.Reason, "time is ") {
				t.Fatalf("got %d and error %v, expected a reason with the field", got, err)
			}
			printable(t, wrong)
		})
	}
}

func TestISOTime(t *testing.T) {
	for _, c := range []struct {
		name, raw string
		want      Micros
	}{
		{"ms", "2024-01-15T10:30:00.123Z", 1705314600123000},
		{"no fraction", "2024-01-15T10:30:00Z", 1705314600000000},
		{"one digit", "2024-01-15T10:30:00.5Z", 1705314600500000},
		{"µs", "2024-01-15T10:30:00.123456Z", 1705314600123456},
		{"ns rounded", "2024-01-15T10:30:00.123456789Z", 1705314600123457},
		{"many digits", "2024-01-15T10:30:00.12345649999999999999Z", 1705314600123456},
		{"rounded into the next year", "2023-12-31T23:59:59.9999999Z", 1704067200000000},
		{"east", "2024-01-15T12:30:00.000+02:00", 1705314600000000},
		{"west", "2024-01-15T05:00:00-05:30", 1705314600000000},
		{"offset zero", "2024-01-15T10:30:00-00:00", 1705314600000000},
		{"leap day", "2024-02-29T00:00:00Z", 1709164800000000},
		{"first", "2000-01-01T00:00:00Z", minTime},
		{"last", "2099-12-31T23:59:59.999999Z", maxTime - 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := isoOf(t, c.raw)
			if err != nil || got != c.want {
				t.Errorf("got %d (%v), expected %d", got, err, c.want)
			}
		})
	}
	for name, raw := range map[string]string{
		"empty":             "",
		"no zone":           "2024-01-15T10:30:00",
		"no zone, fraction": "2024-01-15T10:30:00.123",
		"date only":         "2024-01-15",
		"space for T":       "2024-01-15 10:30:00Z",
		"no seconds":        "2024-01-15T10:30Z",
		"month 0":           "2024-00-15T10:30:00Z",
		"month 13":          "2024-13-15T10:30:00Z",
		"day 0":             "2024-01-00T10:30:00Z",
		"30 February":       "2024-02-30T10:30:00Z",
		"29 February 2023":  "2023-02-29T10:30:00Z",
		"hour 24":           "2024-01-15T24:00:00Z",
		"minute 60":         "2024-01-15T10:60:00Z",
		"leap second":       "2016-12-31T23:59:60Z",
		"bare point":        "2024-01-15T10:30:00.Z",
		"offset hour 24":    "2024-01-15T10:30:00+24:00",
		"offset minute 60":  "2024-01-15T10:30:00+00:60",
		"offset cut":        "2024-01-15T10:30:00+02",
		"named zone":        "2024-01-15T10:30:00 UTC",
		"trailing bytes":    "2024-01-15T10:30:00Zx",
		"before 2000":       "1999-12-31T23:59:59.999999Z",
		"2100":              "2100-01-01T00:00:00Z",
		"rounded up to it":  "2099-12-31T23:59:59.9999999Z",
		"negative year":     "-024-01-15T10:30:00Z",
		"epoch":             "1705314600",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := isoOf(t, raw)
			wrong, ok := errors.AsType[*Error](err)
			if !ok || !strings.HasPrefix(wrong.Reason, "timestamp is ") {
				t.Fatalf("got %d and error %v, expected a reason with the field", got, err)
			}
		})
	}
}

// FuzzEngineTime compares with exact fractions.
func FuzzEngineTime(f *testing.F) {
	for _, s := range []string{"1631097274.239939", "1795448409.9396558", "1.6e9", "16310972802399395e-7", "0.0", "-1", "4102444799.9999995"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m := decimalGrammar.FindStringSubmatch(s)
		if m == nil || len(m[4]) > 5 {
			return
		}
		r, _ := new(big.Rat).SetString(s)
		r.Mul(r, big.NewRat(1_000_000, 1)).Add(r, big.NewRat(1, 2))
		want := new(big.Int).Div(r.Num(), r.Denom())
		inside := want.Cmp(big.NewInt(int64(minTime))) >= 0 && want.Cmp(big.NewInt(int64(maxTime))) < 0
		got, err := secondsOf(s)
		switch {
		case err == nil && (!inside || got != Micros(want.Int64())):
			t.Errorf("%s is %d, expected %d", s, got, want)
		case err != nil && inside && !leadingZero.MatchString(s):
			t.Errorf("%s was refused: %v", s, err)
		}
	})
}

// FuzzISOTime compares with the time package.
func FuzzISOTime(f *testing.F) {
	for _, s := range []string{"2024-01-15T10:30:00.000Z", "2024-02-29T23:59:59.9999995+14:00", "2099-12-31T23:59:59-00:30", "2000-01-01T00:00:00Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseISO([]byte(s))
		if _, fraction, _ := strings.Cut(s, "."); len(fraction) > len("123456789+00:00") {
			return // the time package ends at ns
		}
		want, err := time.Parse(time.RFC3339, s)
		switch {
		case ok && err != nil:
			t.Errorf("%q was accepted: %v", s, err)
		case ok && got != Micros(want.Unix()*1_000_000+int64(want.Nanosecond()+500)/1000):
			t.Errorf("%q is %d, expected %v", s, got, want)
		}
	})
}
