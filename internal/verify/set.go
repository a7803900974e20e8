package verify

import (
	"bytes"
	"encoding/gob"
	"iter"
	"maps"
	"math/bits"
	"slices"
)

const (
	pageBits  = 1 << 16
	pageWords = pageBits / 64
)

type words [pageWords]uint64

// page is which of pageBits positions are in a set: a bit for each while it is
// being filled; then, where few are in it or few are not, a list of those, so
// that memory grows with holes and not with history.
type page struct {
	Bits   *words
	Few    []uint16 // where Bits is nil: what is in it, or with Holes what is not
	Holes  bool
	Number int // of positions in it
}

// maxFew makes a list of half the size of the bits.
const maxFew = pageBits / 8 / 2 / 2

// dense returns the page's bits, which must not be changed; a page that has
// none fills the scratch. A nil page has none set.
func (p *page) dense(scratch *words) *words {
	switch {
	case p == nil:
		*scratch = words{}
		return scratch
	case p.Bits != nil:
		return p.Bits
	}
	start := uint64(0)
	if p.Holes {
		start = ^start
	}
	for i := range scratch {
		scratch[i] = start
	}
	for _, n := range p.Few {
		scratch[n>>6] ^= 1 << (n & 63)
	}
	return scratch
}

// open gives the page bits to change.
func (p *page) open() {
	if p.Bits == nil {
		p.Bits = p.dense(new(words))
		p.Few, p.Holes = nil, false
	}
}

// pack gives up the bits where a list is smaller.
func (p *page) pack() {
	if p.Bits == nil || (p.Number > maxFew && p.Number < pageBits-maxFew) {
		return
	}
	p.Holes = p.Number > pageBits/2
	p.Few = nil
	for i, w := range p.Bits {
		if p.Holes {
			w = ^w
		}
		for ; w != 0; w &= w - 1 {
			p.Few = append(p.Few, uint16(i<<6+bits.TrailingZeros64(w)))
		}
	}
	p.Few = slices.Clip(p.Few)
	p.Bits = nil
}

// set is a set of positions.
type set struct {
	pages map[int64]*page
	last  *page // of the page number lastN: positions come in runs
	lastN int64
}

// add tells whether the position is new.
func (s *set) add(position int64) bool {
	n := position >> 16
	p := s.last
	if p == nil || s.lastN != n {
		p = s.pages[n]
		if p == nil {
			if s.pages == nil {
				s.pages = map[int64]*page{}
			}
			p = &page{}
			s.pages[n] = p
		}
		s.last, s.lastN = p, n
	}
	if p.Bits == nil {
		p.open()
	}
	w, bit := &p.Bits[position&(pageBits-1)>>6], uint64(1)<<(position&63)
	if *w&bit != 0 {
		return false
	}
	*w |= bit
	p.Number++
	return true
}

// pack makes the set as small as it can be. It may be added to later.
func (s *set) pack() {
	for _, p := range s.pages {
		p.pack()
	}
}

// merge adds the positions of another set, which must not be used any more, and
// returns those that both had.
func (s *set) merge(o *set) (both []int64) {
	var scratch words
	for n, p := range o.pages {
		mine := s.pages[n]
		if mine == nil {
			if s.pages == nil {
				s.pages = map[int64]*page{}
			}
			s.pages[n] = p
			p.pack()
			continue
		}
		mine.open()
		mine.Number = 0
		for i, w := range p.dense(&scratch) {
			for twice := mine.Bits[i] & w; twice != 0; twice &= twice - 1 {
				both = append(both, n<<16+int64(i)<<6+int64(bits.TrailingZeros64(twice)))
			}
			mine.Bits[i] |= w
			mine.Number += bits.OnesCount64(mine.Bits[i])
		}
		mine.pack()
	}
	return both
}

func (s *set) has(position int64) bool {
	p := s.pages[position>>16]
	if p == nil {
		return false
	}
	if n := position & (pageBits - 1); p.Bits != nil {
		return p.Bits[n>>6]>>(n&63)&1 == 1
	}
	_, listed := slices.BinarySearch(p.Few, uint16(position&(pageBits-1)))
	return listed != p.Holes
}

// numbers are those of the set's pages, ascending.
func (s *set) numbers() []int64 { return slices.Sorted(maps.Keys(s.pages)) }

// all are the positions in ascending order.
func (s *set) all() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		var scratch words
		for _, n := range s.numbers() {
			for i, w := range s.pages[n].dense(&scratch) {
				for ; w != 0; w &= w - 1 {
					if !yield(n<<16 + int64(i)<<6 + int64(bits.TrailingZeros64(w))) {
						return
					}
				}
			}
		}
	}
}

// outside returns the positions below first and from next on, and how many of
// the set are between.
func (s *set) outside(first, next int64) (out ranges, inside int64) {
	for _, n := range s.numbers() {
		base := n << 16
		if base >= first && base+pageBits <= next {
			inside += int64(s.pages[n].Number)
			continue
		}
		one := set{pages: map[int64]*page{n: s.pages[n]}}
		for position := range one.all() {
			if position >= first && position < next {
				inside++
			} else {
				out.add(position, position)
			}
		}
	}
	return out, inside
}

// GobEncode writes the set for a checkpoint.
func (s *set) GobEncode() ([]byte, error) {
	s.pack()
	var out bytes.Buffer
	err := gob.NewEncoder(&out).Encode(s.pages)
	return out.Bytes(), err
}

// GobDecode reads a set of a checkpoint.
func (s *set) GobDecode(b []byte) error {
	*s = set{}
	return gob.NewDecoder(bytes.NewReader(b)).Decode(&s.pages)
}

// without returns the positions that are in s and not in o.
func (s *set) without(o *set) *set {
	left := &set{}
	for position := range s.all() {
		if !o.has(position) {
			left.add(position)
		}
	}
	return left
}
