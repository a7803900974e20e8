package event

import "bytes"

// The fields of an order's event, and those of the order in it (wire format,
// sections 1.8 and 1.11).
const (
	eventEvent field = iota
	eventOrder
	eventBase
	eventQuote
	eventData

	orderID
	orderBase
	orderQuote
	orderMarket
	orderType
	orderSide
	orderUser
	orderPostOnly
	orderSignature
	orderPrice
	orderAmount
	orderMakerFee
	orderTakerFee
	orderCreateTime
	orderRemain
	orderFrozen
	orderFinishedBase
	orderFinishedQuote
	orderFinishedFee
	orderUpdateTime
	orderUserID
	orderFilledAmount
	orderCreatedAt
)

var orderEventShape = shape{
	keys: []string{"event", "order", "base", "quote", "data"},
	inner: &shape{prefix: "order.", first: orderID, keys: []string{
		"id", "base", "quote", "market", "type", "side", "user", "post_only", "signature",
		"price", "amount", "maker_fee", "taker_fee", "create_time", "remain", "frozen",
		"finished_base", "finished_quote", "finished_fee", "update_time",
		"user_id", "filled_amount", "created_at",
	}},
	innerAt: eventOrder,
}

// documentedEvents maps the platform's documented event names.
var documentedEvents = map[string]Action{
	"ORDER_CREATED":          Put,
	"ORDER_UPDATED":          Update,
	"ORDER_PARTIALLY_FILLED": Update,
	"ORDER_FILLED":           Finish,
	"ORDER_CANCELLED":        Finish,
	"ORDER_CANCELED":         Finish,
	"ORDER_REJECTED":         Finish,
	"ORDER_EXPIRED":          Expired,
}

// Order decodes an order's event. For a record of the platform's backend, which
// shares the topic, it returns ErrForeign.
func (d *Decoder) Order(value []byte, o *Order) error {
	if d.straightOrder(value, o) {
		return nil
	}
	return d.scannedOrder(value, o)
}

// scannedOrder decodes the message in any layout.
func (d *Decoder) scannedOrder(value []byte, o *Order) error {
	if !d.scan(value, &orderEventShape) {
		return d.result()
	}
	event := d.text(eventEvent)
	if bytes.HasPrefix(event, []byte("order.")) && d.fields[eventData].kind == object {
		return ErrForeign
	}
	action := engineAction(event)
	documented := action == NoAction
	if documented {
		action = documentedEvents[string(event)]
	}
	switch {
	case action == NoAction:
		d.refuse(eventEvent, "PUT, UPDATE, FINISH, EXPIRED or a documented ORDER_ event")
	case d.fields[eventOrder].kind != object:
		d.refuse(eventOrder, "an object")
	case documented:
		d.documentedOrder(o)
	default:
		d.engineOrder(o)
	}
	o.Action = action
	return d.result()
}

// engineAction is the engine's event of that name, or NoAction.
func engineAction(event Text) Action {
	for a := Put; a <= Expired; a++ {
		if string(event) == a.String() {
			return a
		}
	}
	return NoAction
}

func (d *Decoder) engineOrder(o *Order) {
	d.orderFields(o)
	o.Signature = d.signature(orderSignature)
	// Until 2021-06 the order did not know its assets, only the message did.
	base, quote := d.name(eventBase), d.name(eventQuote)
	if o.Base == nil {
		o.Base = base
	}
	if o.Quote == nil {
		o.Quote = quote
	}
}

// orderFields reads an order, all but its signature.
func (d *Decoder) orderFields(o *Order) {
	*o = Order{
		ID:            d.entityID(orderID),
		Market:        d.name(orderMarket),
		Base:          d.optionalText(orderBase),
		Quote:         d.optionalText(orderQuote),
		UserID:        d.userID(orderUser),
		Side:          Ask + Side(d.choice(orderSide, "ASK or BID", "ASK", "BID")),
		Type:          Limit + OrderType(d.choice(orderType, "LIMIT or MARKET", "LIMIT", "MARKET")),
		PostOnly:      d.flag(orderPostOnly),
		Price:         d.decimal(orderPrice),
		Amount:        d.decimal(orderAmount),
		Remain:        d.decimal(orderRemain),
		Frozen:        d.decimal(orderFrozen),
		FinishedBase:  d.decimal(orderFinishedBase),
		FinishedQuote: d.decimal(orderFinishedQuote),
		FinishedFee:   d.decimal(orderFinishedFee),
		MakerFee:      d.decimal(orderMakerFee),
		TakerFee:      d.decimal(orderTakerFee),
		CreateTime:    d.engineTime(orderCreateTime),
		UpdateTime:    d.engineTime(orderUpdateTime),
	}
}

func (d *Decoder) documentedOrder(o *Order) {
	*o = Order{
		ID:           d.orderID(orderID),
		Market:       d.name(orderMarket),
		UserID:       d.userID(orderUserID),
		Side:         d.documentedSide(orderSide),
		Type:         Limit + OrderType(d.choice(orderType, "limit or market", "limit", "market")),
		Amount:       d.decimal(orderAmount),
		FinishedBase: d.decimal(orderFilledAmount),
		CreateTime:   d.isoTime(orderCreatedAt),
		UpdateTime:   NoTime,
	}
	// A market order has no price of its own to state.
	if o.Type == Limit {
		o.Price = d.decimal(orderPrice)
	} else {
		o.Price = d.optionalDecimal(orderPrice)
	}
	if d.err == nil {
		o.Remain = d.difference(o.Amount, o.FinishedBase)
	}
}

// signatureSize is that of a compressed EdDSA signature on baby-jubjub.
const signatureSize = 64

// signature reads the engine's hexadecimal signature of an order. The engine
// writes all zeros for an order without one, and before 2021-06 wrote none.
func (d *Decoder) signature(f field) []byte {
	if d.absent(f) {
		return nil
	}
	const want = "128 hexadecimal digits"
	if d.fields[f].kind != text {
		return d.refuse(f, want)
	}
	digits := d.content(f)
	if string(digits) == noSignature {
		return nil
	}
	if len(digits) != 2*signatureSize {
		return d.refuse(f, want)
	}
	start := len(d.scratch)
	for i := 0; i < len(digits); i += 2 {
		high, low := nibble(digits[i]), nibble(digits[i+1])
		if high > 15 || low > 15 {
			return d.refuse(f, want)
		}
		d.scratch = append(d.scratch, high<<4|low)
	}
	return d.scratch[start:len(d.scratch):len(d.scratch)]
}

const noSignature = zeros + zeros + zeros + zeros

const zeros = "00000000000000000000000000000000"
