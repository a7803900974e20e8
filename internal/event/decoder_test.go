package event

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// Well-formed messages that the cases of this package's tests are made from.
const (
	engineTrade = `{"id":7,"timestamp":1631097282.055039,"market":"ETH_USDT","base":"ETH","quote":"USDT","price":"3331.16","amount":"0.1074","quote_amount":"357.766584","ask_user_id":1,"ask_order_id":8,"ask_role":"MAKER","ask_fee":"0","bid_user_id":3,"bid_order_id":9,"bid_role":"TAKER","bid_fee":"-0.0101000","ask_order":null,"bid_order":{"id":9},"state_before":{"order_states":[]},"state_after":{"order_states":[]}}`

	engineOrder = `{"event":"UPDATE","order":{"id":9,"base":"ETH","quote":"USDT","market":"ETH_USDT","type":"LIMIT","side":"BID","user":3,"post_only":false,"signature":"` + someSignature + `","price":"3331.16","amount":"0.2261","maker_fee":"0","taker_fee":"0.001","create_time":1631097282.055038,"remain":"0.1187","frozen":"395.408692","finished_base":"0.1074","finished_quote":"357.766584","finished_fee":"0.000000","update_time":1631097283.933325},"base":"ETH","quote":"USDT"}`

	someSignature = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

	balance = `{"timestamp":1795448409.0,"user_id":2,"business_id":1,"asset":"USDT","business":"trade","market_price":"0","change":"-100.000","balance":"900.500","balance_available":"900.500","balance_frozen":"0","detail":"{\"id\":1}","signature":""}`

	deposit = `{"timestamp":1631097273.0,"user_id":1,"asset":"USDT","business":"deposit","change":"500000.0","balance":"500000.0","balance_available":"500000.0","balance_frozen":"0","detail":"{\"id\":1631097273927,\"key\":\"value\"}"}`

	withdraw = `{"timestamp":1631097274.0,"user_id":1,"asset":"USDT","business":"withdraw","change":"-100","balance":"499900.0","balance_available":"499900.0","balance_frozen":"0","detail":"{\"id\":1631097274567,\"key0\":\"value0\"}","signature":"ce6e3601"}`

	transfer = `{"time":1631097274.239939,"user_from":1,"user_to":2,"asset":"USDT","amount":"1000","signature":"ad4b4505"}`

	user = `{"user_id":1,"l1_address":"0x6286","l2_pubkey":"0x5d18"}`

	foreignOrder = `{"event":"order.created","data":{"id":"0b9f3e5e-6f0a-4a51-b1f3-5a2d6f0c9a11","userId":"u-1","tenantId":null,"symbol":"BTC/USDT","side":"buy","type":"limit","quantity":1.5,"price":42000,"status":"pending","filledQuantity":0,"createdAt":"2024-01-15T10:30:00.000Z","updatedAt":"2024-01-15T10:30:00.000Z"}}`
)

var everyMessage = []string{engineTrade, documentedTrade, engineOrder, documentedOrder, foreignOrder, balance, deposit, withdraw, transfer, user}

// messages is a decoder with room for every kind of event.
type messages struct {
	Decoder
	trade    Trade
	order    Order
	balance  Balance
	transfer Transfer
	user     User
}

// decode reads a value as the message that base, one of the constants above,
// is.
func (m *messages) decode(base string, value []byte) error {
	switch base {
	case engineTrade, documentedTrade:
		return m.Trade(value, &m.trade)
	case engineOrder, documentedOrder, foreignOrder:
		return m.Order(value, &m.order)
	case balance:
		return m.Balance(value, &m.balance)
	case deposit:
		return m.Deposit(value, &m.balance)
	case withdraw:
		return m.Withdraw(value, &m.balance)
	case transfer:
		return m.Transfer(value, &m.transfer)
	case user:
		return m.User(value, &m.user)
	}
	panic(base)
}

// edit replaces the one place where old stands.
func edit(t testing.TB, base, old, replacement string) []byte {
	t.Helper()
	if strings.Count(base, old) != 1 {
		t.Fatalf("%q stands %d times in %s", old, strings.Count(base, old), base)
	}
	return []byte(strings.Replace(base, old, replacement, 1))
}

func TestPoison(t *testing.T) {
	nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	manyKeys := func(last string) string {
		var b strings.Builder
		for i := range 5000 {
			fmt.Fprintf(&b, `"k%d":%d,`, i, i)
		}
		return b.String() + last
	}
	for _, c := range []struct {
		name, base, old, new string
		reason               string // a part of it; empty for a record that is fine
	}{
		// Around the object.
		{"truncated", user, `18"}`, `18`, "the JSON ends after"},
		{"truncated before the brace", user, `"}`, `"`, "a closing brace"},
		{"truncated in an escape", user, `18"}`, `18\`, "escape sequence"},
		{"truncated in a surrogate pair", user, `18"}`, `\ud83d\u`, "lone surrogate"},
		{"byte-order mark", user, `{"user_id"`, "\xef\xbb\xbf" + `{"user_id"`, "byte-order mark"},
		{"trailing bytes", user, `18"}`, `18"}x`, "nothing after"},
		{"trailing object", user, `18"}`, `18"}{}`, "nothing after"},
		{"trailing NUL byte", user, `18"}`, "18\"}\x00", "nothing after"},
		{"trailing white space", user, `18"}`, "18\"} \t\r\n", ""},
		{"leading white space", user, `{"user_id"`, " \n{\"user_id\"", ""},
		{"inner white space", user, `{"user_id":1,`, "{ \"user_id\" : 1 ,\n", ""},
		{"other white space", user, `{"user_id"`, "\v{\"user_id\"", "a JSON object"},
		{"top-level null", user, user, `null`, "a JSON object"},
		{"top-level array", user, user, `[` + user + `]`, "a JSON object"},
		{"top-level string", user, user, `"x"`, "a JSON object"},
		{"top-level number", user, user, `1`, "a JSON object"},
		{"only white space", user, user, ` `, "a JSON object"},
		{"empty object", user, user, `{}`, "user_id is missing"},

		// Objects and keys.
		{"duplicate key", user, `{"user_id":1,`, `{"user_id":1,"user_id":1,`, `"user_id" comes twice`},
		{"duplicate key, one escaped", user, `{"user_id":1,`, `{"user_id":1,"us\u0065r_id":1,`, "comes twice"},
		{"duplicate key, escaped first", user, `{"user_id":1,`, `{"us\u0065r_id":1,"user_id":1,`, "comes twice"},
		{"duplicate unknown key", user, `{`, `{"x":1,"x":2,`, `"x" comes twice`},
		{"duplicate empty key", user, `{`, `{"":1,"":2,`, `"" comes twice`},
		{"duplicate unknown key, escaped", user, `{`, `{"é":1,"\u00E9":2,`, "comes twice"},
		{"duplicate unknown key, surrogates", user, `{`, `{"😀":1,"\ud83d\uDE00":2,`, "comes twice"},
		{"duplicate nested key", user, `{`, `{"x":[{"y":{"z":1,"z":1}}],`, `"z" comes twice`},
		{"duplicate key far apart", user, `{`, `{` + manyKeys(`"k0":1,`), `"k0" comes twice`},
		{"duplicate key in a large nested object", user, `{`, `{"x":{` + manyKeys(`"k4999":1`) + `},`, `"k4999" comes twice`},
		{"duplicate key in the order", engineOrder, `"side":"BID",`, `"side":"BID","side":"BID",`, `"side" comes twice`},
		{"duplicate order", engineOrder, `{"event"`, `{"order":{},"event"`, `"order" comes twice`},
		{"duplicate key in a skipped order", engineTrade, `{"id":9}`, `{"id":9,"id":9}`, `"id" comes twice`},
		{"many keys", user, `{`, `{` + manyKeys(``), ""},
		{"same key on two levels", user, `{`, `{"x":{"user_id":5,"x":1},`, ""},
		{"escaped key", user, `"user_id"`, `"\u0075ser\u005fid"`, ""},
		{"case-folded key", user, `"user_id"`, `"User_ID"`, "user_id is missing"},
		{"case-folded twin", user, `{`, `{"USER_ID":"x",`, ""},
		{"key with a space", user, `"user_id"`, `"user_id "`, "user_id is missing"},
		{"unknown fields", user, `{`, `{"a":null,"b":[1,-2.5e+3,true,false,"\b\f\n\r\t\/\\\""],"c":{},"d":[],`, ""},
		{"trailing comma", user, `18"}`, `18",}`, "a key"},
		{"leading comma", user, `{"user_id"`, `{,"user_id"`, "a key"},
		{"comma missing", user, `1,"l1`, `1 "l1`, "a comma"},
		{"colon missing", user, `"user_id":1`, `"user_id" 1`, "a colon"},
		{"value missing", user, `"user_id":1`, `"user_id":`, "a value"},
		{"key without quotes", user, `"user_id"`, `user_id`, "a key"},
		{"single quotes", user, `"user_id"`, `'user_id'`, "a key"},
		{"comment", user, `{`, `{/**/`, "a key"},
		{"bracket mismatch", user, `{`, `{"x":[1},`, "a closing bracket"},
		{"trailing comma in an array", user, `{`, `{"x":[1,],`, "a value"},
		{"nested 127 deep", user, `{`, `{"x":` + nested(maxDepth-1) + `,`, ""},
		{"nested too deep", user, `{`, `{"x":` + nested(maxDepth) + `,`, "nested deeper than 128"},
		{"nested 10,000 deep", user, `{`, `{"x":` + nested(10_000) + `,`, "nested deeper than 128"},
		{"objects nested 10,000 deep", user, `{`, strings.Repeat(`{"x":`, 10_000), "nested deeper than 128"},

		// Literals and numbers.
		{"capital literal", user, `{`, `{"x":True,`, "a value"},
		{"misspelt literal", user, `{`, `{"x":nul,`, "null"},
		{"literal run on", user, `{`, `{"x":nulls,`, "a comma"},
		{"NaN", user, `{`, `{"x":NaN,`, "a value"},
		{"Infinity", user, `{`, `{"x":Infinity,`, "a value"},
		{"negative Infinity", user, `{`, `{"x":-Infinity,`, "a digit"},
		{"leading zero", user, `{`, `{"x":01,`, "a comma"},
		{"leading plus", user, `{`, `{"x":+1,`, "a value"},
		{"bare leading point", user, `{`, `{"x":.5,`, "a value"},
		{"bare trailing point", user, `{`, `{"x":5.,`, "a digit after the point"},
		{"bare exponent", user, `{`, `{"x":5e,`, "a digit of the exponent"},
		{"bare minus", user, `{`, `{"x":-,`, "a digit"},
		{"hexadecimal number", user, `{`, `{"x":0x10,`, "a comma"},

		// Strings.
		{"invalid UTF-8", user, `0x5d18`, "\xff", "valid UTF-8"},
		{"truncated UTF-8", user, `0x5d18`, "\xe2\x82", "valid UTF-8"},
		{"overlong UTF-8", user, `0x5d18`, "\xc0\xaf", "valid UTF-8"},
		{"surrogate in UTF-8", user, `0x5d18`, "\xed\xa0\x80", "valid UTF-8"},
		{"invalid UTF-8 in a key", user, `{`, "{\"\xff\":1,", "valid UTF-8"},
		{"invalid UTF-8 in a skipped value", user, `{`, "{\"x\":[\"abcdefghijklm\x80\"],", "valid UTF-8"},
		{"replacement character", user, `0x5d18`, "\uFFFD", ""},
		{"control character", user, `0x5d18`, "a\nb", "control character"},
		{"NUL byte", user, `0x5d18`, "a\x00b", "control character"},
		{"DEL", user, `0x5d18`, "a\x7fb", ""},
		{"escaped NUL", user, `0x5d18`, `a\u0000b`, "escaped NUL"},
		{"escaped NUL in an unknown field", user, `{`, `{"x":"\u0000",`, "escaped NUL"},
		{"escaped NUL in a key", user, `{`, `{"\u0000":1,`, "escaped NUL"},
		{"lone high surrogate", user, `0x5d18`, `\ud83d`, "lone surrogate"},
		{"lone low surrogate", user, `0x5d18`, `\ude00`, "lone surrogate"},
		{"two high surrogates", user, `0x5d18`, `\ud83d\ud83d`, "lone surrogate"},
		{"high surrogate before a letter", user, `0x5d18`, `\ud83d\u0041`, "lone surrogate"},
		{"lone surrogate in a key", user, `{`, `{"\ud800":1,`, "lone surrogate"},
		{"surrogate pair", user, `0x5d18`, `\ud83d\ude00`, ""},
		{"unknown escape", user, `0x5d18`, `\x41`, "escape sequence"},
		{"escape with three digits", user, `0x5d18`, `\u004`, "four hexadecimal digits"},

		// Types, nulls and bounds, by the first field that has them.
		{"required text null", user, `"0x5d18"`, `null`, "l2_pubkey is null"},
		{"required text a number", user, `"0x5d18"`, `5`, "l2_pubkey is 5, it must be a string"},
		{"required text an object", user, `"0x5d18"`, `{}`, "l2_pubkey is an object"},
		{"required text missing", user, `,"l2_pubkey":"0x5d18"`, ``, "l2_pubkey is missing"},
		{"empty text", user, `"0x5d18"`, `""`, ""},
		{"user id a string", user, `:1,`, `:"1",`, `user_id is "1"`},
		{"user id negative", user, `:1,`, `:-1,`, "user_id is -1"},
		{"user id negative zero", user, `:1,`, `:-0,`, "user_id is -0"},
		{"user id fractional", user, `:1,`, `:1.0,`, "user_id is 1.0"},
		{"user id with exponent", user, `:1,`, `:1e3,`, "user_id is 1e3"},
		{"user id zero", user, `:1,`, `:0,`, ""},
		{"user id 2^32-1", user, `:1,`, `:4294967295,`, ""},
		{"user id 2^32", user, `:1,`, `:4294967296,`, "user_id is 4294967296"},
		{"user id 2^64+1", user, `:1,`, `:18446744073709551617,`, "2^32-1"},
		{"asset too long to index", transfer, `USDT`, strings.Repeat("x", maxName+1), "asset has 1025 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			value := []byte(c.new)
			if c.old != c.base {
				value = []byte(strings.Replace(c.base, c.old, c.new, 1))
			}
			check(t, c.base, value, c.reason)
		})
	}

	t.Run("tombstone", func(t *testing.T) { check(t, user, nil, "tombstone") })
	t.Run("empty", func(t *testing.T) { check(t, user, []byte{}, "empty") })
}

// check decodes a value that must be refused with a reason, or, where there is
// none, must be accepted.
func check(t *testing.T, base string, value []byte, reason string) {
	t.Helper()
	err := new(messages).decode(base, value)
	if reason == "" {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	var wrong *Error
	if !errors.As(err, &wrong) || !strings.Contains(wrong.Reason, reason) {
		t.Fatalf("error %v, expected one with %q", err, reason)
	}
	printable(t, wrong)
}

// printable checks what every reason promises.
func printable(t testing.TB, err *Error) {
	t.Helper()
	if err.Reason == "" || len(err.Reason) > 1000 {
		t.Errorf("the reason has %d bytes: %.2000s", len(err.Reason), err.Reason)
	}
	if strings.ContainsFunc(err.Reason, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("the reason is not printable: %q", err.Reason)
	}
}

// TestEveryTwin repeats each key in objects around the size from which names
// are sorted.
func TestEveryTwin(t *testing.T) {
	var m messages
	for _, n := range []int{1, 2, fewNames - 1, fewNames, fewNames + 1, 2 * fewNames} {
		keys := ""
		for i := range n {
			keys += fmt.Sprintf(`"%d":0,`, i)
		}
		for i := range n {
			twin := fmt.Sprintf(`{"x":{%s"%d":0},`, keys, i)
			if m.decode(user, edit(t, user, `{`, twin)) == nil {
				t.Errorf("accepted %s", twin)
			}
		}
	}
}

// TestEveryByte puts each byte at each place of a string, because strings are
// read eight bytes at a time.
func TestEveryByte(t *testing.T) {
	var m messages
	for place := range 20 {
		for c := range 256 {
			s := []byte("abcdefghijklmnopqrst")
			s[place] = byte(c)
			value := slices.Concat([]byte(`{"user_id":1,"l1_address":"`), s, []byte(`","l2_pubkey":""}`))
			err := m.decode(user, value)
			if valid := jsontext.Value(value).IsValid(); valid != (err == nil) {
				t.Errorf("%q: %v, but that it is valid JSON is %v", value, err, valid)
			}
			if err == nil && c != '\\' && string(m.user.L1Address) != string(s) {
				t.Errorf("got %q, expected %q", m.user.L1Address, s)
			}
		}
	}
}

// TestEveryCut feeds every message cut off at every byte: none may pass, and
// none may panic.
func TestEveryCut(t *testing.T) {
	var m messages
	for _, base := range everyMessage {
		for i := range base {
			// The exact capacity lets a read beyond the end be seen.
			if err := m.decode(base, slices.Clip([]byte(base[:i]))); err == nil || errors.Is(err, ErrForeign) {
				t.Errorf("accepted %q", base[:i])
			}
		}
	}
}

// TestReuse shows that nothing of one record is left in the next.
func TestReuse(t *testing.T) {
	var d Decoder
	var b Balance
	if err := d.Balance([]byte(balance), &b); err != nil {
		t.Fatal(err)
	}
	if err := d.Balance([]byte(`{"user_id":2}`), &b); err == nil {
		t.Error("fields of the former record were taken")
	}
	if err := d.Balance(edit(t, balance, `,"signature":""`, ``), &b); err != nil {
		t.Fatal(err)
	}
	if b.Signature != nil {
		t.Errorf("signature is %q, expected none", b.Signature)
	}
}

func TestNoAllocation(t *testing.T) {
	var m messages
	for _, base := range everyMessage {
		value := []byte(base)
		if base == engineTrade { // whose objects are malformed, and noting why allocates
			value = values(t, "TradeMessage")[0]
		}
		if n := testing.AllocsPerRun(10, func() { _ = m.decode(base, value) }); n != 0 {
			t.Errorf("%v allocations for %s", n, base)
		}
	}
}

// TestMonster decodes 10 MiB, the topics' limit, made to be slow: with time
// quadratic in keys, nesting or digits it would not end within a test's limit.
func TestMonster(t *testing.T) {
	const size = 10 << 20
	fill := func(piece func(i int) string) string {
		var b strings.Builder
		for i := 0; b.Len() < size-50; i++ {
			b.WriteString(piece(i))
		}
		return b.String()
	}
	for _, c := range []struct{ name, value, reason string }{
		{"different keys", `{` + fill(func(i int) string { return fmt.Sprintf(`"%d":0,`, i) }) + `"user_id":1,"l1_address":"","l2_pubkey":""}`, ""},
		{"escaped keys", `{` + fill(func(i int) string { return fmt.Sprintf(`"\u0061%d":0,`, i) }) + `"user_id":1,"l1_address":"","l2_pubkey":""}`, ""},
		{"keys with one fingerprint", `{` + fill(func(i int) string { return fmt.Sprintf(`"12345678%08d12345678":0,`, i) }) + `"user_id":1,"l1_address":"","l2_pubkey":""}`, ""},
		{"small objects", `{"x":[` + fill(func(int) string { return `{"a":0,"b":0},` }) + `0],"user_id":1,"l1_address":"","l2_pubkey":""}`, ""},
		{"nesting", strings.Repeat(`{"":`, size/4), "nested deeper"},
		{"digits", `{"user_id":` + strings.Repeat("1", size) + `,"l1_address":"","l2_pubkey":""}`, "user_id is 1111"},
		{"text", `{"user_id":1,"l1_address":"` + strings.Repeat(`\u00e9`, size/6) + `","l2_pubkey":""}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, user, []byte(c.value), c.reason) })
	}
}
