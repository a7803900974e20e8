package exchange

import "slices"

// balance is what a user has of one asset. touched tells a zero balance from
// none.
type balance struct {
	available, frozen decimal
	touched           bool
}

func (b *balance) total() decimal { return b.available.plus(b.frozen) }

// accounts holds the balances of all users. User ids are dense from 1, so a
// slice serves.
type accounts struct {
	assets []asset
	rows   [][]balance
}

func (a *accounts) of(user uint32, asset int) *balance {
	for int(user) >= len(a.rows) {
		a.rows = append(a.rows, nil)
	}
	if a.rows[user] == nil {
		a.rows[user] = make([]balance, len(a.assets))
	}
	return &a.rows[user][asset]
}

// kept is how the engine stores an amount: rounded to the asset's precision,
// which also gives a zero its full scale.
func (a *accounts) kept(asset int, amount decimal) decimal {
	return amount.truncated(a.assets[asset].savePrec)
}

func (a *accounts) addAvailable(user uint32, asset int, change decimal) *balance {
	b := a.of(user, asset)
	b.available, b.touched = a.kept(asset, b.available.plus(change)), true
	return b
}

func (a *accounts) addFrozen(user uint32, asset int, change decimal) *balance {
	b := a.of(user, asset)
	b.frozen, b.touched = a.kept(asset, b.frozen.plus(change)), true
	return b
}

func (a *accounts) freeze(user uint32, asset int, amount decimal) {
	a.addAvailable(user, asset, amount.negated())
	a.addFrozen(user, asset, amount)
}

func (a *accounts) release(user uint32, asset int, amount decimal) {
	a.addFrozen(user, asset, amount.negated())
	a.addAvailable(user, asset, amount)
}

func (a *accounts) clone() accounts {
	copied := accounts{assets: a.assets, rows: make([][]balance, len(a.rows))}
	for i, row := range a.rows {
		copied.rows[i] = slices.Clone(row)
	}
	return copied
}
