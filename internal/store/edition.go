package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Layout is what an operator may choose about the tables; 0 leaves each as it is.
type Layout struct {
	ChunkInterval    time.Duration // of the busy tables; of the others seven times as much
	ColumnstoreAfter time.Duration // Community edition only
}

// candles are the views of trades by time, and how wide each is.
var candles = []struct{ name, width string }{
	{"candles_1m", "1 minute"}, {"candles_5m", "5 minutes"}, {"candles_15m", "15 minutes"},
	{"candles_1h", "1 hour"}, {"candles_1d", "1 day"},
}

// hypertables are all there are: how they are segmented and ordered in the
// columnstore, and whether they fill fast.
var hypertables = []struct {
	name, segment, order string
	busy                 bool
}{
	{"trades", "market", "time DESC, trade_id", true},
	{"order_events", "market", "time DESC, order_id", true},
	{"balance_changes", "asset", "time DESC, user_id", true},
	{"deposits", "asset", "time DESC, user_id", false},
	{"withdrawals", "asset", "time DESC, user_id", false},
	{"internal_transfers", "asset", "time DESC, user_from", false},
}

// Arrange adds what the server's edition of TimescaleDB offers to a schema that
// is up to date, and what the layout asks for. It can be repeated, also by
// several processes at once. The notes are for people.
func Arrange(ctx context.Context, o Options, l Layout) (notes []string, err error) {
	conn, err := Connect(ctx, o)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		a := arranger{tx: tx, notes: &notes}
		// It may wait for a chunk to be compressed.
		if err := a.exec(ctx, "SET LOCAL lock_timeout = '1min'"); err != nil {
			return err
		}
		if err := a.exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('persistor: arrange'))"); err != nil {
			return err
		}
		return a.run(ctx, l)
	})
	if err != nil {
		return notes, fmt.Errorf("arrange the tables: %w", err)
	}
	return notes, nil
}

type arranger struct {
	tx        pgx.Tx
	community bool
	notes     *[]string
}

func (a *arranger) note(format string, args ...any) {
	*a.notes = append(*a.notes, fmt.Sprintf(format, args...))
}

func (a *arranger) exec(ctx context.Context, sql string, args ...any) error {
	_, err := a.tx.Exec(ctx, sql, args...)
	return err
}

func (a *arranger) run(ctx context.Context, l Layout) error {
	err := a.tx.QueryRow(ctx, "SELECT coalesce(current_setting('timescaledb.license', true), '') = 'timescale'").Scan(&a.community)
	if err != nil {
		return fmt.Errorf("look for the edition: %w", err)
	}
	for _, c := range candles {
		if err := a.candles(ctx, c.name, c.width); err != nil {
			return fmt.Errorf("make dingir.%s: %w", c.name, err)
		}
	}
	for _, t := range hypertables {
		if err := a.chunks(ctx, t.name, t.busy, l.ChunkInterval); err != nil {
			return fmt.Errorf("set the chunks of dingir.%s: %w", t.name, err)
		}
	}
	switch {
	case l.ColumnstoreAfter == 0:
	case !a.community:
		a.note("the columnstore is the Community edition's; this server has the other, so chunks stay as they are")
	default:
		for _, t := range hypertables {
			if err := a.columnstore(ctx, t.name, t.segment, t.order, l.ColumnstoreAfter); err != nil {
				return fmt.Errorf("set the columnstore of dingir.%s: %w", t.name, err)
			}
		}
	}
	return nil
}

// candles makes a continuous aggregate where the edition has them, else a plain
// view. A plain view that others depend on stays one.
func (a *arranger) candles(ctx context.Context, name, width string) error {
	query := fmt.Sprintf(`SELECT time_bucket(INTERVAL '%s', time) AS time, market,
		first(price, time) AS open, max(price) AS high, min(price) AS low, last(price, time) AS close,
		sum(amount) AS volume, sum(quote_amount) AS quote_volume, count(*) AS trades
		FROM dingir.trades GROUP BY 1, 2`, width)
	var there, continuous bool
	err := a.tx.QueryRow(ctx, `SELECT to_regclass('dingir.' || $1) IS NOT NULL,
		EXISTS (SELECT FROM timescaledb_information.continuous_aggregates WHERE view_schema = 'dingir' AND view_name = $1)`, name).Scan(&there, &continuous)
	if err != nil || continuous {
		return err
	}
	plain := fmt.Sprintf("CREATE OR REPLACE VIEW dingir.%s AS %s", name, query)
	if !a.community {
		return a.exec(ctx, plain)
	}
	err = pgx.BeginFunc(ctx, a.tx, func(tx pgx.Tx) error {
		sub := arranger{tx: tx}
		if there {
			if err := sub.exec(ctx, "DROP VIEW dingir."+name); err != nil {
				return err
			}
		}
		err := sub.exec(ctx, fmt.Sprintf("CREATE MATERIALIZED VIEW dingir.%s WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS %s WITH NO DATA", name, query))
		if err != nil {
			return err
		}
		// Without a beginning: what is stored late, by a backlog or a replay, counts too.
		return sub.exec(ctx, fmt.Sprintf(`SELECT add_continuous_aggregate_policy('dingir.%s', start_offset => NULL,
			end_offset => INTERVAL '%[2]s', schedule_interval => INTERVAL '%[2]s')`, name, width))
	})
	if err == nil {
		a.note("dingir.%s is a continuous aggregate", name)
		return nil
	}
	if SQLState(err) == "" {
		return err
	}
	a.note("dingir.%s stays a plain view, a continuous aggregate is refused: %v", name, err)
	return a.exec(ctx, plain)
}

// chunks sets what new chunks cover.
func (a *arranger) chunks(ctx context.Context, table string, busy bool, interval time.Duration) error {
	if interval == 0 {
		return nil
	}
	if !busy {
		interval *= 7
	}
	var now time.Duration
	err := a.tx.QueryRow(ctx, `SELECT time_interval FROM timescaledb_information.dimensions
		WHERE hypertable_schema = 'dingir' AND hypertable_name = $1 AND dimension_number = 1`, table).Scan(&now)
	if err != nil || now == interval {
		return err
	}
	if err := a.exec(ctx, "SELECT set_chunk_time_interval($1::regclass, $2::interval)", "dingir."+table, interval); err != nil {
		return err
	}
	a.note("new chunks of dingir.%s cover %v", table, interval)
	return nil
}

// columnstore has chunks compressed from an age on.
func (a *arranger) columnstore(ctx context.Context, table, segment, order string, after time.Duration) error {
	var enabled bool
	var now time.Duration
	err := a.tx.QueryRow(ctx, `SELECT h.compression_enabled, coalesce((SELECT (j.config ->> 'compress_after')::interval
			FROM timescaledb_information.jobs j WHERE j.proc_name = 'policy_compression'
			 AND j.hypertable_schema = 'dingir' AND j.hypertable_name = $1), '0')
		FROM timescaledb_information.hypertables h WHERE h.hypertable_schema = 'dingir' AND h.hypertable_name = $1`, table).Scan(&enabled, &now)
	if err != nil || enabled && now == after {
		return err
	}
	if !enabled {
		err = a.exec(ctx, fmt.Sprintf("ALTER TABLE dingir.%s SET (timescaledb.compress, timescaledb.compress_segmentby = '%s', timescaledb.compress_orderby = '%s')", table, segment, order))
		if err != nil {
			return err
		}
	}
	if err := a.exec(ctx, "SELECT remove_compression_policy($1::regclass, if_exists => true)", "dingir."+table); err != nil {
		return err
	}
	if err := a.exec(ctx, "SELECT add_compression_policy($1::regclass, compress_after => $2::interval)", "dingir."+table, after); err != nil {
		return err
	}
	a.note("chunks of dingir.%s are compressed when they are %v old", table, after)
	return nil
}
