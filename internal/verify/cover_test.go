package verify

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestCover compares the bitmaps with a plain map, over random positions.
func TestCover(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		first := r.Int64N(200_000)
		next := first + r.Int64N(1_000)
		c := &cover{}
		counts := map[int64]int{}
		for range r.IntN(1500) {
			position := first + r.Int64N(max(next-first, 1))
			k := r.IntN(kinds)
			if c.sets[k].add(position) {
				counts[position]++
			}
		}
		for range r.IntN(4) {
			at := first + r.Int64N(max(next-first, 1))
			g := Range{at, min(at+r.Int64N(100), next)}
			c.gaps = append(c.gaps, g)
			for p := g.First; p <= g.Last; p++ {
				counts[p]++
			}
		}
		var missing, twice []int64
		for p := first; p < next; p++ {
			if counts[p] == 0 {
				missing = append(missing, p)
			}
			if counts[p] > 1 {
				twice = append(twice, p)
			}
		}
		lack, double := c.judge(first, next)
		var gotMissing, gotTwice []int64
		for _, m := range lack {
			for p := m.First; p <= m.Last; p++ {
				gotMissing = append(gotMissing, p)
			}
		}
		for _, d := range double {
			for p := d.First; p <= d.Last && p < next; p++ {
				gotTwice = append(gotTwice, p)
			}
		}
		slices.Sort(gotTwice)
		gotTwice = slices.Compact(gotTwice)
		if !slices.Equal(missing, gotMissing) || !slices.Equal(twice, gotTwice) {
			t.Fatalf("seed %d: missing %v, got %v; twice %v, got %v", seed, missing, gotMissing, twice, gotTwice)
		}
	}
}

// TestCoverIsSparse judges a range that no memory could hold a bit each for.
func TestCoverIsSparse(t *testing.T) {
	c := &cover{gaps: []Range{{5, 1 << 60}}}
	for p := range int64(5) {
		c.sets[aRow].add(p)
	}
	c.sets[aRow].add(1<<60 + 1)
	missing, twice := c.judge(0, 1<<60+3)
	if len(twice) != 0 || len(missing) != 1 || missing[0] != (Range{1<<60 + 2, 1<<60 + 2}) {
		t.Errorf("%v %v", missing, twice)
	}
}

func BenchmarkAdd(b *testing.B) {
	for b.Loop() {
		var s set
		for p := range int64(1_000_000) {
			s.add(p)
		}
	}
}
