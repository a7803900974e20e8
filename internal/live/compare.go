package live

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/store"
)

// Difference counts the rows in which the tables differ from a state.
type Difference struct{ Missing, Other, Surplus int }

// None tells whether there is none.
func (d Difference) None() bool { return d == Difference{} }

// compare reads balances and open_orders and puts into the batch what makes
// them the state's.
func compare(ctx context.Context, session store.Querier, s *state.State, b *store.Batch) (Difference, error) {
	d, err := compareBalances(ctx, session, s, b)
	if err != nil {
		return d, err
	}
	orders, err := compareOrders(ctx, session, s, b)
	return Difference{d.Missing + orders.Missing, d.Other + orders.Other, d.Surplus + orders.Surplus}, err
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
				d.Missing++
			}
		},
		func(r *balanceRow, want *state.Balance) {
			if r.known != want.Known || !amount.Of(r.available).Equal(want.Available) || !amount.Of(r.frozen).Equal(want.Frozen) {
				d.Other++
				b.PutBalance((*store.Holding)(want))
			}
		},
		func(r *balanceRow) {
			d.Surplus++
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
			d.Missing++
			b.PutOrder((*store.OpenOrder)(want))
		},
		func(r *orderRow, want *state.Order) {
			if !r.is(want) {
				d.Other++
				b.PutOrder((*store.OpenOrder)(want))
			}
		},
		func(r *orderRow) {
			d.Surplus++
			b.DropOrder(r.id)
		})
	if err != nil {
		return d, fmt.Errorf("read dingir.open_orders: %w", err)
	}
	return d, nil
}

func (r *orderRow) is(o *state.Order) bool {
	want := [...]*amount.Amount{&o.Price, &o.Amount, &o.Remain, &o.Frozen, &o.FinishedBase, &o.FinishedQuote, &o.FinishedFee, &o.MakerFee, &o.TakerFee}
	for i, a := range want {
		if r.amounts[i] == nil || !amount.Of(r.amounts[i]).Equal(*a) {
			return false
		}
	}
	return r.user == o.UserID && r.market == o.Market && r.base == o.Base && r.quote == o.Quote &&
		r.side == o.Side.String() && r.kind == o.Type.String() && sameFlag(r.postOnly, o.PostOnly) &&
		sameTime(r.created, o.CreateTime) && sameTime(r.updated, o.UpdateTime) && bytes.Equal(r.signature, o.Signature)
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
