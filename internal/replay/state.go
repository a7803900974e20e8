package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/live"
	"github.com/thaliumx/persistor/internal/rebuild"
	"github.com/thaliumx/persistor/internal/store"
)

// compareState compares balances, open_orders and state with what the archive
// says at the ledger's position of the snapshot. They are of now: a run that
// covers an earlier time only leaves them alone.
func (r *run) compareState(ctx context.Context, tx pgx.Tx) error {
	r.stateDiffers = nil
	s := r.unifySpan()
	if s == nil || r.partial {
		return nil
	}
	err := store.CheckStateOwner(ctx, tx, s.Topic)
	if other, ok := errors.AsType[*store.OtherStateError](err); ok {
		r.note("balances, open_orders and state are not compared: %v; %s", other, other.Remedy())
		return nil
	}
	if err != nil {
		return fmt.Errorf("compare the state: %w", err)
	}
	c, err := r.stateNow(ctx, tx)
	if slice, ok := errors.AsType[*rebuild.UnreadableSliceError](err); ok {
		r.note("balances, open_orders and state are not compared: %v; %s", slice, slice.Remedy())
		return nil
	}
	if err != nil {
		return fmt.Errorf("compare the state: %w", err)
	}
	if c.Missing {
		r.note("balances, open_orders and state are not compared: they may know more than what is left of the archive")
		return nil
	}
	r.stateDiffers = c
	return nil
}

// stateNow compares the state's tables with the archive as tx sees both.
func (r *run) stateNow(ctx context.Context, tx pgx.Tx) (*live.Comparison, error) {
	s := r.unifySpan()
	pos, found, err := store.PositionOf(ctx, tx, s.Topic, s.Partition)
	if err != nil || !found {
		return nil, errors.Join(err, ctx.Err())
	}
	r.mirror.Log = slog.New(slog.DiscardHandler) // the report says what matters
	return r.mirror.Compare(ctx, tx, pos)
}

// repairState makes the tables of the state what the archive says now. The
// caller holds the ledger, so the daemon waits: all but the newest records are
// in the state already.
func (r *run) repairState(ctx context.Context, tx pgx.Tx) error {
	if r.stateDiffers == nil || r.stateDiffers.None() {
		return nil
	}
	c, err := r.stateNow(ctx, tx)
	if err == nil && !c.Missing && !c.None() {
		err = c.Write(ctx, tx)
	}
	if err != nil {
		return fmt.Errorf("repair the state: %w", err)
	}
	return nil
}

// summarizeState counts what differs in the tables of the state.
func (r *run) summarizeState(ctx context.Context) error {
	c := r.stateDiffers
	if c == nil {
		return nil
	}
	for _, t := range []struct {
		name string
		live.Difference
	}{{"balances", c.Balances}, {"open_orders", c.OpenOrders}} {
		table := Table{Name: t.name, Missing: int64(t.Missing), Different: int64(t.Other), Surplus: int64(t.Surplus)}
		var rows int64
		if err := r.conn.QueryRow(ctx, "SELECT count(*) FROM dingir."+t.name).Scan(&rows); err != nil {
			return fmt.Errorf("count the rows of dingir.%s: %w", t.name, err)
		}
		table.Equal = max(rows-table.Different-table.Surplus, 0)
		table.give(Missing, t.Examples.Missing)
		table.give(Different, t.Examples.Other)
		table.give(Surplus, t.Examples.Surplus)
		r.add(table)
	}
	state := Table{Name: "state", Equal: 1}
	if len(c.State) > 0 {
		state.Equal, state.Different = 0, 1
		state.give(Different, c.State)
	}
	r.add(state)
	return nil
}
