package event

import (
	"reflect"
	"strings"
	"testing"
)

func TestTransfer(t *testing.T) {
	want := Transfer{
		Time: 1631097274239939, UserFrom: 1, UserTo: 2, Asset: Text("USDT"), Amount: dec("1000"), Signature: Text("ad4b4505"),
	}
	with := func(e Transfer, change func(*Transfer)) Transfer { change(&e); return e }
	for _, c := range []struct {
		name  string
		value string
		want  Transfer
	}{
		{"today's", transfer, want},
		{"before 2021-08-17: no signature", strings.Replace(transfer, `,"signature":"ad4b4505"`, ``, 1), with(want, func(e *Transfer) { e.Signature = nil })},
		{"zero amount", strings.Replace(transfer, `"1000"`, `"0.000000"`, 1), with(want, func(e *Transfer) { e.Amount = dec("0.000000") })},
		{"to oneself", strings.Replace(transfer, `"user_to":2`, `"user_to":1`, 1), with(want, func(e *Transfer) { e.UserTo = 1 })},
		{"float noise in the time", strings.Replace(transfer, `1631097274.239939`, `1631097274.2399387`, 1), want},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			var got Transfer
			if err := d.Transfer([]byte(c.value), &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got\n%+v, expected\n%+v", got, c.want)
			}
		})
	}
	for _, c := range []struct{ name, old, new, reason string }{
		{"time missing", `"time":1631097274.239939,`, ``, "time is missing"},
		{"time null", `1631097274.239939`, `null`, "time is null"},
		{"sender missing", `"user_from":1,`, ``, "user_from is missing"},
		{"receiver too large", `"user_to":2`, `"user_to":4294967296`, "user_to is 4294967296"},
		{"amount missing", `"amount":"1000",`, ``, "amount is missing"},
		{"amount NaN", `"1000"`, `"NaN"`, `amount is "NaN"`},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, transfer, edit(t, transfer, c.old, c.new), c.reason) })
	}
}

func TestUser(t *testing.T) {
	var d Decoder
	var got User
	if err := d.User([]byte(user), &got); err != nil {
		t.Fatal(err)
	}
	if want := (User{1, Text("0x6286"), Text("0x5d18")}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, expected %+v", got, want)
	}
}
