package replay

import (
	"encoding/json"
	"strings"
	"testing"
)

// Long texts are cut in examples, between characters.
func TestFieldsOfExamples(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("é", 60):       strings.Repeat("é", 60),
		"a" + strings.Repeat("é", 60): "a" + strings.Repeat("é", 56) + "…",
		strings.Repeat("a", 61):       strings.Repeat("a", 57) + "…",
	} {
		row, err := json.Marshal(map[string]any{"detail": text, "amount": json.Number("1.50"), "signature": nil})
		if err != nil {
			t.Fatal(err)
		}
		got := fields(new(string(row)))
		if got["detail"] != want || got["amount"] != "1.50" || got["signature"] != "NULL" {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
