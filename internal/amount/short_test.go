package amount

import "testing"

func TestShort(t *testing.T) {
	for text, fits := range map[string]bool{
		"0":                    true,
		"0.000000000000000":    true,
		"0.0000000000000000":   false,
		"-0.000000000000001":   true,
		"288230376151711743":   true, // 2^58 - 1
		"-2882303761517117.43": true,
		"288230376151711744":   false,
		"18446744073709551616": false, // 2^64
		"340282366920938463463374607431768211456": false, // 2^128
	} {
		a := Of([]byte(text))
		s, ok := a.Short()
		if ok != fits || ok && (s.Amount() != a || !s.Known() || !s.Looks(&a)) {
			t.Errorf("%s: fits %v, is %v", text, ok, s.Amount())
		}
	}
	var none Short
	if a := (Amount{}); none.Known() || none.Looks(&a) {
		t.Error("nothing is a number")
	}
}
