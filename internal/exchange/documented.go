package exchange

import (
	"strconv"
	"time"
)

// The platform's documented shapes of trades and orders, which nobody emits
// today (wire 1.11).

func (s side) documented() string {
	if s == ask {
		return "sell"
	}
	return "buy"
}

func appendISO(b []byte, micros int64) []byte {
	b = append(b, '"')
	b = time.UnixMicro(micros).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	return append(b, '"')
}

// appendPrefixed writes an id as the documentation does: "order_123".
func appendPrefixed(b []byte, prefix string, id uint64) []byte {
	b = append(append(b, '"'), prefix...)
	return append(strconv.AppendUint(b, id, 10), '"')
}

func (t *trade) appendDocumented(b []byte) []byte {
	maker, taker := t.ask.id, t.bid.id
	if t.takerSide == ask {
		maker, taker = taker, maker
	}
	b = appendPrefixed(append(b, `{"id":`...), "trade_", t.id)
	b = appendISO(append(b, `,"timestamp":`...), t.micros)
	b = textField(b, `,"market":`, t.market.name)
	b = field(b, `,"price":`, t.price)
	b = field(b, `,"amount":`, t.amount)
	b = field(b, `,"quote_amount":`, t.quote)
	b = textField(b, `,"taker_side":`, t.takerSide.documented())
	b = appendPrefixed(append(b, `,"maker_order_id":`...), "order_", maker)
	b = appendPrefixed(append(b, `,"taker_order_id":`...), "order_", taker)
	return append(b, '}')
}

// documentedEvent gives an engine's event the documented name and status.
func (o *order) documentedEvent(event string) (name, status string) {
	switch {
	case event == eventPut:
		return "ORDER_CREATED", "open"
	case event == eventUpdate:
		return "ORDER_PARTIALLY_FILLED", "partially_filled"
	case o.remain.isZero():
		return "ORDER_FILLED", "filled"
	}
	return "ORDER_CANCELLED", "cancelled"
}

func (o *order) appendDocumented(b []byte, event string) []byte {
	name, status := o.documentedEvent(event)
	kind := "limit"
	if o.isMarket {
		kind = "market"
	}
	b = textField(b, `{"event":`, name)
	b = appendPrefixed(append(b, `,"order":{"id":`...), "order_", o.id)
	b = numberField(b, `,"user_id":`, uint64(o.user))
	b = textField(b, `,"market":`, o.market.name)
	b = textField(b, `,"side":`, o.side.documented())
	b = textField(b, `,"type":`, kind)
	b = field(b, `,"price":`, o.price)
	b = field(b, `,"amount":`, o.amount)
	b = field(b, `,"filled_amount":`, o.finishedBase)
	b = textField(b, `,"status":`, status)
	b = appendISO(append(b, `,"created_at":`...), o.created)
	return append(b, `}}`...)
}
