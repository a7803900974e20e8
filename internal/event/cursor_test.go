package event

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/thaliumx/persistor/internal/amount"
)

// TestWindow compares what is read by words with what is read byte by byte: any
// text over a few bytes.
func TestWindow(t *testing.T) {
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
		words, bytes func(c *cursor, at int) (any, int)
	}{
		{"decimal", readerOf((*cursor).decimal), readerOf((*cursor).anyDecimal)},
		{"text", readerOf((*cursor).text), readerOf((*cursor).anyText)},
		{"name", readerOf((*cursor).name), readerOf((*cursor).anyText)},
		{"integer", readerOf((*cursor).integer), readerOf((*cursor).anyInteger)},
		{"time", readerOf((*cursor).time), readerOf((*cursor).anyTime)},
	} {
		for _, text := range texts {
			c := cursor{src: []byte(text + `","remain":"12345.678"}`)}
			if read.name == "integer" || read.name == "time" {
				c.src = []byte(text + `,"remain":"12345.678"}`)
			}
			outcome := func(read func(c *cursor, at int) (any, int)) string {
				got, end := read(&c, 0)
				if end == c.astray() {
					return "astray"
				}
				taken++
				return fmt.Sprintf("%v to %d", got, end)
			}
			words, bytes := outcome(read.words), outcome(read.bytes)
			if words != bytes {
				t.Fatalf("%s of %q: %s by words, %s byte by byte", read.name, text, words, bytes)
			}
		}
	}
	if taken < 100_000 {
		t.Errorf("only %d were good", taken)
	}
}

func readerOf[T any](read func(*cursor, int) (T, int)) func(*cursor, int) (any, int) {
	return func(c *cursor, at int) (any, int) {
		v, end := read(c, at)
		if d, ok := any(v).(Decimal); ok {
			return string(d.Text), end
		}
		return v, end
	}
}

// TestValues compares the values that decimals come with to what their texts say.
func TestValues(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	read := 0
	for range 300_000 {
		whole, fraction := random.IntN(10), random.IntN(12)
		text := strconv.FormatUint(random.Uint64()%uint64(math.Pow10(whole)), 10)
		if fraction > 0 {
			text += fmt.Sprintf(".%0*d", fraction, random.Uint64()%uint64(math.Pow10(fraction)))
		}
		c := cursor{src: []byte(text + `","remain":"12345.678"}`), reckons: true}
		d, end := c.decimal(0)
		if string(d.Text) != text || end != len(text)+1 {
			t.Fatalf("%s is read as %s, to %d", text, d.Text, end)
		}
		if d.value.Known() {
			read++
		}
		got, want := d.Amount(), amount.Of([]byte(text))
		if got != want || !d.Is(&want) {
			t.Fatalf("%s is read as %s", text, got)
		}
		other := want.Add(amount.Of([]byte("0.000000000001")))
		if d.Is(&other) {
			t.Fatalf("%s is said to be %s", text, other)
		}
		if again := want.Add(amount.Of([]byte("0.000000000000"))); !d.Is(&again) {
			t.Fatalf("%s is said not to be %s with more decimals", text, again)
		}
	}
	if read < 100_000 {
		t.Errorf("only %d came with their values", read)
	}
}
