package state

import (
	"slices"

	"github.com/thaliumx/persistor/internal/amount"
)

// question is a crash of the engine of which the ids do not tell exactly what it
// forgot: payments, transfers and cancels have no ids. Its operations stand in
// the order of the log; what was forgotten is a row of them, and an answer says
// which. All answers that the log so far allows are kept; each time the engine
// tells a balance or an order that depends on it, those that contradict are
// dropped, and where the state was built on one of them, it is changed over to
// one that remains.
type question struct {
	offset  int64 // of the record that raised it
	silent  bool  // no id showed the crash
	ops     []doubt
	before  int // so many of ops came before what was surely forgotten
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
	settled bool // the engine has told its total, and no answer explained it
	told    bool // the engine had told its total when the question was raised
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
// themselves. Of those, the one that forgets least is taken. Two crashes may show
// in one id: what the other one forgot may then stand anywhere.
func (s *State) decide(q *question) {
	for i := range q.ops {
		d := &q.ops[i]
		d.o = nil
		if o := s.orders[d.order]; d.kind == stepCancel && o != nil {
			d.o = copyOrder(o)
		}
	}
	s.doubtSlots(q, func(slot int32) *holdings { return &s.accounts[slot].holdings })
	var all []answer
	for from := 0; from <= len(q.ops); from++ {
		for to := from; to <= len(q.ops); to++ {
			if a := (answer{uint8(from), uint8(to)}); from < to || from == q.before {
				all = append(all, a)
			}
		}
	}
	q.answers = q.likeliest(all)
	q.now = q.best()
}

// doubtSlots lists the accounts of a question's operations.
func (s *State) doubtSlots(q *question, before func(int32) *holdings) {
	add := func(slot int32) {
		if q.slotAt(slot) < 0 {
			h := before(slot)
			q.slots = append(q.slots, doubtedSlot{slot: slot, before: tally{h.available, h.frozen}, known: h.flags&splitKnown != 0})
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

// likeliest are the answers with the fewest contradictions.
func (q *question) likeliest(all []answer) (best []answer) {
	least := -1
	for _, a := range all {
		_, misses := q.run(a)
		if least < 0 || misses < least {
			least, best = misses, best[:0]
		}
		if misses == least {
			best = append(best, a)
		}
	}
	return best
}

// twice reports whether an answer takes two crashes: what it says was forgotten
// is not next to what was surely forgotten.
func (q *question) twice(a answer) bool {
	return !q.silent && (int(a.from) > q.before || int(a.to) < q.before)
}

// best is the answer that forgets least, by one crash if that will do; of
// equals, the latest.
func (q *question) best() answer { return q.bestOf(q.answers) }

func (q *question) bestOf(answers []answer) answer {
	return slices.MinFunc(answers, func(a, b answer) int {
		if twice := q.twice(a); twice != q.twice(b) {
			if twice {
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
// counts what the engine told otherwise on the way: in forgotten operations,
// and those before, that is what was found when they were read. What a forgotten
// operation told of a balance is forgotten with it.
func (q *question) run(a answer) (after []tally, misses int) {
	after = make([]tally, len(q.slots))
	for k := range q.slots {
		after[k] = q.slots[k].before
	}
	at := after // where the operation is done: those to be forgotten are done apart
	later := q.twice(a) && int(a.from) > q.before
	for i := range q.ops {
		d := &q.ops[i]
		// What came after a crash was read on another state than it was done on.
		asked := i >= int(a.to) || later && i >= q.before
		if !asked && len(d.fails) > 0 {
			misses++
		}
		if !a.keeps(i) && !asked {
			continue
		}
		if later && i == int(a.from) {
			at = slices.Clone(after)
		}
		if later && i == int(a.to) {
			at = after
		}
		if fits := q.do(i, a, at); asked && !fits {
			misses++
		}
	}
	return after, misses
}

// do does an operation on the accounts, and reports whether what it told was so.
func (q *question) do(i int, a answer, at []tally) bool {
	switch d := &q.ops[i]; d.kind {
	case stepPayment:
		k := q.slotAt(d.slot)
		at[k].available.Plus(&d.change)
		return d.believe(&at[k]) || !q.slots[k].known
	case stepTransfer:
		at[q.slotAt(d.slot)].available.Minus(&d.change)
		at[q.slotAt(d.other)].available.Plus(&d.change)
	case stepCancel:
		if d.o == nil || q.cancels(a, d.order) < i {
			return false
		}
		t := &at[q.slotAt(d.o.holds())]
		t.available.Plus(&d.o.frozen)
		t.frozen.Minus(&d.o.frozen)
		return d.o.remain.Same(&d.first) && d.o.frozen.Same(&d.frozen)
	case stepNone, stepPut, stepTrade, stepUpdate, stepFinish: // have ids, or do nothing
	}
	return true
}

// believe compares a payment with what is known before it is believed, and then
// believes it.
func (d *doubt) believe(t *tally) bool {
	if !d.split {
		fits := t.total().Equal(d.total)
		t.available = d.total.Sub(t.frozen)
		return fits
	}
	fits := t.available.Same(&d.first) && t.frozen.Same(&d.frozen)
	t.available, t.frozen = d.first, d.frozen
	return fits
}

// cancels is the first operation that cancels an order by an answer; len(ops)
// if none does.
func (q *question) cancels(a answer, id int64) int {
	for i := range q.ops {
		if d := &q.ops[i]; d.kind == stepCancel && d.order == id && a.keeps(i) {
			return i
		}
	}
	return len(q.ops)
}

func (q *question) alive(a answer, id int64) bool { return q.cancels(a, id) == len(q.ops) }

// doubts reports whether a question is about an order.
func (q *question) doubts(id int64) bool {
	return slices.ContainsFunc(q.ops, func(d doubt) bool { return d.kind == stepCancel && d.order == id && d.o != nil })
}

// ask adds a question to the open ones, unless there is nothing in it.
func (s *State) ask(q *question) {
	if q.open() || len(q.history) > 0 {
		s.setQuestions(append(slices.Clone(s.questions), q))
	}
}

func (q *question) open() bool { return len(q.answers) > 1 }

// setQuestions replaces the questions. Answered ones stay as long as the records
// that changed the answer may be undone.
func (s *State) setQuestions(asked []*question) {
	if len(asked) > maxQuestions {
		asked = asked[len(asked)-maxQuestions:]
	}
	mark := func(doubted bool) {
		for _, q := range s.questions {
			if !q.open() && doubted {
				continue
			}
			for k := range q.slots {
				s.accounts[q.slots[k].slot].doubted = doubted
			}
			for i := range q.ops {
				if o := s.orders[q.ops[i].order]; o != nil && q.ops[i].o != nil {
					o.doubted = doubted
				}
			}
		}
	}
	mark(false)
	s.questions = asked
	mark(true)
}

// dropQuestions forgets what was asked at an offset or later, and what was
// answered, since the records there have been undone. But a crash that no id
// shows is a fact, also where it was a forgotten record that showed it; only
// those from again on are looked at again, since they may not be forgotten.
func (s *State) dropQuestions(offset, again int64) {
	var left []*question
	for _, q := range s.questions {
		if q.offset >= offset && (!q.silent || q.offset >= again || q.ops[len(q.ops)-1].offset >= offset) {
			if q.silent { // its operations are looked at again
				s.takeBack(rewind, q.offset)
			}
			s.unanswer(q, offset)
			continue
		}
		s.unanswer(q, offset)
		left = append(left, q)
	}
	s.setQuestions(left)
}

// unanswer goes back to the answer that a question had before an offset.
func (s *State) unanswer(q *question, offset int64) {
	for n := len(q.history); n > 0 && q.history[n-1].offset >= offset; n-- {
		s.changeTo(q, q.history[n-1].was)
		q.history = q.history[:n-1]
	}
}

// changeTo sets the answer. What a record contradicted counts as long as it is
// not one that was forgotten.
func (s *State) changeTo(q *question, a answer) {
	for i := range q.ops {
		d := &q.ops[i]
		if q.now.keeps(i) == a.keeps(i) {
			continue
		}
		for _, c := range d.counted {
			if a.keeps(i) {
				s.checks[c].failed++
			} else {
				s.takeBack(c, d.offset)
			}
		}
	}
	q.now = a
}

// settle brings the state to answers that are possible, after an undo: what was
// learned from forgotten records is true all the same.
func (s *State) settle() {
	next := s.next
	s.next = s.journal.offsetAfterLast()
	s.begin(stepNone, 0, 0)
	for _, q := range s.questions {
		if !slices.Contains(q.answers, q.now) {
			s.answer(q, q.best())
		}
	}
	s.next = next
}

// closeAnswered drops the questions that have one answer, which no undo can
// reach any more.
func (s *State) closeAnswered() {
	oldest := s.next
	if s.journal.records.len() > 0 {
		oldest = s.journal.records.at(s.journal.records.tail).offset
	}
	closed := func(q *question) bool {
		return !q.open() && (len(q.history) == 0 || q.history[len(q.history)-1].offset < oldest)
	}
	if slices.ContainsFunc(s.questions, closed) {
		s.setQuestions(slices.DeleteFunc(slices.Clone(s.questions), closed))
	}
}
