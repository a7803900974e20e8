package state

// since is what happened to the accounts from a record on. It reaches back as
// far as it was asked for, so that one pass over the journal serves all runs.
type since struct {
	s      *State
	from   uint64
	slots  map[int32]changedSince
	taught map[int64]bool // the offsets at which something was learned
}

type changedSince struct {
	first uint64 // its first change
	told  bool   // by a record before the newest
}

func (s *State) sinceNewest() *since {
	return &since{s: s, from: s.journal.records.head, slots: map[int32]changedSince{}}
}

// reach makes it reach back to a record.
func (c *since) reach(from uint64) {
	s, j := c.s, &c.s.journal
	if c.taught == nil {
		c.taught = map[int64]bool{}
		for _, q := range s.questions {
			for _, h := range q.history {
				c.taught[h.offset] = true
			}
		}
	}
	for c.from > from {
		end := s.accountsFrom(c.from)
		c.from--
		e := j.records.at(c.from)
		older := c.from < j.records.head-1
		for i := e.accounts; i < end; i++ {
			slot := j.accounts.at(i).slot
			was := c.slots[slot]
			told := was.told || older && e.kind == stepTrade && (!c.taught[e.offset] || s.tells(c.from, slot))
			c.slots[slot] = changedSince{i, told}
		}
		if older && e.kind == stepPayment {
			slot := j.words.at(e.words).slot
			c.slots[slot] = changedSince{c.slots[slot].first, true}
		}
	}
}

// before is what an account was before.
func (c *since) before(slot int32) *holdings {
	if changed, ok := c.slots[slot]; ok {
		h := c.s.journal.accounts.at(changed.first).holdings()
		return &h
	}
	return &c.s.accounts[slot].holdings
}

// told reports whether a record has told the total of an account.
func (c *since) told(slot int32) bool { return c.slots[slot].told }
