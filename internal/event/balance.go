package event

// The fields of balances, deposits and withdraws (wire format, sections 1.4 to
// 1.6), and the one inside of a detail.
const (
	balanceTimestamp field = iota
	balanceUserID
	balanceBusinessID
	balanceAsset
	balanceBusiness
	balanceMarketPrice
	balanceChange
	balanceBalance
	balanceAvailable
	balanceFrozen
	balanceDetail
	balanceSignature
	detailID
)

var balanceShape = shape{keys: []string{
	"timestamp", "user_id", "business_id", "asset", "business", "market_price", "change",
	"balance", "balance_available", "balance_frozen", "detail", "signature",
}}

var detailShape = shape{prefix: "detail.", first: detailID, keys: []string{"id"}}

// Balance decodes a record of `balances`.
func (d *Decoder) Balance(value []byte, b *Balance) error {
	if d.straightBalance(value, b) {
		return nil
	}
	return d.scannedBalance(value, b)
}

// scannedBalance decodes the message in any layout.
func (d *Decoder) scannedBalance(value []byte, b *Balance) error {
	if !d.scan(value, &balanceShape) {
		return d.result()
	}
	d.movement(b)
	b.BusinessID = d.businessID(balanceBusinessID)
	b.MarketPrice = d.optionalDecimal(balanceMarketPrice)
	b.Signature = d.optionalText(balanceSignature)
	return d.result()
}

// Deposit decodes a deposit. Its business id stands in its detail.
func (d *Decoder) Deposit(value []byte, b *Balance) error {
	if !d.straightDeposit(value, b, false) {
		if err := d.scannedDeposit(value, b, false); err != nil {
			return err
		}
	}
	b.BusinessID = d.detailID(b.Detail)
	return d.result()
}

// Withdraw decodes a withdrawal: a deposit with a negative change, and signed.
func (d *Decoder) Withdraw(value []byte, b *Balance) error {
	if !d.straightDeposit(value, b, true) {
		if err := d.scannedDeposit(value, b, true); err != nil {
			return err
		}
	}
	b.BusinessID = d.detailID(b.Detail)
	return d.result()
}

// scannedDeposit decodes all but the business id, in any layout.
func (d *Decoder) scannedDeposit(value []byte, b *Balance, signed bool) error {
	if !d.scan(value, &balanceShape) {
		return d.result()
	}
	d.movement(b)
	if signed {
		b.Signature = d.optionalText(balanceSignature)
	}
	return d.result()
}

// movement reads what the three messages share.
func (d *Decoder) movement(b *Balance) {
	*b = Balance{
		Time:      d.engineTime(balanceTimestamp),
		UserID:    d.userID(balanceUserID),
		Asset:     d.name(balanceAsset),
		Business:  d.text(balanceBusiness),
		Change:    d.decimal(balanceChange),
		Balance:   d.decimal(balanceBalance),
		Available: d.optionalDecimal(balanceAvailable),
		Frozen:    d.optionalDecimal(balanceFrozen),
		Detail:    d.text(balanceDetail),
	}
}

// detailID reads the id that the engine forces into each detail. A detail is
// the caller's text: where it is no strict JSON object, it states no id, and is
// stored as it is; an id that is there and is none is refused.
func (d *Decoder) detailID(detail Text) Decimal {
	d.src, d.shape, d.fields[detailID] = detail, &detailShape, token{}
	d.forgetNames() // a detail that broke off inside an object has left its own
	if d.document(); d.err != nil {
		d.err = nil
		return Decimal{}
	}
	return d.businessID(detailID)
}
