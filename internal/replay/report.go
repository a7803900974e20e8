package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Report is what a run found, and whether it was applied.
type Report struct {
	Tables []Table `json:"tables"`

	// Differences counts all of them; a replay is clean where it is 0.
	Differences int64 `json:"differences"`

	// First and Next are the range of unifyevents; FirstTime and LastTime the
	// timestamps of its first and its latest record, nil where there is none.
	First     int64      `json:"first_offset"`
	Next      int64      `json:"next_offset"`
	FirstTime *time.Time `json:"first_time"`
	LastTime  *time.Time `json:"last_time"`

	Notes   []string `json:"notes,omitempty"`
	Applied bool     `json:"applied"`
	Pruned  bool     `json:"pruned"` // whether surplus rows go, too
}

// Table is the comparison of one table.
type Table struct {
	Name      string    `json:"table"`
	Equal     int64     `json:"equal"`
	Missing   int64     `json:"missing"`   // the log has them, the table has not
	Different int64     `json:"different"` // they are not as the log has them
	Surplus   int64     `json:"surplus"`   // inside the covered range, and no record is theirs
	Examples  []Example `json:"examples,omitempty"`
}

// Example is one difference.
type Example struct {
	Kind   string `json:"kind"` // missing, different, surplus
	Detail string `json:"detail"`
}

// The kinds of differences.
const (
	Missing   = "missing"
	Different = "different"
	Surplus   = "surplus"
)

const examples = 3 // of each kind and table

// give adds examples of a kind.
func (t *Table) give(kind string, details []string) {
	for _, detail := range details {
		t.Examples = append(t.Examples, Example{kind, detail})
	}
}

func (t *Table) count(kind string, n int64) {
	switch kind {
	case Missing:
		t.Missing += n
	case Different:
		t.Different += n
	case Surplus:
		t.Surplus += n
	}
}

// summarize counts what the comparison found.
func (r *run) summarize(ctx context.Context) error {
	r.report.Tables, r.report.Differences, r.report.Pruned = nil, 0, r.Prune
	if s := r.unifySpan(); s != nil {
		r.report.First, r.report.Next = s.start, s.end
	}
	if r.logRecords > 0 {
		first, last := time.UnixMilli(r.logFirst).UTC(), time.UnixMilli(r.logLast).UTC()
		r.report.FirstTime, r.report.LastTime = &first, &last
	}
	names, err := r.topicNames(ctx)
	if err != nil {
		return err
	}
	for _, s := range r.shapes {
		t := Table{Name: s.Name}
		var groups int64
		if err := r.conn.QueryRow(ctx, s.sql("SELECT count(*) FROM {groups} WHERE judged")).Scan(&groups); err != nil {
			return fmt.Errorf("count the differences of dingir.%s: %w", s.Name, err)
		}
		if err := r.countKinds(ctx, &t, s.sql("{plan}")); err != nil {
			return err
		}
		t.Equal = groups - t.Missing - t.Different
		if t.Examples, err = r.rowExamples(ctx, s, names); err != nil {
			return err
		}
		r.add(t)
	}
	if err := r.summarizeNotes(ctx, names); err != nil {
		return err
	}
	if err := r.summarizeArchive(ctx); err != nil {
		return err
	}
	return r.summarizeState(ctx)
}

func (r *run) add(t Table) {
	r.report.Tables = append(r.report.Tables, t)
	r.report.Differences += t.Missing + t.Different + t.Surplus
}

func (r *run) topicNames(ctx context.Context) (map[int16]string, error) {
	rows, err := r.conn.Query(ctx, "SELECT id, name FROM dingir.topics")
	if err != nil {
		return nil, fmt.Errorf("read the topics: %w", err)
	}
	names := map[int16]string{}
	var id int16
	var name string
	if _, err = pgx.ForEachRow(rows, []any{&id, &name}, func() error {
		names[id] = name
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read the topics: %w", err)
	}
	return names, nil
}

func (r *run) countKinds(ctx context.Context, t *Table, plan string) error {
	rows, err := r.conn.Query(ctx, "SELECT kind, count(*) FROM "+plan+" GROUP BY 1")
	if err != nil {
		return fmt.Errorf("count the differences of dingir.%s: %w", t.Name, err)
	}
	var kind string
	var n int64
	if _, err = pgx.ForEachRow(rows, []any{&kind, &n}, func() error {
		t.count(kind, n)
		return nil
	}); err != nil {
		return fmt.Errorf("count the differences of dingir.%s: %w", t.Name, err)
	}
	return nil
}

// rowExamples describes some rows of each kind.
func (r *run) rowExamples(ctx context.Context, s *shape, names map[int16]string) (list []Example, err error) {
	for _, kind := range []string{Missing, Different, Surplus} {
		rows, err := r.conn.Query(ctx, s.sql("SELECT row_to_json(p.old)::text, row_to_json(p.new)::text FROM {plan} p WHERE kind = $1 LIMIT $2"), kind, examples)
		if err != nil {
			return nil, fmt.Errorf("read examples of dingir.%s: %w", s.Name, err)
		}
		var before, after *string
		_, err = pgx.ForEachRow(rows, []any{&before, &after}, func() error {
			list = append(list, Example{kind, describe(s, fields(before), fields(after), names)})
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read examples of dingir.%s: %w", s.Name, err)
		}
	}
	return list, nil
}

// fields are a row's columns as text; nil for no row.
func fields(row *string) map[string]string {
	if row == nil {
		return nil
	}
	decoder := json.NewDecoder(strings.NewReader(*row))
	decoder.UseNumber()
	raw := map[string]any{}
	if decoder.Decode(&raw) != nil {
		return nil
	}
	out := map[string]string{}
	for name, value := range raw {
		switch v := value.(type) {
		case nil:
			out[name] = "NULL"
		case string:
			out[name] = v
			if runes := []rune(v); len(runes) > 60 {
				out[name] = string(runes[:57]) + "…"
			}
		default:
			out[name] = fmt.Sprint(v)
		}
	}
	return out
}

// describe names a row by what identifies it and where it is from, and what is
// different about it.
func describe(s *shape, old, fresh map[string]string, names map[int16]string) string {
	row := fresh
	if row == nil {
		row = old
	}
	var parts []string
	for _, c := range s.Identity {
		if c != "content_hash" {
			parts = append(parts, c+" "+row[c])
		}
	}
	text := strings.Join(parts, ", ") + " at " + place(row, names)
	if old == nil || fresh == nil {
		return text
	}
	var changes []string
	for _, c := range s.all {
		if !slices.Contains(sources, c) && old[c] != fresh[c] {
			changes = append(changes, fmt.Sprintf("%s is %s, should be %s", c, old[c], fresh[c]))
		}
	}
	if from, to := place(old, names), place(fresh, names); from != to {
		changes = append(changes, fmt.Sprintf("its position is %s, should be %s", from, to))
	}
	return text + ": " + strings.Join(changes, "; ")
}

// place is a row's position for people.
func place(row map[string]string, names map[int16]string) string {
	topic := "topic id " + row["src_topic"]
	for id, name := range names {
		if fmt.Sprint(id) == row["src_topic"] {
			topic = name
		}
	}
	return fmt.Sprintf("%s/%s offset %s", topic, row["src_partition"], row["src_offset"])
}

// summarizeNotes counts duplicates, rejects and gaps.
func (r *run) summarizeNotes(ctx context.Context, names map[int16]string) error {
	for _, t := range []struct{ name, due, plan string }{
		{"rejects", "SELECT count(*) FROM {schema}.rejects s JOIN {schema}.zones z ON z.class = 'read' AND z.topic_id = s.topic_id AND z.partition = s.partition AND s.\"offset\" >= z.first AND s.\"offset\" < z.until",
			`SELECT kind, topic_id, partition, "offset", "offset" FROM {schema}.rejects_plan`},
		{"duplicates", "SELECT count(*) FROM {schema}.duplicates_due",
			`SELECT kind, topic_id, partition, "offset", "offset" FROM {schema}.duplicates_plan`},
		{"gaps", "SELECT count(*) FROM dingir.gaps g WHERE EXISTS (SELECT FROM {schema}.zones z WHERE z.topic_id = g.topic_id AND z.partition = g.partition)",
			"SELECT kind, topic_id, partition, first_offset, last_offset FROM {schema}.gaps_plan WHERE kind <> 'trimmed'"},
	} {
		table := Table{Name: t.name}
		var due int64
		if err := r.conn.QueryRow(ctx, strings.ReplaceAll(t.due, "{schema}", Schema)).Scan(&due); err != nil {
			return fmt.Errorf("count the differences of dingir.%s: %w", t.name, err)
		}
		rows, err := r.conn.Query(ctx, strings.ReplaceAll(t.plan, "{schema}", Schema)+" ORDER BY 1, 2, 3, 4")
		if err != nil {
			return fmt.Errorf("count the differences of dingir.%s: %w", t.name, err)
		}
		var kind string
		var topicID int16
		var partition int32
		var first, last int64
		shown := map[string]int{}
		if _, err = pgx.ForEachRow(rows, []any{&kind, &topicID, &partition, &first, &last}, func() error {
			table.count(kind, 1)
			if shown[kind]++; shown[kind] <= examples {
				where := fmt.Sprintf("%s/%d offset %d", names[topicID], partition, first)
				if last != first {
					where += fmt.Sprintf(" to %d", last)
				}
				table.Examples = append(table.Examples, Example{kind, where})
			}
			return nil
		}); err != nil {
			return fmt.Errorf("count the differences of dingir.%s: %w", t.name, err)
		}
		table.Equal = due - table.Missing - table.Different
		if t.name == "gaps" {
			table.Equal = due - table.Surplus
		}
		r.add(table)
	}
	return nil
}

// Write shows the report to people.
func (r *Report) Write(w io.Writer) error {
	var out bytes.Buffer
	if r.FirstTime != nil {
		fmt.Fprintf(&out, "unifyevents from offset %d up to %d, %s to %s\n\n", r.First, r.Next,
			r.FirstTime.Format("2006-01-02 15:04:05"), r.LastTime.Format("2006-01-02 15:04:05"))
	}
	fmt.Fprintf(&out, "%-20s %12s %9s %9s %9s\n", "table", "equal", "missing", "different", "surplus")
	for _, t := range r.Tables {
		fmt.Fprintf(&out, "%-20s %12d %9d %9d %9d\n", t.Name, t.Equal, t.Missing, t.Different, t.Surplus)
	}
	for _, table := range r.Tables {
		if len(table.Examples) == 0 {
			continue
		}
		fmt.Fprintf(&out, "\n%s, for example:\n", table.Name)
		for _, e := range table.Examples {
			fmt.Fprintf(&out, "  %-9s  %s\n", e.Kind, e.Detail)
		}
	}
	if len(r.Notes) > 0 {
		fmt.Fprintln(&out)
	}
	for _, note := range r.Notes {
		fmt.Fprintln(&out, "note:", note)
	}
	if _, err := out.WriteTo(w); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// Outcome says in words what applying the report does.
func (r *Report) Outcome() string {
	var missing, different, surplus int64
	for _, t := range r.Tables {
		missing, different = missing+t.Missing, different+t.Different
		switch t.Name {
		case "trades", "order_events", "balance_changes", "deposits", "withdrawals", "internal_transfers", "users":
			surplus += t.Surplus
		default:
			different += t.Surplus // the accounting and the state follow from the rest
		}
	}
	text := fmt.Sprintf("rows put in: %d, made as the log has them: %d", missing, different)
	switch {
	case surplus > 0 && r.Pruned:
		text += fmt.Sprintf(", taken out: %d", surplus)
	case surplus > 0:
		text += fmt.Sprintf("; surplus and left: %d, --prune takes them out", surplus)
	}
	return text
}
