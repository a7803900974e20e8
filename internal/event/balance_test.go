package event

import (
	"reflect"
	"strings"
	"testing"
)

func TestBalance(t *testing.T) {
	today := Balance{
		Time: 1795448409000000, UserID: 2, BusinessID: dec("1"), Asset: Text("USDT"), Business: Text("trade"),
		MarketPrice: dec("0"), Change: dec("-100.000"), Balance: dec("900.500"),
		Available: dec("900.500"), Frozen: dec("0"), Detail: Text(`{"id":1}`), Signature: Text(""),
	}
	deposited := Balance{
		Time: 1631097273000000, UserID: 1, BusinessID: dec("1631097273927"), Asset: Text("USDT"), Business: Text("deposit"),
		Change: dec("500000.0"), Balance: dec("500000.0"), Available: dec("500000.0"), Frozen: dec("0"),
		Detail: Text(`{"id":1631097273927,"key":"value"}`),
	}
	withdrawn := Balance{
		Time: 1631097274000000, UserID: 1, BusinessID: dec("1631097274567"), Asset: Text("USDT"), Business: Text("withdraw"),
		Change: dec("-100"), Balance: dec("499900.0"), Available: dec("499900.0"), Frozen: dec("0"),
		Detail: Text(`{"id":1631097274567,"key0":"value0"}`), Signature: Text("ce6e3601"),
	}
	with := func(e Balance, change func(*Balance)) Balance { change(&e); return e }
	detail := func(text, escaped, id string) (string, Balance) {
		return strings.Replace(deposit, `{\"id\":1631097273927,\"key\":\"value\"}`, escaped, 1),
			with(deposited, func(b *Balance) {
				b.Detail, b.BusinessID = Text(text), dec(id)
				if id == "" {
					b.BusinessID = Decimal{}
				}
			})
	}
	type good struct {
		name, base, value string
		want              Balance
	}
	cases := []good{
		{"balance", balance, balance, today},
		{"balance before 2021-09-22: no market price", balance, strings.Replace(balance, `"market_price":"0",`, ``, 1),
			with(today, func(b *Balance) { b.MarketPrice = Decimal{} })},
		{"balance before 2021-09-19: no business id", balance, strings.NewReplacer(`"market_price":"0",`, ``, `"business_id":1,`, ``).Replace(balance),
			with(today, func(b *Balance) { b.MarketPrice, b.BusinessID = Decimal{}, Decimal{} })},
		{"balance before 2021-07: seven fields", balance, `{"timestamp":1795448409.0,"user_id":2,"asset":"USDT","business":"trade","change":"-100.000","balance":"900.500","detail":"{\"id\":1}"}`,
			with(today, func(b *Balance) {
				b.MarketPrice, b.BusinessID, b.Available, b.Frozen, b.Signature = Decimal{}, Decimal{}, Decimal{}, Decimal{}, nil
			})},
		{"balance, nulls for optional fields", balance, strings.NewReplacer(`"market_price":"0"`, `"market_price":null`, `_id":1,`, `_id":null,`, `"signature":""`, `"signature":null`, `"balance_frozen":"0"`, `"balance_frozen":null`, `"balance_available":"900.500"`, `"balance_available":null`).Replace(balance),
			with(today, func(b *Balance) {
				b.MarketPrice, b.BusinessID, b.Available, b.Frozen, b.Signature = Decimal{}, Decimal{}, Decimal{}, Decimal{}, nil
			})},
		{"balance, largest business id", balance, strings.Replace(balance, `_id":1,`, `_id":18446744073709551615,`, 1),
			with(today, func(b *Balance) { b.BusinessID = dec("18446744073709551615") })},
		{"balance, free text as business", balance, strings.Replace(balance, `"trade"`, `"ünï\"code\n\ud83d\ude00"`, 1),
			with(today, func(b *Balance) { b.Business = Text("ünï\"code\n😀") })},
		{"deposit", deposit, deposit, deposited},
		{"deposit in a balance's shape", deposit, strings.Replace(deposit, `"asset"`, `"business_id":"x","market_price":[],"signature":5,"asset"`, 1), deposited},
		{"deposit before 2021-07-05", deposit, strings.Replace(deposit, `"balance_available":"500000.0","balance_frozen":"0",`, ``, 1),
			with(deposited, func(b *Balance) { b.Available, b.Frozen = Decimal{}, Decimal{} })},
		{"withdraw", withdraw, withdraw, withdrawn},
		{"withdraw before 2021-09-09: no signature", withdraw, strings.Replace(withdraw, `,"signature":"ce6e3601"`, ``, 1),
			with(withdrawn, func(b *Balance) { b.Signature = nil })},
	}
	for _, c := range []struct{ name, text, escaped, id string }{
		{"largest id", `{"id":18446744073709551615}`, `{\"id\":18446744073709551615}`, "18446744073709551615"},
		{"id last", `{"a":{"id":5},"id":6}`, `{\"a\":{\"id\":5},\"id\":6}`, "6"},
		{"escapes in the detail", `{"a":"\"\u00e9\u0000","id":6}`, `{\"a\":\"\\\"\\u00e9\\u0000\",\"id\":6}`, "6"},
		{"no id", `{"ID":5}`, `{\"ID\":5}`, ""},
		{"id null", `{"id":null}`, `{\"id\":null}`, ""},
		{"not an object", `[1]`, `[1]`, ""},
		{"not JSON", `paid by wire`, `paid by wire`, ""},
		{"cut off", `{"id":1`, `{\"id\":1`, ""},
		{"empty", ``, ``, ""},
	} {
		value, want := detail(c.text, c.escaped, c.id)
		cases = append(cases, good{"deposit's detail: " + c.name, deposit, value, want})
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := messages{balance: Balance{MarketPrice: dec("left over")}}
			if err := m.decode(c.base, []byte(c.value)); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(m.balance, c.want) {
				t.Errorf("got\n%+v, expected\n%+v", m.balance, c.want)
			}
		})
	}

	for _, c := range []struct{ name, base, old, new, reason string }{
		{"timestamp missing", balance, `"timestamp":1795448409.0,`, ``, "timestamp is missing"},
		{"user id missing", balance, `"user_id":2,`, ``, "user_id is missing"},
		{"asset null", balance, `"USDT"`, `null`, "asset is null"},
		{"business missing", balance, `"business":"trade",`, ``, "business is missing"},
		{"change missing", balance, `"change":"-100.000",`, ``, "change is missing"},
		{"balance missing", balance, `"balance":"900.500",`, ``, "balance is missing"},
		{"detail missing", balance, `"detail":"{\"id\":1}",`, ``, "detail is missing"},
		{"detail an object", balance, `"{\"id\":1}"`, `{"id":1}`, "detail is an object"},
		{"business id a string", balance, `_id":1,`, `_id":"1",`, `business_id is "1"`},
		{"business id negative", balance, `_id":1,`, `_id":-1,`, "business_id is -1"},
		{"business id 2^64", balance, `_id":1,`, `_id":18446744073709551616,`, "2^64-1"},
		{"business id of 20 nines", balance, `_id":1,`, `_id":99999999999999999999,`, "2^64-1"},
		{"market price a boolean", balance, `"market_price":"0"`, `"market_price":true`, "market_price is a boolean"},
		{"frozen empty", balance, `"balance_frozen":"0"`, `"balance_frozen":""`, `balance_frozen is ""`},
		{"signature a number", balance, `"signature":""`, `"signature":0`, "signature is 0"},
		{"deposit's detail id negative", deposit, `:1631097273927,`, `:-5,`, "detail.id is -5"},
		{"deposit's detail id a string", deposit, `:1631097273927,`, `:\"x\",`, `detail.id is "x"`},
		{"deposit without change", deposit, `"change":"500000.0",`, ``, "change is missing"},
		{"deposit's balance null", deposit, `"balance":"500000.0"`, `"balance":null`, "balance is null"},
		{"withdraw's signature a number", withdraw, `"ce6e3601"`, `5`, "signature is 5"},
		{"asset too long to index", withdraw, `USDT`, strings.Repeat("x", 5000), "asset has 5000 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, c.base, edit(t, c.base, c.old, c.new), c.reason) })
	}
}

// TestBrokenDetails has details that break off inside of objects, in the layout
// that needs no scan: none may leave anything in the Decoder.
func TestBrokenDetails(t *testing.T) {
	broken := []byte(strings.Replace(deposit, `{\"id\":1631097273927,\"key\":\"value\"}`, `{\"a\":1,\"b\":{\"c\":1,\"d\":2`, 1))
	var d Decoder
	var b Balance
	for range 1000 {
		if err := d.Deposit(broken, &b); err != nil || b.BusinessID.Text != nil {
			t.Fatalf("business id %q, %v", b.BusinessID.Text, err)
		}
	}
	if len(d.names) > 4 {
		t.Errorf("%d names are left", len(d.names))
	}
}
