package verify

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// tableID numbers the tables that hold records of topics, as store.Shapes does.
type tableID int

const (
	trades tableID = iota
	orderEvents
	balanceChanges
	deposits
	withdrawals
	transfers
	users
	tableCount
)

// A table is one that holds records.
type table struct {
	name  string
	topic string // that fills it
	time  string // the column of a row's time

	// archived tells that unifyevents has its records as well; live, that they
	// become rows from there.
	archived, live bool

	// byID tells that a row's first column is an id that its buckets go by; the
	// others go by time, which the record itself says.
	byID bool

	// ownTime tells that the record's value says the time, so that it is the same
	// from both topics.
	ownTime bool
}

var hot = [tableCount]table{
	trades:         {name: "trades", topic: topics.Trades, time: "time", archived: true, byID: true, ownTime: true},
	orderEvents:    {name: "order_events", topic: topics.Orders, time: "time", archived: true, byID: true},
	balanceChanges: {name: "balance_changes", topic: topics.Balances, time: "time", ownTime: true},
	deposits:       {name: "deposits", topic: topics.Deposits, time: "time", archived: true, live: true, ownTime: true},
	withdrawals:    {name: "withdrawals", topic: topics.Withdraws, time: "time", archived: true, live: true, ownTime: true},
	transfers:      {name: "internal_transfers", topic: topics.InternalTransfer, time: "time", archived: true, ownTime: true},
	users:          {name: "users", topic: topics.RegisterUser, time: "registered_at", archived: true, byID: true},
}

// tableOf returns the table that a consumed topic fills; false for unifyevents,
// which fills the event log.
func tableOf(topic string) (tableID, bool) {
	for id := range tableCount {
		if hot[id].topic == topic {
			return id, true
		}
	}
	return 0, false
}

// columns is the list for a SELECT whose rows are as store.Imager makes them.
func (t tableID) columns() string { return strings.Join(store.Columns(hot[t].name), ", ") }

// key is the column that buckets go by, as a condition needs it.
func (t tableID) key() string {
	switch {
	case t == users:
		return "user_id"
	case hot[t].byID:
		return store.Columns(hot[t].name)[0]
	}
	return "time"
}

// The end of a row: src_topic, src_partition and src_offset, each behind its
// length; of users also registered_at before them.
const (
	sourceBytes = 4 + 2 + 4 + 4 + 4 + 8
	timeBytes   = 4 + 8
)

// pgEpoch is 2000-01-01 in µs of the Unix epoch.
const pgEpoch = 946_684_800_000_000

// record is a row of one of the tables, as COPY has it.
type record struct {
	image []byte // the count of columns, then length and value of each
	id    int64  // the first column: of trades, orders or users; else the user's
	time  int64  // µs
	hash  int64  // content_hash
	source
}

// source is the position that a row came from.
type source struct {
	log
	offset int64
}

// parse reads what identifies a row. The columns that it looks at are never
// NULL.
func (t tableID) parse(image []byte) record {
	int64At := func(at int) int64 { return int64(binary.BigEndian.Uint64(image[at:])) }
	end := len(image)
	r := record{image: image, id: int64At(6)}
	r.TopicID = int16(binary.BigEndian.Uint16(image[end-22:]))
	r.Partition = int32(binary.BigEndian.Uint32(image[end-16:]))
	r.offset = int64At(end - 8)
	switch t {
	case users:
		r.hash, r.time = int64At(18), int64At(end-sourceBytes-8)
	case trades, orderEvents, transfers:
		r.time, r.hash = int64At(18), int64At(30)
	default: // the asset stands between
		at := 18 + int(binary.BigEndian.Uint32(image[14:])) + 4
		r.time, r.hash = int64At(at), int64At(at+12)
	}
	r.time += pgEpoch
	return r
}

// bucketKey is what the record's bucket goes by.
func (t tableID) bucketKey(r *record) int64 {
	if hot[t].byID {
		return r.id
	}
	return r.time / 1_000_000
}

// content is the part of a row that the record's value says. Of an order it
// includes the time, which it does not say: see digest.
func (t tableID) content(image []byte) []byte {
	end := len(image) - sourceBytes
	if t == users {
		end -= timeBytes
	}
	return image[2:end]
}

// digest is a number for the row's content. Of an order the time is left out,
// since each topic's record has its own; the image is the caller's, who must
// not need it any more.
func (t tableID) digest(image []byte) uint64 {
	if t == orderEvents {
		clear(image[18:26])
	}
	return digestOf(t.content(image))
}

func digestOf(b []byte) uint64 { return xxhash.Sum64(b) }

// fields splits a row into its columns; nil is NULL.
func fields(image []byte) [][]byte {
	list := make([][]byte, binary.BigEndian.Uint16(image))
	at := 2
	for i := range list {
		n := int(int32(binary.BigEndian.Uint32(image[at:])))
		at += 4
		if n >= 0 {
			list[i] = image[at : at+n : at+n]
			at += n
		}
	}
	return list
}

// errStream says that COPY sent something else than was asked for.
var errStream = errors.New("the server's COPY stream is not as expected")

// rowEnd returns where the first row of COPY's stream ends: 0 where it is not
// all there, -1 at the trailer.
func rowEnd(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	n := int(int16(binary.BigEndian.Uint16(b)))
	if n < 0 {
		return -1
	}
	at := 2
	for range n {
		if len(b) < at+4 {
			return 0
		}
		size := int(int32(binary.BigEndian.Uint32(b[at:])))
		at += 4 + max(size, 0)
	}
	if len(b) < at {
		return 0
	}
	return at
}
