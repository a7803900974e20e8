package event

import (
	"reflect"
	"slices"
	"testing"
)

// TestStraight has every message that the engine writes today read without the
// scan.
func TestStraight(t *testing.T) {
	var m messages
	count := map[string]int{}
	missed := map[string]int{}
	for _, l := range corpus(t, true) {
		var ok bool
		switch l.Type {
		case "TradeMessage":
			ok = m.straightTrade(l.Value, &m.trade)
		case "OrderMessage":
			ok = m.straightOrder(l.Value, &m.order)
		case "BalanceMessage":
			ok = m.straightBalance(l.Value, &m.balance)
		case "DepositMessage":
			ok = m.straightDeposit(l.Value, &m.balance, false)
		case "WithdrawMessage":
			ok = m.straightDeposit(l.Value, &m.balance, true)
		case "TransferMessage":
			ok = m.straightTransfer(l.Value, &m.transfer)
		case "UserMessage":
			ok = m.straightUser(l.Value, &m.user)
		}
		count[l.Type]++
		if !ok {
			if missed[l.Type]++; missed[l.Type] == 1 {
				t.Errorf("%s is not in the engine's layout: %s", l.Type, l.Value)
			}
		}
	}
	if len(count) != 7 {
		t.Errorf("the corpus has %v", count)
	}
	t.Log(count, missed)
}

// FuzzStraight edits a message in one place: what is read without the scan is
// exactly what the scan reads, so only the scan's rules count.
func FuzzStraight(f *testing.F) {
	seen := map[string]int{}
	var messages [][]byte
	for _, l := range corpus(f, false) {
		if seen[l.Type]++; seen[l.Type] <= 3 {
			messages = append(messages, l.Value)
		}
	}
	for i := range messages {
		for at, edit := range []string{"", `"`, `-0.`, `\\"`, `\\u0041`, "\xc3\xa9", `00`, `1e3`, ` `, `},{`, `null`, "\x00", `9999999999999999999`} {
			f.Add(uint8(i), uint16(at*37), uint8(at%3), []byte(edit))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, at uint16, cut uint8, edit []byte) {
		base := messages[int(which)%len(messages)]
		from := int(at) % len(base)
		value := slices.Concat(base[:from], edit, base[min(from+int(cut), len(base)):])
		sameStraight(t, value)
	})
}

// TestStraightEdits puts each of some bytes in the place of each byte.
func TestStraightEdits(t *testing.T) {
	seen, straight := map[string]bool{}, 0
	for _, l := range corpus(t, false) {
		if seen[l.Type] {
			continue
		}
		seen[l.Type] = true
		for i := range l.Value {
			for _, c := range []byte("0159.-+eE\"\\{}[],: \x00\x1f\x7f\x80aZ") {
				value := slices.Clone(l.Value)
				value[i] = c
				straight += sameStraight(t, value)
			}
			straight += sameStraight(t, slices.Delete(slices.Clone(l.Value), i, i+1))
			straight += sameStraight(t, slices.Insert(slices.Clone(l.Value), i, l.Value[i]))
		}
	}
	if straight == 0 {
		t.Error("no edit was read straight")
	}
}

// sameStraight reads a value as every message in both ways and counts how often
// the straight one came through.
func sameStraight(t *testing.T, value []byte) (straight int) {
	t.Helper()
	var s, g messages
	same := func(ok bool, err error, a, b any) {
		t.Helper()
		if !ok {
			return
		}
		straight++
		if err != nil {
			t.Fatalf("read straight, but %v: %q", err, value)
		}
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("read straight\n%+v, by the scan\n%+v: %q", a, b, value)
		}
	}
	same(s.straightTrade(value, &s.trade), g.scannedTrade(value, &g.trade), &s.trade, &g.trade)
	same(s.straightOrder(value, &s.order), g.scannedOrder(value, &g.order), &s.order, &g.order)
	same(s.straightBalance(value, &s.balance), g.scannedBalance(value, &g.balance), &s.balance, &g.balance)
	s.balance, g.balance = Balance{}, Balance{}
	same(s.straightDeposit(value, &s.balance, false), g.scannedDeposit(value, &g.balance, false), &s.balance, &g.balance)
	s.balance, g.balance = Balance{}, Balance{}
	same(s.straightDeposit(value, &s.balance, true), g.scannedDeposit(value, &g.balance, true), &s.balance, &g.balance)
	same(s.straightTransfer(value, &s.transfer), g.scannedTransfer(value, &g.transfer), &s.transfer, &g.transfer)
	same(s.straightUser(value, &s.user), g.scannedUser(value, &g.user), &s.user, &g.user)
	return straight
}
