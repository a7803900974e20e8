package state

import (
	"math/bits"
	"slices"

	"github.com/thaliumx/persistor/internal/amount"
)

// run is a row of records without ids, any part of which the engine may have
// forgotten. There may be a thousand to look at for one balance, so it is a
// question only once it could explain something.
type run struct {
	first, behind uint64
	cancels       []int64 // the orders
	ops           int
	moves         []move
}

// move is what an operation did to an account when it was read.
type move struct {
	at            uint64 // its record
	op            int    // its place in the run
	slot          int32
	total, frozen amount.Amount
	paid          bool // it is a payment: what was before does not matter
	again         bool // it cancels an order once more, which it may not have done
	same          int  // the run's first move of this account; -1 where it was not told since
}

// maxRun is how many neighbouring operations without ids are looked at.
const maxRun = 32

// around makes it the run around a record, up to the newest one.
func (r *run) around(at uint64, j *journal) {
	free := func(i uint64) bool { e := j.records.at(i); return e.kind.own() || e.kind == stepNone }
	r.first, r.behind = at, at+1
	for r.first > j.records.tail && free(r.first-1) && at-r.first < maxRun/2 {
		r.first--
	}
	for r.behind < j.records.head-1 && free(r.behind) && r.behind-r.first < maxRun {
		r.behind++
	}
}

// readMoves lists what a run's operations moved.
func (s *State) readMoves(r *run) {
	j := &s.journal
	r.ops, r.moves, r.cancels = 0, r.moves[:0], r.cancels[:0]
	for at := r.first; at < r.behind; at++ {
		e := j.records.at(at)
		if !e.kind.own() {
			continue
		}
		w := j.words.at(e.words)
		v := move{at: at, op: r.ops, slot: w.slot}
		switch e.kind {
		case stepPayment:
			off := s.beyond(e, w, s.failsOf(at))
			v.total, v.frozen, v.paid = w.change.Add(off.total()), off.frozen, true
			r.moves = append(r.moves, v)
		case stepTransfer:
			if w.slot == w.other {
				break
			}
			v.total = w.change.Neg()
			r.moves = append(r.moves, v)
			v.slot, v.total = w.other, w.change
			r.moves = append(r.moves, v)
		case stepCancel:
			if o := s.endedBy(at, w.order); o != nil {
				p := s.progressIn(at, o)
				v.slot, v.frozen, v.again = o.holds(), p.frozen.Neg(), slices.Contains(r.cancels, w.order)
				r.moves = append(r.moves, v)
			}
			r.cancels = append(r.cancels, w.order)
		case stepNone, stepPut, stepTrade, stepUpdate, stepFinish: // have ids, or do nothing
		}
		r.ops++
	}
}

// question makes a question of a run's operations, on what their accounts had.
func (s *State) question(r *run, since *since) *question {
	q := &question{offset: s.next, ops: make([]doubt, 0, r.behind-r.first)}
	for i := r.first; i < r.behind; i++ {
		if s.journal.records.at(i).kind.own() {
			d := s.doubtAt(i)
			d.counted = d.fails
			q.ops = append(q.ops, d)
		}
	}
	q.now = answer{uint8(len(q.ops)), uint8(len(q.ops))}
	since.reach(r.behind)
	from, to := s.accountsFrom(r.first), s.accountsFrom(r.behind)
	s.doubtSlots(q, func(slot int32) *holdings {
		for i := from; i < to; i++ {
			if b := s.journal.accounts.at(i); b.slot == slot {
				h := b.holdings()
				return &h
			}
		}
		return since.before(slot)
	})
	// What was learned in one of them about another crash counts as known before.
	did, _ := q.run(q.now)
	for k := range q.slots {
		d := &q.slots[k]
		h := since.before(d.slot)
		d.before.available = d.before.available.Add(h.available()).Sub(did[k].available)
		d.before.frozen = d.before.frozen.Add(h.frozen()).Sub(did[k].frozen)
		d.told = since.told(d.slot)
	}
	return q
}

// rows are rows of a run's operations that may have been forgotten: those from
// one up to where a bit is set.
type rows [maxRun]uint64

func (w *rows) has(a answer) bool { return w[a.from]>>a.to&1 != 0 }

func (w *rows) none() bool { return *w == rows{} }

func (w *rows) count() (n int) {
	for _, to := range w {
		n += bits.OnesCount64(to)
	}
	return n
}

// missing is what the engine tells of an account beyond what the state has.
type missing struct {
	slot          int32
	total, frozen amount.Amount
	split         bool // frozen is told
}

// rowsFor are the rows without which the account would have what is missing.
func (s *State) rowsFor(r *run, m *missing) *rows {
	var total, frozen [maxRun + 1]amount.Amount // what the operations before each moved
	var last *move                              // payment
	split, n := m.split, 0
	for x := range r.moves {
		v := &r.moves[x]
		if v.slot != m.slot {
			continue
		}
		for ; n <= v.op; n++ {
			total[n+1], frozen[n+1] = total[n], frozen[n]
		}
		total[n].Plus(&v.total)
		frozen[n].Plus(&v.frozen)
		split = split && !v.again
		if v.paid {
			last = v
		}
	}
	for ; n < r.ops; n++ {
		total[n+1], frozen[n+1] = total[n], frozen[n]
	}
	w, least := &rows{}, 1
	if last != nil {
		least = last.op + 1
	}
	for to := least; to <= n; to++ {
		wantTotal, wantFrozen := total[to].Add(m.total), frozen[to].Add(m.frozen)
		for from := range to {
			if total[from].Same(&wantTotal) && (!split || frozen[from].Same(&wantFrozen)) {
				w[from] |= 1 << to
			}
		}
	}
	if last == nil {
		return w
	}
	// Whatever was forgotten before the last payment, the account has what that told.
	word := s.journal.words.at(s.journal.records.at(last.at).words)
	now := s.holdingsBefore(s.accountsFrom(r.behind), m.slot)
	then := tally{now.available(), now.frozen()}
	word.believe(&then)
	by := then.total().Add(total[n]).Sub(total[least]).Sub(now.total)
	held := then.frozen.Add(frozen[n]).Sub(frozen[least]).Sub(now.frozen())
	if by.Equal(m.total) && (!split || !word.split || held.Equal(m.frozen)) {
		for to := 1; to < least; to++ {
			for from := range to {
				w[from] |= 1 << to
			}
		}
	}
	return w
}

// dropTold drops the rows that moved the total of an account that was told since.
func (r *run) dropTold(w *rows, since *since) {
	slots := make([]int32, 0, 2*maxRun)
	var paid [2 * maxRun]int // behind the last payment of an account, by its first move
	for x := range r.moves {
		v := &r.moves[x]
		slots = append(slots, v.slot)
		if v.same = slices.Index(slots, v.slot); v.same < x {
			v.same = r.moves[v.same].same
		} else if !since.told(v.slot) {
			v.same = -1
		}
		if v.paid && v.same >= 0 {
			paid[v.same] = v.op + 1
		}
	}
	end := len(r.moves)
	for to := r.ops; to > 0; to-- {
		for end > 0 && r.moves[end-1].op >= to {
			end--
		}
		bit := uint64(1) << to
		lowest := slices.IndexFunc(w[:], func(ends uint64) bool { return ends&bit != 0 })
		if lowest < 0 {
			continue
		}
		var moved [2 * maxRun]amount.Amount
		wrong, x := 0, end // accounts that would not have what was told
		for from := to - 1; from >= lowest; from-- {
			for ; x > 0 && r.moves[x-1].op == from; x-- {
				v := &r.moves[x-1]
				if v.same < 0 || to < paid[v.same] {
					continue
				}
				if moved[v.same].IsZero() {
					wrong++
				}
				if moved[v.same].Plus(&v.total); moved[v.same].IsZero() {
					wrong--
				}
			}
			if wrong > 0 {
				w[from] &^= bit
			}
		}
	}
}
