package event

// The fields of a transfer (wire format, section 1.7).
const (
	transferTime field = iota
	transferUserFrom
	transferUserTo
	transferAsset
	transferAmount
	transferSignature
)

var transferShape = shape{keys: []string{
	"time", "user_from", "user_to", "asset", "amount", "signature",
}}

// Transfer decodes a transfer between users. Its amount may be zero.
func (d *Decoder) Transfer(value []byte, t *Transfer) error {
	if d.straightTransfer(value, t) {
		return nil
	}
	return d.scannedTransfer(value, t)
}

// scannedTransfer decodes the message in any layout.
func (d *Decoder) scannedTransfer(value []byte, t *Transfer) error {
	if !d.scan(value, &transferShape) {
		return d.result()
	}
	*t = Transfer{
		Time:      d.engineTime(transferTime),
		UserFrom:  d.userID(transferUserFrom),
		UserTo:    d.userID(transferUserTo),
		Asset:     d.name(transferAsset),
		Amount:    d.decimal(transferAmount),
		Signature: d.optionalText(transferSignature),
	}
	return d.result()
}
