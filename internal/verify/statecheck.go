package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/thaliumx/persistor/internal/state"
)

// exchange is what there is of the state as the audit begins: what to check
// which units by.
type exchangePlan struct {
	TopicID   int16
	Base      int64   // where the log begins, as the ledger has it
	Snapshots []int64 // their offsets, in order
	Gaps      []gap
}

// checkSnapshot compares the state at a unit's end with the snapshot there.
func (s *scanner) checkSnapshot(ctx context.Context, u *unit, r *rebuild) error {
	e := &s.audit.state.Exchange
	r.reach(u.Until)
	if r.broken != "" {
		s.unchecked(u, r.broken)
		return nil
	}
	row, err := snapshotOf(ctx, s.conn, e.TopicID, u.Until)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return err
	}
	latest := int64(noLatest)
	if !row.Latest.IsZero() {
		latest = row.Latest.UnixMicro()
	}
	var own bytes.Buffer
	if err := r.WriteSnapshot(&own); err != nil {
		return err
	}
	if bytes.Equal(own.Bytes(), row.Data) && latest == r.latest {
		s.tally.Snapshots++
		return nil
	}
	st, err := stateOf(&row, e.Base)
	var unusable *snapshotError
	switch {
	case errors.Is(err, state.ErrSnapshotVersion):
		s.unchecked(u, err.Error())
		return nil
	case errors.As(err, &unusable):
		s.tally.States = append(s.tally.States, stateDifference(SnapshotState, u.Until, "the snapshot of the state: "+err.Error()))
		return nil
	case err != nil:
		return err
	}
	if st.Complete() && !r.Complete() {
		// Only the engine itself can tell what the log does not.
		s.tally.StateNotes = append(s.tally.StateNotes, stateDifference(Unchecked, u.Until, "the state was taken over from the engine's own slice here; the event log alone does not make it"))
		return nil
	}
	if what := compareStates(st, r.State); what != "" || latest != r.latest {
		if what == "" {
			what = "its latest_time is another"
		}
		s.tally.States = append(s.tally.States, stateDifference(SnapshotState, u.Until, "the snapshot of the state is not what the event log makes: "+what))
		return nil
	}
	s.tally.Snapshots++
	return nil
}

func (s *scanner) unchecked(u *unit, why string) {
	s.tally.StateNotes = append(s.tally.StateNotes, stateDifference(Unchecked, u.Until, "the snapshot of the state could not be checked: "+why))
}

// stateDifference is one about the state before an offset.
func stateDifference(kind string, next int64, detail string) Difference {
	return Difference{Kind: kind, Part: State, Next: &next, Detail: detail}
}

// compareStates tells in what a state differs from what it should be; "" where
// it does not, in what is kept for an undo either.
func compareStates(have, want *state.State) string {
	var a, b bytes.Buffer
	if have.WriteSnapshot(&a) == nil && want.WriteSnapshot(&b) == nil && bytes.Equal(a.Bytes(), b.Bytes()) {
		return ""
	}
	if x, y := summary(have), summary(want); x != y {
		return x + "; the event log says " + y
	}
	d := stateRows{}
	d.balances(have.Balances(), want)
	d.orders(have.OpenOrders(), want)
	if len(d.list) > 0 {
		return fmt.Sprintf("%s (%d balances and open orders differ)", d.list[0].Detail, d.total)
	}
	return "users, or what is kept for an undo, differ"
}

func summary(s *state.State) string {
	return fmt.Sprintf("last order %d, last trade %d, %d mismatches, complete %t, provisional %t",
		s.LastOrderID(), s.LastTradeID(), s.Mismatches(), s.Complete(), s.Provisional())
}
