package eventlog

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/thaliumx/persistor/internal/event"
)

// invented is a log of registrations: some unreadable, some missing, one big.
type invented struct{ n int64 }

func (l invented) Bounds(context.Context) (first, next int64, err error) { return 0, l.n, nil }

func (l invented) value(offset int64) []byte {
	pad := 10
	if offset == 500 {
		pad = 3 << 20
	}
	return fmt.Appendf(nil, `{"user_id":%d,"l1_address":"%0*d","l2_pubkey":""}`, offset, pad, offset)
}

var errBroken = errors.New("broken")

func (l invented) Read(ctx context.Context, from, until int64, sink Sink) error {
	value := []byte("left over")
	for offset := from; offset < min(until, l.n); offset++ {
		var err error
		switch offset % 10 {
		case 3:
			err = sink.Gap(offset, offset, Control)
		case 7:
			err = sink.Record(&Record{Offset: offset, Time: offset, Key: []byte("registeruser"), Value: nil})
		default:
			value = append(value[:0], l.value(offset)...)
			err = sink.Record(&Record{Offset: offset, Time: offset, Key: []byte("registeruser"), Value: value})
		}
		if err != nil {
			return err
		}
	}
	if until > l.n {
		return errBroken
	}
	return ctx.Err()
}

func TestReadEvents(t *testing.T) {
	log := invented{n: 1003}
	for _, until := range []int64{0, 1, log.n, log.n + 1} {
		next := int64(0)
		err := ReadEvents(t.Context(), log, 0, until, func(e *Event) error {
			if e.Offset != next || e.Last != next {
				return fmt.Errorf("offset %d to %d, expected %d", e.Offset, e.Last, next)
			}
			next++
			switch {
			case e.Offset%10 == 3:
				if e.Reason != Control {
					return fmt.Errorf("offset %d is no gap", e.Offset)
				}
			case e.Offset%10 == 7:
				if e.Err == nil || e.Reason != "" {
					return fmt.Errorf("offset %d can be read", e.Offset)
				}
			case e.Err != nil || e.Unify.Kind != event.KindUser || e.Unify.User.UserID != e.Offset || string(e.Value) != string(log.value(e.Offset)) || e.Time != e.Offset:
				return fmt.Errorf("offset %d: %w, %+v", e.Offset, e.Err, e.Unify.User)
			}
			return nil
		})
		if until > log.n {
			if !errors.Is(err, errBroken) {
				t.Errorf("the source's error becomes %v", err)
			}
		} else if err != nil {
			t.Error(err)
		}
		if want := min(until, log.n); next != want {
			t.Errorf("until %d: %d events, expected %d", until, next, want)
		}
	}
}

func TestReadEventsStops(t *testing.T) {
	for _, stop := range []error{ErrStop, errBroken} {
		n := 0
		err := ReadEvents(t.Context(), invented{n: 100_000}, 0, 100_000, func(*Event) error {
			if n++; n == 100 {
				return stop
			}
			return nil
		})
		if n != 100 || errors.Is(stop, ErrStop) != (err == nil) {
			t.Errorf("%v after %d events: %v", stop, n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := ReadEvents(ctx, invented{n: 1 << 40}, 0, 1<<40, func(*Event) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
