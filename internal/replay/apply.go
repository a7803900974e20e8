package replay

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/failpoint"
	"github.com/thaliumx/persistor/internal/store"
)

// errChanged says that what was compared is not what is there any more.
var errChanged = errors.New("what is stored has changed since it was compared")

// attempts bounds how often the comparison is made anew, because somebody else
// wrote to the same rows meanwhile.
const attempts = 4

// apply puts right what the comparison found, in one transaction. Where
// somebody was quicker it compares again.
func (r *run) apply(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		err := r.repair(ctx)
		if err == nil {
			return nil
		}
		state := store.SQLState(err)
		again := errors.Is(err, errChanged) || state == "23505" || state == "40P01" || state == "40001" || state == "55P03"
		if !again || attempt == attempts {
			return fmt.Errorf("apply the differences: %w; nothing was changed", err)
		}
		r.Log.Info("replay: others wrote to the same rows; comparing again", "reason", err)
		if err := r.compare(ctx); err != nil {
			return err
		}
		if err := r.summarize(ctx); err != nil {
			return err
		}
	}
}

// repair is the one transaction. It takes no lock that the daemon waits for but
// on the rows that it writes, until the end: then it locks the ledger for a
// moment, to see that nobody has moved it.
func (r *run) repair(ctx context.Context) error {
	return pgx.BeginFunc(ctx, r.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '10s'; SET LOCAL work_mem = '64MB'; SET LOCAL jit = off"); err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		if err := r.prepareCompressed(ctx, tx); err != nil {
			return err
		}
		for _, s := range r.shapes {
			if err := r.repairTable(ctx, tx, s); err != nil {
				return fmt.Errorf("repair dingir.%s: %w", s.Name, err)
			}
		}
		for _, sql := range repairNotes {
			if _, err := tx.Exec(ctx, strings.ReplaceAll(sql, "{schema}", Schema)); err != nil {
				return fmt.Errorf("repair the accounting: %w", err)
			}
		}
		failpoint.Hit("repaired")
		if _, err := tx.Exec(ctx, "SELECT FROM dingir.ledger ORDER BY topic, partition FOR UPDATE"); err != nil {
			return fmt.Errorf("lock the ledger: %w", err)
		}
		if err := r.checkLedger(ctx, tx); err != nil {
			return err
		}
		if anew, err := r.repairArchive(ctx, tx); err != nil || anew {
			return err
		}
		return r.repairState(ctx, tx)
	})
}

// noteCompressed says that there are compressed chunks, which the community
// edition has.
func (r *run) noteCompressed(ctx context.Context) error {
	err := r.conn.QueryRow(ctx, "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_schema = 'dingir' AND is_compressed").Scan(&r.compressed)
	if err != nil {
		return fmt.Errorf("look for compressed chunks: %w", err)
	}
	if r.compressed > 0 {
		r.note("%d chunks are compressed: those with rows to be changed are decompressed for it, and stay so until they are compressed again", r.compressed)
	}
	return nil
}

// prepareCompressed lets the server rewrite as many rows of compressed chunks
// as it takes; it bounds them otherwise.
func (r *run) prepareCompressed(ctx context.Context, tx pgx.Tx) error {
	if r.compressed == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, "SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0"); err != nil {
		return fmt.Errorf("%d chunks are compressed, and this server does not let them be changed: decompress those in question: %w", r.compressed, err)
	}
	return nil
}

// repairTable takes out rows that are not as they should be, and puts in those
// that should be there. A row that is not found as it was compared ends it.
func (r *run) repairTable(ctx context.Context, tx pgx.Tx, s *shape) error {
	out := "'different'"
	if r.Prune {
		out += ", 'surplus'"
	}
	var takeOut, putIn, twins int64
	err := tx.QueryRow(ctx, s.sql("SELECT count(*) FILTER (WHERE kind IN ("+out+")), count(*) FILTER (WHERE kind IN ('missing', 'different')) FROM {plan}")).Scan(&takeOut, &putIn)
	if err != nil {
		return err
	}
	if takeOut > 0 {
		taken, err := takeOutRows(ctx, tx, s, out)
		if err != nil {
			return fmt.Errorf("take out rows: %w", err)
		}
		if taken != takeOut {
			return fmt.Errorf("take out %d rows: %d were there: %w", takeOut, taken, errChanged)
		}
	}
	if putIn == 0 {
		return nil
	}
	if s.recordTime {
		// The unique index does not see an event that came under another time.
		err := tx.QueryRow(ctx, s.sql("SELECT count(*) FROM {plan} g JOIN dingir.{t} l ON {l=gnew:group} WHERE g.kind = 'missing' AND g.rank = 2")).Scan(&twins)
		if err != nil {
			return fmt.Errorf("look for rows that came meanwhile: %w", err)
		}
		if twins > 0 {
			return fmt.Errorf("%d of the missing rows came meanwhile: %w", twins, errChanged)
		}
	}
	tag, err := tx.Exec(ctx, s.sql("INSERT INTO dingir.{t} ({columns}) SELECT {new} FROM {plan} p WHERE p.kind IN ('missing', 'different') ORDER BY (p.new).{time}"))
	if err != nil {
		return fmt.Errorf("put in rows: %w", err)
	}
	if tag.RowsAffected() != putIn {
		return fmt.Errorf("put in %d rows: the server took %d; does a trigger drop rows?", putIn, tag.RowsAffected())
	}
	return nil
}

// takeOutRows deletes the planned rows of some kinds, chunk by chunk: before a
// DELETE TimescaleDB decompresses what constants in it do not exclude.
func takeOutRows(ctx context.Context, tx pgx.Tx, s *shape, kinds string) (taken int64, err error) {
	where := "p.kind IN (" + kinds + ")"
	rows, err := tx.Query(ctx, s.sql(`SELECT format('l.{time} >= %L AND l.{time} < %L', range_start, range_end)
		FROM timescaledb_information.chunks WHERE hypertable_schema = 'dingir' AND hypertable_name = '{t}'
		 AND EXISTS (SELECT FROM {plan} p WHERE `+where+` AND (p.old).{time} >= range_start AND (p.old).{time} < range_end)`))
	if err != nil {
		return 0, err
	}
	chunks, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, err
	}
	if len(chunks) == 0 {
		chunks = []string{"true"} // not a hypertable
	}
	for _, chunk := range chunks {
		tag, err := tx.Exec(ctx, s.sql("DELETE FROM dingir.{t} l USING {plan} p WHERE "+where+" AND {l=old:identity} AND {row:l} *= p.old AND "+chunk))
		if err != nil {
			return 0, err
		}
		taken += tag.RowsAffected()
	}
	return taken, nil
}

// repairNotes makes duplicates, rejects and gaps as they should be.
var repairNotes = []string{
	`DELETE FROM dingir.duplicates d USING {schema}.duplicates_plan p
	  WHERE p.kind = 'surplus' AND (d.topic_id, d.partition, d."offset") = (p.topic_id, p.partition, p."offset")`,
	`UPDATE dingir.duplicates d SET table_name = p.table_name FROM {schema}.duplicates_plan p
	  WHERE p.kind = 'different' AND (d.topic_id, d.partition, d."offset") = (p.topic_id, p.partition, p."offset")`,
	`INSERT INTO dingir.duplicates (topic, partition, "offset", table_name, topic_id)
	 SELECT t.name, p.partition, p."offset", p.table_name, p.topic_id FROM {schema}.duplicates_plan p JOIN dingir.topics t ON t.id = p.topic_id WHERE p.kind = 'missing'`,
	// What somebody has redriven since it was compared stays so.
	`UPDATE dingir.rejects d SET resolved_at = now() FROM {schema}.rejects_plan p WHERE p.kind = 'surplus' AND d.id = p.id AND d.resolved_at IS NULL`,
	`UPDATE dingir.rejects d SET key = s.key, value = s.value, headers = s.headers, record_time = s.record_time, reason = s.reason, sqlstate = s.sqlstate,
	        resolved_at = NULL, published_at = NULL
	   FROM {schema}.rejects_plan p JOIN {schema}.rejects s ON (s.topic_id, s.partition, s."offset") = (p.topic_id, p.partition, p."offset")
	  WHERE p.kind IN ('missing', 'different') AND d.id = p.id AND (p.kind = 'missing') = (d.resolved_at IS NOT NULL)`,
	`INSERT INTO dingir.rejects (topic, partition, "offset", record_time, key, value, headers, reason, sqlstate, topic_id)
	 SELECT s.topic, s.partition, s."offset", s.record_time, s.key, s.value, s.headers, s.reason, s.sqlstate, s.topic_id
	   FROM {schema}.rejects_plan p JOIN {schema}.rejects s ON (s.topic_id, s.partition, s."offset") = (p.topic_id, p.partition, p."offset")
	  WHERE p.kind = 'missing' AND p.id IS NULL`,
	`DELETE FROM dingir.gaps g USING {schema}.gaps_plan p
	  WHERE p.kind = 'surplus' AND (g.topic_id, g.partition, g.first_offset) = (p.topic_id, p.partition, p.first_offset)`,
	`INSERT INTO dingir.gaps (topic, partition, first_offset, last_offset, reason, topic_id)
	 SELECT topic, partition, first_offset, last_offset, reason, topic_id FROM {schema}.gaps_plan WHERE kind IN ('missing', 'trimmed')`,
}
