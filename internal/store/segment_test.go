package store

import (
	"bytes"
	"errors"
	"math"
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
		if err := ReadSegment(first, data, func(a Archived) error { got = append(got, a); return nil }); err != nil {
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

func TestReadSegmentRefusesDamage(t *testing.T) {
	var s segment
	for _, a := range archived[:3] {
		if err := s.add(Log{}, a.Offset, a.Time, a.Key, a.Value, a.Headers); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.zw.Close(); err != nil {
		t.Fatal(err)
	}
	whole := s.out.Bytes()
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
		"no frame":    {segmentVersion, 'x', 'y'},
	} {
		if err := ReadSegment(100, data, none); err == nil || !strings.Contains(err.Error(), "offset 100") {
			t.Errorf("%s: %v, want an error that says where", name, err)
		}
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
