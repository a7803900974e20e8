package rebuild

import (
	"context"
	"time"

	"github.com/thaliumx/persistor/internal/engine"
	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/store"
)

// FromSlice returns the state that begins with the newest slice of the engine
// which was taken over and is not behind the offset, nor, unless it is zero, the
// time; nil without any. base is where the log begins. latest is the latest
// timestamp of a record in the state.
func FromSlice(ctx context.Context, session store.Querier, topicID int16, base, below int64, at time.Time) (s *state.State, latest time.Time, err error) {
	stored, found, err := store.SliceAt(ctx, session, topicID, below, at)
	if err != nil || !found {
		return nil, time.Time{}, err
	}
	slice, err := engine.DecodeSlice(stored.Reader())
	if err == nil {
		s, err = begun(slice, base, stored.Next)
	}
	return s, stored.Latest, err
}

// begun is the state that begins with a slice at an offset: what the log tells
// below is not needed.
func begun(slice *engine.Slice, base, next int64) (*state.State, error) {
	in, err := slice.State()
	if err != nil {
		return nil, err
	}
	s := state.New(base)
	if base < next {
		s.Gap(base, next-1, eventlog.Expired)
	}
	return s, s.Import(in)
}
