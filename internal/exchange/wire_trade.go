package exchange

// trade is a trade on its way to the log. The encoding needs the orders and
// balances twice, so it is written in two halves around the booking.
type trade struct {
	id                 uint64
	market             *market
	micros             int64
	price, amount      decimal
	quote              decimal
	ask, bid           *order
	askFee, bidFee     decimal
	takerSide          side
	askBefore          []byte // the order's JSON, empty unless this is its first trade
	bidBefore          []byte
	before             []byte // the JSON of state_before
	askBooks, bidBooks [2]*balance
}

// rememberBefore keeps what the record tells of the time before the trade. An
// order is shown in full only at its first trade (wire 1.9).
func (t *trade) rememberBefore() {
	t.askBefore, t.bidBefore = t.askBefore[:0], t.bidBefore[:0]
	if t.ask.finishedBase.isZero() {
		t.askBefore = t.ask.appendTo(t.askBefore)
	}
	if t.bid.finishedBase.isZero() {
		t.bidBefore = t.bid.appendTo(t.bidBefore)
	}
	t.before = t.appendState(t.before[:0])
}

func (t *trade) appendState(b []byte) []byte {
	b = append(b, `{"order_states":[`...)
	b = appendOrderState(b, t.ask)
	b = append(b, ',')
	b = appendOrderState(b, t.bid)
	b = append(b, `],"balance_states":[`...)
	b = appendBalanceState(b, t.ask.user, t.market.baseName, t.askBooks[0])
	b = append(b, ',')
	b = appendBalanceState(b, t.ask.user, t.market.quoteName, t.askBooks[1])
	b = append(b, ',')
	b = appendBalanceState(b, t.bid.user, t.market.baseName, t.bidBooks[0])
	b = append(b, ',')
	b = appendBalanceState(b, t.bid.user, t.market.quoteName, t.bidBooks[1])
	return append(b, `]}`...)
}

func appendOrderState(b []byte, o *order) []byte {
	b = numberField(b, `{"user_id":`, uint64(o.user))
	b = numberField(b, `,"order_id":`, o.id)
	b = textField(b, `,"order_side":`, o.side.String())
	b = field(b, `,"finished_base":`, o.finishedBase)
	b = field(b, `,"finished_quote":`, o.finishedQuote)
	b = field(b, `,"finished_fee":`, o.finishedFee)
	return append(b, '}')
}

func appendBalanceState(b []byte, user uint32, asset string, books *balance) []byte {
	b = numberField(b, `{"user_id":`, uint64(user))
	b = textField(b, `,"asset":`, asset)
	b = field(b, `,"balance":`, books.total())
	return append(b, '}')
}

func (r *recorder) trade(t *trade) {
	askRole, bidRole := roleMaker, roleTaker
	if t.takerSide == ask {
		askRole, bidRole = roleTaker, roleMaker
	}
	b := numberField(r.begin(), `{"id":`, t.id)
	b = timeField(b, `,"timestamp":`, t.micros)
	b = textField(b, `,"market":`, t.market.name)
	b = textField(b, `,"base":`, t.market.baseName)
	b = textField(b, `,"quote":`, t.market.quoteName)
	b = field(b, `,"price":`, t.price)
	b = field(b, `,"amount":`, t.amount)
	b = field(b, `,"quote_amount":`, t.quote)
	b = numberField(b, `,"ask_user_id":`, uint64(t.ask.user))
	b = numberField(b, `,"ask_order_id":`, t.ask.id)
	b = textField(b, `,"ask_role":`, askRole)
	b = field(b, `,"ask_fee":`, t.askFee)
	b = numberField(b, `,"bid_user_id":`, uint64(t.bid.user))
	b = numberField(b, `,"bid_order_id":`, t.bid.id)
	b = textField(b, `,"bid_role":`, bidRole)
	b = field(b, `,"bid_fee":`, t.bidFee)
	b = appendOrNull(append(b, `,"ask_order":`...), t.askBefore)
	b = appendOrNull(append(b, `,"bid_order":`...), t.bidBefore)
	b = append(append(b, `,"state_before":`...), t.before...)
	b = t.appendState(append(b, `,"state_after":`...))
	value := r.end(append(b, '}'))
	if r.documented {
		r.own(topicTrades, r.end(t.appendDocumented(r.begin())))
		r.unify(topicTrades, value)
		return
	}
	r.both(topicTrades, value)
}

func appendOrNull(b, value []byte) []byte {
	if len(value) == 0 {
		return append(b, "null"...)
	}
	return append(b, value...)
}
