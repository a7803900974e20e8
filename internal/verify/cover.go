package verify

import (
	"cmp"
	"math/bits"
	"slices"
)

// Range is a run of offsets, both ends included.
type Range struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

// twoGaps says that two ranges overlap that should not.
const twoGaps = "two gaps"

// kind is what a position can be accounted for as, besides a gap.
type kind uint8

const (
	aRow kind = iota
	aReject
	aDuplicate
)

const kinds = int(aDuplicate) + 1

// String names the kind as the report does.
func (k kind) String() string { return [...]string{"row", "reject", "duplicate"}[k] }

// cover is how the positions of one partition are accounted for.
type cover struct {
	sets  [kinds]set
	gaps  []Range
	twice []int64 // positions that have several rows
}

// doubled is a run of positions that are accounted for twice.
type doubled struct {
	Range
	as string
}

// ranges collects runs of positions in ascending order.
type ranges []Range //nolint:recvcheck // only add changes it

func (r *ranges) add(first, last int64) {
	if n := len(*r); n > 0 && (*r)[n-1].Last == first-1 {
		(*r)[n-1].Last = last
		return
	}
	*r = append(*r, Range{first, last})
}

// without leaves out the positions of a set.
func (r ranges) without(s *set) (left ranges) {
	for _, one := range r {
		from := one.First
		if len(s.pages) > 0 {
			for position := range s.all() {
				if position < from || position > one.Last {
					continue
				}
				if position > from {
					left.add(from, position-1)
				}
				from = position + 1
			}
		}
		if from <= one.Last {
			left.add(from, one.Last)
		}
	}
	return left
}

// clip returns what is below first or at next and beyond.
func (r ranges) clip(first, next int64) (out ranges) {
	for _, one := range r {
		if one.First < first {
			out.add(one.First, min(one.Last, first-1))
		}
		if one.Last >= next {
			out.add(max(one.First, next), one.Last)
		}
	}
	return out
}

// judge returns what of [first, next) is not accounted for, and what is
// accounted for twice, wherever it is.
func (c *cover) judge(first, next int64) (missing ranges, twice []doubled) {
	slices.SortFunc(c.gaps, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	var pairs [kinds][kinds]ranges // positions that are of two kinds
	var inGap [kinds]ranges
	at := first // everything in [first, at) has been looked at
	gap := 0
	absent := func(from, to int64) { // [from, to) is of no kind; is it in a gap?
		from = max(from, first)
		for to = min(to, next); from < to; {
			for gap < len(c.gaps) && c.gaps[gap].Last < from {
				gap++
			}
			if gap == len(c.gaps) || c.gaps[gap].First >= to {
				missing.add(from, to-1)
				return
			}
			if g := c.gaps[gap]; g.First > from {
				missing.add(from, g.First-1)
			}
			from = c.gaps[gap].Last + 1
		}
	}
	var scratch [kinds]words
	for _, n := range c.pageNumbers() {
		base := n << 16
		var page [kinds]*words
		for k := range kinds {
			page[k] = c.sets[k].pages[n].dense(&scratch[k])
		}
		for i := range pageWords {
			var words [kinds]uint64
			var once, more uint64
			for k := range kinds {
				words[k] = page[k][i]
				more |= once & words[k]
				once |= words[k]
			}
			start := base + int64(i)*64
			for w := more; w != 0; w &= w - 1 {
				note(&pairs, words, start, bits.TrailingZeros64(w))
			}
			switch once {
			case 0:
				continue
			case ^uint64(0):
				absent(at, start)
				at = max(at, start+64)
				continue
			}
			for w := once; w != 0; w &= w - 1 {
				position := start + int64(bits.TrailingZeros64(w))
				absent(at, position)
				at = max(at, position+1)
			}
		}
	}
	absent(at, next)
	for k := range kinds {
		inGap[k] = c.insideGaps(k)
	}
	for a := range kinds {
		for b := a + 1; b < kinds; b++ {
			twice = appendDoubled(twice, pairs[a][b], kind(a).String()+" and "+kind(b).String())
		}
		twice = appendDoubled(twice, inGap[a], kind(a).String()+" and gap")
	}
	slices.Sort(c.twice) // they came as the table had them
	var again ranges
	for _, position := range slices.Compact(c.twice) {
		again.add(position, position)
	}
	twice = appendDoubled(twice, again, "two rows")
	for i := 1; i < len(c.gaps); i++ {
		if a, b := c.gaps[i-1], c.gaps[i]; b.First <= a.Last {
			twice = append(twice, doubled{Range{b.First, min(a.Last, b.Last)}, twoGaps})
			c.gaps[i].Last = max(a.Last, b.Last)
		}
	}
	return missing, twice
}

// note puts down which two kinds a position is of.
func note(pairs *[kinds][kinds]ranges, words [kinds]uint64, start int64, bit int) {
	for a := range kinds {
		for b := a + 1; b < kinds; b++ {
			if words[a]&words[b]>>bit&1 == 1 {
				pairs[a][b].add(start+int64(bit), start+int64(bit))
			}
		}
	}
}

// insideGaps returns the positions of one kind that gaps claim to be empty.
func (c *cover) insideGaps(k int) ranges {
	var found ranges
	numbers := c.pageNumbers()
	done := int64(-1 << 62) // gaps may overlap: each position is told once
	var scratch words
	var dense *words
	of := int64(-1 << 62) // the number of the page that is dense
	for _, g := range c.gaps {
		from, _ := slices.BinarySearch(numbers, g.First>>16)
		for _, n := range numbers[from:] {
			if n > g.Last>>16 {
				break
			}
			p := c.sets[k].pages[n]
			if p == nil {
				continue
			}
			if of != n {
				dense, of = p.dense(&scratch), n
			}
			// Only the words that the gap touches: a topic written in
			// transactions has a gap for each.
			base := n << 16
			low, high := max(g.First-base, 0)>>6, min(g.Last-base, pageBits-1)>>6
			for i := int(low); i <= int(high); i++ {
				for w := dense[i]; w != 0; w &= w - 1 {
					position := base + int64(i)*64 + int64(bits.TrailingZeros64(w))
					if position >= g.First && position <= g.Last && position > done {
						found.add(position, position)
					}
				}
			}
		}
		done = max(done, g.Last)
	}
	return found
}

func (c *cover) pageNumbers() []int64 {
	var numbers []int64
	for k := range kinds {
		for n := range c.sets[k].pages {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

func appendDoubled(list []doubled, r ranges, as string) []doubled {
	for _, run := range r {
		list = append(list, doubled{run, as})
	}
	return list
}
