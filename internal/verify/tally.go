package verify

import (
	"maps"
	"slices"
)

// log is one partition of one incarnation of a topic.
type log struct {
	TopicID   int16
	Partition int32
}

// tally is what units of work have found. Each unit has its own, which is added
// to the run's when the unit is done: so a run that is killed goes on with whole
// units.
type tally struct {
	Rows     [tableCount]int64 // all, also older ones than asked for
	Times    [tableCount]span  // of the rows asked for, µs
	Buckets  [tableCount]buckets
	Unproven [tableCount]int64 // rows that are not as the engine writes them

	Positions map[log]*set    // of rows in the table of their topic
	Twice     map[log][]int64 // positions that several rows have
	From      map[log]int64   // lowest position of a row asked for
	Others    map[log]span    // positions of all other rows
	Misplaced []misplaced

	Archived   map[int16]span  // by topic id: timestamps of the records, ms
	Unreadable map[int16]int64 // of them
	Damaged    []damage
	Suspects   [][]byte // the first rows that are not as the engine writes them

	Snapshots  int64 // of the state that are what the event log makes
	States     []Difference
	StateNotes []Difference
}

// span is how many of something there are, and from where to where.
type span struct{ Count, First, Last int64 }

func (s *span) add(o span) {
	switch {
	case o.Count == 0:
	case s.Count == 0:
		*s = o
	default:
		s.Count += o.Count
		s.First, s.Last = min(s.First, o.First), max(s.Last, o.Last)
	}
}

func addSpan[K comparable](m map[K]span, key K, o span) {
	s := m[key]
	s.add(o)
	m[key] = s
}

// misplaced is a row in another table than its topic's.
type misplaced struct {
	Log    log
	Offset int64
	Table  tableID
}

// damage is a segment of the event log that is not what its row says.
type damage struct {
	TopicID int16
	Range
	Detail string
}

func newTally() *tally {
	t := &tally{
		Positions: map[log]*set{}, Twice: map[log][]int64{}, From: map[log]int64{}, Others: map[log]span{},
		Archived: map[int16]span{}, Unreadable: map[int16]int64{},
	}
	for id := range t.Buckets {
		t.Buckets[id].Shift = narrow
	}
	return t
}

func (t *tally) positions(l log) *set {
	s := t.Positions[l]
	if s == nil {
		s = &set{}
		t.Positions[l] = s
	}
	return s
}

// merge adds another tally, which must not be used any more.
func (t *tally) merge(o *tally) {
	for id := range tableCount {
		t.Rows[id] += o.Rows[id]
		t.Unproven[id] += o.Unproven[id]
		t.Times[id].add(o.Times[id])
		t.Buckets[id].merge(&o.Buckets[id])
	}
	for l, s := range o.Positions {
		if both := t.positions(l).merge(s); len(both) > 0 {
			t.Twice[l] = append(t.Twice[l], both...)
		}
	}
	for l, twice := range o.Twice {
		t.Twice[l] = append(t.Twice[l], twice...)
	}
	for l, from := range o.From {
		if known, there := t.From[l]; !there || from < known {
			t.From[l] = from
		}
	}
	for l, s := range o.Others {
		addSpan(t.Others, l, s)
	}
	for id, s := range o.Archived {
		addSpan(t.Archived, id, s)
	}
	for id, n := range o.Unreadable {
		t.Unreadable[id] += n
	}
	t.Misplaced = append(t.Misplaced, o.Misplaced...)
	t.Damaged = append(t.Damaged, o.Damaged...)
	t.Snapshots += o.Snapshots
	t.States = append(t.States, o.States...)
	t.StateNotes = append(t.StateNotes, o.StateNotes...)
	t.Suspects = append(t.Suspects, o.Suspects[:min(len(o.Suspects), max(maxSuspects-len(t.Suspects), 0))]...)
}

// restore makes the maps that a checkpoint left out because they were empty.
func (t *tally) restore() {
	fresh := newTally()
	fill(&t.Positions, fresh.Positions)
	fill(&t.Twice, fresh.Twice)
	fill(&t.From, fresh.From)
	fill(&t.Others, fresh.Others)
	fill(&t.Archived, fresh.Archived)
	fill(&t.Unreadable, fresh.Unreadable)
}

func fill[M ~map[K]V, K comparable, V any](m *M, fresh M) {
	if *m == nil {
		*m = fresh
	}
}

// sortedLogs are the keys of a map, in order.
func sortedLogs[V any](m map[log]V) []log {
	return slices.SortedFunc(maps.Keys(m), func(a, b log) int {
		if a.TopicID != b.TopicID {
			return int(a.TopicID) - int(b.TopicID)
		}
		return int(a.Partition) - int(b.Partition)
	})
}
