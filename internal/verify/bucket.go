package verify

import "slices"

// Two sides, the rows of a table and the records of the archive, are compared
// without holding either: each row and record is a number, a hash of all that it
// says, and is added up in the bucket that its id or time belongs into. Where
// the sums of a bucket are equal both sides hold the same, however many rows
// that is and in whatever order they came; where they are not, the bucket alone
// is looked at row by row. That two different sets have equal sums of 64-bit
// hashes happens by accident once in 2^64 buckets.

// bucket is one range of ids or times.
type bucket struct {
	Rows, Records     int64
	RowSum, RecordSum uint64
	Earliest, Latest  int64 // time of the rows in it, µs
	Slots             slots // of the archive, in which its records are
}

func (b *bucket) equal() bool { return b.Rows == b.Records && b.RowSum == b.RecordSum }

func (b *bucket) row(digest uint64, at int64) {
	if b.Rows == 0 {
		b.Earliest, b.Latest = at, at
	}
	b.Earliest, b.Latest = min(b.Earliest, at), max(b.Latest, at)
	b.Rows++
	b.RowSum += digest
}

func (b *bucket) record(digest uint64, slot int32) {
	b.Records++
	b.RecordSum += digest
	b.Slots.add(slotRange{slot, slot + 1})
}

func (b *bucket) merge(o *bucket) {
	switch {
	case o.Rows == 0:
	case b.Rows == 0:
		b.Earliest, b.Latest = o.Earliest, o.Latest
	default:
		b.Earliest, b.Latest = min(b.Earliest, o.Earliest), max(b.Latest, o.Latest)
	}
	for _, r := range o.Slots {
		b.Slots.add(r)
	}
	b.Rows, b.Records = b.Rows+o.Rows, b.Records+o.Records
	b.RowSum, b.RecordSum = b.RowSum+o.RowSum, b.RecordSum+o.RecordSum
}

// slots are ranges of slots in ascending order: not more than maxRanges, so they
// may hold slots that were not added. An order can live long, and its bucket must
// not have everything read again that lies between.
type slots []slotRange

// slotRange is a range of slots, without End.
type slotRange struct{ First, End int32 }

const maxRanges = 4

func (s *slots) add(r slotRange) {
	if n := len(*s); n > 0 && (*s)[n-1].First <= r.First && r.End <= (*s)[n-1].End {
		return // as most are
	}
	// Those that touch it become one with it.
	from := 0
	for from < len(*s) && (*s)[from].End < r.First {
		from++
	}
	until := from
	for until < len(*s) && (*s)[until].First <= r.End {
		r.First, r.End = min(r.First, (*s)[until].First), max(r.End, (*s)[until].End)
		until++
	}
	*s = slices.Replace(*s, from, until, r)
	if len(*s) <= maxRanges {
		return
	}
	nearest := 1
	for i := 2; i < len(*s); i++ {
		if (*s)[i].First-(*s)[i-1].End < (*s)[nearest].First-(*s)[nearest-1].End {
			nearest = i
		}
	}
	(*s)[nearest-1].End = (*s)[nearest].End
	*s = slices.Delete(*s, nearest, nearest+1)
}

// maxBuckets bounds the memory for one table: beyond it each bucket is made to
// hold twice as much. A bucket takes about 100 bytes.
const maxBuckets = 1 << 17

// narrow is how many bits of a key a bucket begins with: 64 ids or seconds.
const narrow = 6

// buckets are the buckets of one table.
type buckets struct {
	Shift uint8 // a bucket holds the keys that are equal without so many bits
	Of    map[int64]*bucket

	last  *bucket // of the number lastN: ids come in runs
	lastN int64
}

func (s *buckets) at(key int64) *bucket {
	if s.last != nil && s.lastN == key>>s.Shift {
		return s.last
	}
	s.last = s.find(key)
	s.lastN = key >> s.Shift
	return s.last
}

func (s *buckets) find(key int64) *bucket {
	b := s.Of[key>>s.Shift]
	if b == nil {
		if s.Of == nil {
			s.Of = map[int64]*bucket{}
		}
		for len(s.Of) >= maxBuckets {
			s.widen(s.Shift + 1)
		}
		if b = s.Of[key>>s.Shift]; b == nil {
			b = &bucket{}
			s.Of[key>>s.Shift] = b
		}
	}
	return b
}

// widen makes buckets of more keys.
func (s *buckets) widen(shift uint8) {
	if shift <= s.Shift {
		return
	}
	wide := make(map[int64]*bucket, len(s.Of)/2)
	for key, b := range s.Of {
		key >>= shift - s.Shift
		if there := wide[key]; there != nil {
			there.merge(b)
		} else {
			wide[key] = b
		}
	}
	s.Shift, s.Of, s.last = shift, wide, nil
}

func (s *buckets) merge(o *buckets) {
	s.widen(o.Shift)
	for key, b := range o.Of {
		s.at(key << o.Shift).merge(b)
	}
}

// keys are the keys of a bucket, both included.
func (s *buckets) keys(number int64) (first, last int64) {
	return number << s.Shift, number<<s.Shift + (1<<s.Shift - 1)
}
