package verify

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/store"
)

// stateRows compares balances and open orders with the state that they should be.
type stateRows struct {
	bound int
	total int64
	list  []Difference
}

func (d *stateRows) add(kind string, id int64, table, detail string) {
	d.total++
	if len(d.list) < max(d.bound, 1) {
		d.list = append(d.list, Difference{Kind: kind, Part: State, Table: table, ID: &id, Detail: detail})
	}
}

// sideBySide walks two sequences in the same order side by side. There is one of each
// key in either; absent is nil.
func sideBySide[T any](have, want iter.Seq[T], order func(a, b *T) int, each func(have, want *T)) {
	next, stop := iter.Pull(want)
	defer stop()
	w, more := next()
	for h := range have {
		for more && order(&w, &h) < 0 {
			each(nil, &w)
			w, more = next()
		}
		if more && order(&w, &h) == 0 {
			each(&h, &w)
			w, more = next()
		} else {
			each(&h, nil)
		}
	}
	for ; more; w, more = next() {
		each(nil, &w)
	}
}

func (d *stateRows) balances(have iter.Seq[state.Balance], s *state.State) {
	byKey := func(a, b *state.Balance) int {
		return cmp.Or(cmp.Compare(a.UserID, b.UserID), cmp.Compare(a.Asset, b.Asset))
	}
	sideBySide(have, s.Balances(), byKey, func(have, want *state.Balance) {
		switch {
		case have == nil:
			if len(want.Asset) <= store.LongestAsset {
				d.add(BalanceState, want.UserID, "balances", fmt.Sprintf("user %d's %s is missing: %s", want.UserID, short(want.Asset), balanceText(want)))
			}
		case want == nil:
			d.add(BalanceState, have.UserID, "balances", fmt.Sprintf("user %d's %s is there: %s; by the event log there is none", have.UserID, short(have.Asset), balanceText(have)))
		case have.Known != want.Known || !have.Available.Equal(want.Available) || !have.Frozen.Equal(want.Frozen):
			d.add(BalanceState, want.UserID, "balances", fmt.Sprintf("user %d's %s is %s, by the event log %s", want.UserID, short(want.Asset), balanceText(have), balanceText(want)))
		}
	})
}

func balanceText(b *state.Balance) string {
	s := fmt.Sprintf("%s available, %s frozen", b.Available, b.Frozen)
	if !b.Known {
		s += " (not known)"
	}
	return s
}

func (d *stateRows) orders(have iter.Seq[state.Order], s *state.State) {
	byID := func(a, b *state.Order) int { return cmp.Compare(a.ID, b.ID) }
	sideBySide(have, s.OpenOrders(), byID, func(have, want *state.Order) {
		switch {
		case have == nil:
			d.add(OrderState, want.ID, "open_orders", "the order is missing; by the event log it is open")
		case want == nil:
			d.add(OrderState, have.ID, "open_orders", "the order is there; by the event log it is not open")
		default:
			if what := orderDifference(have, want); what != "" {
				d.add(OrderState, want.ID, "open_orders", what)
			}
		}
	})
}

func orderDifference(have, want *state.Order) string {
	var list []string
	differ := func(name string, have, want any) {
		if have != want {
			list = append(list, fmt.Sprintf("%s is %v, by the event log %v", name, have, want))
		}
	}
	differ("user_id", have.UserID, want.UserID)
	differ("market", have.Market, want.Market)
	differ("base", have.Base, want.Base)
	differ("quote", have.Quote, want.Quote)
	differ("side", have.Side, want.Side)
	differ("type", have.Type, want.Type)
	differ("post_only", have.PostOnly, want.PostOnly)
	for _, a := range []struct {
		name       string
		have, want amount.Amount
	}{
		{"price", have.Price, want.Price}, {"amount", have.Amount, want.Amount}, {"remain", have.Remain, want.Remain},
		{"frozen", have.Frozen, want.Frozen}, {"finished_base", have.FinishedBase, want.FinishedBase},
		{"finished_quote", have.FinishedQuote, want.FinishedQuote}, {"finished_fee", have.FinishedFee, want.FinishedFee},
		{"maker_fee", have.MakerFee, want.MakerFee}, {"taker_fee", have.TakerFee, want.TakerFee},
	} {
		differ(a.name, a.have.String(), a.want.String())
	}
	differ("create_time", have.CreateTime, want.CreateTime)
	differ("update_time", have.UpdateTime, want.UpdateTime)
	if !bytes.Equal(have.Signature, want.Signature) {
		list = append(list, "signature is another")
	}
	return strings.Join(list, "; ")
}

const selectBalances = "SELECT user_id, asset, available::text, frozen::text, known FROM dingir.balances ORDER BY user_id, asset"

// balanceRows are the rows of balances; err tells in the end what went wrong.
func balanceRows(rows pgx.Rows, err *error) iter.Seq[state.Balance] {
	return func(yield func(state.Balance) bool) {
		defer rows.Close()
		for rows.Next() {
			var b state.Balance
			var available, frozen []byte
			if *err = rows.Scan(&b.UserID, &b.Asset, &available, &frozen, &b.Known); *err != nil {
				return
			}
			b.Available, b.Frozen = amountOf(available), amountOf(frozen)
			if !yield(b) {
				return
			}
		}
		*err = rows.Err()
	}
}

const selectOrders = `SELECT order_id, user_id, market, coalesce(base, ''), coalesce(quote, ''), side, type, post_only,
	price::text, amount::text, remain::text, frozen::text, coalesce(finished_base, 'NaN')::text, coalesce(finished_quote, 'NaN')::text,
	coalesce(finished_fee, 'NaN')::text, coalesce(maker_fee, 'NaN')::text, coalesce(taker_fee, 'NaN')::text,
	(extract(epoch FROM create_time) * 1000000)::bigint, (extract(epoch FROM update_time) * 1000000)::bigint, signature
  FROM dingir.open_orders ORDER BY order_id`

// orderRows are the rows of open_orders; err tells in the end what went wrong.
func orderRows(rows pgx.Rows, err *error) iter.Seq[state.Order] {
	return func(yield func(state.Order) bool) {
		defer rows.Close()
		for rows.Next() {
			var o state.Order
			var side, kind string
			var postOnly *bool
			var created, updated *int64
			var a [9][]byte
			*err = rows.Scan(&o.ID, &o.UserID, &o.Market, &o.Base, &o.Quote, &side, &kind, &postOnly,
				&a[0], &a[1], &a[2], &a[3], &a[4], &a[5], &a[6], &a[7], &a[8], &created, &updated, &o.Signature)
			if *err != nil {
				return
			}
			for i, into := range []*amount.Amount{&o.Price, &o.Amount, &o.Remain, &o.Frozen, &o.FinishedBase, &o.FinishedQuote, &o.FinishedFee, &o.MakerFee, &o.TakerFee} {
				*into = amountOf(a[i])
			}
			o.Side, o.Type = sideOf(side), typeOf(kind)
			if o.PostOnly = event.NoFlag; postOnly != nil {
				o.PostOnly = event.False
				if *postOnly {
					o.PostOnly = event.True
				}
			}
			o.CreateTime, o.UpdateTime = event.NoTime, event.NoTime
			if created != nil {
				o.CreateTime = event.Micros(*created)
			}
			if updated != nil {
				o.UpdateTime = event.Micros(*updated)
			}
			if !yield(o) {
				return
			}
		}
		*err = rows.Err()
	}
}

// amountOf reads a number of the tables. NULL and what is no number, which the
// daemon writes nowhere, becomes one that no order has.
func amountOf(text []byte) amount.Amount {
	a, err := amount.Parse(text)
	if err != nil {
		a, _ = amount.Parse([]byte("-999999999999999999999999999999"))
	}
	return a
}

func sideOf(s string) event.Side {
	for _, side := range []event.Side{event.Ask, event.Bid} {
		if side.String() == s {
			return side
		}
	}
	return event.NoSide
}

func typeOf(s string) event.OrderType {
	for _, kind := range []event.OrderType{event.Limit, event.Market} {
		if kind.String() == s {
			return kind
		}
	}
	return event.NoType
}
