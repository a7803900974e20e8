package state

import (
	"slices"

	"github.com/thaliumx/persistor/internal/amount"
)

// ways are what the answers of a question would change in an account: many
// answers come to the same.
type ways struct {
	q    *question
	by   []tally // the first is nothing, as it is now
	of   [][]int // which ones each answer allows
	fits []bool  // it is part of an explanation
}

// maxWays is how many combinations of the answers of several questions are
// looked at; older questions than that stay as they are.
const maxWays = 4096

// waysOf lists the ways of a question; k is the account's place in it. Again is
// whether the engine may be telling again what it told in a forgotten payment
// against the state's reckoning.
func waysOf(q *question, k int, split, again bool) *ways {
	now, _ := q.run(q.now)
	w := &ways{q: q, by: make([]tally, 1)}
	for _, a := range q.answers {
		then, _ := q.run(a)
		by := tally{available: then[k].total().Sub(now[k].total())}
		if split {
			by.frozen = then[k].frozen.Sub(now[k].frozen)
			by.available = by.available.Sub(by.frozen)
		}
		of := []int{w.way(by)}
		for i := int(a.from); again && i < int(a.to); i++ {
			if d := &q.ops[i]; d.kind == stepPayment && d.slot == q.slots[k].slot && !d.off.total().IsZero() {
				of = append(of, w.way(tally{by.available.Add(d.off.total()), by.frozen}))
			}
		}
		w.of = append(w.of, of)
	}
	w.fits = make([]bool, len(w.by))
	return w
}

func (w *ways) way(by tally) int {
	i := slices.IndexFunc(w.by, func(t tally) bool { return t.available.Equal(by.available) && t.frozen.Equal(by.frozen) })
	if i < 0 {
		i = len(w.by)
		w.by = append(w.by, by)
	}
	return i
}

// explanation looks for the ways that together make up for a difference.
type explanation struct {
	asked        []*ways
	path, fewest []int // which way of each; fewest changes the fewest, and the newest, answers
	changes      int   // of fewest
}

func (e *explanation) search(i int, need tally, changes int) {
	if i == len(e.asked) {
		if !need.available.IsZero() || !need.frozen.IsZero() {
			return
		}
		for k, way := range e.path {
			e.asked[k].fits[way] = true
		}
		if e.fewest == nil || changes < e.changes {
			e.fewest, e.changes = slices.Clone(e.path), changes
		}
		return
	}
	for way, by := range e.asked[i].by {
		e.path[i] = way
		left := tally{need.available.Sub(by.available), need.frozen.Sub(by.frozen)}
		e.search(i+1, left, changes+min(way, 1))
	}
}

// learn compares what the engine tells of an account with what the answers would
// make of it. frozen is nil where only the total is told.
func (s *State) learn(slot int32, total amount.Amount, frozen *amount.Amount) {
	a := &s.accounts[slot]
	if !a.doubted {
		return
	}
	need := tally{available: total.Sub(a.total)}
	if frozen != nil {
		need.frozen = frozen.Sub(a.frozen())
		need.available = need.available.Sub(need.frozen)
	}
	if !s.explain(slot, need, frozen != nil, false) {
		s.explain(slot, need, frozen != nil, true)
	}
	s.closeAnswered()
}

// accountFor looks for what explains what the engine tells of an account, first
// among the answers to open questions, and then for a crash that no id shows.
// Where both its parts differ, they may be of two causes: no debit changes what
// is frozen.
func (s *State) accountFor(slot int32, total amount.Amount, frozen *amount.Amount) {
	explain := func(total amount.Amount) bool {
		s.learn(slot, total, frozen)
		a := &s.accounts[slot]
		if !a.total.Equal(total) || frozen != nil && !a.frozen().Equal(*frozen) {
			s.suspectSlot(slot, total, frozen)
		}
		return frozen == nil || a.frozen().Equal(*frozen)
	}
	a := &s.accounts[slot]
	if sum := a.total; !explain(total) && !a.total.Equal(total) && explain(sum) {
		explain(total)
	}
	split := frozen != nil && !a.frozen().Equal(*frozen)
	if !a.total.Equal(total) || split {
		for _, q := range s.questions {
			if k := q.slotAt(slot); k >= 0 && q.open() {
				q.slots[k].settled, q.slots[k].split = s.next+1, split
			}
		}
	}
}

// explain looks for answers that make up for a difference. Several questions
// may be about the account: what is kept is every answer that together with
// some of the others explains it.
func (s *State) explain(slot int32, need tally, split, again bool) bool {
	e := &explanation{}
	for i, count := len(s.questions)-1, 1; i >= 0; i-- {
		q := s.questions[i]
		k := q.slotAt(slot)
		if !q.open() || k < 0 || q.slots[k].settled > 0 {
			continue
		}
		w := waysOf(q, k, split, again)
		if count *= len(w.by); count > maxWays {
			break
		}
		e.asked = append(e.asked, w)
	}
	slices.Reverse(e.asked)
	e.path = make([]int, len(e.asked))
	e.search(0, need, 0)
	if e.fewest == nil {
		return false
	}
	for i, w := range e.asked {
		s.narrow(w, e.fewest[i])
	}
	return true
}

// narrow drops the answers that are part of no explanation, and changes the
// state over to the chosen way.
func (s *State) narrow(w *ways, chosen int) {
	var kept, these []answer
	for i, a := range w.q.answers {
		if slices.ContainsFunc(w.of[i], func(way int) bool { return w.fits[way] }) {
			kept = append(kept, a)
		}
		if slices.Contains(w.of[i], chosen) {
			these = append(these, a)
		}
	}
	if len(kept) == 0 {
		return
	}
	s.narrowTo(w.q, kept)
	if chosen != 0 || !slices.Contains(kept, w.q.now) {
		s.answer(w.q, w.q.bestOf(these))
	}
}
