package state

import (
	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/event"
)

// journalRecords is how many records can be undone, and up to a chunk more: the
// oldest are forgotten by chunks, since to look at one alone is to wait for memory.
// It is part of the rules: a rewind that reaches further back is handled otherwise,
// so two readers agree only if their journals are equally long. An engine that
// loses its operation log loses what its queue of 1,000 operations and four writers
// held (wire 5); this is some 7,500 operations of the usual mix.
const journalRecords = 16384

// journal holds what the newest records changed, as it was before. Its records
// are the state's own history, not the log: what was undone is not in it.
type journal struct {
	records  ring[entry]
	accounts ring[accountBefore]
	orders   ring[orderBefore]
	lives    ring[life]
	money    ring[moneyBefore]
	words    ring[word]
	fails    ring[check]
}

// entry is one record of the journal. The counters say where the record's own
// changes begin in the other rings.
type entry struct {
	offset                         int64
	accounts, orders, lives, money uint64
	words, fails                   uint64
	lastOrder, lastTrade           int64 // before it
	id                             int64 // of the order or trade; else 0
	mark                           uint64
	kind                           step
	follow                         uint8 // ordersFollow and tradesFollow before it
	late                           bool  // of a PUT: it came after its trades
}

// step is what a record did.
type step uint8

const (
	stepNone step = iota // nothing that can be undone, such as a registration
	stepPut
	stepTrade
	stepUpdate
	stepFinish // as part of an order's operation
	stepCancel // as an operation of its own
	stepPayment
	stepTransfer
)

// own reports whether the step is an operation without ids: whether it came
// before or after a crash, no id tells.
func (s step) own() bool { return s >= stepCancel }

// word is what a record of an operation without ids said, so that it can be
// done again on another state.
type word struct {
	slot, other   int32         // of a payment; of a cancel, what the order held; of a transfer, from and to
	order         int64         // of a cancel
	change        amount.Amount // of a payment; of a transfer, what is moved
	first, frozen amount.Amount // told: available of a payment, remain of a cancel; frozen of both
	total         amount.Amount // told, of a payment
	split         bool          // available and frozen were told
}

// accountBefore is what an account was, packed: nothing else is written as much as
// this and orderBefore.
type accountBefore struct {
	wide             *holdings // if that does not fit
	slot             int32
	flags            accountFlags
	total, held, odd amount.Short
}

func (b *accountBefore) pack(h *holdings) {
	b.flags = h.flags
	if pack(&b.total, &h.total) && pack(&b.held, &h.held) && pack(&b.odd, &h.odd) {
		b.wide = nil
	} else {
		b.wide = copied(b.wide, h)
	}
}

// copied is a copy of v, in the place of an older one where there is one.
func copied[T any](old, v *T) *T {
	if old == nil {
		old = new(T)
	}
	*old = *v
	return old
}

func pack(s *amount.Short, a *amount.Amount) (ok bool) {
	*s, ok = a.Short()
	return ok
}

func (b *accountBefore) holdings() holdings {
	if b.wide != nil {
		return *b.wide
	}
	return holdings{b.total.Amount(), b.held.Amount(), b.odd.Amount(), b.flags}
}

type moneyBefore struct {
	asset int32
	Money
}

// orderBefore is what changes in an order while it is open.
type orderBefore struct {
	wide                                     *progress // if that does not fit
	id                                       int64
	updateTime                               event.Micros
	remain, frozen                           amount.Short
	finishedBase, finishedQuote, finishedFee amount.Short
}

func (b *orderBefore) pack(p *progress) {
	b.updateTime = p.updateTime
	if pack(&b.remain, &p.remain) && pack(&b.frozen, &p.frozen) &&
		pack(&b.finishedBase, &p.finishedBase) && pack(&b.finishedQuote, &p.finishedQuote) && pack(&b.finishedFee, &p.finishedFee) {
		b.wide = nil
	} else {
		b.wide = copied(b.wide, p)
	}
}

func (b *orderBefore) progress() progress {
	if b.wide != nil {
		return *b.wide
	}
	return progress{b.remain.Amount(), b.frozen.Amount(), b.finishedBase.Amount(), b.finishedQuote.Amount(), b.finishedFee.Amount(), b.updateTime}
}

type progress struct {
	remain, frozen                           amount.Amount
	finishedBase, finishedQuote, finishedFee amount.Amount
	updateTime                               event.Micros
}

// life is the beginning of an open order, by its id, or the end of one.
type life struct {
	id int64
	o  *order // nil for a beginning
}

// begin opens the entry of the next record, and forgets the oldest if there are
// too many.
func (s *State) begin(kind step, id int64, mark uint64) {
	j := &s.journal
	s.serial++
	if j.records.len() == journalRecords+chunk {
		s.forgetOldest(chunk)
	}
	follow := uint8(0)
	if s.ordersFollow {
		follow |= 1
	}
	if s.tradesFollow {
		follow |= 2
	}
	e := j.records.next()
	e.offset, e.id, e.mark, e.kind, e.late = s.next, id, mark, kind, false
	e.accounts, e.orders, e.lives = j.accounts.head, j.orders.head, j.lives.head
	e.money, e.words, e.fails = j.money.head, j.words.head, j.fails.head
	e.lastOrder, e.lastTrade, e.follow = s.lastOrder, s.lastTrade, follow
}

// forgetOldest ends what can be undone of the n oldest records.
func (s *State) forgetOldest(n int) {
	j := &s.journal
	j.records.dropTo(j.records.tail + uint64(n))
	oldest := &entry{accounts: j.accounts.head, orders: j.orders.head, lives: j.lives.head,
		money: j.money.head, words: j.words.head, fails: j.fails.head}
	if j.records.len() > 0 {
		oldest = j.records.at(j.records.tail)
	}
	for i := j.lives.tail; i < oldest.lives; i++ {
		if l := j.lives.at(i); l.o != nil {
			s.reuse(l.o)
		}
	}
	j.lives.dropTo(oldest.lives)
	j.accounts.dropTo(oldest.accounts)
	j.orders.dropTo(oldest.orders)
	j.money.dropTo(oldest.money)
	j.words.dropTo(oldest.words)
	j.fails.dropTo(oldest.fails)
}

// keepAccount keeps what an account was before the record, once.
func (s *State) keepAccount(slot int32, a *account) {
	if a.kept != s.serial {
		a.kept = s.serial
		b := s.journal.accounts.next()
		b.slot = slot
		b.pack(&a.holdings)
	}
}

func (j *journal) keepMoney(asset int32, m *Money) {
	for i := j.money.head; i > j.records.last().money; i-- {
		if j.money.at(i-1).asset == asset {
			return
		}
	}
	j.money.push(moneyBefore{asset, *m})
}

// keepOrder keeps what an order was before the record, once.
func (s *State) keepOrder(o *order) {
	if o.kept != s.serial {
		o.kept = s.serial
		b := s.journal.orders.next()
		b.id = o.id
		b.pack(&o.progress)
	}
}

// ring is a queue that grows; its elements are known by a number that only
// increases: tail is the oldest's, head is the next one's.
type ring[T any] struct {
	chunks     []*[chunk]T // the first one has the oldest element
	first      uint64      // its number: it begins with element first * chunk
	tail, head uint64
}

// chunk is how many elements a ring allocates at once.
const chunk = 128

func (r *ring[T]) len() int { return int(r.head - r.tail) }

func (r *ring[T]) at(i uint64) *T { return &r.chunks[i/chunk-r.first][i%chunk] }

func (r *ring[T]) last() *T { return r.at(r.head - 1) }

// next makes room for one more and returns it; what it holds is left over.
func (r *ring[T]) next() *T {
	if r.head/chunk-r.first == uint64(len(r.chunks)) {
		r.chunks = append(r.chunks, new([chunk]T))
	}
	r.head++
	return r.last()
}

func (r *ring[T]) push(v T) { *r.next() = v }

// dropTo forgets what is older; what it was is overwritten some time. A chunk that
// has nothing left becomes the last one.
func (r *ring[T]) dropTo(tail uint64) {
	r.tail = max(r.tail, tail)
	for ; r.first < r.tail/chunk && len(r.chunks) > 0; r.first++ {
		freed := r.chunks[0]
		copy(r.chunks, r.chunks[1:])
		r.chunks[len(r.chunks)-1] = freed
	}
}

// pop removes the newest.
func (r *ring[T]) pop() T {
	r.head--
	return *r.at(r.head)
}
