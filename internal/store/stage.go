package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Shape is what one needs to know of a table of records to compare it with
// another of the same columns.
type Shape struct {
	Name     string // without schema
	Columns  []string
	Identity []string // its unique index, content_hash last
	Time     string   // when it happened
}

// Shapes lists the tables of records in the order in which every transaction
// writes them.
func Shapes() []Shape {
	var list []Shape
	for _, t := range tables {
		if t.key == 0 {
			continue
		}
		s := Shape{Name: t.name, Columns: slices.Clone(t.columns), Identity: slices.Clone(t.columns[:t.key]), Time: "time"}
		if t.time < 0 {
			s.Time = "registered_at"
		}
		list = append(list, s)
	}
	return list
}

// Stage copies the batch's rows, segments, rejects and gaps into tables of the same names
// and columns in another schema, without moving the ledger. It is for who
// compares a log with what is stored of it.
func (b *Batch) Stage(ctx context.Context, conn *pgx.Conn, schema string) error {
	if err := b.closeSegment(); err != nil {
		return err
	}
	for _, id := range b.streams() {
		t := &tables[id]
		into := strings.Replace(t.copySQL, "COPY dingir.", "COPY "+schema+".", 1)
		stream := io.MultiReader(bytes.NewReader(b.rows[id].buf), bytes.NewReader(copyTrailer))
		if _, err := conn.PgConn().CopyFrom(ctx, stream, into); err != nil {
			return fmt.Errorf("copy %d rows into %s.%s: %w", b.rows[id].n, schema, t.name, err)
		}
	}
	return nil
}

// Executor is what runs statements: a session, or a transaction of it.
type Executor interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
}

// WriteState runs the batch's statements for balances, open_orders and state,
// and nothing else of it, in the transaction of who calls it, who holds the
// ledger's row of unifyevents.
func (b *Batch) WriteState(ctx context.Context, tx Executor) error {
	var s strings.Builder
	b.state.rowStatement(&s)
	b.state.changeStatements(&s)
	if _, err := tx.Exec(ctx, s.String()); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	return nil
}
