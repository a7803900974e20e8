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
	maxQuestions = 16
)

// decide completes a question on the state before all its operations, and finds
// the answers that fit best to what the engine told in the operations
// themselves. Of those, the one that forgets least is taken.
func (s *State) decide(q *question) {
	for i := range q.ops {
		d := &q.ops[i]
		if d.kind == stepCancel {
			if d.o = nil; s.orders[d.order] != nil {
				o := s.orders[d.order]
				d.o = copyOrder(o)
			}
		}
	}
	s.doubtSlots(q, func(slot int32) *holdings { return &s.accounts[slot].holdings })
	var all []answer
	for from := 0; from <= q.before; from++ {
		for to := q.before; to <= len(q.ops); to++ {
			all = append(all, answer{uint8(from), uint8(to)})
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

// best is the answer that forgets least; of equals, the latest.
func (q *question) best() answer {
	return slices.MinFunc(q.answers, func(a, b answer) int {
		if c := int(a.to-a.from) - int(b.to-b.from); c != 0 {
			return c
		}
		return int(b.from) - int(a.from)
	})
}

// run reckons what the accounts are after the operations by an answer, and
// counts what the engine told otherwise on the way: in forgotten operations,
// and those before, that is what was found when they were read.
func (q *question) run(a answer) (after []tally, misses int) {
	after = make([]tally, len(q.slots))
	for k := range q.slots {
		after[k] = q.slots[k].before
	}
	miss := func(bad bool) {
		if bad {
			misses++
		}
	}
	for i := range q.ops {
		d := &q.ops[i]
		if i < int(a.to) {
			miss(len(d.fails) > 0)
		}
		if !a.keeps(i) {
			continue
		}
		told := i >= int(a.to)
		switch d.kind {
		case stepPayment:
			k := q.slotAt(d.slot)
			t := &after[k]
			t.available = t.available.Add(d.change)
			if d.split {
				miss(told && q.slots[k].known && !(t.available.Equal(d.first) && t.frozen.Equal(d.frozen)))
				t.available, t.frozen = d.first, d.frozen
			} else {
				miss(told && q.slots[k].known && !t.total().Equal(d.total))
				t.available = d.total.Sub(t.frozen)
			}
		case stepTransfer:
			from, to := &after[q.slotAt(d.slot)], &after[q.slotAt(d.other)]
			from.available = from.available.Sub(d.change)
			to.available = to.available.Add(d.change)
		case stepCancel:
			if d.o == nil || q.cancels(a, d.order) < i {
				miss(told)
				continue
			}
			miss(told && !(d.o.remain.Equal(d.first) && d.o.frozen.Equal(d.word.frozen)))
			t := &after[q.slotAt(d.o.holds())]
			t.frozen, t.available = t.frozen.Sub(d.o.frozen), t.available.Add(d.o.frozen)
		}
	}
	return after, misses
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

// ask adds a question to the open ones, unless it has only one answer.
func (s *State) ask(q *question) {
	if len(q.answers) > 1 {
		s.setQuestions(append(slices.Clone(s.questions), q))
	}
}

// setQuestions replaces the open questions.
func (s *State) setQuestions(open []*question) {
	if len(open) > maxQuestions {
		open = open[len(open)-maxQuestions:]
	}
	mark := func(doubted bool) {
		for _, q := range s.questions {
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
	s.questions = open
	mark(true)
}

// dropQuestions forgets what was asked at an offset or later, and what was
// answered, since the records there have been undone.
func (s *State) dropQuestions(offset int64) {
	var open []*question
	for _, q := range s.questions {
		if q.offset >= offset {
			continue
		}
		for n := len(q.history); n > 0 && q.history[n-1].offset >= offset; n-- {
			q.now = q.history[n-1].was
			q.history = q.history[:n-1]
		}
		open = append(open, q)
	}
	s.setQuestions(open)
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

// closeAnswered drops the questions that have one answer.
func (s *State) closeAnswered() {
	if slices.ContainsFunc(s.questions, func(q *question) bool { return len(q.answers) == 1 }) {
		s.setQuestions(slices.DeleteFunc(slices.Clone(s.questions), func(q *question) bool { return len(q.answers) == 1 }))
	}
}
