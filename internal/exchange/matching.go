package exchange

const (
	eventPut    = "PUT"
	eventUpdate = "UPDATE"
	eventFinish = "FINISH"
)

// put executes a new order. Where the engine refuses it, nothing is put out and
// no id is used. quoteLimit bounds what a market bid may spend; 0 means what the
// user has.
//
// The messages are PUT, the trades with the UPDATE of a maker that remains, then
// FINISH of every filled maker and at last of the taker, unless it goes to the
// book: that, with its freeze, is silent (wire 3).
func (e *engine) put(o order, quoteLimit decimal) {
	if !e.accepts(&o) {
		return
	}
	e.lastOrder++
	o.id = e.lastOrder
	o.created = e.read()
	o.updated, o.remain = o.created, o.amount
	o.setHead()
	taker := &o
	e.out.order(eventPut, taker)

	if funds := e.accounts.of(o.user, o.market.quote).available; quoteLimit.isZero() || funds.less(quoteLimit) {
		quoteLimit = funds
	}
	filled, cancelled := e.match(taker, quoteLimit)
	if e.panicked {
		return
	}
	for _, maker := range filled {
		e.out.order(eventFinish, maker)
	}
	if o.isMarket || cancelled || taker.remain.isZero() {
		e.out.order(eventFinish, taker)
		return
	}
	taker.frozen = taker.remain
	if taker.side == bid {
		taker.frozen = taker.remain.times(taker.price)
	}
	e.accounts.freeze(taker.user, taker.holds(), taker.frozen)
	e.trading[o.market.index].sides[o.side].insert(taker)
}

// accepts is the engine's check of funds, and of a market order's having
// anything to meet.
func (e *engine) accepts(o *order) bool {
	funds := e.accounts.of(o.user, o.holds()).available
	switch {
	case o.isMarket && e.trading[o.market.index].sides[1-o.side].best() == nil:
		return false
	case o.side == ask:
		return !funds.less(o.amount)
	case o.isMarket:
		return !funds.isZero()
	}
	return !funds.less(o.amount.times(o.price))
}

// match lets a taker meet the book. It returns the makers that it filled, in
// order, and whether the rest of the taker is cancelled: it must not take
// (post_only), or it met its own user.
func (e *engine) match(taker *order, quoteLimit decimal) (filled []*order, cancelled bool) {
	m := taker.market
	makers := &e.trading[m.index].sides[1-taker.side]
	for !taker.remain.isZero() {
		maker := makers.best()
		if maker == nil || !taker.crosses(maker) {
			break
		}
		if taker.postOnly || (maker.user == taker.user && !e.selfTrade) {
			return filled, true
		}
		amount := taker.remain
		if maker.remain.less(amount) {
			amount = maker.remain
		}
		quote, exhausted := amount.times(maker.price), false
		if taker.isMarket && taker.side == bid {
			left := quoteLimit.minus(taker.finishedQuote)
			if left.less(quote) {
				exhausted = true
				amount = left.quotient(maker.price, m.amountPrec)
				if amount.isZero() {
					break
				}
				quote = amount.times(maker.price)
			}
		}
		e.trade(taker, maker, amount, quote)
		if e.panicked {
			return nil, false
		}
		if maker.remain.isZero() {
			makers.remove(maker)
			filled = append(filled, maker)
		} else {
			e.out.order(eventUpdate, maker)
		}
		if exhausted {
			break
		}
	}
	return filled, false
}

func (o *order) crosses(maker *order) bool {
	if o.isMarket {
		return true
	}
	c := o.price.compare(maker.price)
	return c == 0 || (c > 0) == (o.side == bid)
}

// trade books one trade and puts out its balance changes and itself.
func (e *engine) trade(taker, maker *order, amount, quote decimal) {
	m := taker.market
	askOrder, bidOrder := taker, maker
	askRate, bidRate := taker.takerFee, maker.makerFee
	if taker.side == bid {
		askOrder, bidOrder = maker, taker
		askRate, bidRate = maker.makerFee, taker.takerFee
	}
	e.lastTrade++
	t := &e.scratch
	t.id, t.market, t.takerSide = e.lastTrade, m, taker.side
	t.price, t.amount, t.quote, t.ask, t.bid = maker.price, amount, quote, askOrder, bidOrder
	t.askFee = quote.times(askRate).truncated(e.assets[m.quote].savePrec)
	t.bidFee = amount.times(bidRate).truncated(e.assets[m.base].savePrec)
	t.askBooks = [2]*balance{e.accounts.of(askOrder.user, m.base), e.accounts.of(askOrder.user, m.quote)}
	t.bidBooks = [2]*balance{e.accounts.of(bidOrder.user, m.base), e.accounts.of(bidOrder.user, m.quote)}

	now := e.read()
	taker.updated, maker.updated = now, now
	t.rememberBefore()
	if !e.book(t, now) {
		e.panicked = true
		return
	}
	if maker.side == ask {
		maker.frozen = maker.frozen.minus(amount)
	} else {
		maker.frozen = maker.frozen.minus(quote)
	}
	askOrder.fill(amount, quote, t.askFee)
	bidOrder.fill(amount, quote, t.bidFee)
	t.micros = e.read()
	e.out.trade(t)
	e.trading[m.index].lastPrice = t.price
}

func (o *order) fill(amount, quote, fee decimal) {
	o.remain = o.remain.minus(amount)
	o.finishedBase = o.finishedBase.plus(amount)
	o.finishedQuote = o.finishedQuote.plus(quote)
	o.finishedFee = o.finishedFee.plus(fee)
}

// book makes a trade's four balance changes, in the engine's order. Between a
// user and himself it is false: the engine identifies a change by user, asset,
// trade and kind of balance, and panics at the second change that looks like the
// first. A maker pays from what is frozen and receives what is available, so
// which change that is depends on who takes (wire 3).
func (e *engine) book(t *trade, now int64) bool {
	m := t.market
	received := t.amount.minus(t.bidFee.positive())
	earned := t.quote.minus(t.askFee.positive())
	own := t.ask.user == t.bid.user
	askTakes := t.takerSide == ask

	e.tradeLeg(t, now, t.bid.user, m.base, received, false)
	if own && askTakes {
		return false
	}
	e.tradeLeg(t, now, t.ask.user, m.base, t.amount.negated(), !askTakes)
	e.tradeLeg(t, now, t.ask.user, m.quote, earned, false)
	if own {
		return false
	}
	e.tradeLeg(t, now, t.bid.user, m.quote, t.quote.negated(), askTakes)
	return true
}

func (e *engine) tradeLeg(t *trade, now int64, user uint32, asset int, amount decimal, fromFrozen bool) {
	if amount.isZero() {
		return // a zero change is not told (wire 1.4)
	}
	book := e.accounts.addAvailable
	if fromFrozen {
		book = e.accounts.addFrozen
	}
	after := book(user, asset, amount)
	e.out.balance(&change{micros: now, user: user, businessID: t.id, asset: e.assets[asset].name, business: "trade",
		marketPrice: e.trading[t.market.index].lastPrice, amount: amount, after: *after, detail: idDetail(t.id)})
}
