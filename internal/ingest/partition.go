package ingest

import (
	"sync"
	"time"

	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/httpserver"
	"github.com/thaliumx/persistor/internal/store"
)

// partition is one assigned partition. Its worker alone moves it; the status
// page and the metrics read view.
type partition struct {
	topic string // without prefix
	name  string // with prefix, as Kafka and the ledger have it
	id    int32

	// What the ledger said and what has been done since.
	admitted  bool
	log       store.Log
	topicUUID [16]byte
	leader    int32 // the broker whose log was compared with the ledger; another's, or this one's once it was away, may be another log
	committed int64 // the ledger's next offset
	moves     int64 // how often an operator had moved it
	archived  int64
	next      int64 // the next record to decode: committed, or ahead of it by the batch in hand

	// poison has records that the database refused: they become rejects.
	poison map[int64]store.BadRecord

	retryAt  time.Time     // of a partition out of work: when to look again
	patience time.Duration // between looks at a row of the ledger that somebody holds
	stuck    bool          // halted by what reading or storing showed, not by the ledger: only progress clears it
	reported time.Time     // when the log last told of a halt
	alone    bool          // to be asked for by itself: an answer that should have had it was too large

	groupOffset int64 // the group's committed offset at the assignment; negative: none

	mu   sync.Mutex
	view httpserver.Partition
}

func newPartition(topic, prefix string, id int32) *partition {
	return &partition{
		topic: topic, name: prefix + topic, id: id, groupOffset: -1,
		view: httpserver.Partition{Topic: prefix + topic, Partition: int(id), State: httpserver.Waiting,
			Reason: "being looked up in the ledger", NextOffset: -1, HighWatermark: -1, LogStart: -1},
	}
}

// want is the next fetch of the partition.
func (p *partition) want() fetch.Want {
	return fetch.Want{Topic: p.name, TopicID: p.topicUUID, Partition: p.id, Offset: p.next}
}

// show changes what the status page and the metrics see.
func (p *partition) show(change func(*httpserver.Partition)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.view)
	if lag, known := p.view.Lag(); !known || lag <= 0 {
		p.view.BehindSince = time.Time{}
	} else if p.view.BehindSince.IsZero() {
		p.view.BehindSince = time.Now()
	}
}

func (p *partition) snapshot() httpserver.Partition {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.view
}

// sawLog notes the ends of the log.
func (p *partition) sawLog(start, high int64) {
	p.show(func(v *httpserver.Partition) { v.LogStart, v.HighWatermark = start, high })
}

// admit takes the partition into work from the ledger's position, to be read from
// the leader whose log was compared with it.
func (p *partition) admit(pos store.Position, leader int32) {
	// An operator who moved it past what it was stuck at has decided.
	p.stuck = p.stuck && pos.Log == p.log && pos.Next == p.committed
	p.patience = 0
	p.admitted, p.log, p.topicUUID, p.leader = true, pos.Log, pos.TopicUUID, leader
	p.committed, p.moves, p.archived, p.next = pos.Next, pos.Moves, pos.Archived, pos.Next
	p.show(func(v *httpserver.Partition) {
		v.NextOffset = pos.Next
		if !p.stuck {
			v.State, v.Reason, v.Remedy = httpserver.Running, "", ""
		}
	})
}

// moved notes a commit.
func (p *partition) moved(next int64) {
	p.committed = next
	p.show(func(v *httpserver.Partition) {
		v.NextOffset, v.LastCommit = next, time.Now()
		if p.stuck && p.admitted {
			v.State, v.Reason, v.Remedy = httpserver.Running, "", ""
		}
	})
	p.stuck = p.stuck && !p.admitted
}

// haltRetry is how often a halted partition is looked at again, so that it goes
// on by itself once an operator has decided.
const haltRetry = 3 * time.Second

// halt takes the partition out of work until an operator has decided. It tells
// whether the log should say so: once, and then rarely.
func (p *partition) halt(h *Halt) (tell bool) {
	p.admitted, p.retryAt = false, time.Now().Add(haltRetry)
	p.show(func(v *httpserver.Partition) {
		tell = v.State != httpserver.Halted || v.Reason != h.Reason || time.Since(p.reported) > 10*remindEvery
		v.State, v.Reason, v.Remedy = httpserver.Halted, h.Reason, h.Remedy
	})
	if tell {
		p.reported = time.Now()
	}
	return tell
}

func (p *partition) halted() bool { return p.snapshot().State == httpserver.Halted }

// waits says why the partition does not move just now.
func (p *partition) waits(reason string) {
	p.admitted = false
	p.show(func(v *httpserver.Partition) {
		if !p.stuck {
			v.State, v.Reason, v.Remedy = httpserver.Waiting, reason, ""
		}
	})
}

// Halt says why a partition cannot go on without losing or doubling records,
// and what an operator can do.
type Halt struct { //nolint:errname // a state of a partition first, an error on its way there
	Reason string
	Remedy string
}

// Error gives both.
func (h *Halt) Error() string { return h.Reason + "; " + h.Remedy }
