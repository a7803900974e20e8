package event

// The engine's messages in the layout in which it writes them today (wire format,
// sections 1.3 to 1.9).

// straight begins to read a value with a cursor.
func (d *Decoder) straight(value []byte) *cursor {
	scratch := d.scratch[:0]
	if cap(scratch) > maxScratch {
		scratch = nil
	}
	d.cursor, d.err = cursor{src: value, scratch: scratch}, nil
	return &d.cursor
}

// finish reports whether the cursor came through to the end.
func (d *Decoder) finish(c *cursor) bool {
	d.scratch = c.scratch
	return c.done()
}

func (d *Decoder) straightTrade(value []byte, t *Trade) bool {
	c := d.straight(value)
	t.ID = c.integer(`{"id":`)
	t.Time = c.time(`,"timestamp":`)
	t.Market = c.name(`,"market":"`)
	t.Base = c.name(`,"base":"`)
	t.Quote = c.name(`,"quote":"`)
	t.Price = c.decimal(`,"price":"`)
	t.Amount = c.decimal(`,"amount":"`)
	t.QuoteAmount = c.decimal(`,"quote_amount":"`)
	t.AskUserID = c.user(`,"ask_user_id":`)
	t.AskOrderID = c.integer(`,"ask_order_id":`)
	askTakes := c.either(`,"ask_role":"MAKER"`, `,"ask_role":"TAKER"`)
	t.AskFee = c.decimal(`,"ask_fee":"`)
	t.BidUserID = c.user(`,"bid_user_id":`)
	t.BidOrderID = c.integer(`,"bid_order_id":`)
	bidTakes := c.either(`,"bid_role":"MAKER"`, `,"bid_role":"TAKER"`)
	t.BidFee = c.decimal(`,"bid_fee":"`)
	if askTakes == bidTakes {
		return false
	}
	t.TakerSide = Ask + Side(bidTakes)

	t.AskOrder, t.BidOrder = nil, nil
	if c.literal(`,"ask_order":`); !c.next(`null`) {
		t.AskOrder = &d.parts.ask
		c.order(t.AskOrder, false)
	}
	if c.literal(`,"bid_order":`); !c.next(`null`) {
		t.BidOrder = &d.parts.bid
		c.order(t.BidOrder, false)
	}
	t.Before, t.After, t.Malformed = nil, nil, false
	if c.next(`,"state_before":`) {
		t.Before, t.After = &d.parts.before, &d.parts.after
		c.tradeState(t.Before)
		c.literal(`,"state_after":`)
		c.tradeState(t.After)
	}
	c.literal(`}`)
	return d.finish(c)
}

func (c *cursor) tradeState(s *TradeState) {
	c.literal(`{"order_states":[`)
	for i := range s.Orders {
		o := &s.Orders[i]
		if i > 0 {
			c.literal(`,`)
		}
		o.UserID = c.user(`{"user_id":`)
		o.ID = c.integer(`,"order_id":`)
		o.Side = Ask + Side(c.either(`,"order_side":"ASK"`, `,"order_side":"BID"`))
		o.FinishedBase = c.decimal(`,"finished_base":"`)
		o.FinishedQuote = c.decimal(`,"finished_quote":"`)
		o.FinishedFee = c.decimal(`,"finished_fee":"`)
		c.literal(`}`)
	}
	c.literal(`],"balance_states":[`)
	for i := range s.Balances {
		b := &s.Balances[i]
		if i > 0 {
			c.literal(`,`)
		}
		b.UserID = c.user(`{"user_id":`)
		b.Asset = c.name(`,"asset":"`)
		b.Balance = c.decimal(`,"balance":"`)
		c.literal(`}`)
	}
	c.literal(`]}`)
}

func (d *Decoder) straightOrder(value []byte, o *Order) bool {
	c := d.straight(value)
	var action Action
	switch {
	case c.next(`{"event":"PUT","order":`):
		action = Put
	case c.next(`{"event":"UPDATE","order":`):
		action = Update
	case c.next(`{"event":"FINISH","order":`):
		action = Finish
	default:
		return false
	}
	c.order(o, true)
	o.Action = action
	// The message's own assets are the order's once more.
	c.name(`,"base":"`)
	c.name(`,"quote":"`)
	c.literal(`}`)
	return d.finish(c)
}

// order takes an order. Signatures are long and only stored of an event's own
// order.
func (c *cursor) order(o *Order, signed bool) {
	o.Action = NoAction
	o.ID = c.integer(`{"id":`)
	o.Base = c.name(`,"base":"`)
	o.Quote = c.name(`,"quote":"`)
	o.Market = c.name(`,"market":"`)
	o.Type = Limit + OrderType(c.either(`,"type":"LIMIT"`, `,"type":"MARKET"`))
	o.Side = Ask + Side(c.either(`,"side":"ASK"`, `,"side":"BID"`))
	o.UserID = c.user(`,"user":`)
	o.PostOnly = False + Flag(c.either(`,"post_only":false`, `,"post_only":true`))
	if signed {
		o.Signature = c.signature(`,"signature":"`)
	} else {
		if o.Signature = nil; !c.next(`,"signature":"` + noSignature + `"`) {
			c.text(`,"signature":"`)
		}
	}
	o.Price = c.decimal(`,"price":"`)
	o.Amount = c.decimal(`,"amount":"`)
	o.MakerFee = c.decimal(`,"maker_fee":"`)
	o.TakerFee = c.decimal(`,"taker_fee":"`)
	o.CreateTime = c.time(`,"create_time":`)
	o.Remain = c.decimal(`,"remain":"`)
	o.Frozen = c.decimal(`,"frozen":"`)
	o.FinishedBase = c.decimal(`,"finished_base":"`)
	o.FinishedQuote = c.decimal(`,"finished_quote":"`)
	o.FinishedFee = c.decimal(`,"finished_fee":"`)
	o.UpdateTime = c.time(`,"update_time":`)
	c.literal(`}`)
}

func (d *Decoder) straightBalance(value []byte, b *Balance) bool {
	c := d.straight(value)
	b.Time = c.time(`{"timestamp":`)
	b.UserID = c.user(`,"user_id":`)
	b.BusinessID = c.number(`,"business_id":`)
	b.Asset = c.name(`,"asset":"`)
	b.Business = c.text(`,"business":"`)
	b.MarketPrice = c.decimal(`,"market_price":"`)
	c.movement(b)
	b.Signature = c.text(`,"signature":"`)
	c.literal(`}`)
	return d.finish(c)
}

func (d *Decoder) straightDeposit(value []byte, b *Balance, signed bool) bool {
	c := d.straight(value)
	b.Time = c.time(`{"timestamp":`)
	b.UserID = c.user(`,"user_id":`)
	b.Asset = c.name(`,"asset":"`)
	b.Business = c.text(`,"business":"`)
	b.MarketPrice = nil
	c.movement(b)
	b.Signature = nil
	if signed {
		b.Signature = c.text(`,"signature":"`)
	}
	c.literal(`}`)
	return d.finish(c)
}

// movement takes what balances, deposits and withdrawals share.
func (c *cursor) movement(b *Balance) {
	b.Change = c.decimal(`,"change":"`)
	b.Balance = c.decimal(`,"balance":"`)
	b.Available = c.decimal(`,"balance_available":"`)
	b.Frozen = c.decimal(`,"balance_frozen":"`)
	b.Detail = c.detail(`,"detail":"`)
}

func (d *Decoder) straightTransfer(value []byte, t *Transfer) bool {
	c := d.straight(value)
	t.Time = c.time(`{"time":`)
	t.UserFrom = c.user(`,"user_from":`)
	t.UserTo = c.user(`,"user_to":`)
	t.Asset = c.name(`,"asset":"`)
	t.Amount = c.decimal(`,"amount":"`)
	t.Signature = c.text(`,"signature":"`)
	c.literal(`}`)
	return d.finish(c)
}

func (d *Decoder) straightUser(value []byte, u *User) bool {
	c := d.straight(value)
	u.UserID = c.user(`{"user_id":`)
	u.L1Address = c.text(`,"l1_address":"`)
	u.L2Pubkey = c.text(`,"l2_pubkey":"`)
	c.literal(`}`)
	return d.finish(c)
}
