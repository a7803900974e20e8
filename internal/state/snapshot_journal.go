package state

// What of a snapshot is needed for an undo.

// codeRing is a ring by its elements; its counters begin at 0 again.
func codeRing[T any](c *codec, r *ring[T], each func(*T)) {
	n := c.count(r.len())
	for i := range n {
		if c.err != nil {
			return
		}
		if c.reading {
			var element T
			each(&element)
			r.push(element)
			continue
		}
		each(r.at(r.tail + uint64(i)))
	}
}

func (s *State) codeJournal(c *codec) {
	j := &s.journal
	codeRing(c, &j.accounts, func(b *accountBefore) {
		c.index(&b.slot, len(s.accounts))
		h := b.holdings()
		if c.holdings(&h); c.reading {
			b.pack(&h)
		}
	})
	codeRing(c, &j.orders, func(b *orderBefore) {
		c.int64(&b.id)
		p := b.progress()
		if c.progress(&p); c.reading {
			b.pack(&p)
		}
	})
	codeRing(c, &j.lives, func(l *life) {
		c.int64(&l.id)
		s.codeOrderAt(c, &l.o)
	})
	codeRing(c, &j.money, func(b *moneyBefore) {
		c.index(&b.asset, len(s.money))
		c.amounts(&b.Deposits, &b.Withdrawals, &b.Fees, &b.Adopted)
		c.int64(&b.AdoptedTimes)
		if c.err == nil {
			b.Asset = s.assets.names[b.asset]
		}
	})
	codeRing(c, &j.words, func(w *word) { s.codeWord(c, w) })
	codeRing(c, &j.fails, func(k *check) { small(c, k, checkCount-1) })

	// Where a record's changes begin is written as the distance from the record
	// before.
	at := entry{}
	if !c.reading {
		at = entry{accounts: j.accounts.tail, orders: j.orders.tail, lives: j.lives.tail, money: j.money.tail, words: j.words.tail, fails: j.fails.tail}
	}
	codeRing(c, &j.records, func(e *entry) {
		s.codeEntry(c, e, &at)
		if j.records.len() == journalRecords+chunk && c.reading {
			c.fail()
		}
	})
}

func (s *State) codeEntry(c *codec, e, at *entry) {
	j := &s.journal
	step := func(v, from *uint64, head uint64) {
		d := *v - *from
		c.uint64(&d)
		if *v = *from + d; c.reading && (d > head || *v > head) {
			c.fail()
		}
		*from = *v
	}
	step(&e.accounts, &at.accounts, j.accounts.head)
	step(&e.orders, &at.orders, j.orders.head)
	step(&e.lives, &at.lives, j.lives.head)
	step(&e.money, &at.money, j.money.head)
	step(&e.words, &at.words, j.words.head)
	step(&e.fails, &at.fails, j.fails.head)
	d := e.offset - at.offset
	c.int64(&d)
	e.offset = at.offset + d
	at.offset = e.offset
	c.int64(&e.lastOrder)
	c.int64(&e.lastTrade)
	c.int64(&e.id)
	c.uint64(&e.mark)
	small(c, &e.kind, stepTransfer)
	small(c, &e.follow, 3)
	c.bool(&e.late)
	if e.kind.own() && e.words == j.words.head {
		c.fail() // its word is missing
	}
}

func (s *State) codeWord(c *codec, w *word) {
	c.index(&w.slot, max(1, len(s.accounts)))
	c.index(&w.other, max(1, len(s.accounts)))
	c.int64(&w.order)
	c.amounts(&w.change, &w.first, &w.frozen, &w.total)
	c.bool(&w.split)
}

func (s *State) codeQuestion(c *codec, q *question) {
	c.int64(&q.offset)
	list(c, &q.ops, func(d *doubt) {
		c.int64(&d.offset)
		small(c, &d.kind, stepTransfer)
		if !d.kind.own() {
			c.fail()
		}
		s.codeWord(c, &d.word)
		s.codeOrderAt(c, &d.o)
		c.amounts(&d.off.available, &d.off.frozen)
		list(c, &d.fails, func(k *check) { small(c, k, checkCount-1) })
		list(c, &d.counted, func(k *check) { small(c, k, checkCount-1) })
	})
	list(c, &q.cuts, func(v *int32) { c.index(v, len(q.ops)+1) })
	list(c, &q.slots, func(d *doubtedSlot) {
		c.index(&d.slot, len(s.accounts))
		c.amounts(&d.before.available, &d.before.frozen)
		c.bool(&d.known)
		c.bool(&d.told)
		c.int64(&d.settled)
		c.bool(&d.split)
	})
	most := uint8(min(len(q.ops), 255))
	one := func(a *answer) {
		small(c, &a.from, most)
		small(c, &a.to, most)
	}
	list(c, &q.answers, one)
	one(&q.now)
	list(c, &q.history, func(h *answered) {
		c.int64(&h.offset)
		one(&h.was)
	})
	if c.reading && (len(q.answers) == 0 || len(q.ops) == 0 || !q.hasSlots()) {
		c.fail()
	}
}

// hasSlots reports whether every account of the operations is listed.
func (q *question) hasSlots() bool {
	for i := range q.ops {
		switch d := &q.ops[i]; {
		case d.kind == stepCancel && d.o != nil && q.slotAt(d.o.holds()) < 0,
			d.kind == stepPayment && q.slotAt(d.slot) < 0,
			d.kind == stepTransfer && (q.slotAt(d.slot) < 0 || q.slotAt(d.other) < 0):
			return false
		}
	}
	return true
}
