package state

import (
	"slices"

	"github.com/thaliumx/persistor/internal/amount"
)

// question is a crash of the engine, or several that the same id showed, of which
// no id tells exactly what was forgotten: payments, transfers and cancels have
// none. Its operations stand in the order of the log; what was forgotten is a row
// of them, and an answer says which. All answers that the log so far allows are
// kept; each time the engine tells a balance or an order that depends on it, those
// that contradict are dropped, and where the state was built on one of them, it is
// changed over to one that remains.
type question struct {
	offset  int64 // of the record that raised it
	ops     []doubt
	cuts    []int32 // before which of ops stood what was surely forgotten: one for each crash that ids showed
	slots   []doubtedSlot
	answers []answer // that are still possible
	now     answer   // that the state is built on
	history []answered
}

// answer says that the engine forgot ops[from:to].
type answer struct{ from, to uint8 }

func (a answer) keeps(i int) bool { return i < int(a.from) || i >= int(a.to) }

// answered is a change of the answer, which may have to be taken back.
type answered struct {
	offset int64
	was    answer
}

// doubtedSlot is an account that depends on the answer.
type doubtedSlot struct {
	slot    int32
	before  tally // all of the operations
	known   bool
	told    bool  // the engine had told its total when the question was raised
	settled int64 // the engine has told it, and no answer explained that: in the record before this offset
	split   bool  // and it told what of it is frozen
}

type tally struct{ available, frozen amount.Amount }

func (t tally) total() amount.Amount { return t.available.Add(t.frozen) }

// Bounds of what may be open: on each side of a crash, and questions.
const (
	maxDoubts    = 48
	maxQuestions = 64
)

// decide completes a question on the state before all its operations, and finds
// the answers that fit best to what the engine told in the operations
// themselves. Of those, the one that forgets least is taken. There may have been
// one crash more than ids showed: what it forgot may stand anywhere. It returns
// how often all the answers are contradicted.
func (s *State) decide(q *question) (misses int) {
	q.slots = nil
	for i := range q.ops {
		d := &q.ops[i]
		d.o, d.counted = nil, nil
		if o := s.orders.find(d.order); d.kind == stepCancel && o != nil {
			d.o = copyOrder(o)
		}
	}
	s.doubtSlots(q, func(slot int32) *holdings { return &s.accounts[slot].holdings })
	last := uint8(q.cuts[len(q.cuts)-1])
	all := []answer{{last, last}}
	for from := range len(q.ops) {
		for to := from + 1; to <= len(q.ops); to++ {
			all = append(all, answer{uint8(from), uint8(to)})
		}
	}
	q.answers, misses = q.likeliest(all)
	q.now = q.best()
	return misses
}

// doubtSlots lists the accounts of a question's operations.
func (s *State) doubtSlots(q *question, before func(int32) *holdings) {
	add := func(slot int32) {
		if q.slotAt(slot) < 0 {
			h := before(slot)
			q.slots = append(q.slots, doubtedSlot{slot: slot, before: tally{h.available(), h.frozen()}, known: h.flags&splitKnown != 0})
		}
	}
	for i := range q.ops {
		switch d := &q.ops[i]; d.kind {
		case stepPayment:
			add(d.slot)
		case stepTransfer:
			add(d.slot)
			add(d.other)
		case stepCancel:
			if d.o != nil {
				add(d.o.holds())
			}
		case stepNone, stepPut, stepTrade, stepUpdate, stepFinish: // have ids, or do nothing
		}
	}
}

func (q *question) slotAt(slot int32) int {
	return slices.IndexFunc(q.slots, func(d doubtedSlot) bool { return d.slot == slot })
}

// likeliest are the answers with the fewest contradictions, and how many.
func (q *question) likeliest(all []answer) (best []answer, least int) {
	for i, a := range all {
		_, misses := q.run(a)
		if i == 0 || misses < least {
			least, best = misses, best[:0]
		}
		if misses == least {
			best = append(best, a)
		}
	}
	return best, least
}

// cut reports whether something was surely forgotten between two operations.
func (q *question) cut(from, to int) bool {
	return slices.ContainsFunc(q.cuts, func(c int32) bool { return from <= int(c) && int(c) <= to })
}

// onceMore reports whether an answer takes a crash more than ids showed: one
// that stands elsewhere, or one between what surely was forgotten and an operation
// that was forgotten, too, but contradicts it.
func (q *question) onceMore(a answer) bool {
	if q.silent() {
		return false
	}
	if !q.cut(int(a.from), int(a.to)) {
		return true
	}
	for i := int(a.from); i < int(a.to); i++ {
		if q.asRead(i, a) && len(q.ops[i].fails) > 0 && !q.cut(i+1, int(a.to)) {
			return true
		}
	}
	return false
}

// best is the answer that forgets least, without another crash if that will do;
// of equals, the latest.
func (q *question) best() answer { return q.bestOf(q.answers) }

func (q *question) bestOf(answers []answer) answer {
	return slices.MinFunc(answers, func(a, b answer) int {
		if more := q.onceMore(a); more != q.onceMore(b) {
			if more {
				return 1
			}
			return -1
		}
		if c := int(a.to-a.from) - int(b.to-b.from); c != 0 {
			return c
		}
		return int(b.from) - int(a.from)
	})
}

// run reckons what the accounts are after the operations by an answer, and
// counts what the engine told otherwise on the way. Forgotten operations are done
// apart, and what they told is forgotten with them.
func (q *question) run(a answer) (after []tally, misses int) {
	after = make([]tally, len(q.slots))
	for k := range q.slots {
		after[k] = q.slots[k].before
	}
	var apart, between []tally
	for i := range q.ops {
		var fits bool
		switch {
		case q.asRead(i, a):
			fits = len(q.ops[i].fails) == 0
			if a.keeps(i) {
				q.move(i, after)
			} else if !q.silent() { // a second crash may have forgotten it, and then it was done behind the first
				if between == nil {
					between = slices.Clone(after)
				}
				fits = q.do(i, a, between) || fits
			}
		case a.keeps(i):
			fits = q.do(i, a, after)
		default:
			if apart == nil {
				apart = slices.Clone(after)
			}
			fits = q.do(i, a, apart)
		}
		if !fits {
			misses++
		}
	}
	return after, misses
}

// asRead reports whether an operation was done on what it was read on: where no
// id showed the crash, what came before it was; where one did, what was done and
// forgotten behind what surely was forgotten.
func (q *question) asRead(i int, a answer) bool {
	if q.silent() {
		return i < int(a.to)
	}
	return !a.keeps(i) && q.cut(int(a.from), i)
}

// move does to the accounts what an operation did when it was read.
func (q *question) move(i int, at []tally) {
	switch d := &q.ops[i]; d.kind {
	case stepPayment:
		t := &at[q.slotAt(d.slot)]
		t.available = t.available.Add(d.change).Add(d.off.available)
		t.frozen.Plus(&d.off.frozen)
	case stepTransfer:
		at[q.slotAt(d.slot)].available.Minus(&d.change)
		at[q.slotAt(d.other)].available.Plus(&d.change)
	case stepCancel:
		if d.o != nil {
			t := &at[q.slotAt(d.o.holds())]
			t.available.Plus(&d.o.frozen)
			t.frozen.Minus(&d.o.frozen)
		}
	case stepNone, stepPut, stepTrade, stepUpdate, stepFinish: // have ids, or do nothing
	}
}

// do does an operation on the accounts, believes what it tells, and reports
// whether that was known.
func (q *question) do(i int, a answer, at []tally) bool {
	d := &q.ops[i]
	switch d.kind {
	case stepPayment:
		k := q.slotAt(d.slot)
		t := &at[k]
		t.available.Plus(&d.change)
		reckoned := *t
		return d.believe(t) || !q.slots[k].known || q.toldAgain(i, a, t.total().Sub(reckoned.total()))
	case stepCancel:
		if d.o == nil {
			return q.toldAgain(i, a, amount.Amount{})
		}
		if q.cancelled(i, a) {
			return false
		}
	case stepTransfer, stepNone, stepPut, stepTrade, stepUpdate, stepFinish: // tell nothing
	}
	q.move(i, at)
	return d.kind != stepCancel || d.o.remain.Same(&d.first) && d.o.frozen.Same(&d.frozen)
}

// toldAgain reports whether an operation contradicts just what a forgotten one
// did before: one cause, which was not forgotten, explains both.
func (q *question) toldAgain(i int, a answer, off amount.Amount) bool {
	d := &q.ops[i]
	for k := int(a.from); k < min(i, int(a.to)) && a.keeps(i); k++ {
		b := &q.ops[k]
		if b.kind == d.kind && b.order == d.order && b.slot == d.slot && len(b.fails) > 0 && b.off.total().Equal(off) {
			return true
		}
	}
	return false
}

// cancelled reports whether an order had been cancelled before the operation
// that cancels it.
func (q *question) cancelled(i int, a answer) bool {
	for k := range i {
		if d := &q.ops[k]; d.kind == stepCancel && d.order == q.ops[i].order && (a.keeps(k) || !a.keeps(i)) {
			return true
		}
	}
	return false
}

// believe compares a payment with what is known before it is believed, and then
// believes it.
func (w *word) believe(t *tally) bool {
	if !w.split {
		fits := t.total().Equal(w.total)
		t.available = w.total.Sub(t.frozen)
		return fits
	}
	fits := t.available.Same(&w.first) && t.frozen.Same(&w.frozen)
	t.available, t.frozen = w.first, w.frozen
	return fits
}

// alive reports whether an order is open after the operations by an answer.
func (q *question) alive(a answer, id int64) bool {
	for i := range q.ops {
		if d := &q.ops[i]; d.kind == stepCancel && d.order == id && a.keeps(i) {
			return false
		}
	}
	return true
}

// doubts reports whether a question is about an order.
func (q *question) doubts(id int64) bool {
	return slices.ContainsFunc(q.ops, func(d doubt) bool { return d.kind == stepCancel && d.order == id && d.o != nil })
}
