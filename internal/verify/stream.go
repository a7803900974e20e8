package verify

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"github.com/jackc/pgx/v5"
)

// A row of COPY's binary form with an int2, an int4 and an int8, none NULL: the
// count of fields, then length and value of each.
const (
	copyRow    = 2 + 4 + 2 + 4 + 4 + 4 + 8
	copyHeader = 19
)

// stream runs a query for (topic id, partition, offset) through COPY, which
// costs a fraction of what rows of a result do.
func stream(ctx context.Context, conn *pgx.Conn, query string, take func(log, int64)) error {
	w := positions{take: take}
	if _, err := conn.PgConn().CopyTo(ctx, &w, "COPY ("+query+") TO STDOUT (FORMAT binary)"); err != nil {
		return err
	}
	if len(w.rest) != 2 { // the trailer
		return errors.New("the server's COPY stream is cut short")
	}
	return nil
}

// positions reads COPY's stream as it comes.
type positions struct {
	take  func(log, int64)
	begun bool
	rest  []byte // the start of what has not come completely yet
}

// Write takes the next part of the stream.
func (p *positions) Write(b []byte) (int, error) {
	n := len(b)
	if len(p.rest) > 0 {
		b = append(p.rest, b...)
		p.rest = nil
	}
	if !p.begun {
		if len(b) < copyHeader {
			p.rest = bytes.Clone(b)
			return n, nil
		}
		b, p.begun = b[copyHeader:], true
	}
	for len(b) >= copyRow {
		if binary.BigEndian.Uint16(b) != 3 {
			return 0, errors.New("the server's COPY stream has other columns than asked for")
		}
		p.take(log{int16(binary.BigEndian.Uint16(b[6:])), int32(binary.BigEndian.Uint32(b[12:]))},
			int64(binary.BigEndian.Uint64(b[20:])))
		b = b[copyRow:]
	}
	if len(b) > 0 {
		p.rest = bytes.Clone(b)
	}
	return n, nil
}
