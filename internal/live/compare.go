package live

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/store"
)

// Difference counts the rows in which a table differs from a state.
type Difference struct {
	Missing, Other, Surplus int
	Examples                Examples
}

// Examples name the first rows of each kind, and what is different.
type Examples struct{ Missing, Other, Surplus []string }

const mostExamples = 3 // of each kind

// None tells whether there is none.
func (d *Difference) None() bool { return d.Missing+d.Other+d.Surplus == 0 }

// note counts a row, and adds it to the examples if it is one of the first.
func note(count *int, examples *[]string, describe func() string) {
	if *count++; *count <= mostExamples {
		*examples = append(*examples, describe())
	}
}

// compare reads balances and open_orders and puts into the batch what makes
// them the state's.
func compare(ctx context.Context, session store.Querier, s *state.State, b *store.Batch) (Difference, error) {
	d, err := compareBalances(ctx, session, s, b)
	if err != nil {
		return d, err
	}
	orders, err := compareOrders(ctx, session, s, b)
	return Difference{Missing: d.Missing + orders.Missing, Other: d.Other + orders.Other, Surplus: d.Surplus + orders.Surplus}, err
}

// merge walks two sequences in the same order side by side. There is one row of
// each key in either.
func merge[R, S any](rows func(yield func(*R) error) error, wanted iter.Seq[S], order func(*R, *S) int, missing func(*S), both func(*R, *S), surplus func(*R)) error {
	next, stop := iter.Pull(wanted)
	defer stop()
	want, more := next()
	err := rows(func(r *R) error {
		for more && order(r, &want) > 0 {
			missing(&want)
			want, more = next()
		}
		if more && order(r, &want) == 0 {
			both(r, &want)
			want, more = next()
			return nil
		}
		surplus(r)
		return nil
	})
	if err != nil {
		return err
	}
	for ; more; want, more = next() {
		missing(&want)
	}
	return nil
}

type balanceRow struct {
	user              int64
	asset             string
	available, frozen []byte
	known             bool
}

// differences are the columns in which the row is not as the state has it.
func (r *balanceRow) differences(want *state.Balance) (list []string) {
	list = appendAmount(list, "available", r.available, &want.Available)
	list = appendAmount(list, "frozen", r.frozen, &want.Frozen)
	if r.known != want.Known {
		list = append(list, fmt.Sprintf("known is %t, should be %t", r.known, want.Known))
	}
	return list
}

func appendAmount(list []string, column string, have []byte, want *amount.Amount) []string {
	text := "NULL"
	if have != nil {
		a, err := amount.Parse(have) // numerics are also NaN and Infinity
		if err == nil && a.Same(want) {
			return list
		}
		if text = a.String(); err != nil {
			text = string(have)
		}
	}
	return append(list, fmt.Sprintf("%s is %s, should be %s", column, text, want))
}

func compareBalances(ctx context.Context, session store.Querier, s *state.State, b *store.Batch) (d Difference, err error) {
	rows, err := session.Query(ctx, "SELECT user_id, asset, available::text, frozen::text, known FROM dingir.balances ORDER BY user_id, asset")
	if err != nil {
		return d, fmt.Errorf("read dingir.balances: %w", err)
	}
	var row balanceRow
	err = merge(each(rows, &row, &row.user, &row.asset, &row.available, &row.frozen, &row.known), s.Balances(),
		func(r *balanceRow, want *state.Balance) int {
			return cmp.Or(cmp.Compare(r.user, want.UserID), cmp.Compare(r.asset, want.Asset))
		},
		func(want *state.Balance) {
			if b.PutBalance((*store.Holding)(want)) {
				note(&d.Missing, &d.Examples.Missing, func() string { return fmt.Sprintf("user_id %d, asset %s", want.UserID, want.Asset) })
			}
		},
		func(r *balanceRow, want *state.Balance) {
			if differs := r.differences(want); differs != nil {
				note(&d.Other, &d.Examples.Other, func() string {
					return fmt.Sprintf("user_id %d, asset %s: %s", r.user, r.asset, strings.Join(differs, "; "))
				})
				b.PutBalance((*store.Holding)(want))
			}
		},
		func(r *balanceRow) {
			note(&d.Surplus, &d.Examples.Surplus, func() string { return fmt.Sprintf("user_id %d, asset %s", r.user, r.asset) })
			b.DropBalance(r.user, r.asset)
		})
	if err != nil {
		return d, fmt.Errorf("read dingir.balances: %w", err)
	}
	return d, nil
}

type orderRow struct {
	id, user            int64
	market, base, quote string
	side, kind          string
	postOnly            *bool
	amounts             [9][]byte
	created, updated    *int64
	signature           []byte
}

const selectOrders = `SELECT order_id, user_id, market, coalesce(base, ''), coalesce(quote, ''), side, type, post_only,
	price::text, amount::text, remain::text, frozen::text, finished_base::text,
	finished_quote::text, finished_fee::text, maker_fee::text, taker_fee::text,
	(extract(epoch FROM create_time) * 1000000)::bigint, (extract(epoch FROM update_time) * 1000000)::bigint, signature
  FROM dingir.open_orders ORDER BY order_id`

func compareOrders(ctx context.Context, session store.Querier, s *state.State, b *store.Batch) (d Difference, err error) {
	rows, err := session.Query(ctx, selectOrders)
	if err != nil {
		return d, fmt.Errorf("read dingir.open_orders: %w", err)
	}
	var row orderRow
	into := []any{&row.id, &row.user, &row.market, &row.base, &row.quote, &row.side, &row.kind, &row.postOnly}
	for i := range row.amounts {
		into = append(into, &row.amounts[i])
	}
	into = append(into, &row.created, &row.updated, &row.signature)
	err = merge(each(rows, &row, into...), s.OpenOrders(),
		func(r *orderRow, want *state.Order) int { return cmp.Compare(r.id, want.ID) },
		func(want *state.Order) {
			note(&d.Missing, &d.Examples.Missing, func() string { return fmt.Sprintf("order_id %d", want.ID) })
			b.PutOrder((*store.OpenOrder)(want))
		},
		func(r *orderRow, want *state.Order) {
			if differs := r.differences(want); differs != nil {
				note(&d.Other, &d.Examples.Other, func() string { return fmt.Sprintf("order_id %d: %s", r.id, strings.Join(differs, "; ")) })
				b.PutOrder((*store.OpenOrder)(want))
			}
		},
		func(r *orderRow) {
			note(&d.Surplus, &d.Examples.Surplus, func() string { return fmt.Sprintf("order_id %d", r.id) })
			b.DropOrder(r.id)
		})
	if err != nil {
		return d, fmt.Errorf("read dingir.open_orders: %w", err)
	}
	return d, nil
}

// differences are the columns in which the row is not as the state has it.
func (r *orderRow) differences(o *state.Order) (list []string) {
	for i, a := range [...]struct {
		column string
		want   *amount.Amount
	}{{"price", &o.Price}, {"amount", &o.Amount}, {"remain", &o.Remain}, {"frozen", &o.Frozen}, {"finished_base", &o.FinishedBase},
		{"finished_quote", &o.FinishedQuote}, {"finished_fee", &o.FinishedFee}, {"maker_fee", &o.MakerFee}, {"taker_fee", &o.TakerFee}} {
		list = appendAmount(list, a.column, r.amounts[i], a.want)
	}
	if r.user != o.UserID {
		list = append(list, fmt.Sprintf("user_id is %d, should be %d", r.user, o.UserID))
	}
	for _, text := range [...]struct{ column, have, want string }{{"market", r.market, o.Market}, {"base", r.base, o.Base}, {"quote", r.quote, o.Quote},
		{"side", r.side, o.Side.String()}, {"type", r.kind, o.Type.String()}} {
		if text.have != text.want {
			list = append(list, fmt.Sprintf("%s is %s, should be %s", text.column, text.have, text.want))
		}
	}
	for _, other := range [...]struct {
		column string
		same   bool
	}{{"post_only", sameFlag(r.postOnly, o.PostOnly)}, {"create_time", sameTime(r.created, o.CreateTime)},
		{"update_time", sameTime(r.updated, o.UpdateTime)}, {"signature", bytes.Equal(r.signature, o.Signature)}} {
		if !other.same {
			list = append(list, other.column+" is another")
		}
	}
	return list
}

func sameFlag(b *bool, f event.Flag) bool {
	if b == nil {
		return f == event.NoFlag
	}
	return f != event.NoFlag && *b == (f == event.True)
}

func sameTime(at *int64, t event.Micros) bool {
	if at == nil {
		return t == event.NoTime
	}
	return event.Micros(*at) == t
}

// each scans rows one by one into the same place.
func each[R any](rows pgx.Rows, row *R, into ...any) func(yield func(*R) error) error {
	return func(yield func(*R) error) error {
		_, err := pgx.ForEachRow(rows, into, func() error { return yield(row) })
		return err
	}
}
