package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// findBadRows halves each table's rows until the ones that the server refuses
// are alone. It tries them in transactions that it always rolls back. cause is
// the error that made it look.
func findBadRows(ctx context.Context, conn *pgx.Conn, b *Batch, cause error) error {
	// Duplicates would be refused at every half.
	if err := merge(ctx, conn, b); err != nil {
		return err
	}
	bad := &BadRecords{}
	for id := range tableCount {
		if tables[id].key == 0 || b.rows[id].n == 0 {
			continue
		}
		list := b.rows[id].split(len(tables[id].columns))
		if err := halve(ctx, conn, id, list, bad); err != nil {
			// Only err is wrapped: it is what Classify has to see.
			return fmt.Errorf("look for the row behind %q: %w", cause.Error(), err)
		}
	}
	if len(bad.Records) == 0 {
		// No row by itself is refused: not a matter of one record.
		return &undecided{fmt.Errorf("the batch is refused, though each of its rows alone is not: %w", cause)}
	}
	return bad
}

// undecided is an error of the class Unknown whatever SQLSTATE it wraps.
type undecided struct{ err error }

func (e *undecided) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *undecided) Unwrap() error { return e.err }

func halve(ctx context.Context, conn *pgx.Conn, id tableID, list []row, bad *BadRecords) error {
	err := try(ctx, conn, id, list)
	switch {
	case err == nil:
		return nil
	case Classify(err) == Duplicate && len(list) == 1:
		return nil // it is there already: merging finds that
	case Classify(err) != BadRow && Classify(err) != Duplicate:
		return err
	case len(list) > 1:
		half := len(list) / 2
		if err := halve(ctx, conn, id, list[:half], bad); err != nil {
			return err
		}
		return halve(ctx, conn, id, list[half:], bad)
	}
	var pg *pgconn.PgError
	errors.As(err, &pg)
	bad.Records = append(bad.Records, BadRecord{
		Source:   list[0].source(),
		Reason:   fmt.Sprintf("dingir.%s refuses it: %s", tables[id].name, pg.Message),
		SQLState: pg.Code,
	})
	return nil
}

// try copies rows and takes them back.
func try(ctx context.Context, conn *pgx.Conn, id tableID, list []row) error {
	stream := append([]byte(nil), copyHeader...)
	for _, r := range list {
		stream = append(stream, r.raw...)
	}
	stream = append(stream, copyTrailer...)
	if _, err := conn.Exec(ctx, "BEGIN"); err != nil {
		return err
	}
	_, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(stream), tables[id].copySQL)
	if err == nil {
		_, err = conn.Exec(ctx, "SET CONSTRAINTS ALL IMMEDIATE")
	}
	if _, e := conn.Exec(ctx, "ROLLBACK"); e != nil && err == nil {
		return e
	}
	return err
}
