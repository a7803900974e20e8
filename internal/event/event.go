// Package event turns the bytes of one Kafka record into a typed event: the
// Dingir engine's own shapes with all their historical variants, and the
// shapes that the platform documents. It is strict about what is wrong and
// tolerant of what is merely unknown, and money never passes through a float.
//
// Decoding allocates nothing: every slice in an event points into the record's
// value or into the Decoder's scratch space, and is valid until the Decoder's
// next call.
package event

import (
	"math"

	"github.com/thaliumx/persistor/internal/amount"
)

// Kind says which message a record carries.
type Kind uint8

// The kinds, one for each of the engine's messages (wire format, section 1).
const (
	KindUnknown Kind = iota
	KindTrade
	KindOrder
	KindBalance
	KindDeposit
	KindWithdraw
	KindTransfer
	KindUser
)

// Micros is a time in µs since the Unix epoch.
type Micros int64

// NoTime marks a time that the message does not have.
const NoTime Micros = math.MinInt64

// NoID marks an id that the message does not have. Ids are never negative.
const NoID int64 = -1

// Decimal is an amount exactly as it arrived, in plain notation: digits, at
// most one point, at most a leading minus; an exponent has been written out and
// a negative zero has lost its sign.
type Decimal struct {
	Text  []byte       // nil marks an absent amount
	value amount.Short // of the text; none where it has to be read from that
}

// Amount is the number; 0 where there is none.
func (d *Decimal) Amount() amount.Amount {
	if d.value.Known() {
		return d.value.Amount()
	}
	return amount.Of(d.Text)
}

// Is reports whether the number is a.
func (d *Decimal) Is(a *amount.Amount) bool { return d.value.Looks(a) || d.equals(a) }

func (d *Decimal) equals(a *amount.Amount) bool {
	if !d.value.Known() {
		return a.Is(d.Text)
	}
	b := d.value.Amount()
	return a.Same(&b)
}

// Text is UTF-8 with its JSON escapes resolved. nil marks an absent text, an
// empty one is not nil.
type Text []byte

// Side of an order, or of a trade's taker.
type Side uint8

// Sides. NoSide marks an absent one.
const (
	NoSide Side = iota
	Ask
	Bid
)

// String gives the side as tables and the REST API show it; "" if absent.
func (s Side) String() string { return [...]string{"", "ask", "bid"}[s] }

// OrderType is limit or market.
type OrderType uint8

// Order types. NoType marks an absent one.
const (
	NoType OrderType = iota
	Limit
	Market
)

// String gives the type as tables and the REST API show it; "" if absent.
func (t OrderType) String() string { return [...]string{"", "limit", "market"}[t] }

// Action is what happened to an order.
type Action uint8

// Actions (wire format, section 1.8).
const (
	NoAction Action = iota
	Put
	Update
	Finish
	Expired
)

// String gives the action as the engine spells it.
func (a Action) String() string { return [...]string{"", "PUT", "UPDATE", "FINISH", "EXPIRED"}[a] }

// Flag is a boolean that a message may not have.
type Flag uint8

// Flags. NoFlag marks an absent one.
const (
	NoFlag Flag = iota
	False
	True
)

// Trade is one match of two orders (wire format, section 1.9). User ids, fees,
// the assets and all that follows them are absent in the documented shape.
type Trade struct {
	Time        Micros
	ID          int64
	Market      Text
	Base        Text
	Quote       Text
	Price       Decimal
	Amount      Decimal
	QuoteAmount Decimal
	TakerSide   Side
	AskUserID   int64
	AskOrderID  int64
	AskFee      Decimal
	BidUserID   int64
	BidOrderID  int64
	BidFee      Decimal

	// AskOrder and BidOrder are the orders as they were before this trade, if it
	// is their first; else nil. Their signatures are not read.
	AskOrder, BidOrder *Order

	// Before and After are what orders and balances were around the trade; nil
	// where the engine was built without them.
	Before, After *TradeState

	// Malformed says that one of the four is there but cannot be read. Nothing
	// that is stored depends on them, so the trade itself is good.
	Malformed bool
}

// TradeState is what a trade says about both orders and their owners' balances.
type TradeState struct {
	Orders   [2]OrderState   // ask, bid
	Balances [4]BalanceState // ask's base, ask's quote, bid's base, bid's quote
}

// OrderState is how far an order has come. Before 2021-06 it had neither ids nor
// side nor a fee.
type OrderState struct {
	UserID        int64
	ID            int64
	Side          Side
	FinishedBase  Decimal
	FinishedQuote Decimal
	FinishedFee   Decimal
}

// BalanceState is what a user has of an asset, available and frozen together.
type BalanceState struct {
	UserID  int64
	Asset   Text
	Balance Decimal
}

// Order is one event in an order's life (wire format, section 1.8).
type Order struct {
	Action        Action
	ID            int64
	Market        Text
	Base          Text
	Quote         Text
	UserID        int64
	Side          Side
	Type          OrderType
	PostOnly      Flag
	Price         Decimal
	Amount        Decimal
	Remain        Decimal
	Frozen        Decimal
	FinishedBase  Decimal
	FinishedQuote Decimal
	FinishedFee   Decimal
	MakerFee      Decimal // a rate, not an amount
	TakerFee      Decimal // a rate, not an amount
	CreateTime    Micros
	UpdateTime    Micros
	Signature     []byte // 64 bytes; nil where absent or all zeros
}

// Balance is a change of one user's balance in one asset: a record of
// balances, deposits or withdraws (wire format, sections 1.4 to 1.6).
type Balance struct {
	Time        Micros
	UserID      int64
	BusinessID  Decimal // u64, so wider than bigint; of deposits and withdraws it is detail's id
	Asset       Text
	Business    Text
	MarketPrice Decimal
	Change      Decimal
	Balance     Decimal
	Available   Decimal
	Frozen      Decimal
	Detail      Text
	Signature   Text
}

// Transfer moves an amount between two users (wire format, section 1.7).
type Transfer struct {
	Time      Micros
	UserFrom  int64
	UserTo    int64
	Asset     Text
	Amount    Decimal
	Signature Text
}

// User is a registration (wire format, section 1.3). It has no time of its own.
type User struct {
	UserID    int64
	L1Address Text
	L2Pubkey  Text
}

// Unify is one record of unifyevents. Which of the messages it is, Kind says; the
// others are left over from earlier records.
type Unify struct {
	Kind     Kind // never KindBalance
	Trade    Trade
	Order    Order
	Balance  Balance
	Transfer Transfer
	User     User
}
