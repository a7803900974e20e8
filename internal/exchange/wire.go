package exchange

import "strconv"

// Encoding of the engine's records, field by field in its order (wire 1).

const (
	roleMaker = "MAKER"
	roleTaker = "TAKER"
)

func (s side) String() string {
	if s == ask {
		return "ASK"
	}
	return "BID"
}

// noSignature is how the engine writes an order without one.
const noSignature = "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"

// appendSeconds writes microseconds as the engine's float of seconds. The
// shortest text of such a float is the number with its trailing zeros cut: for
// times up to 2242 neighbouring floats are less than a microsecond apart.
func appendSeconds(b []byte, micros int64) []byte {
	b = strconv.AppendInt(b, micros/1_000_000, 10)
	fraction, digits := micros%1_000_000, 6
	for digits > 1 && fraction%10 == 0 {
		fraction, digits = fraction/10, digits-1
	}
	b = append(b, '.')
	for width := int64(pow10[digits-1]); width > 0; width /= 10 {
		b = append(b, byte('0'+fraction/width%10))
	}
	return b
}

// appendNoisySeconds writes a transfer's time, which the engine takes through
// nanoseconds and back, so that some end in float noise (wire 1.2).
func appendNoisySeconds(b []byte, micros int64) []byte {
	seconds := float64(micros) / 1e6
	whole := int64(seconds)
	nanos := int64((seconds - float64(whole)) * 1e9)
	at := len(b)
	b = strconv.AppendFloat(b, float64(whole*1_000_000_000+nanos)/1e9, 'f', -1, 64)
	for _, c := range b[at:] {
		if c == '.' {
			return b
		}
	}
	return append(b, ".0"...)
}

// appendText writes a JSON string as serde_json does: only what must be escaped
// is.
func appendText(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\b':
			b = append(b, `\b`...)
		case c == '\f':
			b = append(b, `\f`...)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c) // UTF-8 goes through as it is
		}
	}
	return append(b, '"')
}

// field appends a name, given with its punctuation, and a quoted decimal.
func field(b []byte, name string, d decimal) []byte {
	b = append(b, name...)
	b = append(b, '"')
	b = d.appendTo(b)
	return append(b, '"')
}

func textField(b []byte, name, text string) []byte {
	return appendText(append(b, name...), text)
}

func numberField(b []byte, name string, n uint64) []byte {
	return strconv.AppendUint(append(b, name...), n, 10)
}

func timeField(b []byte, name string, micros int64) []byte {
	return appendSeconds(append(b, name...), micros)
}

// setHead prepares the part of an order's JSON that stays the same.
func (o *order) setHead() {
	kind, postOnly := `"LIMIT"`, `false`
	if o.isMarket {
		kind = `"MARKET"`
	}
	if o.postOnly {
		postOnly = `true`
	}
	b := numberField(make([]byte, 0, 448), `{"id":`, o.id)
	b = textField(b, `,"base":`, o.market.baseName)
	b = textField(b, `,"quote":`, o.market.quoteName)
	b = textField(b, `,"market":`, o.market.name)
	b = append(append(b, `,"type":`...), kind...)
	b = textField(b, `,"side":`, o.side.String())
	b = numberField(b, `,"user":`, uint64(o.user))
	b = append(append(b, `,"post_only":`...), postOnly...)
	b = textField(b, `,"signature":`, o.signature)
	b = field(b, `,"price":`, o.price)
	b = field(b, `,"amount":`, o.amount)
	b = field(b, `,"maker_fee":`, o.makerFee)
	b = field(b, `,"taker_fee":`, o.takerFee)
	o.head = timeField(b, `,"create_time":`, o.created)
}

func (o *order) appendTo(b []byte) []byte {
	b = append(b, o.head...)
	b = field(b, `,"remain":`, o.remain)
	b = field(b, `,"frozen":`, o.frozen)
	b = field(b, `,"finished_base":`, o.finishedBase)
	b = field(b, `,"finished_quote":`, o.finishedQuote)
	b = field(b, `,"finished_fee":`, o.finishedFee)
	b = timeField(b, `,"update_time":`, o.updated)
	return append(b, '}')
}

func (r *recorder) user(u User, id uint32) {
	b := numberField(r.begin(), `{"user_id":`, uint64(id))
	b = textField(b, `,"l1_address":`, u.L1Address)
	b = textField(b, `,"l2_pubkey":`, u.L2Pubkey)
	r.both(topicUsers, r.end(append(b, '}')))
}

// change is one balance change: a `balances` record, and for a deposit or
// withdrawal what unifyevents tells of it.
type change struct {
	micros      int64
	user        uint32
	businessID  uint64
	asset       string
	business    string
	marketPrice decimal
	amount      decimal
	after       balance
	detail      string
	signature   string
}

func (c *change) appendBalances(b []byte) []byte {
	b = field(b, `,"change":`, c.amount)
	b = field(b, `,"balance":`, c.after.total())
	b = field(b, `,"balance_available":`, c.after.available)
	b = field(b, `,"balance_frozen":`, c.after.frozen)
	return textField(b, `,"detail":`, c.detail)
}

// wholeSecond is the resolution of a balance change's time (wire 1.2).
func (c *change) wholeSecond() int64 { return c.micros - c.micros%1_000_000 }

func (r *recorder) balance(c *change) {
	b := timeField(r.begin(), `{"timestamp":`, c.wholeSecond())
	b = numberField(b, `,"user_id":`, uint64(c.user))
	b = numberField(b, `,"business_id":`, c.businessID)
	b = textField(b, `,"asset":`, c.asset)
	b = textField(b, `,"business":`, c.business)
	b = field(b, `,"market_price":`, c.marketPrice)
	b = c.appendBalances(b)
	b = textField(b, `,"signature":`, c.signature)
	r.own(topicBalances, r.end(append(b, '}')))
}

// transaction tells unifyevents of a deposit or withdrawal; the sign decides
// which it is (wire 1.6).
func (r *recorder) transaction(c *change) {
	b := timeField(r.begin(), `{"timestamp":`, c.wholeSecond())
	b = numberField(b, `,"user_id":`, uint64(c.user))
	b = textField(b, `,"asset":`, c.asset)
	b = textField(b, `,"business":`, c.business)
	b = c.appendBalances(b)
	if !c.amount.neg {
		r.unify(topicDeposits, r.end(append(b, '}')))
		return
	}
	b = textField(b, `,"signature":`, c.signature)
	r.unify(topicWithdraws, r.end(append(b, '}')))
}

func (r *recorder) transfer(micros int64, from, to uint32, asset string, amount decimal, signature string) {
	b := appendNoisySeconds(append(r.begin(), `{"time":`...), micros)
	b = numberField(b, `,"user_from":`, uint64(from))
	b = numberField(b, `,"user_to":`, uint64(to))
	b = textField(b, `,"asset":`, asset)
	b = field(b, `,"amount":`, amount)
	b = textField(b, `,"signature":`, signature)
	r.both(topicTransfers, r.end(append(b, '}')))
}

func (r *recorder) order(event string, o *order) {
	b := textField(r.begin(), `{"event":`, event)
	b = o.appendTo(append(b, `,"order":`...))
	b = textField(b, `,"base":`, o.market.baseName)
	b = textField(b, `,"quote":`, o.market.quoteName)
	value := r.end(append(b, '}'))
	if r.documented {
		r.own(topicOrders, r.end(o.appendDocumented(r.begin(), event)))
		r.unify(topicOrders, value)
		return
	}
	r.both(topicOrders, value)
}

// idDetail is the detail of a change that has nothing to tell but its
// business_id.
func idDetail(id uint64) string {
	b := make([]byte, 0, 32)
	b = strconv.AppendUint(append(b, `{"id":`...), id, 10)
	return string(append(b, '}'))
}
