package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/config"
	"github.com/thaliumx/persistor/internal/deadletter"
)

// shownBytes bounds what `rejects show` prints of a key, a value or a header.
const shownBytes = 4 << 10

// shownHeaders bounds how many headers it prints: a record may have millions.
const shownHeaders = 100

func rejectsListCommand() command {
	return command{
		name:    "rejects list",
		summary: "list the records that could not be stored",
		needs:   config.NeedDatabase | config.NeedKafka, // of Kafka, the topics' prefix
		prepare: func(fs *flag.FlagSet) func(context.Context, *call) error {
			all := fs.Bool("all", false, "resolved ones too")
			topic := fs.String("topic", "", "only those of one `topic`")
			reason := fs.String("reason", "", "only those with this `reason`, such as foreign")
			format := formatFlag(fs)
			return func(ctx context.Context, c *call) error {
				if err := format.check(); err != nil {
					return err
				}
				s := selection{reason: *reason, resolved: *all, foreign: true}
				if err := s.of(c, *topic); err != nil {
					return err
				}
				return listRejects(ctx, c, s, format.json())
			}
		},
	}
}

func rejectsShowCommand() command {
	return command{
		name:      "rejects show",
		summary:   "show one of them with its bytes",
		arguments: "<id>",
		needs:     config.NeedDatabase,
		prepare: func(fs *flag.FlagSet) func(context.Context, *call) error {
			raw := fs.Bool("raw", false, "print the value's bytes as they are, all of them, and nothing else")
			return func(ctx context.Context, c *call) error {
				ids, err := rejectIDs(c.args)
				if err != nil {
					return err
				}
				if len(ids) != 1 {
					return usageError("want one id; `persistor rejects list` shows them")
				}
				return showReject(ctx, c, ids[0], *raw)
			}
		},
	}
}

// rejectIDs reads ids from a command's arguments.
func rejectIDs(args []string) ([]int64, error) {
	ids := make([]int64, len(args))
	for i, a := range args {
		id, err := strconv.ParseInt(a, 10, 64)
		if err != nil || id < 1 {
			return nil, usageError("%q is no id of a reject; `persistor rejects list` shows them", a)
		}
		ids[i] = id
	}
	return ids, nil
}

// selection says which rejects are meant.
type selection struct {
	topic    string   // full name; empty: any
	reason   string   // empty: any
	resolved bool     // resolved ones too
	foreign  bool     // foreign ones too
	own      []string // full names: only these topics'; nil: also those of other prefixes
}

// of narrows the selection to one topic, named with or without the prefix.
func (s *selection) of(c *call, topic string) (err error) {
	if topic != "" {
		s.topic, err = fullTopic(c, topic)
	}
	return err
}

const selected = ` FROM dingir.rejects WHERE ($1 = '' OR topic = $1) AND ($2 = '' OR reason = $2)
	AND ($3 OR resolved_at IS NULL) AND ($4 OR reason <> 'foreign') AND ($5::text[] IS NULL OR topic = ANY ($5)) ORDER BY id`

func (s *selection) args() []any { return []any{s.topic, s.reason, s.resolved, s.foreign, s.own} }

// rejectRow is a reject without its bytes.
type rejectRow struct {
	ID         int64      `json:"id"`
	Topic      string     `json:"topic"`
	Partition  int32      `json:"partition"`
	Offset     int64      `json:"offset"`
	Time       time.Time  `json:"record_time"`
	Reason     string     `json:"reason"`
	SQLState   *string    `json:"sqlstate"`
	RejectedAt time.Time  `json:"rejected_at"`
	Published  *time.Time `json:"published_at"`
	Resolved   *time.Time `json:"resolved_at"`
}

const rejectColumns = `id, topic, partition, "offset", record_time, reason, sqlstate, rejected_at, published_at, resolved_at`

func (r *rejectRow) targets() []any {
	return []any{&r.ID, &r.Topic, &r.Partition, &r.Offset, &r.Time, &r.Reason, &r.SQLState, &r.RejectedAt, &r.Published, &r.Resolved}
}

// state says in a word or two where the reject stands.
func (r *rejectRow) state() string {
	switch {
	case r.Resolved != nil:
		return "resolved"
	case r.Published != nil:
		return "published"
	}
	return "not published yet"
}

func listRejects(ctx context.Context, c *call, s selection, asJSON bool) error {
	return connected(ctx, c, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, "SELECT "+rejectColumns+selected, s.args()...)
		if err != nil {
			return fmt.Errorf("list the rejects: %w", err)
		}
		var r rejectRow
		n := 0
		table := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
		lines := json.NewEncoder(c.stdout) // one object a line: there may be many
		_, err = pgx.ForEachRow(rows, r.targets(), func() error {
			n++
			if asJSON {
				return lines.Encode(r)
			}
			if n == 1 {
				fmt.Fprintln(table, "ID\tTOPIC\tPARTITION\tOFFSET\tRECORD TIME\tSTATE\tREASON")
			}
			fmt.Fprintf(table, "%d\t%s\t%d\t%d\t%s\t%s\t%s\n", r.ID, r.Topic, r.Partition, r.Offset,
				r.Time.UTC().Format(time.RFC3339), r.state(), legible(r.Reason, 200))
			if n%1000 == 0 {
				return table.Flush()
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("list the rejects: %w", err)
		}
		if n == 0 && !asJSON {
			fmt.Fprintln(c.stdout, "no rejects")
		}
		return table.Flush()
	})
}

func showReject(ctx context.Context, c *call, id int64, raw bool) error {
	return connected(ctx, c, func(conn *pgx.Conn) error {
		var r rejectRow
		var key, value, headers []byte
		err := conn.QueryRow(ctx, "SELECT "+rejectColumns+", key, value, headers::text FROM dingir.rejects WHERE id = $1", id).
			Scan(append(r.targets(), &key, &value, &headers)...)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("there is no reject %d; `persistor rejects list` shows them", id)
		}
		if err != nil {
			return fmt.Errorf("read reject %d: %w", id, err)
		}
		if raw {
			if _, err = c.stdout.Write(value); err != nil {
				return fmt.Errorf("write the value: %w", err)
			}
			return nil
		}
		n, list, err := deadletter.ParseHeaders(headers)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.stdout, "reject %d: topic %s partition %d offset %d\n", r.ID, r.Topic, r.Partition, r.Offset)
		fmt.Fprintf(c.stdout, "record time  %s\n", r.Time.UTC().Format(time.RFC3339Nano))
		fmt.Fprintf(c.stdout, "rejected     %s\n", r.RejectedAt.UTC().Format(time.RFC3339))
		writeTime(c.stdout, "published", r.Published)
		writeTime(c.stdout, "resolved", r.Resolved)
		fmt.Fprintf(c.stdout, "reason       %s\n", legible(r.Reason, shownBytes))
		if r.SQLState != nil {
			fmt.Fprintf(c.stdout, "SQLSTATE     %s\n", *r.SQLState)
		}
		shown := 0
		for h := range list {
			if shown == shownHeaders {
				fmt.Fprintf(c.stdout, "header       … (%d in all; dingir.rejects.headers has them)\n", n)
				break
			}
			shown++
			fmt.Fprintf(c.stdout, "header       %s: %s\n", printable([]byte(h.Key), shownBytes), nullable(h.Value))
		}
		fmt.Fprintf(c.stdout, "key          %s\n", nullable(key))
		fmt.Fprintf(c.stdout, "value        %s\n", nullable(value))
		return nil
	})
}

func writeTime(w io.Writer, name string, t *time.Time) {
	text := "no"
	if t != nil {
		text = t.UTC().Format(time.RFC3339)
	}
	fmt.Fprintf(w, "%-12s %s\n", name, text)
}

// nullable tells null from empty.
func nullable(b []byte) string {
	switch {
	case b == nil:
		return "null"
	case len(b) == 0:
		return "empty"
	}
	return printable(b, shownBytes)
}

// printable shows bytes on a terminal, on which they may do nothing: whatever
// is not a printable character is escaped as in Go.
func printable(b []byte, limit int) string {
	rest := ""
	if len(b) > limit {
		rest = fmt.Sprintf("… (%d bytes in all; --raw shows them)", len(b))
		b = b[:limit]
	}
	quoted := strconv.QuoteToGraphic(string(b))
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`) + rest
}

// legible is printable for a text of ours, which has its odd bytes escaped already.
func legible(text string, limit int) string {
	return strings.ReplaceAll(printable([]byte(text), limit), `\\`, `\`)
}

// unresolved returns the ids of the rejects that a selection means.
func unresolved(ctx context.Context, conn *pgx.Conn, s selection) ([]int64, error) {
	rows, err := conn.Query(ctx, "SELECT id"+selected, s.args()...)
	if err != nil {
		return nil, fmt.Errorf("list the rejects: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("list the rejects: %w", err)
	}
	return ids, nil
}
