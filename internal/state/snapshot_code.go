package state

import (
	"maps"
	"slices"

	"github.com/thaliumx/persistor/internal/event"
)

// code is the contents of a snapshot, written or read.
func (s *State) code(c *codec) {
	for _, v := range []*int64{&s.base, &s.next, &s.time, &s.lastOrder, &s.lastTrade, &s.crossing} {
		c.int64(v)
	}
	for _, v := range []*bool{&s.complete, &s.ordersFollow, &s.tradesFollow} {
		c.bool(v)
	}
	s.codeNames(c)
	s.codeUsers(c)
	s.codeAccounts(c)
	s.codeOrders(c)
	s.codeOperation(c)
	s.codeJournal(c)
	open := s.questions
	list(c, &open, func(q **question) {
		if *q == nil {
			*q = &question{}
		}
		s.codeQuestion(c, *q)
	})
	if c.reading && c.err == nil {
		s.setQuestions(open)
	}
	s.codeChecks(c)
}

func (s *State) codeNames(c *codec) {
	list(c, &s.assets.names, c.text)
	list(c, &s.markets, func(m *market) {
		c.text(&m.name)
		c.index(&m.base, len(s.assets.names))
		c.index(&m.quote, len(s.assets.names))
	})
	list(c, &s.money, func(m *Money) {
		c.amounts(&m.Deposits, &m.Withdrawals, &m.Fees, &m.Adopted)
		c.int64(&m.AdoptedTimes)
	})
	if !c.reading {
		return
	}
	if len(s.money) > len(s.assets.names) {
		c.fail()
		return
	}
	for i, name := range s.assets.names {
		s.assets.index[name] = int32(i)
	}
	for i := range s.money {
		s.money[i].Asset = s.assets.names[i]
	}
	for i := range s.markets {
		s.marketOf[s.markets[i].name] = int32(i)
	}
}

func (s *State) codeUsers(c *codec) {
	ids := slices.Sorted(maps.Keys(s.users))
	list(c, &ids, func(id *int64) {
		c.int64(id)
		u := s.users[*id]
		if c.reading {
			u = &User{ID: *id}
			s.users[*id] = u
		}
		c.text(&u.L1Address)
		c.text(&u.L2Pubkey)
	})
}

func (c *codec) holdings(h *holdings) {
	c.amounts(&h.total, &h.held, &h.odd)
	small(c, &h.flags, existing|totalKnown|splitKnown|oddlyFrozen|owing)
}

func (s *State) codeAccounts(c *codec) {
	list(c, &s.accounts, func(a *account) {
		c.int64(&a.user)
		c.index(&a.asset, len(s.assets.names))
		c.holdings(&a.holdings)
	})
	if !c.reading {
		return
	}
	for i := range s.accounts {
		a := &s.accounts[i]
		s.slots[uint64(a.user)<<32|uint64(uint32(a.asset))] = int32(i)
		if a.flags&existing != 0 {
			s.accountChanged(int32(i), a)
		}
	}
}

func (c *codec) progress(p *progress) {
	c.amounts(&p.remain, &p.frozen, &p.finishedBase, &p.finishedQuote, &p.finishedFee)
	signed(c, &p.updateTime)
}

// codeOrder is an order without its place: a copy of one in the books, or of one
// that is not open.
func (s *State) codeOrder(c *codec, o *order) {
	c.progress(&o.progress)
	c.int64(&o.id)
	c.int64(&o.user)
	c.index(&o.market, len(s.markets))
	small(c, &o.side, event.Bid)
	small(c, &o.kind, event.Market)
	small(c, &o.postOnly, event.True)
	if o.side == event.NoSide || o.kind == event.NoType {
		c.fail()
	}
	c.index(&o.base, len(s.accounts))
	c.index(&o.quote, len(s.accounts))
	c.amounts(&o.price, &o.amount, &o.makerFee, &o.takerFee)
	signed(c, &o.createTime)
	c.bool(&o.signed)
	if o.signed {
		c.bytes(o.signature[:])
	}
}

// codeOrderAt is an order that may be nil.
func (s *State) codeOrderAt(c *codec, o **order) {
	there := *o != nil
	c.bool(&there)
	if !there {
		return
	}
	if *o == nil {
		*o = &order{}
	}
	s.codeOrder(c, *o)
}

func (s *State) codeOrders(c *codec) {
	orders := s.orders.byID()
	list(c, &orders, func(o **order) {
		if *o == nil {
			*o = &order{}
		}
		s.codeOrder(c, *o)
		c.bool(&(*o).inBook)
	})
	if !c.reading || c.err != nil {
		return
	}
	for _, o := range orders {
		s.insert(o)
		if o.inBook {
			k := &s.markets[o.market].books[o.side]
			k.orders = append(k.orders, o)
		}
	}
	for i := range s.markets {
		for _, k := range s.markets[i].books {
			slices.SortFunc(k.orders, func(a, b *order) int {
				switch {
				case a == b:
					return 0
				case after(a, b):
					return -1
				}
				return 1
			})
		}
	}
}

func (s *State) codeOperation(c *codec) {
	for _, v := range []*bool{&s.op.put, &s.op.ended, &s.op.early} {
		c.bool(v)
	}
	c.int64(&s.op.taker)
	c.int64(&s.op.lastMaker)
	list(c, &s.op.filled, c.int64)
	list(c, &s.op.unknown, c.int64)
	list(c, &s.op.touched, func(slot *int32) {
		c.index(slot, len(s.accounts))
		if c.err == nil {
			s.accounts[*slot].touched = true
		}
	})
}

func (s *State) codeChecks(c *codec) {
	for i := range s.checks {
		k := &s.checks[i]
		c.int64(&k.passed)
		c.int64(&k.failed)
		list(c, &k.examples, func(e *Example) {
			e.Check = checkNames[i]
			c.int64(&e.Offset)
			c.text(&e.Field)
			c.text(&e.Expected)
			c.text(&e.Found)
		})
	}
}
