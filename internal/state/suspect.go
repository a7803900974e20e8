package state

import (
	"slices"
	"strconv"

	"github.com/thaliumx/persistor/internal/amount"
)

// A crash in which the engine forgot only operations without ids shows in no
// id. But if one row of them, left out, explains what the engine tells, and
// contradicts nothing else that it told, then that is what happened.

// maxRun is how many neighbouring operations without ids are looked at.
const maxRun = 32

// suspectSlot looks for such a crash where the engine tells a balance that is
// not the state's. frozen is nil where only the total is told.
func (s *State) suspectSlot(slot int32, total amount.Amount, frozen *amount.Amount) {
	r := &s.journal.records
	off := !s.accounts[slot].total.Equal(total)
	for i := r.head - 1; i > r.tail; {
		i--
		e := r.at(i)
		if !s.changes(i, slot) || e.kind == stepNone {
			continue
		}
		if !e.kind.own() {
			if off && e.kind == stepTrade && s.tells(i, slot) {
				return // it has told the total, and it was right
			}
			continue
		}
		if s.isAsked(e.offset) {
			continue // and no answer explains it
		}
		q, first := s.runAround(i)
		k := q.slotAt(slot)
		now, _ := q.run(q.now)
		a := &s.accounts[slot]
		if k >= 0 && s.suspect(q, func(other answer) bool {
			then, _ := q.run(other)
			return a.total.Add(then[k].total()).Equal(total.Add(now[k].total())) &&
				(frozen == nil || a.frozen().Add(then[k].frozen).Equal(frozen.Add(now[k].frozen)))
		}, "a balance") {
			return
		}
		for j := first; j <= i; j++ {
			if s.tells(j, slot) {
				return // it has told all, and it was right
			}
		}
		i = first
	}
}

// isAsked reports whether an open question is about the operation at an offset.
func (s *State) isAsked(offset int64) bool {
	return slices.ContainsFunc(s.questions, func(q *question) bool { return q.open() && q.find(offset) >= 0 })
}

// suspectOrder looks for such a crash where an order is open that was cancelled.
// It reports false where the order is not known to have been open at all; and
// where it ended otherwise than by a cancel, it is opened again.
func (s *State) suspectOrder(id int64) bool {
	j := &s.journal
	for i := j.lives.head; i > j.lives.tail; i-- {
		l := j.lives.at(i - 1)
		if l.id != id || l.o == nil {
			continue
		}
		at := s.recordOfLife(i - 1)
		if j.records.at(at).kind == stepCancel {
			q, _ := s.runAround(at)
			if q.doubts(id) && s.suspect(q, func(a answer) bool { return q.alive(a, id) }, s.nameOrder(id)) {
				return true
			}
		}
		s.reopen(s.endedIn(at, l.o))
		return true
	}
	return false
}

// reopen opens an order that ended, as it was before.
func (s *State) reopen(o *order) {
	if s.fail(returnedOrder) {
		s.example(returnedOrder, s.nameOrder(o.id), "ended", "open")
	}
	frozen := o.frozen
	o.frozen = amount.Amount{}
	s.release(o.holds(), frozen) // what the engine told as frozen may already include it
	s.open(o, frozen)
	if o.rests() && !s.takes(o) {
		s.markets[o.market].books[o.side].insert(o)
	}
}

func (s *State) recordOfLife(life uint64) uint64 {
	r := &s.journal.records
	i := r.head - 1
	for i > r.tail && r.at(i).lives > life {
		i--
	}
	return i
}

// endedIn is a copy of an order as it was before the record that ended it.
func (s *State) endedIn(at uint64, o *order) *order {
	c := copyOrder(o)
	from, to := s.span(at, func(e *entry) uint64 { return e.orders }, s.journal.orders.head)
	for i := from; i < to; i++ {
		if b := s.journal.orders.at(i); b.id == o.id {
			c.progress = b.progress()
			break
		}
	}
	return c
}

// span is where the changes of a record stand in one of the other rings.
func (s *State) span(at uint64, of func(*entry) uint64, head uint64) (from, to uint64) {
	r := &s.journal.records
	if at+1 < r.head {
		head = of(r.at(at + 1))
	}
	return of(r.at(at)), head
}

// changes reports whether a record changed an account.
func (s *State) changes(at uint64, slot int32) bool {
	from, to := s.span(at, func(e *entry) uint64 { return e.accounts }, s.journal.accounts.head)
	for i := from; i < to; i++ {
		if s.journal.accounts.at(i).slot == slot {
			return true
		}
	}
	return false
}

// runAround makes a question of the operations without ids around one of them,
// up to the newest record. It also returns the first record.
func (s *State) runAround(at uint64) (q *question, first uint64) {
	r := &s.journal.records
	free := func(i uint64) bool { return r.at(i).kind.own() || r.at(i).kind == stepNone }
	first, behind := at, at+1
	for first > r.tail && free(first-1) && at-first < maxRun/2 {
		first--
	}
	for behind < r.head-1 && free(behind) && behind-first < maxRun {
		behind++
	}
	q = &question{offset: s.next}
	for i := first; i < behind; i++ {
		if r.at(i).kind.own() {
			d := s.doubtAt(i)
			d.counted = d.fails
			q.ops = append(q.ops, d)
		}
	}
	q.now = answer{uint8(len(q.ops)), uint8(len(q.ops))}
	from := r.at(first).accounts
	_, to := s.span(behind-1, func(e *entry) uint64 { return e.accounts }, s.journal.accounts.head)
	s.doubtSlots(q, func(slot int32) *holdings { return s.holdingsBefore(from, slot) })
	// What was learned in one of them about another crash counts as known before.
	did, _ := q.run(q.now)
	for k := range q.slots {
		d := &q.slots[k]
		h := s.holdingsBefore(to, d.slot)
		d.before.available = d.before.available.Add(h.available()).Sub(did[k].available)
		d.before.frozen = d.before.frozen.Add(h.frozen()).Sub(did[k].frozen)
	}
	for i := behind; i < r.head-1; i++ {
		s.settleBy(q, i)
	}
	return q, first
}

// holdingsBefore is what an account was before a change of one.
func (s *State) holdingsBefore(change uint64, slot int32) *holdings {
	for i := change; i < s.journal.accounts.head; i++ {
		if b := s.journal.accounts.at(i); b.slot == slot {
			h := b.holdings()
			return &h
		}
	}
	return &s.accounts[slot].holdings
}

// settleBy notes which accounts of a question a later record has told.
func (s *State) settleBy(q *question, at uint64) {
	for k := range q.slots {
		d := &q.slots[k]
		d.told = d.told || s.tells(at, d.slot)
	}
}

// tells reports whether a record told the total of an account. A trade that only
// taught something about it has not.
func (s *State) tells(at uint64, slot int32) bool {
	switch e := s.journal.records.at(at); e.kind {
	case stepPayment:
		return s.journal.words.at(e.words).slot == slot
	case stepTrade:
		return s.changes(at, slot) && !slices.ContainsFunc(s.questions, func(q *question) bool {
			return q.slotAt(slot) >= 0 && slices.ContainsFunc(q.history, func(a answered) bool { return a.offset == e.offset })
		})
	default:
		return false
	}
}

// suspect asks a question about a crash that no id shows, if any answer fits.
func (s *State) suspect(q *question, fits func(answer) bool, what string) bool {
	now, least := q.run(q.now)
	for from := range len(q.ops) {
		for to := from + 1; to <= len(q.ops); to++ {
			a := answer{uint8(from), uint8(to)}
			then, misses := q.run(a)
			ok := misses <= least && fits(a)
			for k := range q.slots {
				ok = ok && (!q.slots[k].told || then[k].total().Equal(now[k].total()))
			}
			if ok {
				q.answers = append(q.answers, a)
			}
		}
	}
	if len(q.answers) == 0 {
		return false
	}
	if s.fail(rewind) {
		best := q.best()
		s.example(rewind, "operations without ids, by "+what, "none forgotten",
			"some forgotten from offset "+text(q.ops[best.from].offset)+" to "+text(q.ops[best.to-1].offset))
	}
	s.answer(q, q.best())
	s.ask(q)
	return true
}

func text(offset int64) string { return strconv.FormatInt(offset, 10) }

// doubtAt makes a doubt of a record.
func (s *State) doubtAt(at uint64) doubt {
	j := &s.journal
	e := j.records.at(at)
	d := doubt{offset: e.offset, kind: e.kind, word: *j.words.at(e.words), fails: s.failsOf(at)}
	if d.kind == stepPayment && len(d.fails) > 0 {
		h := s.holdingsBefore(e.accounts, d.slot)
		was := tally{h.available(), h.frozen()}
		t := was
		d.believe(&t)
		d.off = tally{t.available.Sub(was.available).Sub(d.change), t.frozen.Sub(was.frozen)}
	}
	from, to := s.span(at, func(e *entry) uint64 { return e.lives }, j.lives.head)
	for i := from; i < to; i++ {
		if l := j.lives.at(i); l.o != nil && l.id == d.order {
			d.o = s.endedIn(at, l.o)
		}
	}
	return d
}
