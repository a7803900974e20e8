package verify

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"
)

// match finds for each row the record that it was made of, and the other way
// round. Equal content on both sides is a match, however often it is there.
// Then come the pairs that belong together and are not equal.
func (c *comparison) match(ctx context.Context, rows, records []entry) {
	byHash := map[int64][]*entry{}
	for i := range records {
		if e := &records[i]; !e.matched {
			byHash[e.hash] = append(byHash[e.hash], e)
		}
	}
	var left []*entry
	for i := range rows {
		row := &rows[i]
		equal := false
		for _, e := range byHash[row.hash] {
			if e.digest == row.digest {
				equal = c.accept(row, e) || equal
			}
		}
		switch {
		case equal:
			row.matched = true
		case !row.matched:
			left = append(left, row)
		}
	}
	if len(left) == 0 {
		return
	}
	near := map[int64][]*entry{}
	for i := range records {
		if e := &records[i]; !e.matched {
			near[c.id.bucketKey(&e.record)] = append(near[c.id.bucketKey(&e.record)], e)
		}
	}
	for _, row := range left {
		c.pair(ctx, row, near[c.id.bucketKey(&row.record)])
	}
}

// accept matches a row and a record of equal content; false where the row must
// be of another record. A table that is filled from unifyevents has to account
// for each position there.
func (c *comparison) accept(row, e *entry) bool {
	p := c.start[e.log]
	switch {
	case !hot[c.id].live, p == nil, row.source == e.source:
		e.matched = true
		return true
	case p.dups.has(e.offset):
		e.matched = true
	default:
		e.elsewhere = true
	}
	return !c.unify[row.TopicID]
}

// pair looks for the record that the row must have been made of although it is
// not what that record says.
func (c *comparison) pair(ctx context.Context, row *entry, records []*entry) {
	if c.documented(row) {
		for _, e := range records {
			if c.sameAsFar(row, e) {
				row.matched, e.matched = true, true
				c.table.OtherForm++
				return
			}
		}
	}
	for _, e := range records {
		if !e.matched && c.belong(row, e) && (row.hash == e.hash || !c.sound(ctx, row)) {
			row.matched, e.matched = true, true
			c.altered(row, e)
			return
		}
	}
}

// belong tells whether the row and the record, which are not equal, are of one
// event. After a crash the engine can use an id for something else, and each of
// the two can be on one topic only; but not at the same microsecond.
func (c *comparison) belong(row, e *entry) bool {
	if row.hash == e.hash {
		return true
	}
	a, b := fields(row.image), fields(e.image)
	same := func(names ...string) bool {
		for _, name := range names {
			i := c.id.column(name)
			if a[i] == nil || !bytes.Equal(a[i], b[i]) {
				return false
			}
		}
		return true
	}
	switch c.id {
	case trades:
		return same("trade_id", "time")
	case orderEvents:
		return same("order_id", "event", "create_time", "update_time")
	case deposits, withdrawals:
		return row.source == e.source || same("user_id", "asset", "time", "business", "business_id", "change", "balance")
	case transfers:
		return same("user_from", "user_to", "asset", "time")
	default:
		return same("user_id", "l1_address", "l2_pubkey")
	}
}

// altered reports a row that is not what the record says.
func (c *comparison) altered(row, e *entry) {
	c.table.Altered++
	if row.hash == e.hash && row.digest == e.digest {
		d := c.with(Moved, row, fmt.Sprintf("its record is at offset %d", e.offset))
		d.Log = &e.offset
		c.differ("dingir."+hot[c.id].name, d)
		return
	}
	d := c.describe(Altered, row)
	d.Log = &e.offset
	d.Detail = c.id.differences(row.image, e.image)
	c.differ("dingir."+hot[c.id].name, d)
}

// differences tells in which columns a row is not what its record says.
func (t tableID) differences(row, rec []byte) string {
	a, b := fields(row), fields(rec)
	var list []string
	for i, name := range t.names() {
		switch {
		case i >= len(a)-3: // where it came from
		case t == orderEvents && name == "time", t == users && name == "registered_at":
		case a[i] == nil != (b[i] == nil) || !bytes.Equal(a[i], b[i]):
			list = append(list, fmt.Sprintf("%s is %s, the record says %s", name, show(name, a[i]), show(name, b[i])))
		}
	}
	if len(list) == 0 {
		return "it is not what the record says"
	}
	return strings.Join(list, "; ")
}

// describe is a difference about a row.
func (c *comparison) describe(kind string, row *entry) Difference {
	at := time.UnixMicro(row.time).UTC()
	d := Difference{Kind: kind, Part: Tables, Table: hot[c.id].name, Time: &at,
		Place: &Place{c.names[row.TopicID], row.Partition, Range{row.offset, row.offset}}}
	if hot[c.id].byID {
		d.ID = &row.id
	}
	return d
}

// conclude judges what is on one side only.
func (c *comparison) conclude(ctx context.Context) error {
	// An altered id or time puts a row into another bucket than its record.
	byHash, byRest := map[int64]*entry{}, map[uint64]*entry{}
	for i := range c.records {
		byHash[c.records[i].hash] = &c.records[i]
		byRest[c.rest(&c.records[i])] = &c.records[i]
	}
	place := "dingir." + hot[c.id].name
	archived, stored := c.archived(), c.state.Tally.Times[c.id]
	for i := range c.rows {
		row := &c.rows[i]
		e := byHash[row.hash]
		if e == nil || e.matched {
			e = byRest[c.rest(row)]
		}
		if e != nil && !e.matched && (row.hash == e.hash || !c.sound(ctx, row)) {
			e.matched = true
			c.altered(row, e)
			continue
		}
		switch {
		case c.covers(row.source):
			c.differ(place, c.with(Forged, row, "the event log has another record at this position"))
		case archived.Count == 0 || row.time < archived.First*1000:
			c.table.Earlier++
		case row.time > (archived.Last+1)*1000:
			c.table.Later++
		default:
			c.table.OnlyInTable++
			c.find(place, c.with(OnlyInTable, row, "the event log does not have it"))
		}
	}
	for i := range c.records {
		if e := &c.records[i]; !e.matched {
			if err := c.concludeRecord(ctx, e, place, stored); err != nil {
				return err
			}
		}
	}
	return nil
}

// rest is a number for what a row still has of its record when its id and its
// content_hash were altered. A trade has its time: the engine makes one at a
// time.
func (c *comparison) rest(e *entry) uint64 {
	if c.id == trades {
		return uint64(e.time)
	}
	b := slices.Clone(c.id.content(e.image))
	clear(b[4:12])
	at := bytes.Index(b, binary.BigEndian.AppendUint64(nil, uint64(e.hash)))
	clear(b[at : at+8])
	if c.id == orderEvents {
		clear(b[16:24])
	}
	return digestOf(b)
}

// concludeRecord judges a record without a row.
func (c *comparison) concludeRecord(ctx context.Context, e *entry, place string, stored span) error {
	rejected, err := c.rejected(ctx, e.hash)
	switch {
	case err != nil:
		return err
	case rejected:
		c.table.Rejected++
	case hot[c.id].live && c.start[e.log] != nil && c.start[e.log].reach >= 0:
		// Its row was written in the transaction that archived it.
		if e.offset >= c.start[e.log].FirstOffset && c.covers(e.source) {
			c.table.OnlyInLog++
			detail := "the event log has it, and there is no row"
			if e.elsewhere {
				detail = "its row has another position, and no duplicate is noted"
			}
			c.differ(place, c.with(Missing, e, detail))
		}
	case stored.Count == 0 || e.time < stored.First:
		c.table.Earlier++
	case e.time > stored.Last:
		c.table.Later++
	default:
		c.table.OnlyInLog++
		d := c.with(OnlyInLog, e, "there is no row of it")
		c.find(place, d)
	}
	return nil
}

func (c *comparison) with(kind string, e *entry, detail string) Difference {
	d := c.describe(kind, e)
	d.Detail = detail
	return d
}

// covers tells whether the archive has a record at a position.
func (a *audit) covers(s source) bool {
	if !a.unify[s.TopicID] {
		return false
	}
	for _, d := range a.state.Tally.Damaged {
		if d.TopicID == s.TopicID && s.offset >= d.First && s.offset <= d.Last {
			return false
		}
	}
	p := a.start[s.log]
	if p == nil {
		return false
	}
	for _, r := range p.tiles {
		if s.offset >= r.First && s.offset <= r.Last {
			return true
		}
	}
	return false
}
