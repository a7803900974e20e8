package rebuild

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/engine"
	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/state"
)

// sliceOf is what the engine would save of a state between two operations.
func sliceOf(s *state.State, at time.Time) *engine.Slice {
	out := &engine.Slice{Time: at, LastOrderID: s.LastOrderID(), LastTradeID: s.LastTradeID()}
	for u := range s.Users() {
		out.Users = append(out.Users, engine.SliceUser(*u))
	}
	for b := range s.Balances() {
		if !b.Available.IsZero() || !b.Frozen.IsZero() {
			out.Balances = append(out.Balances, engine.SliceBalance{UserID: b.UserID, Asset: b.Asset, Available: b.Available.String(), Frozen: b.Frozen.String()})
		}
	}
	for o := range s.OpenOrders() {
		out.Orders = append(out.Orders, engine.SliceOrder{
			ID: o.ID, UserID: o.UserID, Market: o.Market, Base: o.Base, Quote: o.Quote, Side: o.Side.String(), Type: o.Type.String(), PostOnly: o.PostOnly == event.True,
			Price: o.Price.String(), Amount: o.Amount.String(), Remain: o.Remain.String(),
			FinishedBase: o.FinishedBase.String(), FinishedQuote: o.FinishedQuote.String(), FinishedFee: o.FinishedFee.String(),
			MakerFee: o.MakerFee.String(), TakerFee: o.TakerFee.String(),
			CreateTime: time.UnixMicro(int64(o.CreateTime)).UTC().Truncate(time.Second), UpdateTime: time.UnixMicro(int64(o.UpdateTime)).UTC().Truncate(time.Second),
			Signature: slices.Clone(o.Signature),
		})
	}
	return out
}

// beginsOperation tells whether nothing that the record does belongs to the
// operation before it.
func beginsOperation(r *eventlog.Record) bool {
	return string(r.Key) != "trades" && string(r.Key) != "orders" || strings.HasPrefix(string(r.Value), `{"event":"PUT"`)
}

// later is a log without its beginning.
type later struct {
	eventlog.Log
	first int64
}

func (l later) Read(ctx context.Context, from, until int64, sink eventlog.Sink) error {
	if from < l.first {
		return &eventlog.RangeError{Source: "a cut log", From: from, Until: until, First: l.first, Next: until}
	}
	return l.Log.Read(ctx, from, until, sink)
}

// The slice of any moment is placed where a state that begins with it comes to
// what the whole log comes to.
func TestSlicesFindTheirPlace(t *testing.T) {
	for corpus, tries := range map[string]int{"real-2021-09.unify.jsonl": 40, "engine-1.unify.jsonl": 5} {
		t.Run(corpus, func(t *testing.T) {
			t.Parallel()
			file := eventlog.NewFile(corpusFile(t, corpus))
			var records []eventlog.Record
			if err := file.Read(t.Context(), 0, eventlog.End, collector{&records}); err != nil {
				t.Fatal(err)
			}
			end := int64(len(records))
			random := rand.New(rand.NewPCG(3, 5))
			want := map[int64]bool{}
			for len(want) < tries {
				if n := end/4 + random.Int64N(end*3/4); beginsOperation(&records[n]) {
					want[n] = true
				}
			}
			taken := map[int64]*engine.Slice{}
			whole := state.New(0)
			err := eventlog.ReadEvents(t.Context(), file, 0, eventlog.End, func(e *eventlog.Event) error {
				if want[e.Offset] {
					taken[e.Offset] = sliceOf(whole, start)
				}
				e.Apply(whole)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			exact := 0
			for _, n := range slices.Sorted(maps.Keys(taken)) {
				log := Log{Log: later{file, end / 8}, Begin: end / 8}
				p, err := FindPlace(t.Context(), log, taken[n])
				if err != nil {
					t.Fatalf("the slice at offset %d: %v", n, err)
				}
				if p.Offset == n {
					exact++
				}
				if p.Mismatches != 0 || p.Compared == 0 {
					t.Errorf("the slice at offset %d: %+v", n, p)
				}
				s, err := begun(taken[n], log.Begin, p.Offset)
				if err != nil {
					t.Fatal(err)
				}
				err = eventlog.ReadEvents(t.Context(), log.Log, s.Next(), eventlog.End, func(e *eventlog.Event) error { e.Apply(s); return nil })
				if err != nil || !s.Complete() || s.Mismatches() != 0 {
					t.Errorf("the slice at offset %d, placed at %d: complete %v, %d mismatches, %v", n, p.Offset, s.Complete(), s.Mismatches(), err)
				}
				if got, want := sliceOf(s, start), sliceOf(whole, start); !same(got, want) {
					t.Errorf("the slice at offset %d, placed at %d, comes to another state", n, p.Offset)
				}
			}
			t.Logf("%d of %d at the very offset", exact, len(taken))
			if exact < len(taken)*3/4 {
				t.Errorf("only %d of %d at the very offset", exact, len(taken))
			}
		})
	}
}

// same compares but for the times, which differ by what a slice cuts off.
func same(a, b *engine.Slice) bool {
	for _, s := range []*engine.Slice{a, b} {
		for i := range s.Orders {
			s.Orders[i].CreateTime, s.Orders[i].UpdateTime = time.Time{}, time.Time{}
		}
	}
	return slices.Equal(a.Users, b.Users) && slices.Equal(a.Balances, b.Balances) &&
		slices.EqualFunc(a.Orders, b.Orders, func(a, b engine.SliceOrder) bool {
			equal := string(a.Signature) == string(b.Signature)
			a.Signature, b.Signature = nil, nil
			return equal && a.ID == b.ID && a.Remain == b.Remain && a.UserID == b.UserID && a.Price == b.Price && a.FinishedQuote == b.FinishedQuote && a.MakerFee == b.MakerFee
		})
}

func TestSlicesWithoutAPlace(t *testing.T) {
	file := eventlog.NewFile(corpusFile(t, "real-2021-09.unify.jsonl"))
	at := func(n int64) *engine.Slice {
		r, err := State(t.Context(), Log{Log: file}, Target{Offset: n})
		if err != nil {
			t.Fatal(err)
		}
		return sliceOf(r.State, start)
	}
	log := Log{Log: later{file, 60}, Begin: 60}
	var out *SliceError
	for _, n := range []int64{30, 55} {
		if _, err := FindPlace(t.Context(), log, at(n)); !errors.As(err, &out) || !strings.Contains(err.Error(), "older than the log") {
			t.Errorf("older, at %d: %v", n, err)
		}
	}
	newer := at(200)
	newer.LastOrderID += 5
	if _, err := FindPlace(t.Context(), log, newer); !errors.As(err, &out) || !strings.Contains(err.Error(), "when the daemon has caught up") {
		t.Errorf("newer: %v", err)
	}
	wrong := at(180)
	wrong.Orders[len(wrong.Orders)-1].Remain = "0.0001"
	if _, err := FindPlace(t.Context(), log, wrong); !errors.As(err, &out) || !strings.Contains(err.Error(), "contradicts the log") || !strings.Contains(err.Error(), "by the slice 0.0001") {
		t.Errorf("another order: %v", err)
	}
	// What the log below does not tell shows behind.
	wrong = at(150)
	for i := range wrong.Balances {
		if wrong.Balances[i].Available != "0" {
			wrong.Balances[i].Available = "1" + wrong.Balances[i].Available
		}
	}
	if p, err := FindPlace(t.Context(), log, wrong); err != nil || p.Mismatches == 0 {
		t.Errorf("other balances: %+v, %v", p, err)
	}
	broken := at(180)
	broken.Orders[0].Side = "up"
	if _, err := FindPlace(t.Context(), log, broken); err == nil || !strings.Contains(err.Error(), `side "up"`) {
		t.Errorf("broken: %v", err)
	}
}
