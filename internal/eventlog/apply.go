package eventlog

import (
	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/state"
)

// Applier is a Sink that applies to a state what comes. It never fails: a record
// that cannot be read is counted by the state, as the daemon does.
type Applier struct {
	state   *state.State
	decoder event.Decoder
	unify   event.Unify

	// Records counts those that came, readable or not.
	Records int64
}

// NewApplier applies to this state, whose Next is where reading has to begin.
func NewApplier(s *state.State) *Applier { return &Applier{state: s} }

// Record applies one record.
func (a *Applier) Record(r *Record) error {
	a.Records++
	if err := a.decoder.Unify(r.Key, r.Value, &a.unify); err != nil {
		a.state.Unreadable(r.Offset, r.Time)
		return nil //nolint:nilerr // the error is the reject's reason, which is kept elsewhere
	}
	a.state.Apply(r.Offset, r.Time, &a.unify)
	return nil
}

// Gap passes over offsets without records.
func (a *Applier) Gap(first, last int64, reason string) error {
	a.state.Gap(first, last, reason)
	return nil
}
