package verify

import (
	"context"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/store"
)

// AssetMoney is the account of one asset. Amounts are in plain notation.
type AssetMoney struct {
	Asset string `json:"asset"`

	Balances     string `json:"balances"`    // sum of all balances in the tables
	Deposits     string `json:"deposits"`    // by the event log, as what follows
	Withdrawals  string `json:"withdrawals"` // positive
	Fees         string `json:"fees"`
	Adopted      string `json:"adopted"`       // from the engine's word against the log's
	AdoptedTimes int64  `json:"adopted_times"` // how often
	Off          string `json:"off"`           // balances less what the others make; "0" is right

	Frozen   string `json:"frozen"`   // sum of what is frozen in the tables
	Held     string `json:"held"`     // sum of what open orders hold in the tables
	Negative int64  `json:"negative"` // balances below zero in the tables
}

// addMoney adds up the tables by asset and compares it with the account that the
// rebuilt state has kept. Without a state only the tables are compared with each
// other. An asset whose name is too long for balances has no account: what the
// others make of it, and what orders hold, is in no row.
func (a *audit) addMoney(ctx context.Context, s *state.State) error {
	sums, order, err := a.sums(ctx)
	if err != nil {
		return fmt.Errorf("add up the money: %w", err)
	}
	// Where the tables are what the event log makes, what is odd in them is the
	// log's: an engine that crashed.
	sound := s != nil && a.listed[BalanceState+" state"] == 0 && a.listed[OrderState+" state"] == 0
	if s != nil {
		for _, m := range s.Money() {
			if sums[m.Asset] == nil {
				sums[m.Asset] = &sum{}
				order = append(order, m.Asset)
			}
			sums[m.Asset].money = m
		}
	}
	for _, asset := range order {
		if len(asset) > store.LongestAsset {
			continue
		}
		one := sums[asset]
		m := &one.money
		off := amount.Amount{}
		if s != nil {
			off = one.total.Sub(m.Deposits).Add(m.Withdrawals).Add(m.Fees).Sub(m.Adopted)
		}
		a.report.Money = append(a.report.Money, AssetMoney{Asset: asset, Balances: one.total.String(), Deposits: m.Deposits.String(), Withdrawals: m.Withdrawals.String(),
			Fees: m.Fees.String(), Adopted: m.Adopted.String(), AdoptedTimes: m.AdoptedTimes, Off: off.String(),
			Frozen: one.frozen.String(), Held: one.held.String(), Negative: one.negative})
		report := func(kind string, found bool, detail string) {
			d := Difference{Kind: kind, Part: Money, Asset: asset, Detail: detail}
			if found {
				a.find("money", d)
			} else {
				a.differ("money", d)
			}
		}
		if !off.IsZero() {
			report(MoneyOff, false, fmt.Sprintf("the balances are %s, deposits - withdrawals - fees + adopted are %s", one.total, one.total.Sub(off)))
		}
		if !one.frozen.Equal(one.held) && !one.unnamed {
			report(FrozenOff, sound, fmt.Sprintf("%s is frozen, open orders hold %s", one.frozen, one.held))
		}
		if one.negative > 0 {
			report(NegativeBalance, sound, fmt.Sprintf("%d balances are below zero", one.negative))
		}
	}
	return nil
}

// sum is what the tables have of one asset.
type sum struct {
	total, frozen, held amount.Amount
	negative            int64
	unnamed             bool // there are orders that do not say what they hold
	money               state.Money
}

func (a *audit) sums(ctx context.Context) (sums map[string]*sum, order []string, err error) {
	sums = map[string]*sum{}
	of := func(asset string) *sum {
		if sums[asset] == nil {
			sums[asset] = &sum{}
			order = append(order, asset)
		}
		return sums[asset]
	}
	rows, err := a.tx.Query(ctx, `SELECT asset, sum(available + frozen)::text, sum(frozen)::text, count(*) FILTER (WHERE available < 0 OR frozen < 0)
		FROM dingir.balances GROUP BY asset ORDER BY asset`)
	if err != nil {
		return nil, nil, err
	}
	var asset string
	var total, frozen []byte
	var negative int64
	_, err = pgx.ForEachRow(rows, []any{&asset, &total, &frozen, &negative}, func() error {
		one := of(asset)
		one.total, one.frozen, one.negative = amountOf(total), amountOf(frozen), negative
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	rows, err = a.tx.Query(ctx, `SELECT coalesce(CASE side WHEN 'ask' THEN base ELSE quote END, ''), sum(frozen)::text
		FROM dingir.open_orders GROUP BY 1 ORDER BY 1`)
	if err != nil {
		return nil, nil, err
	}
	unnamed := false
	_, err = pgx.ForEachRow(rows, []any{&asset, &frozen}, func() error {
		if asset == "" { // until 2021-06 orders did not name their assets
			unnamed = true
			return nil
		}
		of(asset).held = amountOf(frozen)
		return nil
	})
	for _, one := range sums {
		one.unnamed = unnamed
	}
	return sums, order, err
}

// counted counts what a sequence yields.
func counted[T any](all iter.Seq[T], n *int64) iter.Seq[T] {
	return func(yield func(T) bool) {
		for one := range all {
			*n++
			if !yield(one) {
				return
			}
		}
	}
}
