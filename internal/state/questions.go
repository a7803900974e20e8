package state

import "slices"

// The open questions, and what becomes of them when records are undone.

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
				if o := s.orders.find(q.ops[i].order); o != nil && q.ops[i].o != nil {
					o.doubted = doubted
				}
			}
		}
	}
	mark(false)
	s.questions = asked
	mark(true)
}

// isDoubted reports whether a question is open about an order.
func (s *State) isDoubted(id int64) bool {
	return slices.ContainsFunc(s.questions, func(q *question) bool { return q.open() && q.doubts(id) })
}

// silent reports whether no id showed the crash.
func (q *question) silent() bool { return len(q.cuts) == 0 }

// dropQuestions forgets what was asked at an offset or later, and what was
// answered, since the records there have been undone. But a crash that no id
// shows is a fact, also where it was an undone record that showed it, unless a
// question looks at its operations again.
func (s *State) dropQuestions(offset int64, again *question) {
	for _, q := range slices.Clone(s.questions) {
		switch {
		case q.offset < offset || q.silent() && q.ops[len(q.ops)-1].offset < offset:
			s.unanswer(q, offset)
		case q.silent():
			s.withdraw(q, again)
		default:
			s.unanswer(q, offset)
			s.setQuestions(without(s.questions, q))
		}
	}
}

func without(all []*question, q *question) []*question {
	return slices.DeleteFunc(slices.Clone(all), func(other *question) bool { return other == q })
}

// withdraw takes back that there was a crash which no id shows. What showed it
// is a contradiction then, if a question looks at it again.
func (s *State) withdraw(q, again *question) {
	s.takeBack(rewind, q.offset)
	s.unanswer(q, q.offset)
	s.setQuestions(without(s.questions, q))
	if i := again.find(q.offset); i >= 0 {
		again.ops[i].fails = append(again.ops[i].fails, rewind)
	}
}

// find is the operation at an offset, -1 if there is none.
func (q *question) find(offset int64) int {
	return slices.IndexFunc(q.ops, func(d doubt) bool { return d.offset == offset })
}

// settleFor brings the state to possible answers and decides a question on it.
// A crash that no id shows is believed, where the question looks at the record
// again that showed it, only if otherwise more were contradicted: it may have
// seemed to be one because another had not shown yet.
func (s *State) settleFor(q *question, ended []*order) {
	s.settle(ended)
	least := s.decide(q)
	for _, p := range slices.Backward(slices.Clone(s.questions)) {
		if !p.silent() || q.find(p.offset) < 0 {
			continue
		}
		asked, checks := s.questions, s.checks[rewind]
		s.unsettle()
		s.withdraw(p, q)
		s.settle(ended)
		if n := s.decide(q); n <= least {
			least = n
			continue
		}
		s.unsettle()
		s.setQuestions(asked)
		s.checks[rewind] = checks
		shown := &q.ops[q.find(p.offset)]
		shown.fails = shown.fails[:len(shown.fails)-1]
		s.settle(ended)
		s.decide(q)
	}
}

// unanswer goes back to the answer that a question had before an offset.
func (s *State) unanswer(q *question, offset int64) {
	for n := len(q.history); n > 0 && q.history[n-1].offset >= offset; n-- {
		s.changeTo(q, q.history[n-1].was)
		q.history = q.history[:n-1]
	}
	for k := range q.slots {
		if q.slots[k].settled > offset {
			q.slots[k].settled = 0
		}
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
// learned from forgotten records is true all the same. Orders that have ended are
// closed, if an operation was told only in part.
func (s *State) settle(ended []*order) {
	next := s.next
	s.next = s.journal.offsetAfterLast()
	s.begin(stepNone, 0, 0)
	for _, o := range ended {
		if s.orders.find(o.id) == o {
			s.close(o)
		}
	}
	for _, q := range s.questions {
		if !slices.Contains(q.answers, q.now) {
			s.answer(q, q.best())
		}
	}
	s.next = next
}

// unsettle takes back what settle did.
func (s *State) unsettle() {
	r := &undoing{s: s}
	r.undo()
	r.finish()
	for _, q := range s.questions {
		s.unanswer(q, s.journal.offsetAfterLast())
	}
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
