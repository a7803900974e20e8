package event

import "testing"

// bench decodes the values in turn; an operation is one record.
func bench(b *testing.B, values [][]byte, decode func([]byte) error) {
	size := 0
	for _, v := range values {
		size += len(v)
	}
	b.SetBytes(int64(size / len(values)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := decode(values[i%len(values)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEngineTrade(b *testing.B) {
	var d Decoder
	var t Trade
	bench(b, values(b, "TradeMessage"), func(v []byte) error { return d.Trade(v, &t) })
}

func BenchmarkDocumentedTrade(b *testing.B) {
	var d Decoder
	var t Trade
	bench(b, [][]byte{[]byte(documentedTrade)}, func(v []byte) error { return d.Trade(v, &t) })
}

func BenchmarkEngineOrder(b *testing.B) {
	var d Decoder
	var o Order
	bench(b, values(b, "OrderMessage"), func(v []byte) error { return d.Order(v, &o) })
}

func BenchmarkDocumentedOrder(b *testing.B) {
	var d Decoder
	var o Order
	bench(b, [][]byte{[]byte(documentedOrder)}, func(v []byte) error { return d.Order(v, &o) })
}

func BenchmarkBalance(b *testing.B) {
	var d Decoder
	var e Balance
	bench(b, values(b, "BalanceMessage"), func(v []byte) error { return d.Balance(v, &e) })
}

func BenchmarkDeposit(b *testing.B) {
	var d Decoder
	var e Balance
	bench(b, values(b, "DepositMessage"), func(v []byte) error { return d.Deposit(v, &e) })
}

func BenchmarkWithdraw(b *testing.B) {
	var d Decoder
	var e Balance
	bench(b, values(b, "WithdrawMessage"), func(v []byte) error { return d.Withdraw(v, &e) })
}

func BenchmarkTransfer(b *testing.B) {
	var d Decoder
	var e Transfer
	bench(b, values(b, "TransferMessage"), func(v []byte) error { return d.Transfer(v, &e) })
}

func BenchmarkUser(b *testing.B) {
	var d Decoder
	var e User
	bench(b, values(b, "UserMessage"), func(v []byte) error { return d.User(v, &e) })
}

const documentedTrade = `{"id":"trade_123456","timestamp":"2024-01-15T10:30:00.000Z","market":"BTC_USDT","price":"42500.00","amount":"0.5","quote_amount":"21250.00","taker_side":"buy","maker_order_id":"order_111","taker_order_id":"order_222"}`

const documentedOrder = `{"event":"ORDER_CREATED","order":{"id":"order_123","user_id":1001,"market":"BTC_USDT","side":"buy","type":"limit","price":"42000.00","amount":"1.0","filled_amount":"0.0","status":"open","created_at":"2024-01-15T10:30:00.000Z"}}`
