package eventlog

import (
	"errors"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/thaliumx/persistor/internal/fetch"
)

// pair is an archive and its topic, both with the made records.
type pair struct {
	*rig
	topic  *topic
	client *kgo.Client
}

// newPair archives up to an offset what the topic has.
func newPair(t *testing.T, records int) *pair {
	t.Helper()
	k := newTopic(t, 1)
	p := &pair{topic: k, client: k.client()}
	k.produce(p.client, records)
	i, err := k.log.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.rig = newRigOf(t, 0, i.ClusterID, i.TopicID)
	return p
}

func (p *pair) joined(overlap int64) *Joined {
	p.t.Helper()
	log, err := Current(p.t.Context(), p.conn, unify)
	if err != nil {
		p.t.Fatal(err)
	}
	return NewJoined(p.conn, log, p.topic.log, overlap)
}

// Every range comes, from the archive what it has, and the seam is compared.
func TestJoinedReadsEveryRange(t *testing.T) {
	t.Parallel()
	p := newPair(t, 100)
	p.archive(10)
	p.archive(35)
	p.archive(15) // up to 60
	p.topic.deleteBelow(p.client, 20)
	for _, overlap := range []int64{0, 1, 7, SeamOverlap, WholeOverlap} {
		j := p.joined(overlap)
		if first, next, err := j.Bounds(t.Context()); first != 0 || next != 100 || err != nil {
			t.Fatalf("bounds %d, %d, %v", first, next, err)
		}
		for from := int64(0); from <= 100; from += 5 {
			for until := from; until <= 105; until += 7 {
				ask := until
				if until > 100 {
					until, ask = 100, End
				}
				c, err := read(t, j, from, ask)
				if err != nil || c.next != until {
					t.Fatalf("overlap %d, [%d, %d): %v, up to %d", overlap, from, until, err, c.next)
				}
				compared := int64(0)
				switch {
				case from == until:
				case overlap == WholeOverlap:
					compared = max(0, min(until, 60)-20)
				case until > 60:
					compared = min(overlap, 40)
				}
				fromArchive := max(0, min(until, 60)-from)
				if want := (Tally{fromArchive, until - from - fromArchive, compared}); j.Tally != want {
					t.Fatalf("overlap %d, [%d, %d): %+v, want %+v", overlap, from, until, j.Tally, want)
				}
			}
		}
		c := &collector{t: t, next: 5, stopAt: 55}
		if err := j.Read(t.Context(), 5, End, c); err != nil || c.next != 55 {
			t.Errorf("stopped at %d: %v", c.next, err)
		}
	}
}

// What both have must be the same, in every part of a record.
func TestJoinedFindsWhereTheyDiffer(t *testing.T) {
	t.Parallel()
	p := newPair(t, 66)
	for name, test := range map[string]struct {
		change func(*Record)
		part   string
	}{
		"value":      {func(r *Record) { r.Value = []byte(`{"forged":1}`) }, "value"},
		"empty":      {func(r *Record) { r.Value = []byte{} }, "value"},
		"key":        {func(r *Record) { r.Key = []byte("trades") }, "key"},
		"null key":   {func(r *Record) { r.Key = nil }, "key"},
		"timestamp":  {func(r *Record) { r.Time++ }, "timestamp"},
		"headers":    {func(r *Record) { r.Headers = []byte{2, 2, 'x', 1} }, "headers"},
		"no headers": {func(r *Record) { r.Headers = []byte{2, 2, 'k', 2, 'w'} }, "headers"},
	} {
		t.Run(name, func(t *testing.T) {
			p.exec("DELETE FROM dingir.event_log")
			p.exec("UPDATE dingir.ledger SET next_offset = 0, high_offset = 0")
			p.next, p.change = 0, func(r *Record) {
				if r.Offset == 45 {
					test.change(r)
				}
			}
			p.archive(60)
			for _, overlap := range []int64{SeamOverlap, WholeOverlap, 15} {
				var seam *SeamError
				c, err := read(t, p.joined(overlap), 0, End)
				if !errors.As(err, &seam) || seam.Offset != 45 || !strings.Contains(seam.Differs, test.part) || c.next != 45 {
					t.Errorf("overlap %d: %v, up to %d", overlap, err, c.next)
				}
			}
			// Out of sight.
			n := 0
			if err := p.joined(14).Read(t.Context(), 0, End, counter(func() { n++ })); err != nil || n != 66 {
				t.Errorf("an overlap of 14: %v, %d records", err, n)
			}
			// Not asked for, but seen while the seam is looked at.
			if c, err := read(t, p.joined(SeamOverlap), 50, End); err == nil || c.next != 50 {
				t.Errorf("from 50 on: %v, up to %d", err, c.next)
			}
			if err := p.joined(SeamOverlap).Read(t.Context(), 40, 50, counter(func() {})); err != nil {
				t.Errorf("inside the archive: %v", err)
			}
			if err := p.joined(WholeOverlap).Read(t.Context(), 40, 50, counter(func() {})); err == nil {
				t.Error("inside the archive, all compared: no error")
			}
		})
	}
}

// Gaps: markers are so on both sides, and what the ledger passed over may be on
// the topic.
func TestJoinedComparesGaps(t *testing.T) {
	t.Parallel()
	p := newPair(t, 20)
	txn := p.topic.client(kgo.TransactionalID(p.topic.name))
	if err := txn.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	p.topic.produce(txn, 5)
	if err := txn.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	p.topic.next++
	p.topic.ends()
	p.topic.produce(p.client, 40) // 26 to 65
	p.archive(20)
	p.gap(2, Control)
	p.gap(4, Control) // up to 25
	p.archive(10)     // up to 35
	p.gap(4, Skipped) // up to 39
	p.archive(10)     // up to 49
	for _, overlap := range []int64{0, 8, 12, 27, SeamOverlap, WholeOverlap} {
		c, err := read(t, p.joined(overlap), 22, End)
		if err != nil || c.next != 66 || !strings.Contains(strings.Join(c.gaps, ","), "-39 skipped") {
			t.Errorf("overlap %d: %v, up to %d, gaps %q", overlap, err, c.next, c.gaps)
		}
	}
	var seam *SeamError
	p.exec("UPDATE dingir.gaps SET reason = 'control' WHERE reason = 'skipped'")
	if _, err := read(t, p.joined(SeamOverlap), 0, End); !errors.As(err, &seam) || seam.Offset != 36 {
		t.Errorf("a marker where the topic has a record: %v", err)
	}
}

// Where one of the two falls short.
func TestJoinedSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	p := newPair(t, 100)
	for range 6 {
		p.archive(10)
	}
	var out *RangeError
	for _, ask := range [][2]int64{{0, 101}, {101, End}, {101, 102}} {
		if _, err := read(t, p.joined(SeamOverlap), ask[0], ask[1]); !errors.As(err, &out) || out.First != 0 || out.Next != 100 {
			t.Errorf("%v: %v", ask, err)
		}
	}
	// The archive is cut, the topic reaches farther back.
	p.topic.deleteBelow(p.client, 5)
	p.exec("DELETE FROM dingir.event_log WHERE last_offset < 30")
	j := p.joined(SeamOverlap)
	if c, err := read(t, j, 5, End); err != nil || c.next != 100 || j.Tally.Topic != 65 || j.Tally.Archive != 30 {
		t.Errorf("cut archive: %v, %+v", err, j.Tally)
	}
	if c, err := read(t, j, 10, 25); err != nil || c.next != 25 || j.Tally.Topic != 15 {
		t.Errorf("below the archive: %v, %+v", err, j.Tally)
	}
	if c, err := read(t, j, 10, 35); err != nil || c.next != 35 || j.Tally.Topic != 20 {
		t.Errorf("into the archive: %v, %+v", err, j.Tally)
	}
	if _, err := read(t, j, 4, End); !errors.As(err, &out) || out.First != 5 {
		t.Errorf("below both: %v", err)
	}
	// Both are.
	p.topic.deleteBelow(p.client, 50)
	if _, err := read(t, p.joined(WholeOverlap), 29, End); !errors.As(err, &out) || out.First != 30 {
		t.Errorf("below the archive: %v", err)
	}
	// The topic begins behind the archive's end: what is between is gone.
	p.topic.deleteBelow(p.client, 70)
	j = p.joined(SeamOverlap)
	if first, next, err := j.Bounds(t.Context()); first != 70 || next != 100 || err != nil {
		t.Errorf("bounds %d, %d, %v", first, next, err)
	}
	if _, err := read(t, j, 30, End); !errors.As(err, &out) || out.First != 70 {
		t.Errorf("across the hole: %v", err)
	}
	if c, err := read(t, j, 75, End); err != nil || c.next != 100 {
		t.Errorf("behind the hole: %v", err)
	}
	if c, err := read(t, j, 30, 60); err != nil || c.next != 60 || j.Tally.Archive != 30 {
		t.Errorf("before the hole: %v", err)
	}
	// The topic is not needed for what the archive has, and is no other one.
	transport := &kafka.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	gone := NewJoined(p.conn, j.log, NewKafka(fetch.NewClient(transport, kafka.TCP("127.0.0.1:1")), p.topic.name), SeamOverlap)
	if _, err := read(t, gone, 30, 60); err != nil {
		t.Errorf("without Kafka: %v", err)
	}
	if _, err := read(t, gone, 30, End); err == nil {
		t.Error("without Kafka, and no error")
	}
	j.log.TopicUUID[3]++
	var other *OtherTopicError
	if _, err := read(t, j, 75, End); !errors.As(err, &other) {
		t.Errorf("another topic: %v", err)
	}
	// The topic ends before the archive does.
	b := newPair(t, 10)
	b.archive(15)
	var seam *SeamError
	if _, err := read(t, b.joined(SeamOverlap), 0, End); !errors.As(err, &seam) || seam.Offset != 10 {
		t.Errorf("a topic that lost its end: %v", err)
	}
}

// What the archive has lost in its middle comes from the topic, while that has it.
func TestJoinedFillsHoles(t *testing.T) {
	t.Parallel()
	p := newPair(t, 100)
	for range 6 {
		p.archive(10)
	}
	p.exec("DELETE FROM dingir.event_log WHERE first_offset = 20")
	j := p.joined(SeamOverlap)
	if c, err := read(t, j, 5, 50); err != nil || c.next != 50 || j.Tally.Topic != 25 || j.Tally.Archive != 20 {
		t.Errorf("across the hole: %v, %+v", err, j.Tally)
	}
	p.topic.deleteBelow(p.client, 25)
	if c, err := read(t, j, 5, 20); err != nil || c.next != 20 || j.Tally.Topic != 0 {
		t.Errorf("before the hole: %v, %+v", err, j.Tally)
	}
	var hole *HoleError
	if _, err := read(t, j, 5, 50); !errors.As(err, &hole) || hole.First != 20 {
		t.Errorf("the topic has lost it, too: %v", err)
	}
}

// Nothing is archived yet: all comes from the topic.
func TestJoinedWithoutAnArchive(t *testing.T) {
	t.Parallel()
	p := newPair(t, 30)
	j := p.joined(SeamOverlap)
	if c, err := read(t, j, 3, End); err != nil || c.next != 30 || j.Tally != (Tally{Topic: 27}) {
		t.Errorf("%v, up to %d, %+v", err, c.next, j.Tally)
	}
	if _, err := Current(t.Context(), p.conn, "p.none"); !errors.Is(err, ErrNoArchive) {
		t.Errorf("no ledger entry: %v", err)
	}
}
