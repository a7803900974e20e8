package verify

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/store"
)

// StateReport is what the tables have of the exchange's state, and how it was
// checked.
type StateReport struct {
	BaseOffset  int64 `json:"base_offset"`
	NextOffset  int64 `json:"next_offset"`
	Complete    bool  `json:"complete"`
	Provisional bool  `json:"provisional"`
	LastOrderID int64 `json:"last_order_id"`
	LastTradeID int64 `json:"last_trade_id"`
	Balances    int64 `json:"balances"`    // rows
	OpenOrders  int64 `json:"open_orders"` // rows

	Checked   bool             `json:"checked"`           // the tables were compared with the state rebuilt from the event log
	Snapshots int64            `json:"snapshots_checked"` // as well
	Failed    map[string]int64 `json:"mismatches"`        // where the log contradicts itself, by the name of the check
}

// reportState compares the state's tables with the state rebuilt from the last
// snapshot before them, which has been checked itself, and adds up the money. It
// does so again where they differ, until they do not or have had time to settle.
func (a *audit) reportState(ctx context.Context) error {
	t := a.state.Tally
	for _, d := range t.States {
		a.differ("state", d)
	}
	for _, d := range t.StateNotes {
		a.find("state", d)
	}
	e := &a.state.Exchange
	if e.TopicID == 0 {
		return nil
	}
	for _, p := range a.state.Ledger {
		if name := a.names[e.TopicID]; a.unify[p.TopicID] && p.Partition == 0 && p.Topic != name {
			a.find("state", Difference{Kind: Unchecked, Part: State, Table: "state", Detail: fmt.Sprintf(
				"the state of %s cannot be here, since this database has that of %s: each PERSISTOR_TOPIC_PREFIX needs a database of its own", p.Topic, name)})
		}
	}
	for begun := time.Now(); ; {
		report, listed := a.report, maps.Clone(a.listed)
		err := a.snapshot(ctx, func() error {
			row, found, err := store.ReadStateRow(ctx, a.tx)
			if err != nil {
				return err
			}
			if !found {
				return a.withoutState(ctx)
			}
			return a.checkState(ctx, row)
		})
		if err != nil || a.report.Total == report.Total || time.Since(begun) >= a.options.settle {
			return err
		}
		timer := time.NewTimer(settleEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		a.report, a.listed = report, listed
	}
}

// After an operator's move of the ledger the daemon takes some seconds to make
// the state anew. What is wrong in it counts once it lasts so long.
const (
	settleTime  = 10 * time.Second
	settleEvery = 500 * time.Millisecond
)

// withoutState judges the tables where there is no row of dingir.state.
func (a *audit) withoutState(ctx context.Context) error {
	var rows bool
	err := a.tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM dingir.balances) OR EXISTS (SELECT FROM dingir.open_orders)").Scan(&rows)
	switch {
	case err != nil:
		return fmt.Errorf("read the state: %w", err)
	case rows:
		a.differ("state", Difference{Kind: RowState, Part: State, Table: "state", Detail: "there is no row, but balances or open_orders have some"})
	case len(a.state.Slots) > 0:
		a.find("state", Difference{Kind: Unchecked, Part: State, Table: "state", Detail: "the daemon has not written the state yet"})
	}
	return nil
}

// checkState compares one snapshot of the tables.
func (a *audit) checkState(ctx context.Context, row store.StateRow) error {
	e := &a.state.Exchange
	out := &StateReport{BaseOffset: row.Base, NextOffset: row.Next, Complete: row.Complete, Provisional: row.Provisional,
		LastOrderID: row.LastOrderID, LastTradeID: row.LastTradeID, Snapshots: a.state.Tally.Snapshots, Failed: map[string]int64{}}
	a.report.State = out
	now, err := a.exchange(ctx)
	if err != nil {
		return err
	}
	var end int64
	err = a.tx.QueryRow(ctx, `SELECT greatest($2, (SELECT max(last_offset) + 1 FROM dingir.event_log WHERE topic_id = $1),
		(SELECT max(last_offset) + 1 FROM dingir.gaps WHERE topic_id = $1 AND partition = 0))`, now.TopicID, now.Base).Scan(&end)
	if err != nil {
		return fmt.Errorf("look what the event log has: %w", err)
	}
	unchecked := func(why string) error {
		a.find("state", Difference{Kind: Unchecked, Part: State, Table: "state", Next: &row.Next, Detail: "balances and open_orders could not be checked: " + why})
		return a.addMoney(ctx, nil)
	}
	wrong := func(detail string) {
		a.differ("state", Difference{Kind: RowState, Part: State, Table: "state", Next: &row.Next, Detail: detail})
	}
	switch {
	case now.TopicID != e.TopicID:
		return unchecked("unifyevents was taken up anew while the audit was under way")
	case a.names[row.TopicID] != a.names[now.TopicID]:
		return unchecked(fmt.Sprintf("they are those of %s, which is not in the ledger", a.names[row.TopicID]))
	case row.TopicID != now.TopicID:
		return unchecked("they are of an earlier unifyevents; the daemon makes them anew when it goes on")
	case row.Base != now.Base:
		wrong(fmt.Sprintf("base_offset is %d, the ledger says %d", row.Base, now.Base))
		return a.addMoney(ctx, nil)
	case row.Next > end:
		wrong(fmt.Sprintf("next_offset is %d, but the event log ends before %d", row.Next, end))
		return a.addMoney(ctx, nil)
	}
	r, err := a.rebuilt(ctx, a.tx.Conn(), row.Next, now.Gaps)
	if err != nil {
		return err
	}
	if r.broken != "" {
		return unchecked(r.broken)
	}
	out.Checked = true
	for _, c := range r.Checks() {
		if c.Failed > 0 {
			out.Failed[c.Name] = c.Failed
		}
	}
	a.compareRow(row, r, row.Next < end, wrong)
	if err := a.compareTables(ctx, r.State, out); err != nil {
		return err
	}
	return a.addMoney(ctx, r.State)
}

// compareRow compares the row of dingir.state. behind tells that the archive
// goes on: an operator has passed over something, and has marked the state.
func (a *audit) compareRow(row store.StateRow, r *rebuild, behind bool, wrong func(string)) {
	differ := func(name string, have, want any) {
		if have != want {
			wrong(fmt.Sprintf("%s is %v, by the event log %v", name, have, want))
		}
	}
	if !behind {
		differ("complete", row.Complete, r.Complete())
	}
	differ("provisional", row.Provisional, r.Provisional())
	differ("last_order_id", row.LastOrderID, r.LastOrderID())
	differ("last_trade_id", row.LastTradeID, r.LastTradeID())
	differ("mismatches", row.Mismatches, r.Mismatches())
	latest := int64(noLatest)
	if !row.Latest.IsZero() {
		latest = row.Latest.UnixMicro()
	}
	if latest != r.latest {
		wrong("latest_time is not that of the latest record")
	}
}

func (a *audit) compareTables(ctx context.Context, s *state.State, out *StateReport) error {
	balances, orders := stateRows{bound: a.options.Listed}, stateRows{bound: a.options.Listed}
	rows, err := a.tx.Query(ctx, selectBalances)
	if err == nil {
		balances.balances(counted(balanceRows(rows, &err), &out.Balances), s)
	}
	if err != nil {
		return fmt.Errorf("read dingir.balances: %w", err)
	}
	rows, err = a.tx.Query(ctx, selectOrders)
	if err == nil {
		orders.orders(counted(orderRows(rows, &err), &out.OpenOrders), s)
	}
	if err != nil {
		return fmt.Errorf("read dingir.open_orders: %w", err)
	}
	for _, d := range []stateRows{balances, orders} {
		for _, one := range d.list {
			a.differ("state", one)
		}
		a.report.Total += d.total - int64(len(d.list))
	}
	return nil
}

// exchange reads what the state is to be rebuilt from.
func (a *audit) exchange(ctx context.Context) (e exchangePlan, err error) {
	ledger, err := a.ledger(ctx)
	if err != nil {
		return e, err
	}
	row, _, err := store.ReadStateRow(ctx, a.tx)
	if err != nil {
		return e, err
	}
	for _, p := range ledger {
		if !a.unify[p.TopicID] || p.Partition != 0 {
			continue
		}
		if own := p.Topic == a.names[row.TopicID]; own || e.TopicID == 0 {
			e.TopicID, e.Base = p.TopicID, p.FirstOffset
		}
	}
	if e.TopicID == 0 {
		return e, nil
	}
	rows, err := a.tx.Query(ctx, "SELECT next_offset FROM dingir.state_snapshots WHERE topic_id = $1 ORDER BY next_offset", e.TopicID)
	if err == nil {
		e.Snapshots, err = pgx.CollectRows(rows, pgx.RowTo[int64])
	}
	if err != nil {
		return e, fmt.Errorf("read the snapshots of the state: %w", err)
	}
	rows, err = a.tx.Query(ctx, "SELECT first_offset, last_offset, reason FROM dingir.gaps WHERE topic_id = $1 AND partition = 0 ORDER BY first_offset", e.TopicID)
	if err == nil {
		e.Gaps, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (g gap, err error) {
			return g, r.Scan(&g.First, &g.Last, &g.Reason)
		})
	}
	if err != nil {
		return e, fmt.Errorf("read the gaps: %w", err)
	}
	return e, nil
}
