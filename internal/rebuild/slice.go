package rebuild

import (
	"context"
	"fmt"
	"time"

	"github.com/thaliumx/persistor/internal/engine"
	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/store"
)

// UnreadableSliceError says that a slice of the engine which was taken over cannot be read
// any more.
type UnreadableSliceError struct {
	TopicID int16
	Next    int64 // its offset
	Err     error
}

// Error says which one.
func (e *UnreadableSliceError) Error() string {
	return fmt.Sprintf("the engine's slice that was taken over at offset %d cannot be read: %v", e.Next, e.Err)
}

// Unwrap gives the cause.
func (e *UnreadableSliceError) Unwrap() error { return e.Err }

// Remedy is what an operator can do.
func (e *UnreadableSliceError) Remedy() string {
	return fmt.Sprintf("restore that row from a backup, or take it out: `DELETE FROM dingir.engine_slices WHERE topic_id = %d AND next_offset = %d`. "+
		"A snapshot of the state behind it knows what it told; without one the state is incomplete until `persistor state import`", e.TopicID, e.Next)
}

// FromSlice returns the state that begins with the newest slice of the engine
// which was taken over and is not behind the offset, nor, unless it is zero, the
// time; nil without any. base is where the log begins. latest is the latest
// timestamp of a record in the state. A slice that cannot be read is a *UnreadableSliceError.
func FromSlice(ctx context.Context, session store.Querier, topicID int16, base, below int64, at time.Time) (s *state.State, latest time.Time, err error) {
	stored, found, err := store.SliceAt(ctx, session, topicID, below, at)
	if err != nil || !found {
		return nil, time.Time{}, err
	}
	slice, err := engine.DecodeSlice(stored.Reader())
	if err == nil {
		s, err = begun(slice, base, stored.Next)
	}
	if err != nil {
		return nil, time.Time{}, &UnreadableSliceError{stored.TopicID, stored.Next, err}
	}
	return s, stored.Latest, nil
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
