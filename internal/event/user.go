package event

// The fields of a registration (wire format, section 1.3).
const (
	userUserID field = iota
	userL1Address
	userL2Pubkey
)

var userShape = shape{keys: []string{"user_id", "l1_address", "l2_pubkey"}}

// User decodes a registration.
func (d *Decoder) User(value []byte, u *User) error {
	if d.straightUser(value, u) {
		return nil
	}
	return d.scannedUser(value, u)
}

// scannedUser decodes the message in any layout.
func (d *Decoder) scannedUser(value []byte, u *User) error {
	if !d.scan(value, &userShape) {
		return d.result()
	}
	*u = User{
		UserID:    d.userID(userUserID),
		L1Address: d.text(userL1Address),
		L2Pubkey:  d.text(userL2Pubkey),
	}
	return d.result()
}
