package replay

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestPlannedGaps compares the arithmetic of ranges with that of single
// positions, over random partitions.
func TestPlannedGaps(t *testing.T) {
	const length = 60
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		// What each position should be: a gap, one that may be in a gap, or not.
		kinds := make([]int, length)
		kind := 0
		for i := range kinds {
			if r.IntN(5) == 0 {
				kind = r.IntN(3)
			}
			kinds[i] = kind
		}
		var free []gap
		for i := 0; i < length; {
			j := i
			for j < length && kinds[j] == kinds[i] {
				j++
			}
			switch kinds[i] {
			case 1:
				free = append(free, gap{int64(i), int64(j - 1), "lost"})
			case 2:
				free = append(free, gap{int64(i), int64(j - 1), ""})
			}
			i = j
		}
		var p positions
		for i := range int64(length) {
			if r.IntN(6) == 0 {
				p.taken = appendRange(p.taken, i)
				kinds[i] = 0
			}
		}
		var live []gap
		for at := int64(0); at < length; {
			first := at + r.Int64N(12)
			g := gap{first, first + r.Int64N(9), []string{"control", "skipped"}[r.IntN(2)]}
			live = append(live, g)
			at = first + 1 + r.Int64N(12) // they may overlap
		}
		had := make([]int, length+40)
		for _, g := range live {
			for i := g.first; i <= g.last; i++ {
				had[i]++
			}
		}
		have := slices.Clone(live)
		for _, c := range plannedGaps(live, free, p) {
			switch c.kind {
			case "surplus":
				i := slices.Index(have, c.gap)
				if i < 0 {
					t.Fatalf("seed %d: deletes gap %+v, which is not there", seed, c.gap)
				}
				have = slices.Delete(have, i, i+1)
			default:
				have = append(have, c.gap)
			}
		}
		has := make([]int, length+40)
		for _, g := range have {
			for i := g.first; i <= g.last; i++ {
				has[i]++
			}
		}
		for i := range has {
			want := 0
			if i < length && (kinds[i] == 1 || kinds[i] == 2 && had[i] > 0) {
				want = 1
			}
			if has[i] != want {
				t.Fatalf("seed %d: position %d is in %d gaps, want %d; before %v, free %v, taken %v, after %v", seed, i, has[i], want, live, free, p.taken, have)
			}
		}
		again := slices.SortedFunc(slices.Values(have), func(a, b gap) int { return cmp.Compare(a.first, b.first) })
		if changes := plannedGaps(again, free, p); len(changes) != 0 {
			t.Fatalf("seed %d: done twice it changes %v", seed, changes)
		}
	}
}
