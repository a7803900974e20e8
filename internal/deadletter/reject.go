package deadletter

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
)

// The headers that a dead letter has behind the original ones.
const (
	headerID        = "persistor-reject-id"
	headerTopic     = "persistor-topic"
	headerPartition = "persistor-partition"
	headerOffset    = "persistor-offset"
	headerReason    = "persistor-reason"
	headerSQLState  = "persistor-sqlstate"
	headerPointer   = "persistor-pointer"
	headerHeaders   = "persistor-headers"
)

// reasonBytes bounds the reason in its header; the row has all of it.
const reasonBytes = 4 << 10

// mostHeaders bounds the headers that a dead letter carries. One takes 40 bytes
// here, of 2 on the wire, so as many as fit into a record would take gigabytes.
const mostHeaders = 100_000

// reject is one row of the outbox. A nil key or value is null.
type reject struct {
	id        int64
	topic     string
	partition int32
	offset    int64
	key       []byte
	value     []byte
	headers   []kafka.Header
	left      int // more headers than a dead letter carries: so many, and none in headers
	reason    string
	sqlstate  *string
	pointer   bool // too big: only say where it is
}

func read(ctx context.Context, conn *pgx.Conn, ids []int64) ([]*reject, error) {
	rows, err := conn.Query(ctx, `
		SELECT id, topic, partition, "offset", key, value, headers::text, reason, sqlstate
		  FROM dingir.rejects WHERE id = ANY ($1) AND published_at IS NULL ORDER BY id`, ids)
	if err != nil {
		return nil, fmt.Errorf("read %d rejects: %w", len(ids), err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*reject, error) {
		r := &reject{}
		var headers []byte
		if err := row.Scan(&r.id, &r.topic, &r.partition, &r.offset, &r.key, &r.value, &headers, &r.reason, &r.sqlstate); err != nil {
			return nil, err
		}
		n, all, err := ParseHeaders(headers)
		if n > mostHeaders {
			r.left = n
		} else if err == nil {
			r.headers = slices.Collect(all)
		}
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("read %d rejects: %w", len(ids), err)
	}
	return list, nil
}

// message is the dead letter: the original, then where it came from and why.
func (r *reject) message(topic string) kafka.Message {
	m := kafka.Message{Topic: topic}
	if !r.pointer {
		m.Key, m.Value, m.Headers = r.key, r.value, slices.Clip(r.headers) // add may not write behind them
	} else {
		m.Value = []byte{}
	}
	add := func(key, value string) {
		m.Headers = append(m.Headers, kafka.Header{Key: key, Value: []byte(value)})
	}
	id := strconv.FormatInt(r.id, 10)
	add(headerID, id)
	add(headerTopic, r.topic)
	add(headerPartition, strconv.Itoa(int(r.partition)))
	add(headerOffset, strconv.FormatInt(r.offset, 10))
	add(headerReason, r.reason[:min(len(r.reason), reasonBytes)])
	if r.sqlstate != nil {
		add(headerSQLState, *r.sqlstate)
	}
	if r.pointer {
		add(headerPointer, "dingir.rejects id "+id)
	} else if r.left > 0 {
		add(headerHeaders, fmt.Sprintf("%d left out: dingir.rejects id %s", r.left, id))
	}
	return m
}
