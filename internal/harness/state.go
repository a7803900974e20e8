package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/state"
)

// stateTables are what one snapshot of the database says of the exchange's
// state, rows as texts by their keys.
type stateTables struct {
	found         bool
	topicID       int16
	base, next    int64
	row           string
	balances      map[string]string
	orders        map[string]string
	gaps          []gap // of unifyevents, in order
	archived, end int64 // where the event log and the archive with its gaps end

	snapshots []snapshot // in order
	wrong     []string   // of the snapshots

	rebuilt *state.State // from the topic's records, up to next
	decoder event.Decoder
	event   event.Unify
	partial bool // the topic has not all records any more
}

type snapshot struct {
	next int64
	data []byte
}

type gap struct {
	first, last int64
	reason      string
}

func (a *accounts) readState(ctx context.Context, tx pgx.Tx) error {
	t := &a.state
	t.balances, t.orders = map[string]string{}, map[string]string{}
	var complete, provisional bool
	var order, trade, mismatches int64
	err := tx.QueryRow(ctx, `SELECT topic_id, base_offset, next_offset, complete, provisional, last_order_id, last_trade_id, mismatches FROM dingir.state`).
		Scan(&t.topicID, &t.base, &t.next, &complete, &provisional, &order, &trade, &mismatches)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read dingir.state: %w", err)
	}
	t.found, t.row = true, stateText(complete, provisional, order, trade, mismatches)
	var b state.Balance
	var available, frozen string
	err = each(ctx, tx, "SELECT user_id, asset, available::text, frozen::text, known FROM dingir.balances",
		[]any{&b.UserID, &b.Asset, &available, &frozen, &b.Known}, func() error {
			b.Available, b.Frozen = amount.Of([]byte(available)), amount.Of([]byte(frozen))
			t.balances[balanceKey(&b)] = balanceText(&b)
			return nil
		})
	if err != nil {
		return err
	}
	var id int64
	var text string
	err = each(ctx, tx, `SELECT order_id, concat_ws(' ', user_id, market, base, quote, side, type, post_only,
			trim_scale(price), trim_scale(amount), trim_scale(remain), trim_scale(frozen), trim_scale(finished_base), trim_scale(finished_quote),
			trim_scale(finished_fee), trim_scale(maker_fee), trim_scale(taker_fee),
			(extract(epoch FROM create_time) * 1000000)::bigint, (extract(epoch FROM update_time) * 1000000)::bigint, encode(signature, 'hex'))
		  FROM dingir.open_orders`, []any{&id, &text}, func() error {
		t.orders[fmt.Sprint("order ", id)] = text
		return nil
	})
	if err != nil {
		return err
	}
	var g gap
	err = each(ctx, tx, fmt.Sprintf("SELECT first_offset, last_offset, reason FROM dingir.gaps WHERE topic_id = %d ORDER BY first_offset", t.topicID),
		[]any{&g.first, &g.last, &g.reason}, func() error {
			t.gaps = append(t.gaps, g)
			return nil
		})
	if err != nil {
		return err
	}
	var kept snapshot
	err = each(ctx, tx, fmt.Sprintf("SELECT next_offset, data FROM dingir.state_snapshots WHERE topic_id = %d ORDER BY next_offset", t.topicID),
		[]any{&kept.next, &kept.data}, func() error {
			t.snapshots = append(t.snapshots, kept)
			kept.data = nil
			return nil
		})
	if err != nil {
		return err
	}
	t.rebuilt = state.New(t.base)
	return each(ctx, tx, fmt.Sprintf("SELECT coalesce(max(last_offset) + 1, %d) FROM dingir.event_log WHERE topic_id = %d", t.base, t.topicID),
		[]any{&t.archived}, func() error {
			t.end = t.archived
			if n := len(t.gaps); n > 0 {
				t.end = max(t.end, t.gaps[n-1].last+1)
			}
			return nil
		})
}

func stateText(complete, provisional bool, order, trade, mismatches int64) string {
	return fmt.Sprintf("complete %t, provisional %t, last order %d, last trade %d, mismatches %d", complete, provisional, order, trade, mismatches)
}

func balanceKey(b *state.Balance) string { return fmt.Sprintf("user %d's %s", b.UserID, b.Asset) }

func balanceText(b *state.Balance) string {
	return fmt.Sprintf("%s available, %s frozen, known %t", b.Available.AppendTo(nil), b.Frozen.AppendTo(nil), b.Known)
}

// orderText is what PostgreSQL's concat_ws makes of the row, which leaves out
// what is NULL.
func orderText(o *state.Order) string {
	fields := []string{fmt.Sprint(o.UserID), o.Market, o.Base, o.Quote, o.Side.String(), o.Type.String()}
	switch o.PostOnly {
	case event.True:
		fields = append(fields, "t")
	case event.False:
		fields = append(fields, "f")
	case event.NoFlag:
	}
	for _, a := range []amount.Amount{o.Price, o.Amount, o.Remain, o.Frozen, o.FinishedBase, o.FinishedQuote, o.FinishedFee, o.MakerFee, o.TakerFee} {
		fields = append(fields, string(a.AppendTo(nil)))
	}
	for _, at := range []event.Micros{o.CreateTime, o.UpdateTime} {
		if at != event.NoTime {
			fields = append(fields, fmt.Sprint(int64(at)))
		}
	}
	if o.Signature != nil {
		fields = append(fields, fmt.Sprintf("%x", o.Signature))
	}
	return strings.Join(fields, " ")
}

// apply takes a record of unifyevents, in their order.
func (t *stateTables) apply(offset, at int64, key, value []byte) {
	if !t.found || offset >= t.next || offset < t.base {
		return
	}
	t.reach(offset)
	t.compareSnapshot()
	if offset < t.rebuilt.Next() {
		return // an operator has passed it over
	}
	if err := t.decoder.Unify(key, value, &t.event); err != nil {
		t.rebuilt.Unreadable(offset, at)
		return
	}
	t.rebuilt.Apply(offset, at, &t.event)
}

// compareSnapshot compares the snapshot of this place in the log, if there is
// one: the same state gives the same bytes.
func (t *stateTables) compareSnapshot() {
	if len(t.snapshots) == 0 || t.snapshots[0].next > t.rebuilt.Next() {
		return
	}
	s := t.snapshots[0]
	t.snapshots = t.snapshots[1:]
	var want bytes.Buffer
	if err := t.rebuilt.WriteSnapshot(&want); err != nil {
		t.wrong = append(t.wrong, err.Error())
		return
	}
	if s.next != t.rebuilt.Next() || !bytes.Equal(s.data, want.Bytes()) {
		t.wrong = append(t.wrong, fmt.Sprintf("the snapshot of offset %d is not what the log says there", s.next))
	}
}

// reach applies the gaps before an offset. What no gap explains the topic had
// once, and has lost.
func (t *stateTables) reach(offset int64) {
	for len(t.gaps) > 0 && t.gaps[0].first <= offset {
		g := t.gaps[0]
		t.gaps = t.gaps[1:]
		t.partial = t.partial || g.first > t.rebuilt.Next()
		t.rebuilt.Gap(g.first, g.last, g.reason)
	}
	t.partial = t.partial || t.rebuilt.Next() < offset
}

// judgeState compares the state's tables with what the topic's records make of
// an empty exchange, and what they claim to cover with the archive.
func (a *accounts) judgeState() (violations []string) {
	t := &a.state
	pos, begun := a.ledger[Place{a.unify, 0}]
	differ := func(format string, args ...any) {
		violations = append(violations, "state: "+fmt.Sprintf(format, args...))
	}
	switch {
	case !begun:
		return nil
	case !t.found:
		if pos.next > pos.first {
			differ("no row, though unifyevents stands at offset %d", pos.next)
		}
		return violations
	case t.topicID != pos.topicID:
		differ("of topic id %d, the ledger has %d", t.topicID, pos.topicID)
		return violations
	case t.base != pos.first || t.next != max(t.end, pos.first):
		differ("of offsets %d to %d, the archive has %d to %d", t.base, t.next, pos.first, t.end)
	}
	t.reach(t.next - 1)
	t.partial = t.partial || t.rebuilt.Next() < t.next
	t.compareSnapshot()
	if t.partial {
		return violations
	}
	for _, w := range t.wrong {
		differ("%s", w)
	}
	for _, s := range t.snapshots {
		differ("a snapshot of offset %d, where the log has not come to or a gap is", s.next)
	}
	s := t.rebuilt
	if row := stateText(s.Complete(), s.Provisional(), s.LastOrderID(), s.LastTradeID(), s.Mismatches()); row != t.row {
		differ("%s; the log says %s", t.row, row)
	}
	balances, orders := map[string]string{}, map[string]string{}
	for b := range s.Balances() {
		balances[balanceKey(&b)] = balanceText(&b)
	}
	for o := range s.OpenOrders() {
		orders[fmt.Sprint("order ", o.ID)] = orderText(&o)
	}
	for _, pair := range []struct{ have, want map[string]string }{{t.balances, balances}, {t.orders, orders}} {
		for _, key := range slices.Sorted(maps.Keys(pair.want)) {
			if have, there := pair.have[key]; !there {
				differ("%s is missing: %s", key, pair.want[key])
			} else if have != pair.want[key] {
				differ("%s: %s; the log says %s", key, have, pair.want[key])
			}
		}
		for _, key := range slices.Sorted(maps.Keys(pair.have)) {
			if _, there := pair.want[key]; !there {
				differ("%s: %s; the log knows nothing of it", key, pair.have[key])
			}
		}
	}
	return violations
}
