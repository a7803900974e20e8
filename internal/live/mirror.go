package live

import (
	"context"
	"log/slog"

	"github.com/thaliumx/persistor/internal/store"
)

// Mirror is the state for who compares the tables with it and is not the daemon.
type Mirror struct {
	Log *slog.Logger

	restored *Restored
	at       history
}

// Comparison is how the tables differ from a state.
type Comparison struct {
	Balances, OpenOrders Difference
	State                []string // what the one row of dingir.state says otherwise

	// Missing says that the archive lacks records and no snapshot makes up for
	// them: the tables may know more than it tells.
	Missing bool

	batch *store.Batch
}

// None tells whether they do not.
func (c *Comparison) None() bool {
	return c.Balances.None() && c.OpenOrders.None() && len(c.State) == 0
}

// Write makes the tables the state's, in the transaction of session. It must be
// the transaction of the comparison, and hold the ledger's row of unifyevents.
func (c *Comparison) Write(ctx context.Context, session store.Executor) error {
	return c.batch.WriteState(ctx, session)
}

// Compare brings the state to where the ledger stands and compares the tables
// with it. session must see both in one snapshot; it is used by nothing else
// meanwhile. Called again for a ledger that has moved on, it reads only what has
// come since.
func (m *Mirror) Compare(ctx context.Context, session store.Querier, pos store.Position) (*Comparison, error) {
	if err := m.follow(ctx, session, pos); err != nil {
		return nil, err
	}
	c := &Comparison{Missing: m.restored.Missing, batch: store.NewBatch()}
	var err error
	if c.Balances, err = compareBalances(ctx, session, m.restored.State, c.batch); err != nil {
		return nil, err
	}
	if c.OpenOrders, err = compareOrders(ctx, session, m.restored.State, c.batch); err != nil {
		return nil, err
	}
	have, found, err := store.ReadStateRow(ctx, session)
	if err != nil {
		return nil, err
	}
	wanted := row(m.restored.State, m.restored.Latest)
	wanted.TopicID = pos.TopicID
	if c.State = have.Differences(wanted); !found {
		c.State = []string{"there is no row"}
	}
	c.batch.State(c.batch.Partition(pos.Log, pos.Next, pos.Archived), pos.Moves, wanted)
	return c, nil
}

// follow brings the state to where the archive ends.
func (m *Mirror) follow(ctx context.Context, session store.Querier, pos store.Position) error {
	want := historyOf(pos)
	r := Restorer{Session: session, Log: m.Log}
	if m.restored == nil || m.at.Log != want.Log || m.at.moves != want.moves || m.at.next > want.next {
		restored, err := r.Restore(ctx, pos.TopicID, pos.First, want.next)
		if err != nil {
			return err
		}
		m.restored, m.at = restored, want
		return nil
	}
	if err := r.advance(ctx, m.restored, pos.TopicID, want.next); err != nil {
		m.restored = nil
		return err
	}
	m.at = want
	return nil
}
