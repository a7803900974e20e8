package verify

import (
	"bytes"
	"context"

	"github.com/jackc/pgx/v5"
)

// copyHeader is the length of what opens a binary COPY stream.
const copyHeader = 19

// stream runs a query through COPY, which costs a fraction of what rows of a
// result do, and calls take with each row, whose bytes are valid until it
// returns and may be changed by it.
func stream(ctx context.Context, conn *pgx.Conn, query string, take func(image []byte) error) error {
	w := rowWriter{take: take}
	if _, err := conn.PgConn().CopyTo(ctx, &w, "COPY ("+query+") TO STDOUT (FORMAT binary)"); err != nil {
		return err
	}
	if !w.ended {
		return errStream
	}
	return nil
}

// rowWriter cuts COPY's stream into rows as it comes.
type rowWriter struct {
	take         func([]byte) error
	begun, ended bool
	rest         []byte // the start of what has not come completely yet
}

// Write takes the next part of the stream.
func (w *rowWriter) Write(b []byte) (int, error) {
	n := len(b)
	if len(w.rest) > 0 {
		b = append(w.rest, b...)
		w.rest = nil
	}
	if !w.begun {
		if len(b) < copyHeader {
			w.rest = bytes.Clone(b)
			return n, nil
		}
		b, w.begun = b[copyHeader:], true
	}
	for len(b) > 0 {
		end := rowEnd(b)
		switch {
		case end < 0:
			w.ended = true
			return n, nil
		case end == 0:
			w.rest = bytes.Clone(b)
			return n, nil
		}
		if err := w.take(b[:end:end]); err != nil {
			return 0, err
		}
		b = b[end:]
	}
	return n, nil
}
