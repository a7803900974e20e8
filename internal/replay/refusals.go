package replay

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/ingest"
	"github.com/thaliumx/persistor/internal/store"
)

// refusal is why the database refuses a record for good.
type refusal struct{ reason, sqlstate string }

// refusals are the unresolved rejects of records that the database has refused.
type refusals struct {
	byHash     map[int64]refusal
	byPosition map[store.Source]refusal // without a hash
	ids        []int64                  // of the rejects
}

// of tells why a record, with its position, is refused; false where it is not.
func (f *refusals) of(hash int64, at store.Source) (refusal, bool) {
	if why, bad := f.byHash[hash]; bad {
		return why, true
	}
	why, bad := f.byPosition[at]
	return why, bad
}

// collision is the reject of a record whose hash the row of its identity has,
// with other content.
type collision struct {
	id     int64
	at     store.Source
	value  string
	reason string
}

// readRefusals learns which records the database has refused: it would refuse
// them again, and with them the transaction that repairs everything else.
// Redriving them is their way in. Those with an SQLSTATE are known by the hash of
// their values, wherever they come again. Two records that collide have one hash,
// and one of them owns the row: the other is known by its position.
func (r *run) readRefusals(ctx context.Context) error {
	rows, err := r.conn.Query(ctx, `SELECT id, topic_id, partition, "offset", coalesce(value, ''), reason, coalesce(sqlstate, '') FROM dingir.rejects
		WHERE resolved_at IS NULL AND (sqlstate IS NOT NULL OR reason LIKE 'hash collision:%')`)
	if err != nil {
		return fmt.Errorf("read the rejects: %w", err)
	}
	r.refused = refusals{byHash: map[int64]refusal{}, byPosition: map[store.Source]refusal{}}
	var collisions []collision
	var id int64
	var at store.Source
	var value []byte
	var why refusal
	if _, err = pgx.ForEachRow(rows, []any{&id, &at.TopicID, &at.Partition, &at.Offset, &value, &why.reason, &why.sqlstate}, func() error {
		at.Hash = ingest.Hash(value)
		if why.sqlstate == "" {
			collisions = append(collisions, collision{id, at, string(value), why.reason})
			return nil
		}
		r.refused.byHash[at.Hash] = why
		r.refused.ids = append(r.refused.ids, id)
		return nil
	}); err != nil {
		return fmt.Errorf("read the rejects: %w", err)
	}
	return r.readCollisions(ctx, collisions)
}

// readCollisions tells records that collide with another from those that collide
// with their own row, because somebody has altered it and then the record was
// read again. Such a record has the row's position, or is noted as a duplicate: it
// had the row's content once; or it has the same value as one of those. It is
// staged, which repairs the row and resolves the reject.
func (r *run) readCollisions(ctx context.Context, collisions []collision) error {
	if len(collisions) == 0 {
		return nil
	}
	topicIDs, partitions := make([]int16, len(collisions)), make([]int32, len(collisions))
	offsets, hashes := make([]int64, len(collisions)), make([]int64, len(collisions))
	for i, c := range collisions {
		topicIDs[i], partitions[i], offsets[i], hashes[i] = c.at.TopicID, c.at.Partition, c.at.Offset, c.at.Hash
	}
	sql := `WITH c AS MATERIALIZED (SELECT * FROM unnest($1::smallint[], $2::int[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS c(topic_id, partition, "offset", hash, n))
		SELECT c.n - 1 FROM c JOIN dingir.duplicates d ON (d.topic_id, d.partition, d."offset") = (c.topic_id, c.partition, c."offset")`
	for _, s := range r.shapes {
		sql += s.sql(` UNION ALL SELECT c.n - 1 FROM c JOIN dingir.{t} t
			ON (t.src_topic, t.src_partition, t.src_offset, t.content_hash) = (c.topic_id, c.partition, c."offset", c.hash)`)
	}
	rows, err := r.conn.Query(ctx, sql, topicIDs, partitions, offsets, hashes)
	if err != nil {
		return fmt.Errorf("look for the rows of %d rejects: %w", len(collisions), err)
	}
	owners := map[string]bool{} // values of records that the row is of
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&n}, func() error { owners[collisions[n].value] = true; return nil }); err != nil {
		return fmt.Errorf("look for the rows of %d rejects: %w", len(collisions), err)
	}
	for _, c := range collisions {
		if owners[c.value] {
			continue
		}
		c.at.Hash = 0 // the position alone is the key
		r.refused.byPosition[c.at] = refusal{reason: c.reason}
		r.refused.ids = append(r.refused.ids, c.id)
	}
	return nil
}

// checkRefusals fails where one of them was redriven since: its record was read
// as a reject, and has its row now.
func (r *run) checkRefusals(ctx context.Context, tx pgx.Tx) error {
	var redriven int
	err := tx.QueryRow(ctx, "SELECT count(*) FROM dingir.rejects WHERE id = ANY ($1) AND resolved_at IS NOT NULL", r.refused.ids).Scan(&redriven)
	if err != nil {
		return fmt.Errorf("look for rejects that were redriven: %w", err)
	}
	if redriven > 0 {
		return fmt.Errorf("%d rejects were redriven meanwhile: run it again; nothing was changed", redriven)
	}
	return nil
}
