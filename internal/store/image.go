package store

import (
	"slices"

	"github.com/thaliumx/persistor/internal/event"
)

// Columns lists the columns of a table of records in the order in which a row
// of ours has them: the identity first, src_topic, src_partition and src_offset
// last. It panics for any other table.
func Columns(table string) []string {
	for i := range tables {
		if tables[i].name == table && tables[i].key > 0 {
			return slices.Clone(tables[i].columns)
		}
	}
	panic("store: " + table + " is no table of records")
}

// Imager makes rows as COPY has them in its binary form, to be compared with
// what is stored: equal values of equal scale are equal bytes. The zero value is
// ready; it is not for concurrent use.
type Imager struct{ batch *Batch }

// Unify returns the row that a record of unifyevents makes on its own topic, or
// live: the count of columns, then length and value of each of Columns. at is the
// record's timestamp. The row is valid until the next call.
func (m *Imager) Unify(s Source, at event.Micros, u *event.Unify) []byte {
	if m.batch == nil {
		m.batch = NewBatch()
	}
	id := tradesTable
	switch u.Kind {
	case event.KindTrade:
	case event.KindOrder:
		id = orderEventsTable
	case event.KindDeposit:
		id = depositsTable
	case event.KindWithdraw:
		id = withdrawalsTable
	case event.KindTransfer:
		id = internalTransfersTable
	case event.KindUser:
		id = usersTable
	default:
		panic("store: a record of unifyevents of a kind that fills no table")
	}
	r := &m.batch.rows[id]
	if r.reset(); cap(r.buf) > 1<<20 {
		r.buf = nil // one unusually big record must not be remembered
		r.reset()
	}
	switch id {
	case tradesTable:
		m.batch.Trade(s, &u.Trade)
	case orderEventsTable:
		m.batch.Order(s, at, &u.Order)
	case depositsTable:
		m.batch.Deposit(s, &u.Balance)
	case withdrawalsTable:
		m.batch.Withdrawal(s, &u.Balance)
	case internalTransfersTable:
		m.batch.Transfer(s, &u.Transfer)
	default:
		m.batch.User(s, at, &u.User)
	}
	return r.buf[len(copyHeader):]
}
