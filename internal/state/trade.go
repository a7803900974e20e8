package state

import (
	"strconv"

	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/event"
)

// match is a trade with its texts read and its orders found. Index 0 is the ask,
// 1 the bid.
type match struct {
	t                    *event.Trade
	market               int32
	price, amount, quote amount.Amount
	fees                 [2]amount.Amount
	ids, users           [2]int64
	orders               [2]*order
	told                 [2]*event.Order
	taker                int
	slots                [4]int32 // ask's base, ask's quote, bid's base, bid's quote
	old                  bool     // of the time before 2021-06
}

// trade applies one match of two orders (wire 4.1).
func (s *State) trade(t *event.Trade) {
	if t.Base == nil || t.Quote == nil || t.AskUserID < 0 || t.BidUserID < 0 || t.TakerSide == event.NoSide {
		s.cannotRead("shape", "the engine's trade", "another one")
		return
	}
	mark := markOf(int64(t.Time), t.AskOrderID, t.BidOrderID)
	if t.ID <= s.lastTrade && s.isRepeated(stepTrade, t.ID, mark) {
		return
	}
	s.begin(stepTrade, t.ID, mark)
	m := match{t: t, old: t.Before != nil && t.Before.Orders[0].ID == event.NoID,
		price: t.Price.Amount(), amount: t.Amount.Amount(), quote: t.QuoteAmount.Amount(),
		fees: [2]amount.Amount{t.AskFee.Amount(), t.BidFee.Amount()},
		ids:  [2]int64{t.AskOrderID, t.BidOrderID}, users: [2]int64{t.AskUserID, t.BidUserID}, told: [2]*event.Order{t.AskOrder, t.BidOrder}}
	if t.TakerSide == event.Bid {
		m.taker = 1
	}
	m.market = s.marketOfTrade(t)
	s.findOrders(&m)
	if t.Malformed && s.fail(malformedTrade) {
		s.example(malformedTrade, "trade "+strconv.FormatInt(t.ID, 10), "orders and states that can be read", "others")
	}
	s.checkTrade(&m)
	if t.Before != nil {
		s.compare(&m, t.Before, tradeOrdersBefore, tradeBalancesBefore)
	}
	s.lastTrade, s.tradesFollow = t.ID, true
	s.op.lastMaker = m.ids[1-m.taker]
	s.pay(&m)
	s.fill(&m)
	if t.After != nil {
		s.compare(&m, t.After, tradeOrdersAfter, tradeBalancesAfter)
	}
}

// marketOfTrade finds the market, mostly by one of the orders.
func (s *State) marketOfTrade(t *event.Trade) int32 {
	if o := s.orders.find(t.BidOrderID); o != nil && s.markets[o.market].name == string(t.Market) {
		return o.market
	}
	return s.market(t.Market, t.Base, t.Quote)
}

// findOrders finds a trade's orders and accounts, and sees to which operation
// it belongs.
func (s *State) findOrders(m *match) {
	taker := m.ids[m.taker]
	if !s.op.put || s.op.ended || s.op.taker != taker {
		s.beginOperation()
		s.op.put, s.op.taker = true, taker
	}
	for i := range m.orders {
		o := s.known(m.ids[i], m.users[i])
		if o != nil && (o.market != m.market || o.side != event.Ask+event.Side(i)) {
			o = nil
		}
		if o == nil {
			o = s.notKnown(m, i)
		}
		if m.orders[i] = o; o != nil {
			m.slots[2*i], m.slots[2*i+1] = o.base, o.quote
			continue
		}
		assets := &s.markets[m.market]
		m.slots[2*i], m.slots[2*i+1] = s.slot(m.users[i], assets.base), s.slot(m.users[i], assets.quote)
	}
}

// notKnown deals with a trade of an order that is not open: a taker of the time
// when PUT came later, or one whose PUT is missing. Of the latter the trade
// tells everything if it is its first.
func (s *State) notKnown(m *match, i int) *order {
	id := m.ids[i]
	if i == m.taker && (s.op.early || m.told[i] == nil && id > s.lastOrder && (m.old || m.t.Before == nil)) {
		s.op.early = true
		s.lastOrder, s.ordersFollow = max(s.lastOrder, id), true
		return nil
	}
	e := m.told[i]
	if e == nil || e.ID != id || e.UserID != m.users[i] || e.Base == nil || e.Quote == nil || string(e.Market) != string(m.t.Market) {
		s.unknown(id, "trade "+strconv.FormatInt(m.t.ID, 10))
		return nil
	}
	frozen := e.Frozen.Amount()
	if i == m.taker && e.Type == event.Limit {
		frozen = e.Remain.Amount()
		if e.Side == event.Bid {
			frozen = frozen.Mul(e.Price.Amount())
		}
	}
	return s.fromWord(e, frozen)
}

// checkTrade runs the checks of a trade that concern more than its states.
func (s *State) checkTrade(m *match) {
	t := m.t
	if s.tradesFollow {
		s.expect(tradeID, t.ID == s.lastTrade+1, t.ID, "id", s.lastTrade+1, t.ID)
	}
	s.equalInTrade(tradeQuoteAmount, "quote_amount", t.ID, m.price.Mul(m.amount), m.quote)
	taker, maker := m.ids[m.taker], m.ids[1-m.taker]
	s.expect(tradeTakerYounger, taker > maker, t.ID, "taker", maker+1, taker)
	if s.ordersFollow {
		s.expect(tradeTakerLastPut, taker == s.lastOrder, t.ID, "taker", s.lastOrder, taker)
	}
	if o := m.orders[1-m.taker]; o != nil {
		s.checkBest(m, o)
	}
	if m.old {
		return
	}
	for i, o := range m.orders {
		if o == nil {
			continue
		}
		told := m.told[i]
		if fresh := o.finishedBase.IsZero(); fresh == (told != nil) {
			s.pass(tradeOrderPresent)
		} else if !t.Malformed && s.hides(m, i) && s.fail(tradeOrderPresent) {
			s.example(tradeOrderPresent, s.nameOrder(o.id), strconv.FormatBool(fresh), strconv.FormatBool(told != nil))
		}
		if told != nil {
			s.checkTold(o, told, i == m.taker)
		}
	}
}

// hides reports whether a trade does not tell of an order although it is its first.
// Where it is not by the engine's own word, that is what differs. An engine that was
// built without it tells of no order at all.
func (s *State) hides(m *match, i int) bool {
	tells := s.checks[tradeOrder].passed+s.checks[tradeOrder].failed > 0 || m.told[1-i] != nil
	return m.told[i] == nil && tells && (m.t.Before == nil || m.t.Before.Orders[i].FinishedBase.Is(&nothing))
}

// expect counts a check of ids.
func (s *State) expect(c check, ok bool, trade int64, what string, expected, found int64) {
	if ok {
		s.pass(c)
	} else if s.fail(c) {
		s.example(c, what+" of trade "+strconv.FormatInt(trade, 10), strconv.FormatInt(expected, 10), strconv.FormatInt(found, 10))
	}
}

func (s *State) equalInTrade(c check, what string, trade int64, expected, found amount.Amount) {
	if expected.Equal(found) {
		s.pass(c)
	} else if s.fail(c) {
		s.example(c, what+" of trade "+strconv.FormatInt(trade, 10), expected.String(), found.String())
	}
}

// checkBest sees that no other order had to be matched before the maker. One
// that had cannot be in the engine's book any more.
func (s *State) checkBest(m *match, maker *order) {
	k := &s.markets[m.market].books[maker.side]
	// Early engines matched the newest of equal bids first (wire 1.10).
	isBest := func(best *order) bool {
		return best == maker || m.old && maker.inBook && maker.side == event.Bid && best.price.Equal(maker.price)
	}
	best := k.best()
	if isBest(best) {
		s.pass(tradeMakerBest)
		return
	}
	found := s.nameOrder(maker.id)
	if !maker.inBook {
		if s.fail(tradeMakerBest) {
			expected := "none"
			if best != nil {
				expected = s.nameOrder(best.id)
			}
			s.example(tradeMakerBest, "maker of trade "+strconv.FormatInt(m.t.ID, 10), expected, found)
		}
		return
	}
	s.doubtPassedOver(k, maker)
	for best := k.best(); !isBest(best); best = k.best() {
		s.vanish(best, found+" was matched before it")
	}
}

// checkTold compares an order with what its first trade tells of it. The engine
// freezes a taker's rest only when it rests.
func (s *State) checkTold(o *order, e *event.Order, takes bool) {
	frozen := e.Frozen.Is(&o.frozen)
	if takes {
		frozen = e.Frozen.Is(&nothing)
	}
	if s.told(o, "user", e.UserID == o.user) && s.told(o, "side", e.Side == o.side) && s.told(o, "type", e.Type == o.kind) &&
		s.told(o, "price", e.Price.Is(&o.price)) && s.told(o, "amount", e.Amount.Is(&o.amount)) &&
		s.told(o, "remain", e.Remain.Is(&o.remain)) && s.told(o, "frozen", frozen) &&
		s.told(o, "finished_base", e.FinishedBase.Is(&o.finishedBase)) && s.told(o, "finished_quote", e.FinishedQuote.Is(&o.finishedQuote)) &&
		s.told(o, "finished_fee", e.FinishedFee.Is(&o.finishedFee)) {
		return
	}
	told := toldProgress(e)
	if takes {
		told.frozen = o.hold(told.remain)
	}
	s.believe(o, &told)
}

// told counts the comparison of a field of an order.
func (s *State) told(o *order, what string, ok bool) bool {
	if ok {
		s.pass(tradeOrder)
		return true
	}
	return s.toldOtherwise(o, what)
}

func (s *State) toldOtherwise(o *order, what string) bool {
	if s.fail(tradeOrder) {
		s.example(tradeOrder, what+" of "+s.nameOrder(o.id), "as it is open", "otherwise in its first trade")
	}
	return false
}

// compare checks what a trade tells of the orders and balances around it.
func (s *State) compare(m *match, told *event.TradeState, orders, balances check) {
	for i, o := range m.orders {
		if o == nil {
			continue
		}
		e := &told.Orders[i]
		if e.ID != event.NoID && (e.ID != o.id || e.UserID != o.user || e.Side != o.side) {
			s.expect(orders, false, m.t.ID, "order", o.id, e.ID)
			continue
		}
		if !s.saysIn(orders, "finished_base", o.id, &o.finishedBase, &e.FinishedBase) ||
			!s.saysIn(orders, "finished_quote", o.id, &o.finishedQuote, &e.FinishedQuote) ||
			e.FinishedFee.Text != nil && !s.saysIn(orders, "finished_fee", o.id, &o.finishedFee, &e.FinishedFee) {
			told := progress{finishedBase: e.FinishedBase.Amount(), finishedQuote: e.FinishedQuote.Amount(), finishedFee: o.finishedFee, updateTime: o.updateTime}
			if e.FinishedFee.Text != nil {
				told.finishedFee = e.FinishedFee.Amount()
			}
			told.remain = o.amount.Sub(told.finishedBase)
			told.frozen = o.hold(told.remain)
			s.believe(o, &told)
		}
	}
	for i, slot := range m.slots {
		b := &told.Balances[i]
		a := &s.accounts[slot]
		if b.UserID != a.user || string(b.Asset) != s.assets.names[a.asset] {
			s.expect(balances, false, m.t.ID, "balance's user", a.user, b.UserID)
			continue
		}
		if a.doubted || a.flags&totalKnown == 0 || !b.Balance.Is(&a.total) {
			s.toldTotal(slot, b.Balance.Amount(), balances)
			continue
		}
		s.pass(balances)
	}
}

// pay moves the money of a trade.
func (s *State) pay(m *match) {
	for i, o := range m.orders {
		if o == nil {
			if i != m.taker { // makers are always limit orders, and the price is theirs
				s.release(m.slots[3*i], [2]amount.Amount{m.amount, m.quote}[i])
			}
			continue
		}
		s.update(o)
		if o.kind == event.Limit {
			part := o.hold(m.amount)
			s.unhold(o, &part)
		}
	}
	assets := &s.markets[m.market]
	gets := [2]amount.Amount{m.quote, m.amount}
	for i, asset := range [2]int32{assets.quote, assets.base} {
		if fee := &m.fees[i]; fee.Sign() > 0 { // a rebate is never paid (wire 0.9)
			gets[i].Minus(fee)
			s.keepMoney(asset).Fees.Plus(fee)
		}
	}
	s.sub(m.slots[0], &m.amount)
	s.add(m.slots[1], &gets[0])
	s.add(m.slots[2], &gets[1])
	s.sub(m.slots[3], &m.quote)
}

// fill notes in both orders how far they have come.
func (s *State) fill(m *match) {
	for i, o := range m.orders {
		if o == nil {
			continue
		}
		o.remain.Minus(&m.amount)
		o.finishedBase.Plus(&m.amount)
		o.finishedQuote.Plus(&m.quote)
		o.finishedFee.Plus(&m.fees[i])
		o.updateTime = m.t.Time
		if m.told[i] != nil {
			o.updateTime = m.told[i].UpdateTime
		}
		if o.inBook && o.remain.Sign() <= 0 {
			s.markets[m.market].books[o.side].remove(o)
			s.op.filled = append(s.op.filled, o.id)
		}
	}
}
