package event

// The fields of a trade (wire format, sections 1.9 and 1.11).
const (
	tradeID field = iota
	tradeTimestamp
	tradeMarket
	tradeBase
	tradeQuote
	tradePrice
	tradeAmount
	tradeQuoteAmount
	tradeAskUserID
	tradeAskOrderID
	tradeAskRole
	tradeAskFee
	tradeBidUserID
	tradeBidOrderID
	tradeBidRole
	tradeBidFee
	tradeAskOrder
	tradeBidOrder
	tradeStateBefore
	tradeStateAfter
	tradeTakerSide
	tradeMakerOrderID
	tradeTakerOrderID
)

var tradeShape = shape{keys: []string{
	"id", "timestamp", "market", "base", "quote", "price", "amount", "quote_amount",
	"ask_user_id", "ask_order_id", "ask_role", "ask_fee",
	"bid_user_id", "bid_order_id", "bid_role", "bid_fee",
	"ask_order", "bid_order", "state_before", "state_after",
	"taker_side", "maker_order_id", "taker_order_id",
}}

// Trade decodes a trade. The engine's are told from the documented ones by
// their id: a number there, a string here.
func (d *Decoder) Trade(value []byte, t *Trade) error {
	if d.straightTrade(value, t) {
		return nil
	}
	return d.scannedTrade(value, t)
}

// scannedTrade decodes the message in any layout.
func (d *Decoder) scannedTrade(value []byte, t *Trade) error {
	if !d.scan(value, &tradeShape) {
		return d.result()
	}
	switch d.fields[tradeID].kind {
	case number:
		d.engineTrade(t)
	case text:
		d.documentedTrade(t)
	default:
		d.refuse(tradeID, `an integer or "trade_" and an integer`)
	}
	return d.result()
}

func (d *Decoder) engineTrade(t *Trade) {
	*t = Trade{
		ID:          d.entityID(tradeID),
		Time:        d.engineTime(tradeTimestamp),
		Market:      d.name(tradeMarket),
		Base:        d.name(tradeBase),
		Quote:       d.name(tradeQuote),
		Price:       d.decimal(tradePrice),
		Amount:      d.decimal(tradeAmount),
		QuoteAmount: d.decimal(tradeQuoteAmount),
		AskUserID:   d.userID(tradeAskUserID),
		AskOrderID:  d.entityID(tradeAskOrderID),
		AskFee:      d.decimal(tradeAskFee),
		BidUserID:   d.userID(tradeBidUserID),
		BidOrderID:  d.entityID(tradeBidOrderID),
		BidFee:      d.decimal(tradeBidFee),
		TakerSide:   d.takerOfRoles(),
	}
	for f := tradeAskOrder; f <= tradeStateAfter; f++ {
		if !d.absent(f) && d.fields[f].kind != object {
			d.refuse(f, "an object or null")
		}
	}
	if d.err == nil {
		d.tradeParts(t)
	}
}

// takerOfRoles finds the taker's side in the roles of both orders.
func (d *Decoder) takerOfRoles() Side {
	const words = "MAKER or TAKER"
	ask := d.choice(tradeAskRole, words, "MAKER", "TAKER")
	bid := d.choice(tradeBidRole, words, "MAKER", "TAKER")
	if ask == bid {
		d.fail("ask_role and bid_role are the same, one must be MAKER and one TAKER")
		return NoSide
	}
	if ask == 1 {
		return Ask
	}
	return Bid
}

func (d *Decoder) documentedTrade(t *Trade) {
	*t = Trade{
		ID:          d.prefixedID(tradeID, "trade_", `"trade_" and an integer up to 2^63-1`),
		Time:        d.isoTime(tradeTimestamp),
		Market:      d.name(tradeMarket),
		Price:       d.decimal(tradePrice),
		Amount:      d.decimal(tradeAmount),
		QuoteAmount: d.decimal(tradeQuoteAmount),
		TakerSide:   d.documentedSide(tradeTakerSide),
		AskUserID:   NoID,
		BidUserID:   NoID,
	}
	maker, taker := d.orderID(tradeMakerOrderID), d.orderID(tradeTakerOrderID)
	if t.TakerSide == Bid {
		t.BidOrderID, t.AskOrderID = taker, maker
	} else {
		t.BidOrderID, t.AskOrderID = maker, taker
	}
}

// documentedSide reads buy or sell as the side of the book that such an order
// is on.
func (d *Decoder) documentedSide(f field) Side {
	if d.choice(f, "buy or sell", "buy", "sell") == 0 {
		return Bid
	}
	return Ask
}
