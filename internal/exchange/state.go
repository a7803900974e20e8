package exchange

import (
	"cmp"
	"encoding/json"
	"slices"
)

// State is what the exchange knows at the end of an operation. As JSON it has
// the shape that `persistor state` prints: balances without trailing zeros,
// open orders with the digits that they have on the wire.
type State struct {
	Balances    map[uint32]map[string]Balance `json:"balances"`
	LastOrderID uint64                        `json:"last_order_id"`
	LastTradeID uint64                        `json:"last_trade_id"`
	OpenOrders  []OpenOrder                   `json:"open_orders"`
	Users       map[uint32]User               `json:"users"`
}

// Balance is a user's amount of one asset. Assets that a user never had
// anything of are absent; a balance that has returned to zero is not.
type Balance struct {
	Available string `json:"available"`
	Frozen    string `json:"frozen"`
}

// OpenOrder is an order in a book. Its fields are sorted by their JSON names.
type OpenOrder struct {
	Amount        string      `json:"amount"`
	Base          string      `json:"base"`
	CreateTime    json.Number `json:"create_time"`
	FinishedBase  string      `json:"finished_base"`
	FinishedFee   string      `json:"finished_fee"`
	FinishedQuote string      `json:"finished_quote"`
	Frozen        string      `json:"frozen"`
	ID            uint64      `json:"id"`
	MakerFee      string      `json:"maker_fee"`
	Market        string      `json:"market"`
	PostOnly      bool        `json:"post_only"`
	Price         string      `json:"price"`
	Quote         string      `json:"quote"`
	Remain        string      `json:"remain"`
	Side          string      `json:"side"`
	Signature     string      `json:"signature"`
	TakerFee      string      `json:"taker_fee"`
	Type          string      `json:"type"`
	UpdateTime    json.Number `json:"update_time"`
	User          uint32      `json:"user"`
}

func (e *engine) state() State {
	s := State{Balances: map[uint32]map[string]Balance{}, LastOrderID: e.lastOrder, LastTradeID: e.lastTrade,
		OpenOrders: []OpenOrder{}, Users: map[uint32]User{}}
	for id, u := range e.users {
		s.Users[id] = u
	}
	for user, row := range e.accounts.rows {
		for i, b := range row {
			if !b.touched {
				continue
			}
			if s.Balances[uint32(user)] == nil {
				s.Balances[uint32(user)] = map[string]Balance{}
			}
			s.Balances[uint32(user)][e.assets[i].name] = Balance{b.available.stripped().String(), b.frozen.stripped().String()}
		}
	}
	for _, t := range e.trading {
		for _, k := range t.sides {
			for _, o := range k.orders {
				s.OpenOrders = append(s.OpenOrders, o.open())
			}
		}
	}
	slices.SortFunc(s.OpenOrders, func(a, b OpenOrder) int { return cmp.Compare(a.ID, b.ID) })
	return s
}

func (o *order) open() OpenOrder {
	return OpenOrder{
		Amount: o.amount.String(), Base: o.market.baseName, CreateTime: json.Number(appendSeconds(nil, o.created)),
		FinishedBase: o.finishedBase.String(), FinishedFee: o.finishedFee.String(), FinishedQuote: o.finishedQuote.String(),
		Frozen: o.frozen.String(), ID: o.id, MakerFee: o.makerFee.String(), Market: o.market.name, PostOnly: o.postOnly,
		Price: o.price.String(), Quote: o.market.quoteName, Remain: o.remain.String(), Side: o.side.String(),
		Signature: o.signature, TakerFee: o.takerFee.String(), Type: "LIMIT",
		UpdateTime: json.Number(appendSeconds(nil, o.updated)), User: o.user,
	}
}
