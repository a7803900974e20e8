package state

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/exchange"
)

// plainForgottenFor is forgottenFor as it would be if it might take its time: for
// each run it weighs every answer, and reads again what was told since.
func (s *State) plainForgottenFor(m *missing) *question {
	r := &s.journal.records
	for i := r.head - 1; i > r.tail; {
		i--
		e := r.at(i)
		if !s.changes(i, m.slot) || e.kind == stepNone {
			continue
		}
		if !e.kind.own() {
			if !m.total.IsZero() && e.kind == stepTrade && s.tells(i, m.slot) {
				return nil
			}
			continue
		}
		if s.asked()[e.offset] {
			continue
		}
		q, first := s.plainRunAround(i)
		if k := q.slotAt(m.slot); k >= 0 {
			now, _ := q.run(q.now)
			q.allow(func(answer) bool { return true }, func(then []tally) bool {
				return then[k].total().Equal(now[k].total().Add(m.total)) && (!m.split || then[k].frozen.Equal(now[k].frozen.Add(m.frozen)))
			})
			if len(q.answers) > 0 {
				return q
			}
		}
		for j := first; j <= i; j++ {
			if s.tells(j, m.slot) {
				return nil
			}
		}
		i = first
	}
	return nil
}

func (s *State) plainRunAround(at uint64) (q *question, first uint64) {
	r := &s.journal.records
	free := func(i uint64) bool { return r.at(i).kind.own() || r.at(i).kind == stepNone }
	first, behind := at, at+1
	for first > r.tail && free(first-1) && at-first < maxRun/2 {
		first--
	}
	for behind < r.head-1 && free(behind) && behind-first < maxRun {
		behind++
	}
	q = &question{offset: s.next, ops: []doubt{}}
	for i := first; i < behind; i++ {
		if r.at(i).kind.own() {
			d := s.doubtAt(i)
			d.counted = d.fails
			q.ops = append(q.ops, d)
		}
	}
	q.now = answer{uint8(len(q.ops)), uint8(len(q.ops))}
	s.doubtSlots(q, func(slot int32) *holdings { return s.holdingsBefore(s.accountsFrom(first), slot) })
	did, _ := q.run(q.now)
	for k := range q.slots {
		d := &q.slots[k]
		h := s.holdingsBefore(s.accountsFrom(behind), d.slot)
		d.before.available = d.before.available.Add(h.available()).Sub(did[k].available)
		d.before.frozen = d.before.frozen.Add(h.frozen()).Sub(did[k].frozen)
		for i := behind; i < r.head-1; i++ {
			d.told = d.told || s.tells(i, d.slot)
		}
	}
	return q, first
}

// somethingMissing is what would be missing of some account if the engine had forgotten some
// operations, or nearly that; nil where there are none.
func somethingMissing(t *testing.T, s *State, random *rand.Rand) *missing {
	j := &s.journal
	if j.accounts.len() == 0 || j.records.len() < 2 {
		return nil
	}
	r := &run{}
	at := j.records.tail + uint64(random.IntN(j.records.len()-1))
	r.around(at, j)
	if want, _ := s.plainRunAround(at); !reflect.DeepEqual(s.question(r, s.sinceNewest()), want) {
		t.Fatalf("offset %d: %+v, want %+v", s.Next(), s.question(r, s.sinceNewest()), want)
	}
	if s.readMoves(r); len(r.moves) == 0 {
		return nil
	}
	m := &missing{slot: r.moves[random.IntN(len(r.moves))].slot, split: random.IntN(2) == 0}
	from := random.IntN(len(r.moves))
	for _, v := range r.moves[from:min(len(r.moves), from+1+random.IntN(6))] {
		if v.slot == m.slot {
			m.total.Minus(&v.total)
			if m.split {
				m.frozen.Minus(&v.frozen)
			}
		}
	}
	if random.IntN(4) == 0 {
		m.total = amount.Int(int64(random.IntN(5) - 2))
	}
	if random.IntN(4) == 0 {
		m.total = nothing
	}
	if m.total.IsZero() && m.frozen.IsZero() {
		return nil
	}
	return m
}

// sameSearch compares the quick search with the plain one, and returns whether
// they found something.
func sameSearch(t *testing.T, s *State, m *missing) bool {
	want := s.plainForgottenFor(m)
	if got := s.forgottenFor(m); !reflect.DeepEqual(got, want) {
		t.Fatalf("offset %d, missing %s and %s frozen (%v) of %s:\ngot  %+v\nwant %+v", s.Next(), m.total, m.frozen, m.split, s.nameOf(m.slot), got, want)
	}
	return want != nil
}

// quiet is a log of few users that is mostly payments, transfers and cancels, and
// often contradicts itself.
func quiet(random *rand.Rand) (log string) {
	users, last := 2+random.IntN(4), 0
	has := make([]int, users)
	var open []string
	for range 400 {
		u := random.IntN(users)
		switch n := random.IntN(40); {
		case n < 12:
			has[u] += 1 + random.IntN(3)
			change := 1 + random.IntN(3)
			if random.IntN(6) == 0 {
				has[u] += random.IntN(7) - 3
			}
			log += deposited(u, fmt.Sprint(change), fmt.Sprint(has[u]))
		case n < 32:
			to, by := random.IntN(users), 1+random.IntN(2)
			has[u], has[to] = has[u]-by, has[to]+by
			log += transferred(u, to, fmt.Sprint(by))
		case n < 34:
			if last++; random.IntN(6) == 0 {
				last -= random.IntN(last)
			}
			o := bid(last, u, fmt.Sprint(1+random.IntN(2)))
			log += o
			open = append(open, o)
		case n < 36 && len(open) > 0:
			log += cancelled(open[random.IntN(len(open))])
		default:
			log += deposited(u, "1", fmt.Sprint(has[u]+1))
			has[u]++
		}
	}
	return log
}

func TestTheQuickSearchFindsWhatThePlainOneDoes(t *testing.T) {
	logs := map[string]func(*rand.Rand) []record{
		"quiet":   func(random *rand.Rand) []record { return parse(quiet(random)) },
		"mangled": func(random *rand.Rand) []record { return mangled(t, random) },
		"faults": func(random *rand.Rand) []record {
			cfg := exchange.DefaultConfig()
			cfg.Seed, cfg.CrashEvery, cfg.Forget, cfg.LoseUnify, cfg.AllowSelfTrade, cfg.SelfTransfers = random.Uint64(), 120, 25, 8, true, 0.1
			_, log := simulate(t, cfg, 800)
			return log
		},
	}
	for name, log := range logs {
		t.Run(name, func(t *testing.T) {
			searches, found := 0, 0
			for _, seed := range seeds(t, 10, 400) {
				random := rand.New(rand.NewPCG(seed, 3))
				p := newPlayer(New(0))
				for i, r := range log(random) {
					if err := p.decoder.Unify(r.key, r.value, &p.unify); err != nil {
						t.Fatal(err)
					}
					p.Apply(int64(i), 0, &p.unify)
					if random.IntN(10) > 0 {
						continue
					}
					for range 4 {
						if m := somethingMissing(t, p.State, random); m != nil {
							searches++
							if sameSearch(t, p.State, m) {
								found++
							}
						}
					}
				}
			}
			t.Logf("%d searches, %d found something", searches, found)
			if found == 0 || found == searches {
				t.Errorf("%d searches, %d found something", searches, found)
			}
		})
	}
}
