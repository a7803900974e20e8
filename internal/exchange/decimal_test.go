package exchange

import (
	"math/rand/v2"
	"testing"

	shopspring "github.com/shopspring/decimal"
)

func TestDecimalScalesAreRustDecimals(t *testing.T) {
	d := func(s string) decimal { return must(t, s) }
	tests := map[string]struct{ got, want string }{
		"sum keeps the larger scale":         {d("1.50").plus(d("2.5")).String(), "4.00"},
		"zero adds nothing, not even digits": {d("0.0000").plus(d("2.5")).String(), "2.5"},
		"adding zero changes nothing":        {d("2.5").plus(d("0.0000")).String(), "2.5"},
		"difference of equals keeps scale":   {d("1.50").minus(d("1.5")).String(), "0.00"},
		"below zero":                         {d("1").minus(d("3.000001")).String(), "-2.000001"},
		"product adds scales":                {d("23.023").times(d("13.1836")).String(), "303.5260228"},
		"product with zero is plain":         {d("23.023").times(d("0.00")).String(), "0"},
		"negative product":                   {d("50.50").times(d("-0.0002")).String(), "-0.010100"},
		"zero gets the precision":            {d("0").truncated(8).String(), "0.00000000"},
		"fewer decimals stay":                {d("1.5").truncated(8).String(), "1.5"},
		"toward zero":                        {d("-1.567").truncated(2).String(), "-1.56"},
		"to nothing":                         {d("-0.0001").truncated(2).String(), "0.00"},
		"quotient is cut":                    {d("100").quotient(d("3.00"), 4).String(), "33.3333"},
		"stripped":                           {d("100.500").stripped().String(), "100.5"},
		"stripped whole":                     {d("100.000").stripped().String(), "100"},
		"29 digits":                          {d("79228162514264337593543950335").String(), "79228162514264337593543950335"},
		"28 decimals":                        {d("0.0000000000000000000000000001").String(), "0.0000000000000000000000000001"},
		"128 bits":                           {d("7922816251426433759.3543950335").plus(d("0.0000000001")).String(), "7922816251426433759.3543950336"},
	}
	for name, test := range tests {
		if test.got != test.want {
			t.Errorf("%s: got %s, want %s", name, test.got, test.want)
		}
	}
}

func TestParseDecimalRefuses(t *testing.T) {
	for _, s := range []string{"", "-", ".5", "1.", "1e3", "+1", "1,0", "--1", "1.2.3", " 1", "NaN", "123456789012345678901234567890"} {
		if d, err := parseDecimal(s); err == nil {
			t.Errorf("%q was read as %s", s, d)
		}
	}
}

func TestDecimalAgreesWithShopspring(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	draw := func() (decimal, shopspring.Decimal) {
		n, scale := random.Int64N(1<<random.IntN(62)+1), uint8(random.IntN(9))
		if random.IntN(2) == 0 {
			n = -n
		}
		return newDecimal(n, scale), shopspring.New(n, -int32(scale))
	}
	for range 20_000 {
		a, sa := draw()
		b, sb := draw()
		for name, pair := range map[string][2]string{
			"+":     {a.plus(b).stripped().String(), sa.Add(sb).String()},
			"-":     {a.minus(b).stripped().String(), sa.Sub(sb).String()},
			"*":     {a.times(b).stripped().String(), sa.Mul(sb).String()},
			"trunc": {a.times(b).truncated(3).stripped().String(), sa.Mul(sb).Truncate(3).String()},
		} {
			if pair[0] != pair[1] {
				t.Fatalf("%s %s %s: %s, want %s", a, name, b, pair[0], pair[1])
			}
		}
		if a.compare(b) != sa.Cmp(sb) {
			t.Fatalf("%s and %s compare as %d", a, b, a.compare(b))
		}
		if b.lo != 0 {
			q, _ := sa.Abs().QuoRem(sb.Abs(), 4)
			a.neg, b.neg = false, false
			if got := a.quotient(b, 4).stripped().String(); got != q.String() {
				t.Fatalf("%s / %s = %s, want %s", a, b, got, q)
			}
		}
	}
}

func TestAppendSeconds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		micros := 946684800_000000 + random.Int64N(3155760000_000000) // 2000 to 2100
		if random.IntN(3) == 0 {
			micros -= micros % int64(pow10[1+random.IntN(6)])
		}
		got := string(appendSeconds(nil, micros))
		if want := shortest(float64(micros) / 1e6); got != want {
			t.Fatalf("%d: %s, want %s", micros, got, want)
		}
	}
}
