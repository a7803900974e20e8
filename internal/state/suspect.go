package state

import (
	"slices"
	"strconv"

	"github.com/thaliumx/persistor/internal/amount"
)

// A crash in which the engine forgot only operations without ids shows in no
// id. But if one row of them, left out, explains what the engine tells, and
// contradicts nothing else that it told, then that is what happened.

// maxWeighed is how many answers are weighed for one balance, of those that would
// account for it and move nothing of what was told since. It is part of the rules.
const maxWeighed = 256

// suspectSlot looks for such a crash where the engine tells a balance that is
// not the state's. frozen is nil where only the total is told.
func (s *State) suspectSlot(slot int32, total amount.Amount, frozen *amount.Amount) {
	a := &s.accounts[slot]
	m := &missing{slot: slot, total: total.Sub(a.total), split: frozen != nil}
	if m.split {
		m.frozen = frozen.Sub(a.frozen())
	}
	if q := s.forgottenFor(m); q != nil {
		s.suspect(q, "a balance")
	}
}

// forgottenFor is a question about the newest crash that explains what is missing,
// or nil. There may be a thousand runs to look at: little may be done for each.
func (s *State) forgottenFor(m *missing) *question {
	j := &s.journal.records
	asked, since, r, weighed := s.asked(), s.sinceNewest(), &run{}, 0
	for i := j.head - 1; i > j.tail; {
		i--
		e := j.at(i)
		if e.kind == stepNone || !s.changes(i, m.slot) {
			continue
		}
		if !e.kind.own() {
			if !m.total.IsZero() && e.kind == stepTrade && s.tells(i, m.slot) {
				return nil // it has told the total, and it was right
			}
			continue
		}
		if asked[e.offset] {
			continue // and no answer explains it
		}
		r.around(i, &s.journal)
		s.readMoves(r)
		w := s.rowsFor(r, m)
		if !w.none() {
			since.reach(r.behind)
			r.dropTold(w, since)
		}
		if !w.none() {
			if q := s.question(r, since); q.weigh(w, m) {
				return q
			}
			if weighed += w.count(); weighed >= maxWeighed {
				return nil
			}
		}
		for k := r.first; k <= i; k++ {
			if s.tells(k, m.slot) {
				return nil // it has told all, and it was right
			}
		}
		i = r.first
	}
	return nil
}

// weigh takes those of the rows for the answers of a question that account for
// what is missing. It reports whether there are any.
func (q *question) weigh(w *rows, m *missing) bool {
	k := q.slotAt(m.slot)
	now, _ := q.run(q.now)
	q.allow(w.has, func(then []tally) bool {
		return then[k].total().Sub(now[k].total()).Equal(m.total) &&
			(!m.split || then[k].frozen.Sub(now[k].frozen).Equal(m.frozen))
	})
	return len(q.answers) > 0
}

// asked are the offsets of the operations that open questions are about.
func (s *State) asked() map[int64]bool {
	all := map[int64]bool{}
	for _, q := range s.questions {
		for i := 0; q.open() && i < len(q.ops); i++ {
			all[q.ops[i].offset] = true
		}
	}
	return all
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
			r := &run{}
			r.around(at, j)
			q := s.question(r, s.sinceNewest())
			if q.doubts(id) {
				q.allow(func(a answer) bool { return q.alive(a, id) }, func([]tally) bool { return true })
			}
			if len(q.answers) > 0 {
				s.suspect(q, s.nameOrder(id))
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
	c.progress = s.progressIn(at, o)
	return c
}

// progressIn is how far an order was before a record.
func (s *State) progressIn(at uint64, o *order) progress {
	from, to := s.span(at, func(e *entry) uint64 { return e.orders }, s.journal.orders.head)
	for i := from; i < to; i++ {
		if b := s.journal.orders.at(i); b.id == o.id {
			return b.progress()
		}
	}
	return o.progress
}

// endedBy is the order with an id that a record ended, or nil.
func (s *State) endedBy(at uint64, id int64) (o *order) {
	from, to := s.span(at, func(e *entry) uint64 { return e.lives }, s.journal.lives.head)
	for i := from; i < to; i++ {
		if l := s.journal.lives.at(i); l.o != nil && l.id == id {
			o = l.o
		}
	}
	return o
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

// accountsFrom is the first change of an account in a record or later.
func (s *State) accountsFrom(at uint64) uint64 {
	if at < s.journal.records.head {
		return s.journal.records.at(at).accounts
	}
	return s.journal.accounts.head
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

// allow lists the answers of a question about a crash that no id shows: those that
// may be, contradict nothing, and fit by what the accounts are then.
func (q *question) allow(may func(answer) bool, fits func([]tally) bool) {
	now, least := q.run(q.now)
	for from := range len(q.ops) {
		for to := from + 1; to <= len(q.ops); to++ {
			a := answer{uint8(from), uint8(to)}
			if !may(a) {
				continue
			}
			then, misses := q.run(a)
			ok := misses <= least && fits(then)
			for k := range q.slots {
				ok = ok && (!q.slots[k].told || then[k].total().Equal(now[k].total()))
			}
			if ok {
				q.answers = append(q.answers, a)
			}
		}
	}
}

// suspect asks a question about a crash that no id shows.
func (s *State) suspect(q *question, what string) {
	if s.fail(rewind) {
		best := q.best()
		s.example(rewind, "operations without ids, by "+what, "none forgotten",
			"some forgotten from offset "+text(q.ops[best.from].offset)+" to "+text(q.ops[best.to-1].offset))
	}
	s.answer(q, q.best())
	s.ask(q)
}

func text(offset int64) string { return strconv.FormatInt(offset, 10) }

// doubtAt makes a doubt of a record.
func (s *State) doubtAt(at uint64) doubt {
	j := &s.journal
	e := j.records.at(at)
	d := doubt{offset: e.offset, kind: e.kind, word: *j.words.at(e.words), fails: s.failsOf(at)}
	if d.kind == stepPayment {
		d.off = s.beyond(e, &d.word, d.fails)
	}
	if o := s.endedBy(at, d.order); o != nil {
		d.o = s.endedIn(at, o)
	}
	return d
}

// beyond is what a payment told of the balance beyond what was reckoned.
func (s *State) beyond(e *entry, w *word, fails []check) tally {
	if len(fails) == 0 {
		return tally{}
	}
	h := s.holdingsBefore(e.accounts, w.slot)
	was := tally{h.available(), h.frozen()}
	t := was
	w.believe(&t)
	return tally{t.available.Sub(was.available).Sub(w.change), t.frozen.Sub(was.frozen)}
}
