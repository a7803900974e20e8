package rebuild

import (
	"context"
	"fmt"
	"time"

	"github.com/thaliumx/persistor/internal/engine"
	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/state"
)

// Place is where in the log a slice of the engine belongs: the engine has seen
// the records below Offset, and no others.
type Place struct {
	Offset     int64
	Latest     time.Time // the latest timestamp below
	Fitting    int       // offsets that what the log tells allows
	Compared   int64     // balances and orders that the log tells as the slice does
	Checked    int64     // cross-checks of the records behind, that passed
	Mismatches int64     // and that failed
}

// SliceError says why a slice cannot be placed.
type SliceError struct{ Reason string }

// Error says why, and what to do.
func (e *SliceError) Error() string { return e.Reason }

const (
	// checkedBehind is how many records behind a place are applied to it: enough
	// to tell most balances, few enough for several places to be tried.
	checkedBehind = 5000
	mostPlaces    = 50
)

// FindPlace finds out where a slice belongs. The slice itself has no offset, but
// the ids of its last order and trade, which leave a stretch of the log, and the
// time at which it was written. Within the stretch, what the log has told of
// balances and orders has to be in the slice, and what it tells behind has to
// follow from it. The log is read twice from its beginning.
func FindPlace(ctx context.Context, log Log, slice *engine.Slice) (Place, error) {
	low, high, err := stretch(ctx, log, slice)
	if err != nil {
		return Place{}, err
	}
	fitting, err := fits(ctx, log, slice, low, high)
	if err != nil {
		return Place{}, err
	}
	var best Place
	for i, p := range fitting {
		if i >= mostPlaces {
			break
		}
		s, err := begun(slice, log.Begin, p.Offset)
		if err != nil {
			return Place{}, err
		}
		err = eventlog.ReadEvents(ctx, log.Log, p.Offset, eventlog.End, func(e *eventlog.Event) error {
			if e.Offset >= p.Offset+checkedBehind {
				return eventlog.ErrStop
			}
			e.Apply(s)
			return nil
		})
		if err != nil {
			return Place{}, err
		}
		p.Checked, p.Mismatches, p.Fitting = s.Passed(), s.Mismatches(), 1
		switch {
		case best.Fitting == 0 || p.Mismatches < best.Mismatches:
			best = p
		case p.Mismatches == best.Mismatches && !p.Latest.After(slice.Time):
			// The engine writes it right after the moment that it is of.
			p.Fitting += best.Fitting
			best = p
		case p.Mismatches == best.Mismatches:
			best.Fitting++
		}
	}
	return best, nil
}

// stretch is between the last record that the slice's ids cover, and the first
// that they do not, both as offsets at which the slice could belong.
func stretch(ctx context.Context, log Log, slice *engine.Slice) (low, high int64, err error) {
	bound := slice.Time.Add(time.Second).UnixMilli() // it has whole seconds
	low, high = -1, -1
	next, first, last := log.Begin, int64(-1), int64(0)
	err = eventlog.ReadEvents(ctx, log.Log, log.Begin, eventlog.End, func(e *eventlog.Event) error {
		next = e.Last + 1
		if e.Reason != "" || e.Err != nil {
			return nil //nolint:nilerr // a record that cannot be read has no id
		}
		if e.Time > bound {
			if high < 0 {
				high = e.Offset
			}
			if e.Time > bound+time.Minute.Milliseconds() {
				return eventlog.ErrStop
			}
			return nil
		}
		var covered bool
		switch u := &e.Unify; {
		case u.Kind == event.KindOrder && u.Order.Action == event.Put:
			if covered = u.Order.ID <= slice.LastOrderID; covered {
				last = max(last, u.Order.ID)
			}
			if first < 0 {
				first = u.Order.ID
			}
		case u.Kind == event.KindTrade:
			covered = u.Trade.ID <= slice.LastTradeID
		default:
			return nil
		}
		if covered {
			low, high = e.Offset+1, -1
		} else if high < 0 {
			high = e.Offset
		}
		return nil
	})
	if high < 0 {
		high = next
	}
	switch {
	case err != nil:
		return 0, 0, err
	case low < 0 || last < slice.LastOrderID && first > slice.LastOrderID:
		return 0, 0, &SliceError{fmt.Sprintf("the slice of %s is older than the log, which begins behind its last order %d: the engine saves another one every hour, try again then",
			slice.Time.Format(time.RFC3339), slice.LastOrderID)}
	case last < slice.LastOrderID:
		return 0, 0, &SliceError{fmt.Sprintf("the archive ends with order %d and has not come to the slice of %s, which ends with order %d: try again when the daemon has caught up",
			last, slice.Time.Format(time.RFC3339), slice.LastOrderID)}
	}
	return low, high, nil
}

// fits returns the offsets from low to high at which the slice says what the log
// has told.
func fits(ctx context.Context, log Log, slice *engine.Slice, low, high int64) ([]Place, error) {
	in, err := slice.State()
	if err != nil {
		return nil, err
	}
	c := newComparison(in)
	var list []Place
	least, example := -1, ""
	s := state.New(log.Begin)
	latest := int64(0)
	look := func() {
		same, other, what := c.with(s)
		switch {
		case other == 0:
			list = append(list, Place{Offset: s.Next(), Latest: time.UnixMilli(latest), Compared: same})
		case least < 0 || other < least:
			least, example = other, fmt.Sprintf("at offset %d %s", s.Next(), what)
		}
	}
	err = eventlog.ReadEvents(ctx, log.Log, log.Begin, high, func(e *eventlog.Event) error {
		if s.Next() >= low {
			look()
		}
		latest = max(latest, e.Time)
		if u := &e.Unify; e.Err == nil && e.Reason == "" && u.Kind == event.KindOrder && u.Order.Action == event.Put && c.firstPut < 0 {
			c.firstPut = u.Order.ID
		}
		e.Apply(s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	look()
	if len(list) == 0 {
		return nil, &SliceError{fmt.Sprintf("the slice of %s contradicts the log between offsets %d and %d: %s. If the engine has crashed since, try again with its next slice",
			slice.Time.Format(time.RFC3339), low, high, example)}
	}
	return list, nil
}

// comparison holds a slice against states that know a part.
type comparison struct {
	balances map[state.Holding]state.Balance
	orders   map[int64]state.Order
	firstPut int64 // the first order that the log has put; -1 before
}

func newComparison(slice *state.Slice) *comparison {
	c := &comparison{balances: map[state.Holding]state.Balance{}, orders: map[int64]state.Order{}, firstPut: -1}
	for _, b := range slice.Balances {
		c.balances[state.Holding{UserID: b.UserID, Asset: b.Asset}] = b
	}
	for _, o := range slice.Orders {
		c.orders[o.ID] = o
	}
	return c
}

// with counts what is the same and what is not, of that which the state knows.
func (c *comparison) with(s *state.State) (same int64, other int, example string) {
	differs := func(format string, args ...any) {
		if other++; other == 1 {
			example = fmt.Sprintf(format, args...)
		}
	}
	for b := range s.Balances() {
		if !b.Known {
			continue
		}
		told := c.balances[state.Holding{UserID: b.UserID, Asset: b.Asset}]
		if b.Available.Equal(told.Available) && b.Frozen.Equal(told.Frozen) {
			same++
			continue
		}
		differs("user %d has %s of %s available and %s frozen, by the slice %s and %s", b.UserID, b.Available, b.Asset, b.Frozen, told.Available, told.Frozen)
	}
	open := 0
	for o := range s.OpenOrders() {
		told, there := c.orders[o.ID]
		switch {
		case !there:
			differs("order %d is open, and not in the slice", o.ID)
		case !o.Remain.Equal(told.Remain):
			differs("order %d has %s left, by the slice %s", o.ID, o.Remain, told.Remain)
		default:
			same++
		}
		if there && c.firstPut >= 0 && o.ID >= c.firstPut {
			open++
		}
	}
	for id := range c.orders {
		if c.firstPut >= 0 && id >= c.firstPut {
			open--
		}
	}
	if open < 0 {
		differs("%d orders of the slice are not open any more, or not yet", -open)
	}
	return same, other, example
}
