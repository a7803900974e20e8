package verify

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Write shows the report to people.
func (r *Report) Write(w io.Writer) error {
	for _, part := range []func(io.Writer) error{r.writePositions, r.writeTables, r.writeState, r.writeMoney} {
		if err := part(w); err != nil {
			return err
		}
	}
	writeList(w, "findings, which are no differences by themselves:", r.Findings, shownFindings)
	writeList(w, "differences:", r.Differences, shownDifferences)
	_, err := fmt.Fprintln(w, r.verdict())
	return err
}

// verdict is the last line.
func (r *Report) verdict() string {
	switch {
	case r.Total == 1:
		return "1 difference"
	case r.Total > int64(len(r.Differences)):
		return fmt.Sprintf("%d differences, of which %d are listed", r.Total, len(r.Differences))
	case r.Total > 0:
		return fmt.Sprintf("%d differences", r.Total)
	case len(r.Partitions) == 0:
		return "nothing has been stored here yet, so there is nothing to audit; is it the right database?"
	}
	s := fmt.Sprintf("every position of %d partitions is accounted for exactly once", len(r.Partitions))
	if r.Since != nil {
		s = "since " + r.Since.UTC().Format("2006-01-02T15:04:05Z") + " " + s
	}
	if r.State != nil && r.State.Checked {
		s += "; the state is what the event log makes, and money adds up"
	}
	return s
}

// shownFindings and shownDifferences bound what people are shown of one kind in
// one table or partition; the others are in the JSON, as far as they are listed.
const (
	shownFindings    = 3
	shownDifferences = 20
)

func writeList(w io.Writer, heading string, d []Difference, shown int) {
	if len(d) == 0 {
		return
	}
	fmt.Fprintln(w, heading)
	for len(d) > 0 {
		same := 1
		for same < len(d) && d[same].alike(d[0]) {
			same++
		}
		for _, one := range d[:min(same, shown)] {
			fmt.Fprintf(w, "  %s\n", one)
		}
		if same > shown {
			fmt.Fprintf(w, "  … and %d more of this kind; --format json lists them\n", same-shown)
		}
		d = d[same:]
	}
	fmt.Fprintln(w)
}

// alike tells whether two stand in one list for people.
func (d Difference) alike(o Difference) bool {
	if d.Kind != o.Kind || d.Table != o.Table || (d.Place == nil) != (o.Place == nil) {
		return false
	}
	return d.Table != "" || d.Place == nil || (d.Topic == o.Topic && d.Partition == o.Partition)
}

// A grid is a table of text. Columns in which nothing stands but what goes
// without saying are left out.
type grid struct {
	heads []string
	rows  [][]string
	keep  int // so many columns always stay
}

func (g *grid) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
		if n, ok := c.(int64); ok {
			row[i] = thousands(n)
		}
	}
	g.rows = append(g.rows, row)
}

func (g *grid) write(w io.Writer) error {
	shown := func(column int) bool {
		return column < g.keep || slices.ContainsFunc(g.rows, func(r []string) bool { return r[column] != "0" && r[column] != "-" })
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range append([][]string{g.heads}, g.rows...) {
		for i, cell := range row {
			if shown(i) {
				fmt.Fprint(t, cell, "\t")
			}
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func (r *Report) writePositions(w io.Writer) error {
	g := grid{heads: strings.Split("topic,partition,first,next,rows,rejects,duplicates,gaps,archived", ","), keep: 5}
	for _, p := range r.Partitions {
		g.add(p.Topic, p.Partition, p.FirstOffset, p.NextOffset, p.Rows, p.Rejects, p.Duplicates, p.Gaps, p.Archived)
	}
	if err := g.write(w); err != nil {
		return err
	}
	for _, p := range r.Partitions {
		if p.HighOffset > p.NextOffset {
			fmt.Fprintf(w, "topic %s partition %d is being read again, up to offset %d\n", p.Topic, p.Partition, p.HighOffset)
		}
	}
	for _, h := range r.History {
		fmt.Fprintf(w, "%s rows come from an earlier %s (topics.id %d) and are not judged\n", thousands(h.Rows), h.Topic, h.TopicID)
	}
	_, err := fmt.Fprintln(w)
	return err
}

// writeTables shows how rows and archived records agree.
func (r *Report) writeTables(w io.Writer) error {
	g := grid{heads: strings.Split("table,rows,in the event log,only a row,only in the log,earlier,later,rejected,altered,other form,unproven", ","), keep: 3}
	for _, one := range r.Tables {
		archived := thousands(one.Records)
		if one.Table == hot[balanceChanges].name {
			archived = "-"
		}
		g.add(one.Table, one.Rows, archived, one.OnlyInTable, one.OnlyInLog, one.Earlier, one.Later, one.Rejected, one.Altered, one.OtherForm, one.Unproven)
	}
	if err := g.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

func (r *Report) writeState(w io.Writer) error {
	s := r.State
	if s == nil {
		return nil
	}
	fmt.Fprintf(w, "state before offset %s: %s balances, %s open orders", thousands(s.NextOffset), thousands(s.Balances), thousands(s.OpenOrders))
	for _, mark := range []struct {
		is   bool
		text string
	}{
		{s.Checked, ", as the event log makes them"}, {!s.Checked, ", not checked"},
		{!s.Complete, ", incomplete"}, {s.Provisional, ", provisional"},
	} {
		if mark.is {
			fmt.Fprint(w, mark.text)
		}
	}
	fmt.Fprintf(w, "; %d snapshots checked\n", s.Snapshots)
	if len(s.Failed) > 0 {
		fmt.Fprint(w, "the log contradicts itself:")
		for _, name := range slices.Sorted(maps.Keys(s.Failed)) {
			fmt.Fprintf(w, " %s %s", name, thousands(s.Failed[name]))
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintln(w)
	return err
}

func (r *Report) writeMoney(w io.Writer) error {
	if len(r.Money) == 0 {
		return nil
	}
	g := grid{heads: strings.Split("asset,balances,deposits,withdrawals,fees,adopted,times adopted,off,frozen,held by orders,below zero", ","), keep: 5}
	for _, m := range r.Money {
		g.add(m.Asset, m.Balances, m.Deposits, m.Withdrawals, m.Fees, m.Adopted, m.AdoptedTimes, m.Off, m.Frozen, m.Held, m.Negative)
	}
	if err := g.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}
