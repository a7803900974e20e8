package verify

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Write shows the report to people.
func (r *Report) Write(w io.Writer) error {
	for _, part := range []func(io.Writer) error{r.writePositions, r.writeTables} {
		if err := part(w); err != nil {
			return err
		}
	}
	list(w, "findings, which are no differences by themselves:", r.Findings)
	list(w, "differences:", r.Differences)
	var err error
	switch {
	case r.Total > int64(len(r.Differences)):
		_, err = fmt.Fprintf(w, "%d differences, of which %d are listed\n", r.Total, len(r.Differences))
	case r.Total > 0:
		_, err = fmt.Fprintf(w, "%d differences\n", r.Total)
	case r.Since != nil:
		_, err = fmt.Fprintf(w, "since %s every position of %d partitions is accounted for exactly once\n",
			r.Since.UTC().Format("2006-01-02T15:04:05Z"), len(r.Partitions))
	default:
		_, err = fmt.Fprintf(w, "every position of %d partitions is accounted for exactly once\n", len(r.Partitions))
	}
	return err
}

func list(w io.Writer, heading string, d []Difference) {
	if len(d) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", heading)
	for _, one := range d {
		fmt.Fprintf(w, "  %s\n", one)
	}
	fmt.Fprintln(w)
}

func columns(w io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
}

func (r *Report) writePositions(w io.Writer) error {
	t := columns(w)
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
	_, err := fmt.Fprintln(w)
	return err
}

// writeTables shows how rows and archived records agree.
func (r *Report) writeTables(w io.Writer) error {
	t := columns(w)
	fmt.Fprintln(t, "table\trows\tin the log\tonly rows\tonly in the log\tearlier\tlater\trejected\taltered\tother form\tunproven\t")
	for _, one := range r.Tables {
		archived := fmt.Sprint(one.Records)
		if one.Table == hot[balanceChanges].name {
			archived = "-"
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", one.Table, one.Rows, archived, one.OnlyInTable, one.OnlyInLog,
			one.Earlier, one.Later, one.Rejected, one.Altered, one.OtherForm, one.Unproven)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}
