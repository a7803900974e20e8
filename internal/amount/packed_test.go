package amount

import "testing"

func TestPacked(t *testing.T) {
	for text, fits := range map[string]bool{
		"0":                               true,
		"-0.000000000000000001":           true,
		"79228162514264337593543950335":   true, // 2^96 - 1
		"-792281625142643375935439503.36": false,
		"340282366920938463463374607431768211456": false, // 2^128
	} {
		a := Of([]byte(text))
		var p Packed
		if ok := p.Pack(&a); ok != fits || ok && p.Amount() != a {
			t.Errorf("%s: fits %v, unpacked %v", text, ok, p.Amount())
		}
	}
}
