package event

import "fmt"

// Unify decodes one record of unifyevents, whose key says which message its value
// is (wire format, section 2). Its decimals come with their values, since what reads
// this topic reckons with them.
func (d *Decoder) Unify(key, value []byte, u *Unify) error {
	d.reckons = true
	err := d.unify(key, value, u)
	d.reckons = false
	return err
}

func (d *Decoder) unify(key, value []byte, u *Unify) error {
	switch string(key) {
	case "trades":
		u.Kind = KindTrade
		return d.Trade(value, &u.Trade)
	case "orders":
		u.Kind = KindOrder
		return d.Order(value, &u.Order)
	case "deposits":
		u.Kind = KindDeposit
		return d.Deposit(value, &u.Balance)
	case "withdraws":
		u.Kind = KindWithdraw
		return d.Withdraw(value, &u.Balance)
	case "balances":
		// Until 2021-08-16 deposits and withdrawals had this key (wire format,
		// section 1.10); the sign of the change tells them apart. Their business id
		// stands in the detail, as it still does.
		err := d.Balance(value, &u.Balance)
		if err == nil {
			u.Balance.BusinessID = d.detailID(u.Balance.Detail)
			err = d.result()
		}
		u.Kind = KindDeposit
		if err == nil && u.Balance.Change.Text[0] == '-' {
			u.Kind = KindWithdraw
		}
		return err
	case "internaltransfer":
		u.Kind = KindTransfer
		return d.Transfer(value, &u.Transfer)
	case "registeruser":
		u.Kind = KindUser
		return d.User(value, &u.User)
	}
	u.Kind = KindUnknown
	return &Error{Reason: fmt.Sprintf("key %.40q is not one of the engine's on unifyevents", key)}
}
