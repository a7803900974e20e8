package amount

import (
	"bytes"
	"math/big"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
)

func of(t testing.TB, text string) Amount {
	t.Helper()
	a, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestParseAndPrint(t *testing.T) {
	long := strings.Repeat("9", 1000)
	tests := map[string]string{
		"0": "0", "0.000": "0", "-0.00": "0", "10": "10", "1.50": "1.5", "-3.000001": "-3.000001", "100.00": "100",
		"0.10": "0.1", "-0.0101000": "-0.0101", "000.5": "0.5", "007": "7",
		"18446744073709551615": "18446744073709551615", "18446744073709551616.5": "18446744073709551616.5",
		"1234567890123456789.0": "1234567890123456789", "12345678901234567890.10": "12345678901234567890.1",
		"340282366920938463463374607431768211455": "340282366920938463463374607431768211455",
		"340282366920938463463374607431768211456": "340282366920938463463374607431768211456",
		"79228162514264337593543950335.000":       "79228162514264337593543950335",
		long:                                      long, "-0." + long: "-0." + long,
		"1" + strings.Repeat("0", 60) + ".0000": "1" + strings.Repeat("0", 60),
	}
	for text, want := range tests {
		if got := of(t, text).String(); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	for _, text := range []string{"", "-", ".", "1.", ".5", "+1", "1e5", "1.2.3", "--1", "1-", " 1", "NaN", "1_0", strings.Repeat("9", 50) + ".", "." + strings.Repeat("9", 50),
		strings.Repeat("9", 50) + "x", "12345678901234567890.", "12345678901234567890123x", strings.Repeat("9", 25) + "." + strings.Repeat("9", 25) + "."} {
		if a, err := Parse([]byte(text)); err == nil {
			t.Errorf("%q is read as %s", text, a)
		}
	}
	if got := Of(nil); !got.IsZero() || got.Sign() != 0 {
		t.Errorf("absent is %s", got)
	}
}

// Every length has its own way through the words, and every place of the point.
func TestParseAtEveryLength(t *testing.T) {
	plain := regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)
	random := rand.New(rand.NewPCG(3, 4))
	read := 0
	for range 200_000 {
		text := make([]byte, random.IntN(24))
		for i := range text {
			text[i] = byte('0' + random.IntN(10))
		}
		for range min(random.IntN(3), len(text)) {
			text[random.IntN(len(text))] = "../:-0\x00\xae\xff"[random.IntN(9)]
		}
		a, err := Parse(text)
		if (err == nil) != plain.Match(text) {
			t.Fatalf("%q: %v, %v", text, a, err)
		}
		if err != nil {
			continue
		}
		read++
		if want := decimal.RequireFromString(string(text)); a.String() != want.String() || a.scale() != -want.Exponent() || !a.Is(text) {
			t.Fatalf("%q: got %s with scale %d", text, a, a.scale())
		}
	}
	if read < 50_000 {
		t.Errorf("only %d are numbers", read)
	}
}

func TestIsAgreesWithSame(t *testing.T) {
	texts := []string{"", "-", "1.", "x", "0", "0.000", "-0", "1", "1.0", "-1", "-1.0", "1.5", "1.50", "15", "0.15", "1234567890123456789", "12345678901234567890",
		"12345678901234567890.0", "18446744073709551616", "1" + strings.Repeat("0", 40), "0." + strings.Repeat("0", 30) + "1"}
	equal := 0
	for _, number := range texts {
		for _, text := range texts {
			a, b := Of([]byte(number)), Of([]byte(text))
			if got := a.Is([]byte(text)); got != (a.Cmp(&b) == 0) {
				t.Errorf("%q is %q: %v", number, text, got)
			} else if got {
				equal++
			}
		}
	}
	if equal <= len(texts) {
		t.Error("no two texts are the same number")
	}
}

func TestScaleIsKept(t *testing.T) {
	for _, text := range []string{"0", "0.000", "1.50", "-0.0101000", "100.00", "12345678901234567890.100"} {
		if got := string(of(t, text).AppendScaled(nil)); got != text {
			t.Errorf("got %s, want %s", got, text)
		}
	}
}

func TestBigComesBack(t *testing.T) {
	large := of(t, "1"+strings.Repeat("0", 500)+"."+strings.Repeat("7", 400))
	small := of(t, "3.25")
	back := large.Add(small).Sub(large)
	if back.big != nil || !back.Equal(small) {
		t.Errorf("got %s (%+v), want 3.25", back, back)
	}
	if got := large.Mul(of(t, "0")); !got.IsZero() || got.big != nil {
		t.Errorf("times 0: %s", got)
	}
}

// check compares every operation on two numbers with another implementation's.
func check(t *testing.T, a, b Amount, x, y decimal.Decimal) {
	t.Helper()
	same := func(what string, got Amount, want decimal.Decimal) {
		t.Helper()
		if got.String() != want.String() {
			t.Errorf("%s: %s and %s: got %s, want %s", what, x, y, got, want)
		}
		if got.neg() && got.IsZero() || got.big != nil && got.big.BitLen() <= 128 {
			t.Errorf("%s: %s and %s: not in normal form: %+v", what, x, y, got)
		}
		encoded := got.Append([]byte("x"))[1:]
		again, rest, err := Decode(append(encoded, 'y'))
		if err != nil || string(rest) != "y" || !again.Equal(got) || again.form != got.form {
			t.Errorf("%s: %s decodes as %s, %q, %v", what, got, again, rest, err)
		}
	}
	same("first", a, x)
	same("sum", a.Add(b), x.Add(y))
	same("difference", a.Sub(b), x.Sub(y))
	same("product", a.Mul(b), x.Mul(y))
	same("negation", a.Neg(), x.Neg())
	if a.Cmp(&b) != x.Cmp(y) || b.Cmp(&a) != y.Cmp(x) || a.Equal(b) != x.Equal(y) || a.Sign() != x.Sign() {
		t.Errorf("%s and %s: compare %d, want %d", x, y, a.Cmp(&b), x.Cmp(y))
	}
}

func FuzzAgainstShopspring(f *testing.F) {
	seeds := []string{"0", "-1", "0.1", "-0.000", "500000.0", "79228162514264337593543950335", "0.0000000000000000000000000001",
		"340282366920938463463374607431768211455", "-340282366920938463463374607431768211455.5", "18446744073709551615", "18446744073709551616",
		strings.Repeat("9", 40) + "." + strings.Repeat("9", 60), "1" + strings.Repeat("0", 50), "12345.67890000"}
	for _, a := range seeds {
		for _, b := range seeds {
			f.Add(a, b)
		}
	}
	f.Fuzz(func(t *testing.T, p, q string) {
		if len(p) > 400 || len(q) > 400 || strings.ContainsAny(p+q, "eE+") {
			return
		}
		a, err := Parse([]byte(p))
		if err != nil {
			return
		}
		b, err := Parse([]byte(q))
		if err != nil {
			return
		}
		check(t, a, b, decimal.RequireFromString(p), decimal.RequireFromString(q))
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0, 0})
	f.Add(of(f, strings.Repeat("9", 80)).Append(nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, rest, err := Decode(in)
		if err != nil {
			return
		}
		b, _, err := Decode(a.Append(nil))
		if err != nil || !b.Equal(a) || len(rest) > len(in) {
			t.Errorf("%x: %s, then %s, %v", in, a, b, err)
		}
	})
}

func TestCoefficients(t *testing.T) {
	n, _ := new(big.Int).SetString("340282366920938463463374607431768211455", 10)
	if got := of(t, "34028236692093846346337460743176821.1455").coefficient(); got.Cmp(n) != 0 {
		t.Errorf("got %s", got)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	price, amount, balance := []byte("42974.83"), []byte("0.02264"), []byte("1461431.55886667")
	out := make([]byte, 0, 64)
	allocated := testing.AllocsPerRun(100, func() {
		b := Of(balance)
		q := Of(price).Mul(Of(amount))
		b = b.Sub(q).Add(q.Neg())
		if b.Cmp(&q) < 0 || b.Equal(q) || b.Sign() < 0 {
			t.Fatal(b)
		}
		out = b.AppendTo(out[:0])
	})
	if allocated != 0 || !bytes.Equal(out, []byte("1459485.65856427")) {
		t.Errorf("%v allocations, %s", allocated, out)
	}
}

func BenchmarkTrade(b *testing.B) {
	price, amount, balance := []byte("42974.83"), []byte("0.02264"), []byte("1461431.55886667")
	for b.Loop() {
		x := Of(balance)
		q := Of(price).Mul(Of(amount))
		if x.Sub(q).Equal(x) {
			b.Fatal(x)
		}
	}
}
