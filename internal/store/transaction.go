package store

import (
	"cmp"
	"context"
	"encoding/binary"
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

// transact writes the batch in one transaction: the ledger's moves, then one COPY
// a table, all in one message. All is sent before anything is read, which halves
// the time of small batches and is safe, since the server answers nothing big and
// skips what is left of a COPY that it has refused. COMMIT is a message of its
// own: a trigger can drop rows without an error, so first the server's counts of
// them must be those of the batch.
//
// nil means committed. With any other outcome but a broken connection it is rolled
// back; with that the outcome is unknown.
func transact(ctx context.Context, conn *pgx.Conn, b *Batch) error {
	pg := conn.PgConn()
	stop := context.AfterFunc(ctx, func() { _ = pg.Conn().SetDeadline(time.Unix(1, 0)) })
	defer stop()

	streams := b.streams()
	if err := query(pg, statements(b, streams)); err != nil {
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
	copied, _, refused, err := receive(pg) //nolint:contextcheck // ctx ends it through the deadline above
	if err == nil && refused == nil {
		refused, err = b.dropped(ctx, conn, streams, copied)
	}
	if err != nil {
		return broken(ctx, conn, fmt.Errorf("write %d records: %w", b.records, err))
	}
	end := "ROLLBACK"
	if refused == nil {
		failpoint.Hit("counted")
		end = "COMMIT"
	}
	if err = query(pg, end); err == nil {
		var done string
		var late error
		_, done, late, err = receive(pg) //nolint:contextcheck // as above
		if refused = cmp.Or(refused, late); refused == nil && done != end {
			refused = &undecided{fmt.Errorf("the server answers %s with %s", end, done)}
		}
	}
	if err != nil {
		return broken(ctx, conn, fmt.Errorf("wait for the %s of %d records: %w", end, b.records, err))
	}
	if !stop() { // the deadline may have been set behind the last answer
		return broken(ctx, conn, context.Cause(ctx))
	}
	if refused == nil {
		failpoint.Hit("committed")
	}
	return refused
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
	s.WriteString("BEGIN;")
	// One statement for all partitions, since each by itself takes 0.1 ms of the
	// server, most of it for reading and planning. VALUES gives its rows in the order
	// of the text.
	for i, p := range sorted(b.progress) {
		before, last, hash := ",", "NULL", "NULL"
		if i == 0 {
			before = "SELECT dingir.advance(t, p, i, e, n, l, h, r) FROM (VALUES "
		}
		if p.hasLast {
			// In quotes, since -9223372036854775808 without is the negative of a number
			// that bigint has not got.
			last, hash = fmt.Sprintf("'%d'", p.lastOffset), fmt.Sprintf("'%d'", p.lastHash)
		}
		fmt.Fprintf(&s, "%s(%s,%d,%d::smallint,%d::bigint,%d::bigint,%s::bigint,%s::bigint,'{%s}'::bigint[])",
			before, quote(p.Topic), p.Partition, p.TopicID, p.Expected, p.Next, last, hash, join(p.Rejected))
	}
	if len(b.progress) > 0 {
		s.WriteString(") k(t, p, i, e, n, l, h, r);")
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

// query sends one message of statements.
func query(pg *pgconn.PgConn, text string) error {
	pg.Frontend().SendQuery(&pgproto3.Query{String: text})
	return pg.Frontend().Flush()
}

// receive reads the answers to one message: how many rows each COPY took, and what
// the last statement did. refused is the server's error; err says that the
// connection failed.
func receive(pg *pgconn.PgConn) (copied []int64, done string, refused, err error) {
	for {
		message, err := pg.ReceiveMessage(context.Background())
		if err != nil {
			return nil, "", nil, err
		}
		switch m := message.(type) {
		case *pgproto3.ErrorResponse:
			e := pgconn.ErrorResponseToPgError(m)
			refused = e
			if e.Severity == "FATAL" || e.Severity == "PANIC" {
				// The session is over. Whether the transaction is committed the
				// server does not say.
				return nil, "", nil, e
			}
		case *pgproto3.CommandComplete:
			tag := pgconn.NewCommandTag(string(m.CommandTag))
			if done = tag.String(); strings.HasPrefix(done, "COPY") {
				copied = append(copied, tag.RowsAffected())
			}
		case *pgproto3.ReadyForQuery:
			return copied, done, refused, nil
		}
	}
}
