package store

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
)

var amounts = []string{
	"0", "0.0", "0.00000000", "1", "-1", "10", "9999", "10000", "10001", "100000000", "-0.0101000",
	"0.1", "0.0001", "0.00010", "0.00001", "0.000000000000000000000000001", "42500.00", "1.10",
	"79228162514264337593543950335", "-7922816251426433759354395.0335", "0.7922816251426433759354395033",
	"12345678901234567890123456789.12345678901234567890123456789",
	"500000.0", "100.00", "1000", "10000.0000", "99990000", "0.99990000", "9999.9999",
	strings.Repeat("9", 1000), "0." + strings.Repeat("0", 999) + "1", "-" + strings.Repeat("1234567890", 50) + "." + strings.Repeat("9876543210", 50),
}

func TestAppendNumericIsWhatPgxWouldSend(t *testing.T) {
	for _, text := range amounts {
		checkNumeric(t, text)
	}
}

var plain = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

// FuzzAppendNumeric compares the encoder with pgx's decoder of the same form,
// digit for digit, and checks what the server's own encoder would leave out.
func FuzzAppendNumeric(f *testing.F) {
	for _, text := range amounts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		// The decoder lets through plain notation only, and no negative zero.
		if !plain.MatchString(text) || len(text) > 4000 || strings.Trim(text, "-0.") == "" && text[0] == '-' {
			t.Skip()
		}
		checkNumeric(t, text)
	})
}

func checkNumeric(t *testing.T, text string) {
	t.Helper()
	prefix := []byte("before")
	field := appendNumeric(bytes.Clone(prefix), []byte(text))[len(prefix):]
	if n := binary.BigEndian.Uint32(field); int(n) != len(field)-4 {
		t.Fatalf("%s: the field says %d bytes and has %d", text, n, len(field)-4)
	}
	body := field[4:]
	var n pgtype.Numeric
	if err := pgtype.NewMap().Scan(pgtype.NumericOID, pgtype.BinaryFormatCode, body, &n); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	scale := int(binary.BigEndian.Uint16(body[6:]))
	if got := render(&n, scale); got != text {
		t.Fatalf("%s is encoded as %s: % x", text, got, body)
	}
	if digits := body[8:]; len(digits) > 0 && (bytes.HasPrefix(digits, []byte{0, 0}) || bytes.HasSuffix(digits, []byte{0, 0}) && len(digits)%2 == 0 &&
		binary.BigEndian.Uint16(digits[len(digits)-2:]) == 0) {
		t.Fatalf("%s: zero digits at an end: % x", text, body)
	}
}

// render writes a pgx numeric in plain notation with the scale given.
func render(n *pgtype.Numeric, scale int) string {
	digits, sign := n.Int.String(), ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	// Bring Int * 10^Exp to Int' * 10^-scale.
	for e := int(n.Exp); e > -scale; e-- {
		digits += "0"
	}
	for e := int(n.Exp); e < -scale; e++ {
		if !strings.HasSuffix(digits, "0") {
			return "more digits than its scale"
		}
		digits = digits[:len(digits)-1]
	}
	for len(digits) <= scale {
		digits = "0" + digits
	}
	digits = strings.TrimLeft(digits[:len(digits)-scale], "0") + "." + digits[len(digits)-scale:]
	digits = strings.TrimSuffix(digits, ".")
	if digits == "" || digits[0] == '.' {
		digits = "0" + digits
	}
	return sign + digits
}

// The server is the judge: what it sends for a text's numeric is byte for byte
// what we send, and it shows the text again.
func TestAppendNumericIsWhatTheServerWouldSend(t *testing.T) {
	r := newRig(t)
	for _, text := range amounts {
		var sent []byte
		if err := r.conn.QueryRow(t.Context(), "SELECT numeric_send($1::text::numeric)", text).Scan(&sent); err != nil {
			t.Fatal(err)
		}
		if ours := appendNumeric(nil, []byte(text))[4:]; !bytes.Equal(ours, sent) {
			t.Errorf("%s: we send\n% x, the server\n% x", text, ours, sent)
		}
	}
}
