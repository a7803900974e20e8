package deadletter

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
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
)

// reasonBytes bounds the reason in its header; the row has all of it.
const reasonBytes = 4 << 10

// reject is one row of the outbox. A nil key or value is null.
type reject struct {
	id        int64
	topic     string
	partition int32
	offset    int64
	key       []byte
	value     []byte
	headers   []kafka.Header
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
		r.headers, err = ParseHeaders(headers)
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
		m.Key, m.Value, m.Headers = r.key, r.value, r.headers
	} else {
		m.Value = []byte{}
	}
	add := func(key, value string) {
		m.Headers = append(m.Headers[:len(m.Headers):len(m.Headers)], kafka.Header{Key: key, Value: []byte(value)})
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
	}
	return m
}

// ParseHeaders reads the jsonb of dingir.rejects.headers, which store writes: a
// list in the record's order, values in base64, a key in base64 where it is no
// text for PostgreSQL. A nil value is null.
func ParseHeaders(text []byte) ([]kafka.Header, error) {
	var list []struct {
		Key       string  `json:"key"`
		KeyBase64 *string `json:"key_base64"`
		Value     *string `json:"value"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("headers of a reject: %w", err)
	}
	headers := make([]kafka.Header, len(list))
	for i, h := range list {
		headers[i].Key = h.Key
		if h.KeyBase64 != nil {
			key, err := base64.StdEncoding.DecodeString(*h.KeyBase64)
			if err != nil {
				return nil, fmt.Errorf("key of header %d of a reject: %w", i, err)
			}
			headers[i].Key = string(key)
		}
		if h.Value != nil {
			value, err := base64.StdEncoding.DecodeString(*h.Value)
			if err != nil {
				return nil, fmt.Errorf("value of header %d of a reject: %w", i, err)
			}
			headers[i].Value = value
		}
	}
	return headers, nil
}
