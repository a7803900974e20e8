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
type Imager struct {
	batch *Batch
	last  tableID // that has a row
}

// Unify returns the row that a record of unifyevents makes on its own topic, or
// live: which of Shapes it is of, and the count of columns, then length and value
// of each of Columns. at is the record's timestamp. The row is valid until the next
// call.
func (m *Imager) Unify(s Source, at event.Micros, u *event.Unify) (shape int, row []byte) {
	m.clear()
	b := m.batch
	switch u.Kind {
	case event.KindTrade:
		m.last = tradesTable
		b.Trade(s, &u.Trade)
	case event.KindOrder:
		m.last = orderEventsTable
		b.Order(s, at, &u.Order)
	case event.KindDeposit:
		m.last = depositsTable
		b.Deposit(s, &u.Balance)
	case event.KindWithdraw:
		m.last = withdrawalsTable
		b.Withdrawal(s, &u.Balance)
	case event.KindTransfer:
		m.last = internalTransfersTable
		b.Transfer(s, &u.Transfer)
	case event.KindUser:
		m.last = usersTable
		b.User(s, at, &u.User)
	default:
		panic("store: a record of unifyevents of a kind that fills no table")
	}
	return int(m.last), b.rows[m.last].buf[len(copyHeader):]
}

// clear removes the row of the call before.
func (m *Imager) clear() {
	if m.batch == nil {
		m.batch = NewBatch()
	}
	before := &m.batch.rows[m.last]
	if cap(before.buf) > 1<<20 {
		before.buf = nil // one unusually big record must not be remembered
	}
	before.reset()
}

// Row is Unify for the row that add adds to a batch; nil without an error where
// it adds none.
func (m *Imager) Row(add func(*Batch) error) (shape int, row []byte, err error) {
	m.clear()
	if err := add(m.batch); err != nil {
		return 0, nil, err
	}
	made := m.batch.streams()
	if len(made) == 0 {
		return 0, nil, nil
	}
	m.last = made[0]
	return int(m.last), m.batch.rows[m.last].buf[len(copyHeader):], nil
}
