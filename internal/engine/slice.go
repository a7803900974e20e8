package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/state"
)

// Slice is the engine's own state as it saves it every hour (wire format,
// section 4.2), as it is in its tables: amounts in plain notation, times in whole
// seconds, fee rates with four decimals.
type Slice struct {
	Time        time.Time      `json:"time"` // when the engine wrote it, in whole seconds
	LastOrderID int64          `json:"last_order_id"`
	LastTradeID int64          `json:"last_trade_id"`
	Users       []SliceUser    `json:"users"`
	Balances    []SliceBalance `json:"balances"`
	Orders      []SliceOrder   `json:"orders"`
}

// SliceUser is a registration, from the table account.
type SliceUser struct {
	ID        int64  `json:"id"`
	L1Address string `json:"l1_address"`
	L2Pubkey  string `json:"l2_pubkey"`
}

// SliceBalance is what a user has of an asset.
type SliceBalance struct {
	UserID    int64  `json:"user_id"`
	Asset     string `json:"asset"`
	Available string `json:"available"`
	Frozen    string `json:"frozen"`
}

// SliceOrder is an order in a book.
type SliceOrder struct {
	ID            int64     `json:"id"`
	UserID        int64     `json:"user_id"`
	Market        string    `json:"market"`
	Base          string    `json:"base"`
	Quote         string    `json:"quote"`
	Side          string    `json:"side"` // ask, bid
	Type          string    `json:"type"` // limit
	PostOnly      bool      `json:"post_only"`
	Price         string    `json:"price"`
	Amount        string    `json:"amount"`
	Remain        string    `json:"remain"`
	FinishedBase  string    `json:"finished_base"`
	FinishedQuote string    `json:"finished_quote"`
	FinishedFee   string    `json:"finished_fee"`
	MakerFee      string    `json:"maker_fee"`
	TakerFee      string    `json:"taker_fee"`
	CreateTime    time.Time `json:"create_time"`
	UpdateTime    time.Time `json:"update_time"`
	Signature     []byte    `json:"signature"`
}

// ErrNoSlice says that the engine has not saved its state, or that this is not
// its database.
var ErrNoSlice = errors.New("the engine's database has no slice yet: it saves one every hour")

// ReadSlice reads the newest slice from the engine's database, in one snapshot of
// it: the engine deletes a slice 30 s after it has written the next.
func ReadSlice(ctx context.Context, conn *pgx.Conn) (*Slice, error) {
	s := new(Slice)
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return s.read(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("read the engine's slice: %w", err)
	}
	return s, nil
}

func (s *Slice) read(ctx context.Context, tx pgx.Tx) error {
	var there, markets bool
	err := tx.QueryRow(ctx, "SELECT to_regclass('slice_history') IS NOT NULL, to_regclass('market') IS NOT NULL").Scan(&there, &markets)
	if err != nil {
		return err
	}
	if !there {
		return ErrNoSlice
	}
	var id int64 // the slice's time
	err = tx.QueryRow(ctx, "SELECT time, end_order_id, end_trade_id FROM slice_history ORDER BY id DESC LIMIT 1").Scan(&id, &s.LastOrderID, &s.LastTradeID)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNoSlice
	}
	if err != nil {
		return err
	}
	s.Time = time.Unix(id, 0).UTC()
	if s.Balances, err = rows[SliceBalance](ctx, tx, `SELECT user_id, asset,
		coalesce(sum(balance) FILTER (WHERE t = 1), 0)::text, coalesce(sum(balance) FILTER (WHERE t = 2), 0)::text
		FROM balance_slice WHERE slice_id = $1 GROUP BY user_id, asset ORDER BY user_id, asset`, id); err != nil {
		return err
	}
	// The name of a market says its assets, unless the engine gave it another.
	asset := func(column string, part int) string {
		name := fmt.Sprintf("split_part(o.market, '_', %d)", part)
		if markets {
			name = fmt.Sprintf("coalesce((SELECT m.%s FROM market m WHERE m.market_name = o.market LIMIT 1), %s)", column, name)
		}
		return name
	}
	if s.Orders, err = rows[SliceOrder](ctx, tx, `SELECT o.id, o.user_id, o.market, `+asset("base_asset", 1)+", "+asset("quote_asset", 2)+`,
			lower(o.order_side), lower(o.order_type), o.post_only, o.price::text, o.amount::text, o.remain::text,
			o.finished_base::text, o.finished_quote::text, o.finished_fee::text, o.maker_fee::text, o.taker_fee::text,
			o.create_time, o.update_time, o.signature
		FROM order_slice o WHERE o.slice_id = $1 ORDER BY o.id`, id); err != nil {
		return err
	}
	s.Users, err = rows[SliceUser](ctx, tx, "SELECT id, l1_address, l2_pubkey FROM account ORDER BY id")
	return err
}

// rows reads rows whose columns are in the order of the struct's fields.
func rows[T any](ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]T, error) {
	found, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, pgx.RowToStructByPos[T])
}

// Write writes the slice for DecodeSlice.
func (s *Slice) Write(w io.Writer) error { return json.NewEncoder(w).Encode(s) }

// DecodeSlice reads what Write wrote.
func DecodeSlice(r io.Reader) (*Slice, error) {
	s := new(Slice)
	if err := json.NewDecoder(r).Decode(s); err != nil {
		return nil, fmt.Errorf("read a slice of the engine: %w", err)
	}
	return s, nil
}

// State is the slice for state.Import. An order's frozen amount is what its rest
// costs: the engine's tables cut it to eight decimals. The error names what
// cannot be.
func (s *Slice) State() (*state.Slice, error) {
	out := &state.Slice{LastOrderID: s.LastOrderID, LastTradeID: s.LastTradeID}
	for _, u := range s.Users {
		out.Users = append(out.Users, state.User(u))
	}
	for _, b := range s.Balances {
		p := parser{what: fmt.Sprintf("user %d's %s", b.UserID, b.Asset)}
		out.Balances = append(out.Balances, state.Balance{UserID: b.UserID, Asset: b.Asset, Available: p.amount(b.Available), Frozen: p.amount(b.Frozen)})
		if p.err != nil {
			return nil, p.err
		}
	}
	for i := range s.Orders {
		o, err := s.Orders[i].state()
		if err != nil {
			return nil, err
		}
		out.Orders = append(out.Orders, o)
	}
	return out, nil
}

func (o *SliceOrder) state() (state.Order, error) {
	p := parser{what: fmt.Sprintf("order %d", o.ID)}
	out := state.Order{
		ID: o.ID, UserID: o.UserID, Market: o.Market, Base: o.Base, Quote: o.Quote, Type: event.Limit, PostOnly: event.False,
		Price: p.amount(o.Price), Amount: p.amount(o.Amount), Remain: p.amount(o.Remain),
		FinishedBase: p.amount(o.FinishedBase), FinishedQuote: p.amount(o.FinishedQuote), FinishedFee: p.amount(o.FinishedFee),
		MakerFee: p.amount(o.MakerFee), TakerFee: p.amount(o.TakerFee),
		CreateTime: event.Micros(o.CreateTime.UnixMicro()), UpdateTime: event.Micros(o.UpdateTime.UnixMicro()),
	}
	if o.PostOnly {
		out.PostOnly = event.True
	}
	out.Frozen = out.Remain
	switch o.Side {
	case "ask":
		out.Side = event.Ask
	case "bid":
		out.Side = event.Bid
		out.Frozen = out.Remain.Mul(out.Price)
	default:
		p.fail("has side %q", o.Side)
	}
	if o.Type != "limit" {
		p.fail("rests, and has type %q", o.Type)
	}
	if slices.ContainsFunc(o.Signature, func(b byte) bool { return b != 0 }) { // all zeros: absent
		out.Signature = o.Signature
	}
	return out, p.err
}

// parser keeps the first thing that is wrong.
type parser struct {
	what string
	err  error
}

func (p *parser) amount(text string) amount.Amount {
	a, err := amount.Parse([]byte(text))
	if err != nil {
		p.fail("has an amount %q", text)
	}
	return a
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("the engine's slice: %s "+format, append([]any{p.what}, args...)...)
	}
}
