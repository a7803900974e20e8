package state

import (
	"errors"
	"fmt"

	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/event"
)

// Slice is the engine's own state between two operations, as it saves it every
// hour (`balance_slice`, `order_slice`, `slice_history`). Balances that it does
// not list are zero.
type Slice struct {
	Balances                 []Balance // Known is not looked at
	Orders                   []Order
	Users                    []User // from its table account; those that are known stay
	LastOrderID, LastTradeID int64
}

// ErrOtherMoment says that a slice was not taken where the state stands.
var ErrOtherMoment = errors.New("the slice is of another moment")

// Import takes over the engine's own state, where the log does not begin with
// the exchange. The state must stand where the slice was taken, as far as ids
// tell (ErrOtherMoment), and becomes complete: from here on, everything is
// known. After an error the state is unchanged.
func (s *State) Import(slice *Slice) error {
	if s.Provisional() || s.ordersFollow && s.lastOrder != slice.LastOrderID || s.tradesFollow && s.lastTrade != slice.LastTradeID {
		return fmt.Errorf("%w: its last ids are %d and %d, the state's %d and %d (provisional: %v)", ErrOtherMoment,
			slice.LastOrderID, slice.LastTradeID, s.lastOrder, s.lastTrade, s.Provisional())
	}
	for i := range slice.Orders {
		if err := slice.Orders[i].check(); err != nil {
			return err
		}
	}
	s.begin(stepNone, 0, 0)
	s.beginOperation()
	s.forgetFrom(0)
	told := map[int32]bool{}
	for i := range slice.Balances {
		b := &slice.Balances[i]
		slot := s.slot(b.UserID, s.assets.of([]byte(b.Asset)))
		told[slot] = true
		s.adopt(slot, b.Available.Add(b.Frozen), amount.Amount{})
	}
	for i := range s.accounts {
		if a := &s.accounts[i]; !told[int32(i)] && a.flags&existing != 0 {
			s.adopt(int32(i), amount.Amount{}, amount.Amount{})
		}
	}
	for i := range slice.Orders {
		s.importOrder(&slice.Orders[i])
	}
	for i := range slice.Balances {
		b := &slice.Balances[i]
		s.adopt(s.slot(b.UserID, s.assets.of([]byte(b.Asset))), b.Available, b.Frozen)
	}
	for i := range s.accounts {
		a := &s.accounts[i]
		a.flags |= totalKnown | splitKnown
		s.accountChanged(int32(i), a)
	}
	for i := range slice.Users {
		u := slice.Users[i]
		if s.users[u.ID] == nil {
			s.users[u.ID] = &u
		}
	}
	s.lastOrder, s.lastTrade, s.ordersFollow, s.tradesFollow, s.complete = slice.LastOrderID, slice.LastTradeID, true, true, true
	s.forgetJournal()
	return nil
}

func (o *Order) check() error {
	if o.Side != event.Ask && o.Side != event.Bid || o.Type != event.Limit || o.Market == "" || o.Base == "" || o.Quote == "" {
		return fmt.Errorf("order %d of the slice: it has no side, market or assets, or is no limit order", o.ID)
	}
	return nil
}

func (s *State) importOrder(v *Order) {
	m := s.market([]byte(v.Market), []byte(v.Base), []byte(v.Quote))
	o := s.newOrder()
	o.id, o.user, o.market, o.side, o.kind, o.postOnly = v.ID, v.UserID, m, v.Side, v.Type, v.PostOnly
	o.base, o.quote = s.slot(v.UserID, s.markets[m].base), s.slot(v.UserID, s.markets[m].quote)
	o.price, o.amount, o.makerFee, o.takerFee = v.Price, v.Amount, v.MakerFee, v.TakerFee
	o.remain, o.finishedBase, o.finishedQuote, o.finishedFee = v.Remain, v.FinishedBase, v.FinishedQuote, v.FinishedFee
	o.createTime, o.updateTime = v.CreateTime, v.UpdateTime
	o.signed = len(v.Signature) == len(o.signature)
	copy(o.signature[:], v.Signature)
	s.open(o, v.Frozen)
	if o.rests() {
		s.markets[m].books[o.side].insert(o)
	}
}
