package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/thaliumx/persistor/internal/failpoint"
)

// copyChunk is how much of a COPY stream goes into one message: small enough
// that the server works on the first while the next is on its way.
const copyChunk = 64 << 10

// transact writes the batch as one message: the ledger's moves, then one COPY a
// table. A simple query of several statements is one implicit transaction: an
// error anywhere rolls all of it back, and the connection stays usable. All is
// sent before anything is read, which halves the time of small batches and is
// safe, since the server answers nothing big and skips what is left of a COPY
// that it has refused.
//
// nil means committed. A *pgconn.PgError means rolled back. Any other error
// leaves the outcome unknown and the connection broken.
func transact(ctx context.Context, conn *pgx.Conn, b *Batch) error {
	pg := conn.PgConn()
	stop := context.AfterFunc(ctx, func() { _ = pg.Conn().SetDeadline(time.Unix(1, 0)) })
	defer stop()

	streams := b.streams()
	pg.Frontend().SendQuery(&pgproto3.Query{String: statements(b, streams)})
	if err := pg.Frontend().Flush(); err != nil {
		return broken(ctx, conn, fmt.Errorf("send a batch of %d records: %w", b.records, err))
	}
	failpoint.Hit("sending")
	for i, id := range streams {
		if i == len(streams)-1 {
			failpoint.Hit("copied")
		}
		if err := sendCopy(pg.Conn(), b.rows[id].buf); err != nil {
			return broken(ctx, conn, fmt.Errorf("copy %d rows into dingir.%s: %w", b.rows[id].n, tables[id].name, err))
		}
	}
	refused, err := receive(conn, b, streams) //nolint:contextcheck // ctx ends it through the deadline above
	if err != nil {
		return broken(ctx, conn, fmt.Errorf("wait for the commit of %d records: %w", b.records, err))
	}
	if !stop() { // the deadline may have been set behind the last answer
		return broken(ctx, conn, context.Cause(ctx))
	}
	if refused == nil {
		failpoint.Hit("committed")
	}
	var dropped *droppedError
	if errors.As(refused, &dropped) {
		return takeBack(ctx, conn, b, refused)
	}
	return refused
}

// droppedError says that the server stored fewer rows than it was sent and
// committed all the same, as with a trigger that returns NULL.
type droppedError struct {
	table        string
	sent, stored int64
}

// Error says so.
func (e *droppedError) Error() string {
	return fmt.Sprintf("copy %d rows into dingir.%s: the server stored %d; does a trigger drop rows?", e.sent, e.table, e.stored)
}

// takeBack moves the ledger back to where the batch began, since rows of it are
// missing: they are written again, and those that are there are merged. It counts
// as an operator's move: the state that was written with the batch does not come
// back with it.
func takeBack(ctx context.Context, conn *pgx.Conn, b *Batch, cause error) error {
	for _, p := range sorted(b.progress) {
		_, err := conn.Exec(ctx, `UPDATE dingir.ledger SET next_offset = $1, moves = moves + 1
			WHERE topic = $2 AND partition = $3 AND topic_id = $4 AND next_offset = $5`, p.Expected, p.Topic, p.Partition, p.TopicID, p.Next)
		if err != nil {
			return &undecided{fmt.Errorf("%w; the ledger has moved from offset %d to %d of %s partition %d all the same, and cannot be moved back: %w",
				cause, p.Expected, p.Next, p.Topic, p.Partition, err)}
		}
	}
	return &undecided{cause}
}

// broken closes a connection whose state is unknown.
func broken(ctx context.Context, conn *pgx.Conn, err error) error {
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(closing)
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%w (%w)", err, cause)
	}
	return err
}

// streams lists the tables that the batch has rows for, in writing order.
func (b *Batch) streams() []tableID {
	var out []tableID
	for id := range tableCount {
		if b.rows[id].n > 0 {
			out = append(out, id)
		}
	}
	return out
}

// statements is the text of the batch: advance each partition, in the one order
// that all transactions keep, the state's row, COPY, and last what changed of the
// state.
func statements(b *Batch, streams []tableID) string {
	var s strings.Builder
	for _, p := range sorted(b.progress) {
		last, hash := "NULL", "NULL"
		if p.hasLast {
			last, hash = strconv.FormatInt(p.lastOffset, 10), strconv.FormatInt(p.lastHash, 10)
		}
		fmt.Fprintf(&s, "SELECT dingir.advance(%s,%d,%d::smallint,%d,%d,%s,%s,'{%s}');",
			quote(p.Topic), p.Partition, p.TopicID, p.Expected, p.Next, last, hash, join(p.Rejected))
	}
	b.state.rowStatement(&s)
	for _, id := range streams {
		if id == snapshotsTable {
			// One that stands there is of another history.
			fmt.Fprintf(&s, "DELETE FROM dingir.state_snapshots WHERE topic_id = %d AND next_offset >= %d;", b.state.row.TopicID, b.state.row.Next)
		}
		s.WriteString(tables[id].copySQL)
		s.WriteByte(';')
	}
	b.state.changeStatements(&s)
	return s.String()
}

func sorted(progress []*Progress) []*Progress {
	out := slices.Clone(progress)
	slices.SortFunc(out, func(a, b *Progress) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition - b.Partition)
	})
	return out
}

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func join(list []int64) string {
	var b []byte
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, v, 10)
	}
	return string(b)
}

// sendCopy sends one stream, framed as CopyData messages, without copying it.
func sendCopy(conn net.Conn, stream []byte) error {
	n := (len(stream)+copyChunk-1)/copyChunk + 1
	heads := make([]byte, 0, 5*n)
	parts := make(net.Buffers, 0, 2*n)
	frame := func(data []byte) {
		at := len(heads)
		heads = binary.BigEndian.AppendUint32(append(heads, 'd'), uint32(len(data)+4))
		parts = append(parts, heads[at:len(heads):len(heads)], data)
	}
	for len(stream) > 0 {
		m := min(len(stream), copyChunk)
		frame(stream[:m])
		stream = stream[m:]
	}
	frame(copyTrailer)
	parts = append(parts, []byte{'c', 0, 0, 0, 4}) // CopyDone
	_, err := parts.WriteTo(conn)
	return err
}

// receive reads the answers to a batch. refused is the server's error; err says
// that the connection failed.
func receive(conn *pgx.Conn, b *Batch, streams []tableID) (refused, err error) {
	var copied int
	for {
		message, err := conn.PgConn().ReceiveMessage(context.Background())
		if err != nil {
			return nil, err
		}
		switch m := message.(type) {
		case *pgproto3.ErrorResponse:
			e := pgconn.ErrorResponseToPgError(m)
			refused = e // also where rows were dropped before: nothing of it is committed
			if e.Severity == "FATAL" || e.Severity == "PANIC" {
				// The session is over. Whether the transaction is committed the
				// server does not say.
				return nil, e
			}
		case *pgproto3.CommandComplete:
			tag := pgconn.NewCommandTag(string(m.CommandTag))
			if !strings.HasPrefix(tag.String(), "COPY") {
				continue
			}
			id := streams[copied]
			copied++
			// The tables of notes leave out what is noted already.
			if id < gapsTable && tag.RowsAffected() != int64(b.rows[id].n) {
				refused = &droppedError{tables[id].name, int64(b.rows[id].n), tag.RowsAffected()}
			}
		case *pgproto3.ReadyForQuery:
			if refused == nil && copied != len(streams) {
				return nil, errors.New("the server ended a batch before its last COPY")
			}
			return refused, nil
		}
	}
}
