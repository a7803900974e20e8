package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
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

// Stage copies the batch's rows, rejects and gaps into tables of the same names
// and columns in another schema, without moving the ledger. It is for who
// compares a log with what is stored of it.
func (b *Batch) Stage(ctx context.Context, conn *pgx.Conn, schema string) error {
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
