package main

import (
	"bufio"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/state"
)

// The tables of a state, called as those in the database.
const (
	balancesTable = "balances"
	ordersTable   = "orders"
	usersTable    = "users"
)

// writeStateCSV writes one table with the columns of the database's, so that
// either can be put beside the other.
func writeStateCSV(w io.Writer, s *state.State, f *state.Filter, table string) error {
	out := csv.NewWriter(w)
	put := func(row ...string) { _ = out.Write(row) } // the first error stays: Error
	switch table {
	case balancesTable:
		put("user_id", "asset", "available", "frozen", "known")
		for b := range s.Balances() {
			if f.Balance(s, &b) {
				put(id(b.UserID), b.Asset, b.Available.String(), b.Frozen.String(), strconv.FormatBool(b.Known))
			}
		}
	case ordersTable:
		put("order_id", "user_id", "market", "base", "quote", "side", "type", "post_only", "price", "amount", "remain", "frozen",
			"finished_base", "finished_quote", "finished_fee", "maker_fee", "taker_fee", "create_time", "update_time", "signature")
		for o := range s.OpenOrders() {
			if f.Order(&o) {
				put(id(o.ID), id(o.UserID), o.Market, o.Base, o.Quote, o.Side.String(), o.Type.String(), flagText(o.PostOnly),
					o.Price.String(), o.Amount.String(), o.Remain.String(), o.Frozen.String(),
					o.FinishedBase.String(), o.FinishedQuote.String(), o.FinishedFee.String(), o.MakerFee.String(), o.TakerFee.String(),
					timeText(o.CreateTime), timeText(o.UpdateTime), hex.EncodeToString(o.Signature))
			}
		}
	case usersTable:
		put("user_id", "l1_address", "l2_pubkey")
		for u := range s.Users() {
			if f.UserID(u.ID) {
				put(id(u.ID), u.L1Address, u.L2Pubkey)
			}
		}
	}
	out.Flush()
	return out.Error()
}

func id(n int64) string { return strconv.FormatInt(n, 10) }

func flagText(f event.Flag) string {
	if f == event.NoFlag {
		return ""
	}
	return strconv.FormatBool(f == event.True)
}

// timeText is a time in UTC as spreadsheets and PostgreSQL read it; empty where
// it is not known.
func timeText(t event.Micros) string {
	if t == event.NoTime {
		return ""
	}
	return strings.TrimSuffix(time.UnixMicro(int64(t)).UTC().Format("2006-01-02 15:04:05.000000"), ".000000")
}

// writeStateTables writes a summary and the tables for a person to read; only
// one table where it is named.
func writeStateTables(w io.Writer, s *state.State, f *state.Filter, only string) error {
	out := bufio.NewWriter(w)
	writeSummary(out, s)
	for _, t := range []struct {
		name  string
		table *grid
	}{{balancesTable, balancesGrid(s, f)}, {ordersTable, ordersGrid(s, f)}, {usersTable, usersGrid(s, f)}} {
		if only == "" || only == t.name {
			fmt.Fprintln(out)
			t.table.write(out)
		}
	}
	return out.Flush()
}

func writeSummary(w io.Writer, s *state.State) {
	at := ""
	if s.Time() > 0 {
		at = ", newest record of " + time.UnixMilli(s.Time()).UTC().Format("2006-01-02 15:04:05.000") + " UTC"
	}
	fmt.Fprintf(w, "state at offset %d%s: last order %d, last trade %d\n", s.Next(), at, s.LastOrderID(), s.LastTradeID())
	writeDoubts(w, s)
}

// writeDoubts says why the state may not be all of it.
func writeDoubts(w io.Writer, s *state.State) {
	if !s.Complete() {
		fmt.Fprintf(w, "incomplete: the log does not tell everything since the exchange's beginning (it begins at offset %d);\n"+
			"an amount with a ? is what the log added to one that it does not tell\n", s.Base())
	}
	if s.Provisional() {
		fmt.Fprintln(w, "provisional: the last operation may not be at its end")
	}
	if n := s.Mismatches(); n > 0 {
		var names, examples []string
		for _, check := range s.Checks() {
			if check.Failed > 0 {
				names = append(names, fmt.Sprintf("%s %d", check.Name, check.Failed))
			}
			for _, e := range check.Examples {
				examples = append(examples, fmt.Sprintf("  %s at offset %d: %s: expected %s, found %s\n", e.Check, e.Offset, shown(e.Field), shown(e.Expected), shown(e.Found)))
			}
		}
		fmt.Fprintf(w, "the log contradicts itself %d times (docs/state.md): %s\n", n, strings.Join(names, ", "))
		if len(examples) > 0 {
			fmt.Fprintf(w, "the first of each:\n%s", strings.Join(examples, ""))
		}
	}
}

// shown is a text of the log's, for a terminal.
func shown(text string) string {
	const most = 200
	if len(text) > most {
		text = text[:most] + "…"
	}
	return printable([]byte(text), len(text))
}

func balancesGrid(s *state.State, f *state.Filter) *grid {
	g := &grid{title: "balances", columns: []column{{name: "user", align: right}, {name: "asset"}, {name: "available", align: point}, {name: "frozen", align: point}}}
	last := ""
	for b := range s.Balances() {
		if !f.Balance(s, &b) {
			continue
		}
		doubt := ""
		if !b.Known {
			doubt = "?"
		}
		user := id(b.UserID)
		if user == last {
			user = "" // its name stands above
		} else {
			last = user
		}
		g.add(user, b.Asset, b.Available.String()+doubt, b.Frozen.String()+doubt)
	}
	return g
}

func ordersGrid(s *state.State, f *state.Filter) *grid {
	g := &grid{title: "open orders", columns: []column{{name: "order", align: right}, {name: "user", align: right}, {name: "market"}, {name: "side"}, {name: "type"},
		{name: "price", align: point}, {name: "amount", align: point}, {name: "remain", align: point}, {name: "frozen", align: point}, {name: "created (UTC)"}}}
	for o := range s.OpenOrders() {
		if f.Order(&o) {
			g.add(id(o.ID), id(o.UserID), o.Market, o.Side.String(), o.Type.String(),
				o.Price.String(), o.Amount.String(), o.Remain.String(), o.Frozen.String(), timeText(o.CreateTime))
		}
	}
	return g
}

func usersGrid(s *state.State, f *state.Filter) *grid {
	g := &grid{title: "users", columns: []column{{name: "user", align: right}, {name: "L1 address"}, {name: "L2 public key"}}}
	for u := range s.Users() {
		if f.UserID(u.ID) {
			g.add(id(u.ID), u.L1Address, u.L2Pubkey)
		}
	}
	return g
}

// grid is a table for a person: numbers stand under each other, point under
// point.
type grid struct {
	title   string
	columns []column
	rows    [][]string
}

type column struct {
	name  string
	align alignment

	left, right int // widths before and from the point on
}

// widestCell bounds what is shown of a text, in bytes.
const widestCell = 200

type alignment uint8

const (
	left alignment = iota
	right
	point
)

func (g *grid) add(cells ...string) {
	for i, cell := range cells {
		cells[i] = printable([]byte(cell), widestCell) // users choose their addresses
		c := &g.columns[i]
		before, after := c.split(cells[i])
		c.left, c.right = max(c.left, utf8.RuneCountInString(before)), max(c.right, utf8.RuneCountInString(after))
	}
	g.rows = append(g.rows, slices.Clone(cells))
}

// split parts a cell where its column aligns it.
func (c *column) split(cell string) (before, after string) {
	switch c.align {
	case left:
		return "", cell
	case point:
		if i := strings.IndexAny(cell, ".?"); i >= 0 {
			return cell[:i], cell[i:]
		}
	case right:
	}
	return cell, ""
}

func (g *grid) write(w io.Writer) {
	if len(g.rows) == 0 {
		fmt.Fprintf(w, "no %s\n", g.title)
		return
	}
	fmt.Fprintf(w, "%s: %d\n", g.title, len(g.rows))
	var line []byte
	for i := range g.columns {
		c := &g.columns[i]
		name := strings.ToUpper(c.name)
		// A name wider than its column widens it on the side that is in front.
		if missing := len(name) - c.left - c.right; missing > 0 && c.align == left {
			c.right += missing
		} else if missing > 0 {
			c.left += missing
		}
		if c.align == left {
			line = pad(append(line, name...), c.left+c.right-len(name))
		} else {
			line = append(pad(line, c.left+c.right-len(name)), name...)
		}
		line = append(line, "  "...)
	}
	writeLine(w, line)
	for _, row := range g.rows {
		line = line[:0]
		for i, cell := range row {
			c := &g.columns[i]
			before, after := c.split(cell)
			line = append(pad(line, c.left-utf8.RuneCountInString(before)), before...)
			line = pad(append(line, after...), c.right-utf8.RuneCountInString(after))
			line = append(line, "  "...)
		}
		writeLine(w, line)
	}
}

func writeLine(w io.Writer, line []byte) {
	fmt.Fprintf(w, "%s\n", strings.TrimRight(string(line), " "))
}

func pad(line []byte, n int) []byte {
	for range n {
		line = append(line, ' ')
	}
	return line
}
