package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
)

const (
	// chunkBytes and chunkRecords bound what is read and written at once; one
	// larger record still goes, alone.
	chunkBytes, chunkRecords = 4 << 20, 500

	// postponement is how long a reject waits that the broker refused for what
	// it is.
	postponement = time.Minute
)

// entry is a reject that waits in the outbox; size is what its record needs in
// memory, in bytes.
type entry struct{ id, size int64 }

// publish walks the lane's part of the outbox once, by id. refused is why the
// topic could not be written to; err is the database's failure.
func (l *lane) publish(ctx context.Context, conn *pgx.Conn, w *kafka.Writer) (refused, err error) {
	for after := int64(0); ; {
		list, err := l.waiting(ctx, conn, after)
		if err != nil || len(list) == 0 {
			return nil, err
		}
		after = list[len(list)-1].id
		for list = l.due(list); len(list) > 0; {
			ids := cut(list)
			list = list[len(ids):]
			refused, err := l.chunk(ctx, conn, w, ids)
			if refused != nil || err != nil {
				return refused, err
			}
		}
	}
}

// waiting reads what comes behind the id after, but not the records themselves.
func (l *lane) waiting(ctx context.Context, conn *pgx.Conn, after int64) ([]entry, error) {
	rows, err := conn.Query(ctx, `
		SELECT id, coalesce(octet_length(key), 0)::bigint + coalesce(octet_length(value), 0) + octet_length(headers::text)
		  FROM dingir.rejects
		 WHERE published_at IS NULL AND id > $1 AND topic = ANY ($2)
		 ORDER BY id LIMIT $3`, after, l.sources, chunkRecords)
	if err != nil {
		return nil, fmt.Errorf("list the unpublished rejects: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (e entry, err error) {
		return e, r.Scan(&e.id, &e.size)
	})
	if err != nil {
		return nil, fmt.Errorf("list the unpublished rejects: %w", err)
	}
	return list, nil
}

// cut returns the ids of as many entries as fit into a chunk, at least one.
func cut(list []entry) []int64 {
	var ids []int64
	var sum int64
	for _, e := range list {
		if sum += e.size; len(ids) > 0 && sum > chunkBytes {
			break
		}
		ids = append(ids, e.id)
	}
	return ids
}

// chunk publishes rejects and marks those that were acknowledged. Where the
// broker refuses a batch for its content, each goes alone, to find which.
func (l *lane) chunk(ctx context.Context, conn *pgx.Conn, w *kafka.Writer, ids []int64) (refused, err error) {
	rejects, err := read(ctx, conn, ids)
	if err != nil || len(rejects) == 0 { // resolved rows stay, but somebody may have deleted some
		return nil, err
	}
	errs := produce(ctx, w, l.topic, rejects)
	var done, alone []int64
	for i, r := range rejects {
		switch {
		case errs[i] == nil:
			done = append(done, r.id)
		case !aboutContent(errs[i]):
			refused = errs[i]
		case len(rejects) > 1:
			alone = append(alone, r.id)
		case tooBig(errs[i]) && !r.pointer:
			r.pointer = true
			if err := produce(ctx, w, l.topic, []*reject{r})[0]; err != nil {
				return err, nil
			}
			done = append(done, r.id)
		default:
			l.postponed[r.id] = time.Now().Add(postponement)
			if len(l.postponed) > chunkRecords {
				// Not single records but the topic is what is wrong.
				refused = errs[i]
			}
		}
	}
	if err := mark(ctx, conn, done); err != nil {
		return nil, err
	}
	for _, id := range done {
		delete(l.postponed, id)
	}
	for _, id := range alone {
		if refused != nil {
			break
		}
		if refused, err = l.chunk(ctx, conn, w, []int64{id}); err != nil {
			return nil, err
		}
	}
	return refused, nil
}

// produce writes the records and returns for each what became of it.
func produce(ctx context.Context, w *kafka.Writer, topic string, rejects []*reject) []error {
	messages := make([]kafka.Message, len(rejects))
	for i, r := range rejects {
		messages[i] = r.message(topic)
	}
	bounded, cancel := context.WithTimeout(ctx, produceTimeout)
	defer cancel()
	err := w.WriteMessages(bounded, messages...)
	each := make([]error, len(rejects))
	if list, ok := errors.AsType[kafka.WriteErrors](err); ok && len(list) == len(each) {
		copy(each, list)
		return each
	}
	for i := range each {
		each[i] = err
	}
	return each
}

// mark notes that rejects are published.
func mark(ctx context.Context, conn *pgx.Conn, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	if _, err := conn.Exec(ctx, "UPDATE dingir.rejects SET published_at = now() WHERE id = ANY ($1)", ids); err != nil {
		return fmt.Errorf("mark %d rejects as published: %w", len(ids), err)
	}
	return nil
}

// aboutContent tells errors that the records themselves cause from those of the
// topic, the broker or the way there.
func aboutContent(err error) bool {
	return tooBig(err) ||
		errors.Is(err, kafka.InvalidMessage) ||
		errors.Is(err, kafka.InvalidTimestamp) ||
		errors.Is(err, kafka.InvalidRecord)
}

func tooBig(err error) bool {
	_, client := errors.AsType[kafka.MessageTooLargeError](err)
	return client || errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge)
}
