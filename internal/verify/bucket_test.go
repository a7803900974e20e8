package verify

import (
	"math/rand/v2"
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
		if *all.Of[number] != *b {
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
