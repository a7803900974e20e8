package verify

// Two sides, the rows of a table and the records of the archive, are compared
// without holding either: each row and record is a number, a hash of all that it
// says, and is added up in the bucket that its id or time belongs into. Where
// the sums of a bucket are equal both sides hold the same, however many rows
// that is and in whatever order they came; where they are not, the bucket alone
// is looked at row by row. That two different sets have equal sums of 64-bit
// hashes happens by accident once in 2^64 buckets.

// bucket is one range of ids or times.
type bucket struct {
	Rows, Records      int64
	RowSum, RecordSum  uint64
	Earliest, Latest   int64 // time of the rows in it, µs
	FirstSlot, EndSlot int32 // of the archive, in which its records are; without EndSlot
}

func (b *bucket) equal() bool { return b.Rows == b.Records && b.RowSum == b.RecordSum }

func (b *bucket) row(digest uint64, at int64) {
	b.merge(&bucket{Rows: 1, RowSum: digest, Earliest: at, Latest: at})
}

func (b *bucket) record(digest uint64, slot int32) {
	b.merge(&bucket{Records: 1, RecordSum: digest, FirstSlot: slot, EndSlot: slot + 1})
}

func (b *bucket) merge(o *bucket) {
	switch {
	case o.Rows == 0:
	case b.Rows == 0:
		b.Earliest, b.Latest = o.Earliest, o.Latest
	default:
		b.Earliest, b.Latest = min(b.Earliest, o.Earliest), max(b.Latest, o.Latest)
	}
	switch {
	case o.Records == 0:
	case b.Records == 0:
		b.FirstSlot, b.EndSlot = o.FirstSlot, o.EndSlot
	default:
		b.FirstSlot, b.EndSlot = min(b.FirstSlot, o.FirstSlot), max(b.EndSlot, o.EndSlot)
	}
	b.Rows, b.Records = b.Rows+o.Rows, b.Records+o.Records
	b.RowSum, b.RecordSum = b.RowSum+o.RowSum, b.RecordSum+o.RecordSum
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
