package verify

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Report is what an audit found. It is clean where Total is 0.
type Report struct {
	Partitions  []Partition  `json:"partitions"`
	History     []History    `json:"history,omitempty"`
	Differences []Difference `json:"differences"`

	// Total counts all differences; Differences has the first listed of each
	// kind and partition.
	Total int64 `json:"total"`
}

// Partition counts how the positions of one partition are accounted for.
type Partition struct {
	Topic       string `json:"topic"`
	Partition   int32  `json:"partition"`
	TopicID     int16  `json:"topic_id"`
	FirstOffset int64  `json:"first_offset"`
	NextOffset  int64  `json:"next_offset"`
	HighOffset  int64  `json:"high_offset"` // above NextOffset while records are read again

	Rows       int64 `json:"rows"`       // in the tables, with positions of this partition
	Rejects    int64 `json:"rejects"`    // unresolved
	Duplicates int64 `json:"duplicates"` // noted
	Gaps       int64 `json:"gaps"`       // offsets inside gaps
	Archived   int64 `json:"archived"`   // records in the event log; unifyevents only
}

// History counts rows of an earlier incarnation of a topic, or of a topic that
// the ledger does not have. They are listed, not judged.
type History struct {
	Topic   string `json:"topic"`
	TopicID int16  `json:"topic_id"`
	Rows    int64  `json:"rows"`
}

// The kinds of differences.
const (
	Missing    = "missing"      // no row, reject, duplicate or gap
	Doubled    = "doubled"      // accounted for more than once
	OutOfRange = "out of range" // a position that the ledger does not reach
	Misplaced  = "misplaced"    // a row in another table than its topic's
	EventLog   = "event log"    // a segment that is damaged or not what it says
)

// Difference is a run of positions that are not as they should be.
type Difference struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Kind      string `json:"kind"`
	Range
	Detail string `json:"detail"`
}

// String is the whole difference in one line.
func (d Difference) String() string {
	where := fmt.Sprintf("offset %d", d.First)
	if d.Last != d.First {
		where = fmt.Sprintf("offsets %d to %d (%d)", d.First, d.Last, d.Last-d.First+1)
	}
	return fmt.Sprintf("%s: topic %s partition %d %s: %s", d.Kind, d.Topic, d.Partition, where, d.Detail)
}

// Write shows the report to people.
func (r *Report) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "topic\tpartition\tfirst\tnext\trows\trejects\tduplicates\tgaps\tarchived\t")
	for _, p := range r.Partitions {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n",
			p.Topic, p.Partition, p.FirstOffset, p.NextOffset, p.Rows, p.Rejects, p.Duplicates, p.Gaps, p.Archived)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, p := range r.Partitions {
		if p.HighOffset > p.NextOffset {
			fmt.Fprintf(w, "topic %s partition %d is being read again, up to offset %d\n", p.Topic, p.Partition, p.HighOffset)
		}
	}
	for _, h := range r.History {
		fmt.Fprintf(w, "%d rows come from an earlier %s (topics.id %d) and are not judged\n", h.Rows, h.Topic, h.TopicID)
	}
	for _, d := range r.Differences {
		fmt.Fprintln(w, d)
	}
	var err error
	switch {
	case r.Total == 0:
		_, err = fmt.Fprintf(w, "every position of %d partitions is accounted for exactly once\n", len(r.Partitions))
	case r.Total > int64(len(r.Differences)):
		_, err = fmt.Fprintf(w, "%d differences, of which %d are listed\n", r.Total, len(r.Differences))
	default:
		_, err = fmt.Fprintf(w, "%d differences\n", r.Total)
	}
	return err
}
