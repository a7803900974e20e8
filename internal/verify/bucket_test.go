package verify

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// TestBuckets compares sums over random keys, put in one after another and
// merged from parts, with sums over the whole.
func TestBuckets(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	one := buckets{Shift: narrow}
	parts := [3]buckets{{Shift: narrow}, {Shift: narrow}, {Shift: narrow}}
	const records = 3 * maxBuckets
	for n := range int64(records) {
		key, digest := r.Int64N(1<<40), r.Uint64()
		one.at(key).row(digest, n)
		parts[n%3].at(key).row(digest, n)
		if n%5 != 0 {
			one.at(key).record(digest, int32(n/1000))
			parts[(n+1)%3].at(key).record(digest, int32(n/1000))
		}
	}
	all := buckets{Shift: narrow}
	for i := range parts {
		all.merge(&parts[i])
	}
	if len(all.Of) > maxBuckets || len(one.Of) > maxBuckets || all.Shift < 20 {
		t.Fatalf("%d and %d buckets, shift %d", len(all.Of), len(one.Of), all.Shift)
	}
	one.widen(all.Shift)
	all.widen(one.Shift)
	if len(one.Of) != len(all.Of) {
		t.Fatalf("%d buckets, %d", len(one.Of), len(all.Of))
	}
	var rows, equal int64
	for number, b := range one.Of {
		other := *all.Of[number]
		if b.Slots, other.Slots = nil, nil; !reflect.DeepEqual(other, *b) {
			t.Fatalf("bucket %d: %+v, merged %+v", number, b, all.Of[number])
		}
		first, last := one.keys(number)
		if first>>one.Shift != number || last>>one.Shift != number || (last+1)>>one.Shift == number {
			t.Fatalf("bucket %d is of keys %d to %d", number, first, last)
		}
		if rows += b.Rows; b.equal() {
			equal++
		}
	}
	if rows != records || equal == int64(len(one.Of)) {
		t.Errorf("%d rows; %d of %d buckets equal", rows, equal, len(one.Of))
	}
}

// TestSlots adds random ranges and wants them all in, in order, apart from each
// other and few; and, as long as there are few, nothing else in.
func TestSlots(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 5))
		var s slots
		added := map[int32]bool{}
		for range 1 + r.IntN(12) {
			first := r.Int32N(60)
			one := slotRange{first, first + 1 + r.Int32N(3)}
			for i := one.First; i < one.End; i++ {
				added[i] = true
			}
			s.add(one)
		}
		apart := 0
		for i := range int32(70) {
			in := slices.ContainsFunc(s, func(r slotRange) bool { return r.First <= i && i < r.End })
			if added[i] && !in {
				t.Fatalf("seed %d: %d is not in %v", seed, i, s)
			}
			if added[i] && !added[i-1] {
				apart++
			}
		}
		total := int32(0)
		for i, r := range s {
			total += r.End - r.First
			if r.First >= r.End || (i > 0 && s[i-1].End >= r.First) {
				t.Fatalf("seed %d: %v", seed, s)
			}
		}
		if len(s) > maxRanges || len(s) > apart || (apart <= 2 && int(total) != len(added)) {
			t.Fatalf("seed %d: %v for %d ranges, %d slots", seed, s, apart, len(added))
		}
	}
}

// TestSet compares a set in its three forms with a map.
func TestSet(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, many := range []int{10, 3000, 40_000, 65_000, pageBits} {
		want := map[int64]bool{}
		var s, other set
		for len(want) < many {
			position := int64(5)<<16 + r.Int64N(pageBits)
			if s.add(position) == want[position] {
				t.Fatalf("%d added twice or not at all", position)
			}
			want[position] = true
		}
		s.pack()
		for n := range int64(1000) {
			position := int64(5)<<16 + r.Int64N(pageBits)
			if s.has(position) != want[position] || s.has(n) {
				t.Fatalf("%d of %d: %t", position, many, s.has(position))
			}
		}
		packed, err := s.GobEncode()
		if err == nil {
			err = s.GobDecode(packed)
		}
		if err != nil {
			t.Fatal(err)
		}
		more := 0
		for position := int64(5) << 16; position < int64(5)<<16+5000; position++ {
			if other.add(position); want[position] {
				more++
			}
		}
		if both := s.merge(&other); len(both) != more {
			t.Errorf("%d in both, want %d", len(both), more)
		}
		out, inside := s.outside(int64(5)<<16+5000, 1<<62)
		if len(out) != 1 || out[0] != (Range{5 << 16, 5<<16 + 4999}) || inside != int64(many-more) {
			t.Errorf("of %d: %v outside, %d inside", many, out, inside)
		}
	}
}
