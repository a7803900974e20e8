package state

import (
	"bufio"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/event"
)

// Filter chooses a part of the state; its zero value is all of it. Of several
// conditions all must hold.
type Filter struct {
	User   *int64 // its registration, balances and orders
	Market string // its orders, and the balances of its two assets
	Asset  string // its balances, and the orders of markets that trade it
}

// Balance reports whether a balance is chosen.
func (f *Filter) Balance(s *State, b *Balance) bool {
	if f.Market != "" {
		i, ok := s.marketOf[f.Market]
		if !ok || b.Asset != s.assets.names[s.markets[i].base] && b.Asset != s.assets.names[s.markets[i].quote] {
			return false
		}
	}
	return f.UserID(b.UserID) && (f.Asset == "" || f.Asset == b.Asset)
}

// Order reports whether an order is chosen.
func (f *Filter) Order(o *Order) bool {
	return f.UserID(o.UserID) && (f.Market == "" || f.Market == o.Market) && (f.Asset == "" || f.Asset == o.Base || f.Asset == o.Quote)
}

// UserID reports whether a user is chosen.
func (f *Filter) UserID(id int64) bool { return f.User == nil || *f.User == id }

// Unknown says what the filter asks for that the state does not have, and what it
// has; empty where there is all of it. An asset is there once anybody had it.
func (f *Filter) Unknown(s *State) string {
	const most = 20
	has := func(what, name string, names []string) string {
		if name == "" || slices.Contains(names, name) {
			return ""
		}
		slices.Sort(names)
		more := ""
		if len(names) > most {
			names, more = names[:most], ", …"
		}
		return "no " + what + " " + name + " in this state; there are: " + strings.Join(names, ", ") + more
	}
	var markets []string
	for i := range s.markets {
		markets = append(markets, s.markets[i].name)
	}
	unknown := cmp.Or(has("market", f.Market, markets), has("asset", f.Asset, slices.Clone(s.assets.names)))
	if unknown == "" && f.User != nil && s.users[*f.User] == nil &&
		!slices.ContainsFunc(s.accounts, func(a account) bool { return a.user == *f.User }) {
		return "no user " + strconv.FormatInt(*f.User, 10) + " in this state"
	}
	return unknown
}

// WriteJSON writes the state as one object with sorted keys: users, balances,
// open orders with their fields as on the wire, the last ids, and from where to
// where the log went. Amounts are strings in plain notation without trailing
// zeros, times are seconds since 1970. Equal states give equal bytes.
func (s *State) WriteJSON(w io.Writer, f Filter) error {
	j := &jsonWriter{out: bufio.NewWriter(w)}
	j.open('{')
	s.writeBalances(j, &f)
	j.member("base_offset").integer(s.base)
	j.member("complete").boolean(s.complete)
	j.member("last_order_id").integer(s.lastOrder)
	j.member("last_trade_id").integer(s.lastTrade)
	j.member("mismatches").integer(s.Mismatches())
	j.member("next_offset").integer(s.next)
	j.member("open_orders").open('[')
	for o := range s.OpenOrders() {
		if f.Order(&o) {
			j.item()
			j.order(&o)
		}
	}
	j.close(']')
	j.member("provisional").boolean(s.Provisional())
	s.writeUsers(j, &f)
	j.close('}')
	j.raw("\n")
	return j.out.Flush()
}

func (s *State) writeBalances(j *jsonWriter, f *Filter) {
	// As keys of an object, users are sorted by their digits.
	of := map[string][]Balance{}
	var users []string
	for b := range s.Balances() {
		if !f.Balance(s, &b) {
			continue
		}
		user := strconv.FormatInt(b.UserID, 10)
		if of[user] == nil {
			users = append(users, user)
		}
		of[user] = append(of[user], b)
	}
	slices.Sort(users)
	j.member("balances").open('{')
	for _, user := range users {
		j.member(user).open('{')
		for _, b := range of[user] {
			j.member(b.Asset).open('{')
			j.member("available").amount(b.Available)
			j.member("frozen").amount(b.Frozen)
			if !b.Known {
				j.member("known").boolean(false)
			}
			j.close('}')
		}
		j.close('}')
	}
	j.close('}')
}

func (s *State) writeUsers(j *jsonWriter, f *Filter) {
	users := make([]*User, 0, len(s.users))
	for _, u := range s.users {
		if f.UserID(u.ID) {
			users = append(users, u)
		}
	}
	slices.SortFunc(users, func(a, b *User) int {
		return strings.Compare(strconv.FormatInt(a.ID, 10), strconv.FormatInt(b.ID, 10))
	})
	j.member("users").open('{')
	for _, u := range users {
		j.member(strconv.FormatInt(u.ID, 10)).open('{')
		j.member("l1_address").text(u.L1Address)
		j.member("l2_pubkey").text(u.L2Pubkey)
		j.close('}')
	}
	j.close('}')
}

var noSignature = strings.Repeat("0", 128)

// order writes an order with its fields sorted by name.
func (j *jsonWriter) order(o *Order) {
	j.open('{')
	j.member("amount").amount(o.Amount)
	j.member("base").text(o.Base)
	j.member("create_time").seconds(o.CreateTime)
	j.member("finished_base").amount(o.FinishedBase)
	j.member("finished_fee").amount(o.FinishedFee)
	j.member("finished_quote").amount(o.FinishedQuote)
	j.member("frozen").amount(o.Frozen)
	j.member("id").integer(o.ID)
	j.member("maker_fee").amount(o.MakerFee)
	j.member("market").text(o.Market)
	if o.PostOnly != event.NoFlag {
		j.member("post_only").boolean(o.PostOnly == event.True)
	}
	j.member("price").amount(o.Price)
	j.member("quote").text(o.Quote)
	j.member("remain").amount(o.Remain)
	j.member("side").text(strings.ToUpper(o.Side.String()))
	if o.Signature != nil {
		j.member("signature").text(hex.EncodeToString(o.Signature))
	} else {
		j.member("signature").text(noSignature)
	}
	j.member("taker_fee").amount(o.TakerFee)
	j.member("type").text(strings.ToUpper(o.Type.String()))
	j.member("update_time").seconds(o.UpdateTime)
	j.member("user").integer(o.UserID)
	j.close('}')
}

// jsonWriter writes indented JSON as encoding/json does, piece by piece, so that
// a large state needs no second copy of itself in memory.
type jsonWriter struct {
	out    *bufio.Writer // keeps the first error until it is flushed
	depth  int
	filled bool // the innermost object or array has something in it
	buffer []byte
}

func (j *jsonWriter) raw(text string) { _, _ = j.out.WriteString(text) }

func (j *jsonWriter) line() {
	j.raw("\n")
	for range j.depth {
		j.raw("  ")
	}
}

func (j *jsonWriter) open(bracket byte) {
	_ = j.out.WriteByte(bracket)
	j.depth, j.filled = j.depth+1, false
}

func (j *jsonWriter) close(bracket byte) {
	j.depth--
	if j.filled {
		j.line()
	}
	_ = j.out.WriteByte(bracket)
	j.filled = true
}

func (j *jsonWriter) item() {
	if j.filled {
		j.raw(",")
	}
	j.line()
	j.filled = true
}

func (j *jsonWriter) member(name string) *jsonWriter {
	j.item()
	j.text(name)
	j.raw(": ")
	return j
}

func (j *jsonWriter) text(text string) {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string can always be written
	}
	_, _ = j.out.Write(b)
}

func (j *jsonWriter) boolean(b bool) { j.raw(strconv.FormatBool(b)) }

func (j *jsonWriter) integer(n int64) {
	j.buffer = strconv.AppendInt(j.buffer[:0], n, 10)
	_, _ = j.out.Write(j.buffer)
}

func (j *jsonWriter) amount(a amount.Amount) {
	j.buffer = append(a.AppendTo(append(j.buffer[:0], '"')), '"')
	_, _ = j.out.Write(j.buffer)
}

// seconds writes a time as the engine does: with at least one decimal, at most
// six, and no trailing zero more.
func (j *jsonWriter) seconds(t event.Micros) {
	if t == event.NoTime {
		j.raw("null")
		return
	}
	b := strconv.AppendInt(j.buffer[:0], int64(t)/1_000_000, 10)
	b = append(b, '.')
	fraction := strconv.Itoa(1_000_000 + int(int64(t)%1_000_000))[1:]
	b = append(b, fraction[0])
	b = append(b, strings.TrimRight(fraction[1:], "0")...)
	j.buffer = b
	_, _ = j.out.Write(b)
}
