package event

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestWindow compares what is read by words with what is read byte by byte: any
// text over a few bytes, behind a key.
func TestWindow(t *testing.T) {
	const key = `,"amount":`
	texts := []string{""}
	for from := 0; len(texts) < 40_000; {
		to := len(texts)
		for _, text := range texts[from:to] {
			for _, c := range "019.-/:\" " {
				texts = append(texts, text+string(c))
			}
		}
		from = to
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		b := make([]byte, random.IntN(24))
		for i := range b {
			b[i] = "0123456789"[random.IntN(10)]
		}
		for n := random.IntN(3); n > 0 && len(b) > 0; n-- {
			b[random.IntN(len(b))] = "..-0\"\\e&*\x00\x7f\x80\xff"[random.IntN(13)]
		}
		texts = append(texts, string(b), "1700000000."+string(b))
	}
	for _, length := range []int{1, 7, 8, 9, 15, 16, 17, 18} {
		for i := range length {
			texts = append(texts, strings.Repeat("1", i)+"."+strings.Repeat("2", length-i), strings.Repeat("7", length))
		}
	}
	taken := 0
	for _, read := range []struct {
		name         string
		quote        string
		words, bytes func(c *cursor) any
	}{
		{"decimal", `"`, func(c *cursor) any { return string(c.decimal(key + `"`)) }, func(c *cursor) any { return string(c.anyDecimal()) }},
		{"text", `"`, func(c *cursor) any { return string(c.text(key + `"`)) }, func(c *cursor) any { return string(c.anyText()) }},
		{"integer", ``, func(c *cursor) any { return c.integer(key) }, func(c *cursor) any { return c.anyInteger() }},
		{"time", ``, func(c *cursor) any { return c.time(key) }, func(c *cursor) any { return c.anyTime() }},
	} {
		for _, text := range texts {
			src := []byte(key + read.quote + text + read.quote + `,"remain":"12345.678"}`)
			outcome := func(at int, value func(c *cursor) any) string {
				c := cursor{src: src, at: at}
				got := value(&c)
				if c.src == nil {
					return "stranded"
				}
				taken++
				return fmt.Sprintf("%v to %d", got, c.at)
			}
			words, bytes := outcome(0, read.words), outcome(len(key+read.quote), read.bytes)
			if words != bytes {
				t.Fatalf("%s of %q: %s by words, %s byte by byte", read.name, text, words, bytes)
			}
		}
	}
	if taken < 100_000 {
		t.Errorf("only %d were good", taken)
	}
}
