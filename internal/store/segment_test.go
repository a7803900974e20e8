package store

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// archived are records with everything that a record can be.
var archived = []Archived{
	{Offset: 100, Time: 1_700_000_000_000, Key: []byte("orders"), Value: []byte(`{"a":1}`), Headers: []byte{}},
	{Offset: 101, Time: 1_699_999_999_999, Key: nil, Value: []byte(`{}`), Headers: []byte{2, 2, 'k', 2, 'v', 2, 'k', 1}},
	{Offset: 102, Time: -1, Key: []byte{}, Value: nil, Headers: []byte{}},
	{Offset: 103, Time: math.MinInt64, Key: []byte("x"), Value: []byte{}, Headers: []byte{}},
	{Offset: 104, Time: math.MaxInt64, Key: bytes.Repeat([]byte{0, 255}, 300), Value: bytes.Repeat([]byte("1234567"), 100_000), Headers: []byte{}},
}

// keep collects what ReadSegment gives for the moment only.
func keep(list *[]Archived) func(Archived) error {
	return func(a Archived) error {
		a.Key, a.Value, a.Headers = bytes.Clone(a.Key), bytes.Clone(a.Value), bytes.Clone(a.Headers)
		*list = append(*list, a)
		return nil
	}
}

// Segments go through a batch, with a gap in between, and come back as they were.
func TestEventLogComesBackAsItWas(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.unifyevents", 0, 100)
	other := r.begin("p.orders", 0, 0) // the batch's first partition is not the archive's
	b := NewBatch()
	b.Record(b.Partition(other, 0, 0), 0, 1)
	p := b.Partition(log, 100, 0)
	for _, a := range archived {
		if a.Offset == 102 {
			if err := b.Gap(b.Partition(other, 0, 0), 1, 5, "control"); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Archive(p, a.Offset, a.Time, a.Key, a.Value, a.Headers); err != nil {
			t.Fatal(err)
		}
		b.Record(p, a.Offset, 1)
	}
	r.write(b)

	rows, err := r.conn.Query(t.Context(), "SELECT first_offset, last_offset, records, topic_id, data FROM dingir.event_log ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []Archived
	for rows.Next() {
		var first, last int64
		var records int
		var topic int16
		var data []byte
		if err := rows.Scan(&first, &last, &records, &topic, &data); err != nil {
			t.Fatal(err)
		}
		before := len(got)
		if err := ReadSegment(first, data, keep(&got)); err != nil {
			t.Fatal(err)
		}
		if topic != log.TopicID || len(got)-before != records || got[len(got)-1].Offset != last || got[before].Offset != first {
			t.Errorf("segment %d to %d of topic %d with %d records does not say what is in it", first, last, topic, records)
		}
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	if !reflect.DeepEqual(got, archived) {
		t.Errorf("%d records came back, not as they were", len(got))
	}
	if pos := r.position("p.unifyevents", 0); pos.Archived != 105 {
		t.Errorf("archived up to %d, want 105", pos.Archived)
	}
}

// A reader is used for many segments; its window is smaller than some records,
// whose bytes must not be taken for the lengths that follow them.
func TestSegmentReaderIsUsedAgain(t *testing.T) {
	var r SegmentReader
	for n := range 40 {
		var s segment
		for i := range int64(n) {
			if err := s.add(Log{}, i, i, []byte("orders"), bytes.Repeat([]byte{0x8c}, int(i%13)*9000), []byte{0}); err != nil {
				t.Fatal(err)
			}
		}
		row, err := s.close()
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			continue
		}
		if err := r.Reset(row.First, row.Data); err != nil {
			t.Fatal(err)
		}
		var a Archived
		for i := range int64(n) {
			if ok, err := r.Next(&a); !ok || err != nil || a.Offset != i || len(a.Value) != int(i%13)*9000 {
				t.Fatalf("record %d of %d: %v, %v, offset %d with %d bytes", i, n, ok, err, a.Offset, len(a.Value))
			}
		}
		if ok, err := r.Next(&a); ok || err != nil {
			t.Fatalf("behind the last: %v, %v", ok, err)
		}
	}
}

func TestReadSegmentRefusesDamage(t *testing.T) {
	var s segment
	for _, a := range archived[:3] {
		if err := s.add(Log{}, a.Offset, a.Time, a.Key, a.Value, a.Headers); err != nil {
			t.Fatal(err)
		}
	}
	closed, err := s.close()
	if err != nil {
		t.Fatal(err)
	}
	whole := closed.Data
	none := func(Archived) error { return nil }
	if err := ReadSegment(100, whole, none); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	if err := ReadSegment(100, whole, func(Archived) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the reader's error becomes %v", err)
	}
	for name, data := range map[string][]byte{
		"empty":       {},
		"new version": append([]byte{9}, whole[1:]...),
		"cut":         whole[:len(whole)-4],
		"no frame":    {segmentS2, 'x', 'y'},
	} {
		if err := ReadSegment(100, data, none); err == nil || !strings.Contains(err.Error(), "offset 100") {
			t.Errorf("%s: %v, want an error that says where", name, err)
		}
	}
}

// Records that end where a block does, that fill several, and what is left over.
func TestSegmentOfManyBlocks(t *testing.T) {
	var s segment
	random := rand.New(rand.NewPCG(5, 6))
	for range 3 {
		var want []Archived
		for i, size := range []int{0, 1, segmentBlock - 100, 90, segmentBlock, 3*segmentBlock + 17, 5, segmentBlock/2 - 8, segmentBlock / 2, 100} {
			value := make([]byte, size)
			for k := range value {
				value[k] = byte(random.IntN(4))
			}
			a := Archived{Offset: int64(100 + i), Time: int64(i), Key: []byte("k"), Value: value, Headers: []byte{0}}
			if err := s.add(Log{}, a.Offset, a.Time, a.Key, a.Value, a.Headers); err != nil {
				t.Fatal(err)
			}
			want = append(want, a)
		}
		closed, err := s.close()
		if err != nil {
			t.Fatal(err)
		}
		err = ReadSegment(100, closed.Data, func(a Archived) error {
			w := want[0]
			if want = want[1:]; a.Offset != w.Offset || a.Time != w.Time || !bytes.Equal(a.Key, w.Key) || !bytes.Equal(a.Value, w.Value) {
				t.Errorf("offset %d: %d bytes, want %d at offset %d", a.Offset, len(a.Value), len(w.Value), w.Offset)
			}
			return nil
		})
		if err != nil || len(want) != 0 {
			t.Errorf("%d records are missing: %v", len(want), err)
		}
		s.reset()
	}
}

// A segment that is split holds what it held, each record on its side.
func TestSplitSegment(t *testing.T) {
	whole := segment{}
	for _, a := range archived {
		if err := whole.add(Log{}, a.Offset, a.Time, a.Key, a.Value, a.Headers); err != nil {
			t.Fatal(err)
		}
	}
	row, err := whole.close()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name             string
		offset           int64
		below            int32 // so many records
		earliest, latest int64 // of those below, in ms
	}{
		{"before all", 100, 0, 0, 0},
		{"in the middle", 102, 2, 1_699_999_999_999, 1_700_000_000_000},
		{"before the last", 104, 4, math.MinInt64, 1_700_000_000_000},
		{"behind all", 105, 5, math.MinInt64, math.MaxInt64},
	} {
		t.Run(test.name, func(t *testing.T) {
			below, others, err := SplitSegment(row.First, row.Data, test.offset)
			if err != nil {
				t.Fatal(err)
			}
			var got []Archived
			for _, s := range []Segment{below, others} {
				if s.Records == 0 {
					if s.Data != nil {
						t.Error("no records, and bytes")
					}
					continue
				}
				before := len(got)
				if err := ReadSegment(s.First, s.Data, keep(&got)); err != nil {
					t.Fatal(err)
				}
				if n := len(got) - before; n != int(s.Records) || got[before].Offset != s.First || got[len(got)-1].Offset != s.Last {
					t.Errorf("%d to %d, %d records: not what is in it", s.First, s.Last, s.Records)
				}
			}
			if below.Records != test.below || !reflect.DeepEqual(got, archived) {
				t.Errorf("%d records below, %d in all, or not as they were", below.Records, len(got))
			}
			if test.below > 0 && (below.Earliest != ClampTime(test.earliest) || below.Latest != ClampTime(test.latest)) {
				t.Errorf("the timestamps go from %d to %d", below.Earliest, below.Latest)
			}
		})
	}
	if _, _, err := SplitSegment(100, row.Data[:len(row.Data)-4], 102); err == nil {
		t.Error("a damaged segment is split")
	}
}

func TestSegmentsAreNotArchivedTwice(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.unifyevents", 0, 0)
	b := NewBatch()
	p := b.Partition(log, 0, 7) // the event log has up to 6 already
	for offset := range int64(9) {
		if err := b.Archive(p, offset, 1, nil, nil, nil); err != nil {
			t.Fatal(err)
		}
		b.Record(p, offset, 1)
	}
	r.write(b)
	r.equal(7, "SELECT first_offset FROM dingir.event_log")
	r.equal(2, "SELECT records FROM dingir.event_log")
}
