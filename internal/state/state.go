// Package state reconstructs the exchange from the records of unifyevents: who
// has what, which orders are open. It is pure: no Kafka, no SQL, no clock. A
// state is a function of the log alone, so that everybody who reads the same
// records has the same state, however often he stopped on the way.
//
// The log contradicts itself where the engine crashed, or a record was lost.
// Every such contradiction is counted under a name (Checks), survived, and
// never smoothed over.
//
// Section numbers in the comments ("wire 4.1") are those of the description of
// the engine's wire format.
package state

import (
	"math"

	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/event"
)

// State is the exchange after the records below Next. It is not safe for
// concurrent use. What it hands out is valid until it is changed.
type State struct {
	base, next int64
	time       int64 // the newest record's timestamp, ms
	complete   bool

	lastOrder, lastTrade       int64
	ordersFollow, tradesFollow bool // the next id must be the last one plus 1

	users    map[int64]*User
	assets   names
	markets  []market
	marketOf map[string]int32
	accounts []account
	slots    map[uint64]int32 // of user and asset, into accounts
	orders   openOrders
	spare    []*order // to be used again

	// The slots found last, by a hash of user and asset: most records are of one of
	// these.
	recentSlot [recentSlots]int32

	op        operation
	crossing  int64 // an order that rests although it crosses another, or 0
	journal   journal
	serial    uint64 // of what is being done, so that each thing is kept once
	questions []*question
	money     []Money // by asset
	checks    [checkCount]counter

	changed changes
}

// New is the empty exchange whose log begins at offset base. The state is
// complete only if base is 0: else the exchange had run before.
func New(base int64) *State {
	s := &State{base: base, next: base, complete: base == 0, ordersFollow: base == 0, tradesFollow: base == 0}
	s.users = map[int64]*User{}
	s.marketOf = map[string]int32{}
	s.slots = map[uint64]int32{}
	s.orders.older = map[int64]*order{}
	s.assets.index = map[string]int32{}
	return s
}

// Base is the offset at which the log began.
func (s *State) Base() int64 { return s.base }

// Next is the offset of the next record to apply.
func (s *State) Next() int64 { return s.next }

// Time is the timestamp of the newest record applied, ms since 1970; 0 before
// the first, and where the source has none.
func (s *State) Time() int64 { return s.time }

// Complete reports whether the log is known from the exchange's beginning on.
// If not, only balances that are Known can be relied on, and orders that were
// placed earlier are missing.
func (s *State) Complete() bool { return s.complete }

// Provisional reports whether the newest record may be in the middle of an
// engine's operation: an order was put and its end has not been told. Its
// trades may be missing still.
func (s *State) Provisional() bool { return s.op.put && !s.op.ended }

// LastOrderID is the engine's newest order id, 0 before the first.
func (s *State) LastOrderID() int64 { return s.lastOrder }

// LastTradeID is the engine's newest trade id, 0 before the first.
func (s *State) LastTradeID() int64 { return s.lastTrade }

// User is a registered user.
type User struct {
	ID        int64  `json:"id"`
	L1Address string `json:"l1_address"`
	L2Pubkey  string `json:"l2_pubkey"`
}

// Balance is what a user has of an asset.
type Balance struct {
	UserID            int64
	Asset             string
	Available, Frozen amount.Amount
	// Known is whether both amounts are sure: the log is complete, or the
	// engine has told them since.
	Known bool
}

// Order is an open order. A filled one is open until its FINISH.
type Order struct {
	ID, UserID                               int64
	Market, Base, Quote                      string
	Side                                     event.Side
	Type                                     event.OrderType
	PostOnly                                 event.Flag
	Price, Amount, Remain, Frozen            amount.Amount
	FinishedBase, FinishedQuote, FinishedFee amount.Amount
	MakerFee, TakerFee                       amount.Amount // rates
	CreateTime, UpdateTime                   event.Micros
	Signature                                []byte // 64 bytes; nil where there is none
}

// Money is the account of one asset: the sum of all its balances is always
// Deposits - Withdrawals - Fees + Adopted.
type Money struct {
	Asset       string
	Deposits    amount.Amount
	Withdrawals amount.Amount // positive
	Fees        amount.Amount // charged, rebates are never paid (wire 0.9)
	// Adopted is the sum of what was taken over from the engine's word against
	// the state's own reckoning, in both directions. AdoptedTimes is how often.
	Adopted      amount.Amount
	AdoptedTimes int64
}

// names gives names small numbers, in the order in which they are seen.
type names struct {
	index map[string]int32
	names []string
}

func (n *names) of(text []byte) int32 {
	if i, ok := n.index[string(text)]; ok {
		return i
	}
	if len(n.names) == math.MaxInt32 {
		panic("state: more than 2^31-1 names")
	}
	name, i := string(text), int32(len(n.names))
	n.names = append(n.names, name)
	n.index[name] = i
	return i
}
