package store

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/event"
)

// stateChanges is a batch's part for balances, open_orders and state. The rows
// travel as arrays, one a column, in the text of the batch: INSERT ... ON
// CONFLICT over sorted keys was the cheapest form for the server (8 us a row of
// its time at 3,000 rows; COPY into a table between 8 and a good deal more
// memory, an UPDATE that joins 8 and 30 at 300 rows, one statement a row 60).
type stateChanges struct {
	set      bool
	topic    string
	moves    int64
	row      StateRow
	balances [5]column
	gone     [2]column
	orders   [orderColumns]column
	closed   column
}

const orderColumns = 20

func (s *stateChanges) reset() {
	s.set = false
	s.closed.reset()
	for _, list := range [][]column{s.balances[:], s.gone[:], s.orders[:]} {
		for i := range list {
			list[i].reset()
		}
	}
}

// State has the batch write the state's row: what balances and open_orders
// cover once it is committed. moves is the ledger's count that the state was
// restored under; where an operator has moved the ledger since, the batch fails
// as Fenced.
func (b *Batch) State(p *Progress, moves int64, row StateRow) {
	s := &b.state
	s.set, s.topic, s.moves, s.row = true, p.Topic, moves, row
	s.row.TopicID = p.TopicID
}

// HoldsState tells whether State was called since the last Reset.
func (b *Batch) HoldsState() bool { return b.state.set }

// Holding is a row of balances.
type Holding struct {
	UserID            int64
	Asset             string
	Available, Frozen amount.Amount
	Known             bool
}

// OpenOrder is a row of open_orders.
type OpenOrder struct {
	ID, UserID                               int64
	Market, Base, Quote                      string
	Side                                     event.Side
	Type                                     event.OrderType
	PostOnly                                 event.Flag
	Price, Amount, Remain, Frozen            amount.Amount
	FinishedBase, FinishedQuote, FinishedFee amount.Amount
	MakerFee, TakerFee                       amount.Amount
	CreateTime, UpdateTime                   event.Micros
	Signature                                []byte // nil: none
}

// LongestAsset bounds what is put into the index of balances: PostgreSQL takes
// some 2,700 bytes. What somebody holds of an asset with a longer name is in the
// state and in no row, so that nobody can hold up the log with one.
const LongestAsset = 1000

// PutBalance writes a row of balances. It tells whether the table can have it.
func (b *Batch) PutBalance(h *Holding) bool {
	if len(h.Asset) > LongestAsset {
		return false
	}
	c := &b.state.balances
	c[0].int64(h.UserID)
	c[1].text(h.Asset)
	c[2].amount(h.Available)
	c[3].amount(h.Frozen)
	c[4].bool(h.Known)
	return true
}

// DropBalance deletes a row of balances.
func (b *Batch) DropBalance(userID int64, asset string) {
	b.state.gone[0].int64(userID)
	b.state.gone[1].text(asset)
}

// PutOrder writes a row of open_orders.
func (b *Batch) PutOrder(o *OpenOrder) {
	c := &b.state.orders
	c[0].int64(o.ID)
	c[1].int64(o.UserID)
	c[2].time(o.CreateTime)
	c[3].time(o.UpdateTime)
	c[4].flag(o.PostOnly)
	c[5].text(o.Market)
	c[6].text(o.Base)
	c[7].text(o.Quote)
	c[8].word(o.Side.String())
	c[9].word(o.Type.String())
	c[10].amount(o.Price)
	c[11].amount(o.Amount)
	c[12].amount(o.Remain)
	c[13].amount(o.Frozen)
	c[14].amount(o.FinishedBase)
	c[15].amount(o.FinishedQuote)
	c[16].amount(o.FinishedFee)
	c[17].amount(o.MakerFee)
	c[18].amount(o.TakerFee)
	c[19].bytes(o.Signature)
}

// DropOrder deletes a row of open_orders.
func (b *Batch) DropOrder(id int64) { b.state.closed.int64(id) }

// The columns and their types, in the order in which they are put.
var (
	putBalances = upsert("balances", "user_id, asset", "user_id:bigint asset:text available:numeric frozen:numeric known:bool")
	putOrders   = upsert("open_orders", "order_id", "order_id:bigint user_id:bigint create_time:timestamptz update_time:timestamptz "+
		"post_only:bool market:text base:text quote:text side:text type:text price:numeric amount:numeric remain:numeric frozen:numeric "+
		"finished_base:numeric finished_quote:numeric finished_fee:numeric maker_fee:numeric taker_fee:numeric signature:bytea")
)

// upsertion is an INSERT over arrays that writes over rows that are there.
type upsertion struct {
	head  string
	types []string
	tail  string
}

func upsert(table, key, columns string) upsertion {
	var u upsertion
	var names, sets []string
	for _, c := range strings.Fields(columns) {
		name, kind, _ := strings.Cut(c, ":")
		names, u.types = append(names, name), append(u.types, kind)
		if !strings.Contains(key, name) {
			sets = append(sets, name+" = excluded."+name)
		}
	}
	u.head = "INSERT INTO dingir." + table + " (" + strings.Join(names, ", ") + ") SELECT * FROM unnest("
	u.tail = ") k ORDER BY 1 ON CONFLICT (" + key + ") DO UPDATE SET " + strings.Join(sets, ", ") + ";"
	return u
}

func (u *upsertion) write(s *strings.Builder, columns []column) {
	if len(columns[0]) == 0 {
		return
	}
	s.WriteString(u.head)
	for i, kind := range u.types {
		if i > 0 {
			s.WriteByte(',')
		}
		columns[i].write(s, kind)
	}
	s.WriteString(u.tail)
}

// row is the statement that writes the state's row.
func (s *stateChanges) rowStatement(out *strings.Builder) {
	if !s.set {
		return
	}
	r := &s.row
	latest := "NULL"
	if !r.Latest.IsZero() {
		latest = quote(r.Latest.UTC().Format(timestampFormat))
	}
	fmt.Fprintf(out, "SELECT dingir.put_state(%s,%d::smallint,%d,%d,%d,%t,%t,%d,%d,%d,%s);",
		quote(s.topic), r.TopicID, s.moves, r.Base, r.Next, r.Complete, r.Provisional, r.LastOrderID, r.LastTradeID, r.Mismatches, latest)
}

// changeStatements are those that write the changed rows.
func (s *stateChanges) changeStatements(out *strings.Builder) {
	if len(s.gone[0]) > 0 {
		out.WriteString("DELETE FROM dingir.balances b USING unnest(")
		s.gone[0].write(out, "bigint")
		out.WriteByte(',')
		s.gone[1].write(out, "text")
		out.WriteString(") k(u, a) WHERE b.user_id = k.u AND b.asset = k.a;")
	}
	putBalances.write(out, s.balances[:])
	if len(s.closed) > 0 {
		out.WriteString("DELETE FROM dingir.open_orders WHERE order_id = ANY (")
		s.closed.write(out, "bigint")
		out.WriteString(");")
	}
	putOrders.write(out, s.orders[:])
}

const timestampFormat = "2006-01-02 15:04:05.999999Z07:00"

// column is the inside of an array literal within an SQL literal: elements with
// commas between.
type column []byte

func (c *column) reset() {
	if cap(*c) > 4<<20 {
		*c = nil
	}
	*c = (*c)[:0]
}

func (c *column) write(out *strings.Builder, kind string) {
	out.WriteString("'{")
	out.Write(*c)
	out.WriteString("}'::")
	out.WriteString(kind)
	out.WriteString("[]")
}

func (c *column) next() []byte {
	if len(*c) == 0 {
		return *c
	}
	return append(*c, ',')
}

func (c *column) null() { *c = append(c.next(), "NULL"...) }

func (c *column) int64(v int64) { *c = strconv.AppendInt(c.next(), v, 10) }

func (c *column) bool(v bool) {
	if v {
		*c = append(c.next(), 't')
		return
	}
	*c = append(c.next(), 'f')
}

func (c *column) flag(f event.Flag) {
	if f == event.NoFlag {
		c.null()
		return
	}
	c.bool(f == event.True)
}

func (c *column) amount(a amount.Amount) { *c = a.AppendScaled(c.next()) }

// word writes what needs no quotes.
func (c *column) word(v string) { *c = append(c.next(), v...) }

func (c *column) time(t event.Micros) {
	if t == event.NoTime {
		c.null()
		return
	}
	*c = append(time.UnixMicro(int64(t)).UTC().AppendFormat(append(c.next(), '"'), timestampFormat), '"')
}

func (c *column) text(v string) {
	*c = append(c.next(), '"')
	for i := range len(v) {
		switch v[i] {
		case '"', '\\':
			*c = append(*c, '\\')
		case '\'':
			*c = append(*c, '\'')
		}
		*c = append(*c, v[i])
	}
	*c = append(*c, '"')
}

func (c *column) bytes(v []byte) {
	if v == nil {
		c.null()
		return
	}
	*c = c.next()
	*c = append(*c, `"\\x`...)
	*c = hex.AppendEncode(*c, v)
	*c = append(*c, '"')
}
