package state

import (
	"slices"
	"strconv"
)

// A rewind: the engine has crashed, and goes on from an earlier state, since
// its log had lost the operations since. Their records are in our log all the
// same (wire 5). An order id that is used again shows it, and tells where the
// engine went back to, but not exactly: operations without ids stand before and
// behind, and of those only the cross-checks can tell on which side they
// belong. See question.

// isRepeated reports whether the newest record of that kind and id is the same
// event, and counts it then.
func (s *State) isRepeated(kind step, id int64, mark uint64) bool {
	i, found := s.journal.find(kind, id)
	if !found || s.journal.records.at(i).mark != mark {
		return false
	}
	first := s.journal.records.at(i).offset
	s.begin(stepNone, 0, 0) // which may forget it
	if s.fail(repeated) {
		s.example(repeated, "id "+strconv.FormatInt(id, 10), "once", "again, as at offset "+strconv.FormatInt(first, 10))
	}
	return true
}

// find looks for the newest record of a kind with an id.
func (j *journal) find(kind step, id int64) (at uint64, found bool) {
	for i := j.records.head; i > j.records.tail; i-- {
		if e := j.records.at(i - 1); e.kind == kind && e.id == id {
			return i - 1, true
		}
	}
	return 0, false
}

// rewindTo goes back to the state before the order with that id was first put,
// and says as what it is to be counted.
func (s *State) rewindTo(id int64) check {
	at, found := s.journal.find(stepPut, id)
	if !found {
		s.rewindBlindly(id)
		return rewindBeyondJournal
	}
	prior := s.raisedBy(s.journal.records.at(at).offset)
	at = s.startOfOperation(at)
	r := &undoing{s: s}
	q := &question{}
	// First what came after: of the newest operations without ids it is open
	// whether the engine did them before it crashed or after, down to one that
	// cancels an order which it does not know any more.
	for trailing := true; s.journal.records.head > at; {
		kind := s.journal.records.last().kind
		trailing = trailing && (kind.own() || kind == stepNone)
		if trailing && kind.own() && len(q.ops) < maxDoubts {
			d := s.doubtAt(s.journal.records.head - 1)
			if trailing = d.order < id; trailing {
				q.ops = append(q.ops, d)
			}
		}
		r.undo()
	}
	after := len(q.ops)
	// Then what came before: of those it is open whether the engine knew them.
	for s.journal.records.len() > 0 && len(q.ops) < after+maxDoubts {
		kind := s.journal.records.last().kind
		if !kind.own() && kind != stepNone {
			break
		}
		if kind.own() {
			q.ops = append(q.ops, s.doubtAt(s.journal.records.head-1))
		}
		r.undo()
	}
	slices.Reverse(q.ops)
	q.cuts = []int32{int32(len(q.ops) - after)}
	if prior != nil {
		q.include(prior)
	}
	ended := r.finish()
	q.offset = s.next
	s.dropQuestions(s.journal.offsetAfterLast(), q)
	s.settleFor(q, ended)
	s.redo(q)
	s.ask(q)
	return rewind
}

// raisedBy is the question that an order's id raised which is used once more, or
// nil.
func (s *State) raisedBy(offset int64) *question {
	for _, q := range s.questions {
		if q.offset == offset && !q.silent() {
			return q
		}
	}
	return nil
}

// include makes the operations of a question, and the crashes, part of another
// one: also those that its answer took for forgotten, and so are not in the
// journal. What is in the journal still is not asked about.
func (q *question) include(prior *question) {
	cut := int(q.cuts[0])
	if len(q.ops)+len(prior.ops) > 2*maxDoubts {
		return
	}
	ops, cuts := prior.ops, prior.cuts
	if cut == maxDoubts {
		for len(ops) > 0 && ops[0].offset < q.ops[0].offset {
			ops = ops[1:]
		}
	}
	older := 0
	for older < cut && (len(ops) == 0 || q.ops[older].offset < ops[0].offset) {
		older++
	}
	shift := int32(older + len(ops) - len(prior.ops))
	q.cuts = nil
	for _, c := range cuts {
		if c += shift; c >= 0 {
			q.cuts = append(q.cuts, c)
		}
	}
	q.cuts = append(q.cuts, int32(older+len(ops)))
	q.ops = slices.Concat(q.ops[:older], ops, q.ops[cut:])
}

// startOfOperation is the first record of the operation of a PUT: the PUT
// itself, but for the time when it came after its trades.
func (s *State) startOfOperation(at uint64) uint64 {
	r := &s.journal.records
	if !r.at(at).late {
		return at
	}
	for at > r.tail && !r.at(at-1).kind.own() && r.at(at-1).kind != stepNone && r.at(at-1).kind != stepPut {
		at--
	}
	return at
}

// rewindBlindly deals with an order id that was first used before the journal
// begins. What the engine forgot cannot be undone.
func (s *State) rewindBlindly(id int64) {
	s.lastOrder, s.ordersFollow, s.tradesFollow = id-1, true, false
}

// forgetFrom takes away the open orders whose ids the engine uses again: it does
// not know them.
func (s *State) forgetFrom(id int64) {
	for _, o := range s.orders.byID() {
		if o.id >= id {
			s.close(o)
		}
	}
}

func (j *journal) offsetAfterLast() int64 {
	if j.records.len() == 0 {
		return 0
	}
	return j.records.last().offset + 1
}

// undoing takes back records, newest first.
type undoing struct {
	s      *State
	orders []*order
}

// undo takes back the newest record.
func (r *undoing) undo() {
	s, j := r.s, &r.s.journal
	e := j.records.pop()
	for j.lives.head > e.lives {
		l := j.lives.pop()
		if l.o != nil {
			s.insert(l.o)
			r.orders = append(r.orders, l.o)
		} else if o := s.orders.find(l.id); o != nil {
			s.take(o)
		}
	}
	for j.orders.head > e.orders {
		b := j.orders.pop()
		if o := s.orders.find(b.id); o != nil {
			o.progress = b.progress()
			s.orderChanged(o)
			r.orders = append(r.orders, o)
		}
	}
	for j.accounts.head > e.accounts {
		b := j.accounts.pop()
		a := &s.accounts[b.slot]
		a.holdings = b.holdings()
		s.accountChanged(b.slot, a)
	}
	for j.money.head > e.money {
		b := j.money.pop()
		s.money[b.asset] = b.Money
	}
	for j.words.head > e.words {
		j.words.pop()
	}
	for j.fails.head > e.fails {
		if c := j.fails.pop(); !c.lasts() {
			s.takeBack(c, e.offset)
		}
	}
	s.lastOrder, s.lastTrade = e.lastOrder, e.lastTrade
	s.ordersFollow, s.tradesFollow = e.follow&1 != 0, e.follow&2 != 0
}

// finish ends the undoing at the end of an operation: every order that rests is
// in its book. It returns those that cannot, and have only not been told to end.
func (r *undoing) finish() (ended []*order) {
	s := r.s
	for _, slot := range s.op.touched {
		s.accounts[slot].touched = false
	}
	s.op.reset()
	s.crossing = 0
	for _, o := range r.orders {
		if s.orders.find(o.id) != o {
			continue
		}
		k := &s.markets[o.market].books[o.side]
		if o.inBook && !o.rests() {
			k.remove(o)
		} else if !o.inBook && o.rests() {
			k.insert(o)
		}
		if !o.rests() {
			ended = append(ended, o)
		}
	}
	if o := s.orders.find(s.lastOrder); o != nil && o.inBook {
		s.checkCrossing(o)
	}
	return ended
}

// doubt is an operation without ids that the engine may have forgotten.
type doubt struct {
	offset int64
	kind   step
	word
	o       *order  // a copy of what a cancel ended, if it was open
	off     tally   // what a payment told of the balance beyond what was reckoned when it was read
	fails   []check // when it was read
	counted []check // of them, and of those when it was done again, what counts while it is not forgotten
}

// redo does again what the engine knows by the answer that a question has.
func (s *State) redo(q *question) {
	checks, next := s.checks, s.next
	for i := range q.ops {
		if q.now.keeps(i) {
			s.next = q.ops[i].offset
			s.redoOne(&q.ops[i])
			q.ops[i].counted = s.failsOf(s.journal.records.head - 1)
		}
	}
	s.next = next
	for i := range s.checks {
		s.checks[i].passed = checks[i].passed
	}
}

func (s *State) redoOne(d *doubt) {
	s.begin(d.kind, 0, 0)
	s.journal.words.push(d.word)
	w := &d.word
	switch d.kind {
	case stepPayment:
		s.paid(w)
	case stepTransfer:
		s.transferred(w)
	case stepCancel:
		s.beginOperation()
		o := s.orders.find(w.order)
		if o == nil {
			o = s.returned(w.order)
		}
		if o == nil {
			s.unknown(w.order, "FINISH")
			s.release(w.slot, w.frozen)
			return
		}
		if s.equalIn(orderRemain, "remain", o.id, &o.remain, &w.first) {
			s.equalIn(orderFrozen, "frozen", o.id, &o.frozen, &w.frozen)
		}
		s.close(o)
	case stepNone, stepPut, stepTrade, stepUpdate, stepFinish: // have ids, or do nothing
	}
}

// takeBack takes back a failure of the record at an offset.
func (s *State) takeBack(c check, offset int64) {
	k := &s.checks[c]
	k.failed--
	k.examples = slices.DeleteFunc(slices.Clone(k.examples), func(e Example) bool { return e.Offset == offset })
}

// failsOf are the failures of a record that do not last.
func (s *State) failsOf(at uint64) (fails []check) {
	j := &s.journal
	from, to := s.span(at, func(e *entry) uint64 { return e.fails }, j.fails.head)
	for i := from; i < to; i++ {
		if c := *j.fails.at(i); !c.lasts() {
			fails = append(fails, c)
		}
	}
	return fails
}

// copyOrder is an order by itself, for a question.
func copyOrder(o *order) *order {
	c := *o
	c.inBook, c.changed, c.written = false, false, false
	return &c
}
