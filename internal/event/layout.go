package event

// The engine's messages in the layout in which it writes them today (wire format,
// sections 1.3 to 1.9).

// straight begins to read a value with a cursor.
func (d *Decoder) straight(value []byte) *cursor {
	scratch := d.scratch[:0]
	if cap(scratch) > maxScratch {
		scratch = nil
	}
	d.cursor, d.err = cursor{src: value, scratch: scratch, reckons: d.reckons}, nil
	return &d.cursor
}

// finish reports whether a message ends as it should.
func (d *Decoder) finish(c *cursor, at int) bool {
	d.scratch = c.scratch
	return c.ends(at, `}`)
}

func (d *Decoder) straightTrade(value []byte, t *Trade) bool {
	c, at := d.straight(value), 0
	t.ID, at = c.integer(c.literal(at, `{"id":`))
	t.Time, at = c.time(c.key(at, `,"timestamp":`))
	t.Market, at = c.name(c.key(at, `,"market":"`))
	t.Base, at = c.name(c.key(at, `,"base":"`))
	t.Quote, at = c.name(c.key(at, `,"quote":"`))
	t.Price, at = c.decimal(c.key(at, `,"price":"`))
	t.Amount, at = c.decimal(c.key(at, `,"amount":"`))
	t.QuoteAmount, at = c.decimal(c.key(c.key(at, `,"quote_`), `amount":"`))
	t.AskUserID, at = c.user(c.key(at, `,"ask_user_id":`))
	t.AskOrderID, at = c.integer(c.key(at, `,"ask_order_id":`))
	askTakes, at := c.either(at, `,"ask_role":"MAKER"`, `,"ask_role":"TAKER"`)
	t.AskFee, at = c.decimal(c.key(at, `,"ask_fee":"`))
	t.BidUserID, at = c.user(c.key(at, `,"bid_user_id":`))
	t.BidOrderID, at = c.integer(c.key(at, `,"bid_order_id":`))
	bidTakes, at := c.either(at, `,"bid_role":"MAKER"`, `,"bid_role":"TAKER"`)
	t.BidFee, at = c.decimal(c.key(at, `,"bid_fee":"`))
	if askTakes == bidTakes {
		return false
	}
	t.TakerSide = Ask + Side(bidTakes)

	t.AskOrder, at = c.firstOf(c.key(at, `,"ask_order":`), &d.parts.ask)
	t.BidOrder, at = c.firstOf(c.key(at, `,"bid_order":`), &d.parts.bid)
	t.Before, t.After, t.Malformed = nil, nil, false
	if !c.ends(at, `}`) {
		t.Before, t.After = &d.parts.before, &d.parts.after
		at = c.tradeState(c.key(c.key(at, `,"state_`), `before":`), t.Before)
		at = c.tradeState(c.key(at, `,"state_after":`), t.After)
	}
	return d.finish(c, at)
}

// firstOf takes an order as it was before its first trade, or that there is none.
func (c *cursor) firstOf(at int, o *Order) (*Order, int) {
	if c.is(at, `null`) {
		return nil, at + len(`null`)
	}
	return o, c.literal(c.order(at, o, false), `}`)
}

func (c *cursor) tradeState(at int, s *TradeState) int {
	at = c.key(c.key(at, `{"order_`), `states":[`)
	at = c.orderState(c.key(at, `{"user_id":`), &s.Orders[0])
	at = c.orderState(c.key(at, `},{"user_id":`), &s.Orders[1])
	at = c.key(c.key(at, `}],"balance`), `_states":[`)
	at = c.balanceState(c.key(at, `{"user_id":`), &s.Balances[0])
	for i := range s.Balances[1:] {
		at = c.balanceState(c.key(at, `},{"user_id":`), &s.Balances[1+i])
	}
	return c.literal(at, `}]}`)
}

func (c *cursor) orderState(at int, o *OrderState) int {
	o.UserID, at = c.user(at)
	o.ID, at = c.integer(c.key(at, `,"order_id":`))
	side, at := c.either(at, `,"order_side":"ASK"`, `,"order_side":"BID"`)
	o.Side = Ask + Side(side)
	o.FinishedBase, at = c.decimal(c.key(c.key(at, `,"finished`), `_base":"`))
	o.FinishedQuote, at = c.decimal(c.key(c.key(at, `,"finished`), `_quote":"`))
	o.FinishedFee, at = c.decimal(c.key(c.key(at, `,"finishe`), `d_fee":"`))
	return at
}

func (c *cursor) balanceState(at int, b *BalanceState) int {
	b.UserID, at = c.user(at)
	b.Asset, at = c.name(c.key(at, `,"asset":"`))
	b.Balance, at = c.decimal(c.key(at, `,"balance":"`))
	return at
}

func (d *Decoder) straightOrder(value []byte, o *Order) bool {
	c, at := d.straight(value), 0
	at = c.key(at, `{"event":"`)
	var action Action
	switch {
	case c.is(at, `PUT"`):
		action, at = Put, at+len(`PUT"`)
	case c.is(at, `UPDATE"`):
		action, at = Update, at+len(`UPDATE"`)
	case c.is(at, `FINISH"`):
		action, at = Finish, at+len(`FINISH"`)
	default:
		return false
	}
	at = c.order(c.key(at, `,"order":`), o, true)
	o.Action = action
	// The message's own assets are the order's once more.
	_, at = c.name(c.key(at, `},"base":"`))
	_, at = c.name(c.key(at, `,"quote":"`))
	return d.finish(c, at)
}

// order takes an order but for its brace. Signatures are long and only stored of an
// event's own order.
func (c *cursor) order(at int, o *Order, signed bool) int {
	o.Action = NoAction
	o.ID, at = c.integer(c.literal(at, `{"id":`))
	o.Base, at = c.name(c.key(at, `,"base":"`))
	o.Quote, at = c.name(c.key(at, `,"quote":"`))
	o.Market, at = c.name(c.key(at, `,"market":"`))
	kind, at := c.either(at, `,"type":"LIMIT"`, `,"type":"MARKET"`)
	side, at := c.either(at, `,"side":"ASK"`, `,"side":"BID"`)
	o.Type, o.Side = Limit+OrderType(kind), Ask+Side(side)
	o.UserID, at = c.user(c.key(at, `,"user":`))
	only, at := c.either(at, `,"post_only":false`, `,"post_only":true`)
	o.PostOnly = False + Flag(only)
	at = c.key(at, `,"signature":"`)
	if signed {
		o.Signature, at = c.signature(at)
	} else if o.Signature = nil; c.is(at, noSignature+`"`) {
		at += len(noSignature) + 1
	} else {
		_, at = c.text(at)
	}
	o.Price, at = c.decimal(c.key(at, `,"price":"`))
	o.Amount, at = c.decimal(c.key(at, `,"amount":"`))
	o.MakerFee, at = c.decimal(c.key(at, `,"maker_fee":"`))
	o.TakerFee, at = c.decimal(c.key(at, `,"taker_fee":"`))
	o.CreateTime, at = c.time(c.key(at, `,"create_time":`))
	o.Remain, at = c.decimal(c.key(at, `,"remain":"`))
	o.Frozen, at = c.decimal(c.key(at, `,"frozen":"`))
	o.FinishedBase, at = c.decimal(c.key(c.key(at, `,"finished`), `_base":"`))
	o.FinishedQuote, at = c.decimal(c.key(c.key(at, `,"finished`), `_quote":"`))
	o.FinishedFee, at = c.decimal(c.key(c.key(at, `,"finishe`), `d_fee":"`))
	o.UpdateTime, at = c.time(c.key(at, `,"update_time":`))
	return at
}

func (d *Decoder) straightBalance(value []byte, b *Balance) bool {
	c, at := d.straight(value), 0
	b.Time, at = c.time(c.key(at, `{"timestamp":`))
	b.UserID, at = c.user(c.key(at, `,"user_id":`))
	b.BusinessID, at = c.number(c.key(at, `,"business_id":`))
	b.Asset, at = c.name(c.key(at, `,"asset":"`))
	b.Business, at = c.text(c.key(at, `,"business":"`))
	b.MarketPrice, at = c.decimal(c.key(c.key(at, `,"market_`), `price":"`))
	at = c.movement(at, b)
	b.Signature, at = c.text(c.key(at, `,"signature":"`))
	return d.finish(c, at)
}

func (d *Decoder) straightDeposit(value []byte, b *Balance, signed bool) bool {
	c, at := d.straight(value), 0
	b.Time, at = c.time(c.key(at, `{"timestamp":`))
	b.UserID, at = c.user(c.key(at, `,"user_id":`))
	b.Asset, at = c.name(c.key(at, `,"asset":"`))
	b.Business, at = c.text(c.key(at, `,"business":"`))
	b.MarketPrice = Decimal{}
	at = c.movement(at, b)
	b.Signature = nil
	if signed {
		b.Signature, at = c.text(c.key(at, `,"signature":"`))
	}
	return d.finish(c, at)
}

// movement takes what balances, deposits and withdrawals share.
func (c *cursor) movement(at int, b *Balance) int {
	b.Change, at = c.decimal(c.key(at, `,"change":"`))
	b.Balance, at = c.decimal(c.key(at, `,"balance":"`))
	b.Available, at = c.decimal(c.key(c.key(at, `,"balance_`), `available":"`))
	b.Frozen, at = c.decimal(c.key(c.key(at, `,"balance`), `_frozen":"`))
	b.Detail, at = c.anyText(c.key(at, `,"detail":"`)) // mostly longer than the other way's window
	return at
}

func (d *Decoder) straightTransfer(value []byte, t *Transfer) bool {
	c, at := d.straight(value), 0
	t.Time, at = c.time(c.key(at, `{"time":`))
	t.UserFrom, at = c.user(c.key(at, `,"user_from":`))
	t.UserTo, at = c.user(c.key(at, `,"user_to":`))
	t.Asset, at = c.name(c.key(at, `,"asset":"`))
	t.Amount, at = c.decimal(c.key(at, `,"amount":"`))
	t.Signature, at = c.text(c.key(at, `,"signature":"`))
	return d.finish(c, at)
}

func (d *Decoder) straightUser(value []byte, u *User) bool {
	c, at := d.straight(value), 0
	u.UserID, at = c.user(c.key(at, `{"user_id":`))
	u.L1Address, at = c.text(c.key(at, `,"l1_address":"`))
	u.L2Pubkey, at = c.text(c.key(at, `,"l2_pubkey":"`))
	return d.finish(c, at)
}
