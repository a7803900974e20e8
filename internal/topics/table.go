package topics

// TableOf is the table in schema dingir that a consumed topic's records fill, of
// the topic's name without prefix; "" for unifyevents, which fills the event log.
func TableOf(topic string) string {
	switch topic {
	case Trades:
		return "trades"
	case Orders:
		return "order_events"
	case Balances:
		return "balance_changes"
	case Deposits:
		return "deposits"
	case Withdraws:
		return "withdrawals"
	case InternalTransfer:
		return "internal_transfers"
	case RegisterUser:
		return "users"
	}
	return ""
}
