package replay

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/ingest"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// Schema is where a run works. It is dropped when the run ends; what a killed
// one leaves, the next one drops.
const Schema = "dingir_replay"

// ours marks the schema, so that nobody else's is ever dropped.
const ours = "persistor replay: what the log says, beside what is stored; may be dropped when no replay runs"

const (
	batchRecords = 20_000
	batchBytes   = 8 << 20
)

// prepareSchema makes the run's schema anew, with a table of the same columns
// for each one that is compared.
func (r *run) prepareSchema(ctx context.Context) error {
	if err := r.dropSchema(ctx); err != nil {
		return err
	}
	sql := "CREATE SCHEMA " + Schema + "; COMMENT ON SCHEMA " + Schema + " IS '" + ours + "';"
	for _, s := range store.Shapes() {
		// Not the indexes: they would cost more than the comparison gains.
		sql += fmt.Sprintf("CREATE TABLE %s.%s (LIKE dingir.%s) WITH (autovacuum_enabled = off);", Schema, s.Name, s.Name)
	}
	sql += strings.ReplaceAll(`
		CREATE TABLE replay.rejects (LIKE dingir.rejects);
		ALTER TABLE replay.rejects ALTER id DROP NOT NULL, ALTER rejected_at DROP NOT NULL;
		CREATE TABLE replay.event_log (LIKE dingir.event_log);
		CREATE TABLE replay.gaps (LIKE dingir.gaps);
		ALTER TABLE replay.gaps ALTER noted_at DROP NOT NULL;
		CREATE TABLE replay.later (topic_id smallint, partition int, "offset" bigint);
		CREATE TABLE replay.zones (topic_id smallint, partition int, topic text, class text, first bigint, until bigint, home text[]);
		`, "replay.", Schema+".")
	if _, err := r.conn.Exec(ctx, sql); err != nil {
		if store.SQLState(err) == "42501" {
			return fmt.Errorf("create schema %s: the role may not; let an administrator grant it CREATE on the database: %w", Schema, err)
		}
		return fmt.Errorf("create schema %s: %w", Schema, err)
	}
	return nil
}

// dropSchema drops what this or an earlier run left.
func (r *run) dropSchema(ctx context.Context) error {
	var comment *string
	err := r.conn.QueryRow(ctx, "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1", Schema).Scan(&comment)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("look for schema %s: %w", Schema, err)
	case comment == nil || *comment != ours:
		return fmt.Errorf("schema %s is there, and not from a replay: rename or drop it", Schema)
	}
	// CASCADE reaches what is in the schema; nothing elsewhere refers to it.
	if _, err := r.conn.Exec(ctx, "DROP SCHEMA "+Schema+" CASCADE"); err != nil {
		return fmt.Errorf("drop schema %s: %w", Schema, err)
	}
	return nil
}

// stager turns records into rows of the run's schema.
type stager struct {
	conn    *pgx.Conn
	batch   *store.Batch
	decoder ingest.Decoder
	refused *refusals
	holes   [][2]int64        // of the archive, both ends included
	done    func(records int) // counts what was read
	later   [][]any
}

// take stages one record of a hot topic, or of unifyevents. outside says that
// it is not covered: only its position is noted then besides.
func (st *stager) take(ctx context.Context, s *span, rec *fetch.Record, outside bool) error {
	hash := ingest.Hash(rec.Value)
	progress := st.partition(s)
	if s.unify() && inHole(st.holes, rec.Offset) {
		if err := st.batch.Archive(progress, rec.Offset, rec.Timestamp, rec.Key, rec.Value, rec.Headers); err != nil {
			return err
		}
	}
	st.batch.Record(progress, rec.Offset, hash)
	if outside {
		st.later = append(st.later, []any{s.TopicID, s.Partition, rec.Offset})
	}
	var reason, state string
	if why, bad := st.refused.of(hash, store.Source{TopicID: s.TopicID, Partition: s.Partition, Offset: rec.Offset}); bad {
		reason, state = why.reason, why.sqlstate
	} else if err := st.add(s, rec, hash); err != nil {
		reason = err.Error()
	}
	if reason != "" {
		st.batch.Reject(progress, store.RejectedRecord{
			Offset: rec.Offset, Time: store.ClampTime(rec.Timestamp), Key: rec.Key, Value: rec.Value,
			Headers: rec.Headers, Reason: reason, SQLState: state,
		})
	}
	if st.batch.Records() >= batchRecords || st.batch.Bytes() >= batchBytes {
		return st.flush(ctx)
	}
	return nil
}

// add adds the record's row. On unifyevents every kind of record has one here,
// not only those that have no topic of their own.
func (st *stager) add(s *span, rec *fetch.Record, hash int64) error {
	plain := ingest.Record{Offset: rec.Offset, Time: rec.Timestamp, Key: rec.Key, Value: rec.Value}
	if s.unify() {
		switch kind := string(rec.Key); kind {
		case topics.Trades, topics.Orders, topics.InternalTransfer, topics.RegisterUser:
			err := st.decoder.Add(st.batch, s.Log, kind, plain, hash)
			if err != nil && st.decoder.Add(st.batch, s.Log, s.topic, plain, hash) == nil {
				return nil // fine for the event log; only its timestamp is none for a row
			}
			return err
		}
	}
	return st.decoder.Add(st.batch, s.Log, s.topic, plain, hash)
}

// gap stages positions of a hot topic that hold no record.
func (st *stager) gap(s *span, first, last int64) error {
	return st.batch.Gap(st.partition(s), first, last, eventlog.Control)
}

// partition is the batch's part for a partition.
func (st *stager) partition(s *span) *store.Progress { return st.batch.Partition(s.Log, s.start, 0) }

func (st *stager) flush(ctx context.Context) error {
	if err := st.batch.Stage(ctx, st.conn, Schema); err != nil {
		return err
	}
	if len(st.later) > 0 {
		_, err := st.conn.CopyFrom(ctx, pgx.Identifier{Schema, "later"}, []string{"topic_id", "partition", "offset"}, pgx.CopyFromRows(st.later))
		if err != nil {
			return fmt.Errorf("note positions that are not covered: %w", err)
		}
		st.later = st.later[:0]
	}
	st.done(st.batch.Records())
	st.batch.Reset()
	st.decoder = ingest.Decoder{} // it remembers what a worker would ask for
	return nil
}

// millis is a record's timestamp as tables have it.
func millis(ms int64) event.Micros { return event.Micros(ms * 1000) }
