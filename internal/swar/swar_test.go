package swar

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestEightDigitsAtOnce(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		n := random.Uint64N(100_000_000)
		text := fmt.Appendf(nil, "%08d", n)
		if got := Eight(binary.LittleEndian.Uint64(text) ^ Noughts); got != n {
			t.Fatalf("%s: got %d", text, got)
		}
		at := random.IntN(9)
		if at < 8 {
			text[at] = '.'
		}
		if got := Point(binary.LittleEndian.Uint64(text) ^ Noughts); got != at {
			t.Fatalf("%s: the point is at %d, got %d", text, at, got)
		}
	}
}
