package event

// String names the kind for people.
func (k Kind) String() string {
	names := [...]string{"unknown", "trade", "order", "balance", "deposit", "withdraw", "transfer", "user"}
	if int(k) < len(names) {
		return names[k]
	}
	return names[0]
}
