package store

import (
	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/fetch"
)

// Source is the record that a row came from.
type Source struct {
	TopicID   int16
	Partition int32
	Offset    int64
	Hash      int64 // xxHash64 of the record's value, seed 0, as signed
}

// Log is one partition of one incarnation of a topic.
type Log struct {
	Topic     string
	TopicID   int16
	Partition int32
}

// Progress is what a batch does to one partition: it moves it from Expected to
// Next, if the ledger still stands at Expected.
type Progress struct {
	Log
	Expected int64
	Next     int64

	Records    int     // records in [Expected, Next)
	Rejected   []int64 // their offsets
	Duplicates int     // rows that were there already; set by Write

	hasLast    bool
	lastOffset int64
	lastHash   int64
	archived   int64 // records below this offset are in the event log already
}

// Batch collects what one transaction writes: rows, already encoded for COPY,
// and the progress of each partition. Not for concurrent use. Its buffers are
// reused from batch to batch.
type Batch struct {
	progress []*Progress
	free     []*Progress
	rows     [tableCount]rows
	records  int
	segment  segment
	state    stateChanges
	merged   map[Source]bool // records whose row was there already
}

// NewBatch returns an empty batch.
func NewBatch() *Batch {
	b := &Batch{}
	b.Reset()
	return b
}

// Reset empties the batch and keeps its buffers, but for those that one
// unusually big record has blown up.
func (b *Batch) Reset() {
	const keep = 16 << 20
	b.free = append(b.free, b.progress...)
	b.progress, b.records = b.progress[:0], 0
	for i := range b.rows {
		if cap(b.rows[i].buf) > keep {
			b.rows[i].buf = nil
		}
		b.rows[i].reset()
	}
	b.segment.reset()
	b.state.reset()
	clear(b.merged)
}

// Records counts the records in the batch.
func (b *Batch) Records() int { return b.records }

// Merged tells, after Write, whether the record's row was there already.
func (b *Batch) Merged(s Source) bool {
	s.Hash = 0
	return b.merged[s]
}

// Empty tells whether the batch would change nothing.
func (b *Batch) Empty() bool { return len(b.progress) == 0 }

// Bytes is the size of what COPY would send.
func (b *Batch) Bytes() int {
	n := 0
	for i := range b.rows {
		n += len(b.rows[i].buf) - len(copyHeader)
	}
	return n + b.segment.out.Len()
}

// Progress lists the partitions that the batch moves.
func (b *Batch) Progress() []*Progress { return b.progress }

// Partition starts the batch's part for one partition that stands at expected.
// archived is the offset up to which the event log holds the partition already;
// it matters for unifyevents only.
func (b *Batch) Partition(log Log, expected, archived int64) *Progress {
	for _, p := range b.progress {
		if p.Log == log {
			return p
		}
	}
	p := &Progress{}
	if n := len(b.free); n > 0 {
		p, b.free = b.free[n-1], b.free[:n-1]
		*p = Progress{Rejected: p.Rejected[:0]}
	}
	p.Log, p.Expected, p.Next, p.archived = log, expected, expected, archived
	b.progress = append(b.progress, p)
	return p
}

// Record notes that the record was taken: the partition now stands behind it.
// Every record is noted so, whatever becomes of it.
func (b *Batch) Record(p *Progress, offset, hash int64) {
	b.records++
	p.Records++
	p.Next, p.hasLast, p.lastOffset, p.lastHash = offset+1, true, offset, hash
}

// Gap notes that the offsets first to last hold no record of ours.
func (b *Batch) Gap(p *Progress, first, last int64, reason string) error {
	// A segment covers its offsets without a hole.
	if err := b.closeSegment(); err != nil {
		return err
	}
	r := &b.rows[gapsTable]
	r.begin(len(tables[gapsTable].columns))
	r.string(p.Topic)
	r.int32(p.Partition)
	r.int64(first)
	r.int64(last)
	r.string(reason)
	r.int16(p.TopicID)
	p.Next = last + 1
	return nil
}

// Trade adds a row to trades.
func (b *Batch) Trade(s Source, t *event.Trade) {
	r := &b.rows[tradesTable]
	r.begin(len(tables[tradesTable].columns))
	r.int64(t.ID)
	r.time(t.Time)
	r.int64(s.Hash)
	r.id(t.AskUserID)
	r.int64(t.AskOrderID)
	r.id(t.BidUserID)
	r.int64(t.BidOrderID)
	r.bytes(t.Market)
	r.numeric(t.Price)
	r.numeric(t.Amount)
	r.numeric(t.QuoteAmount)
	r.string(t.TakerSide.String())
	r.numeric(t.AskFee)
	r.numeric(t.BidFee)
	r.source(s)
}

// Order adds a row to order_events; at is the record's timestamp.
func (b *Batch) Order(s Source, at event.Micros, o *event.Order) {
	r := &b.rows[orderEventsTable]
	r.begin(len(tables[orderEventsTable].columns))
	r.int64(o.ID)
	r.time(at)
	r.int64(s.Hash)
	r.int64(o.UserID)
	r.time(o.CreateTime)
	r.time(o.UpdateTime)
	r.flag(o.PostOnly)
	r.string(o.Action.String())
	r.bytes(o.Market)
	r.string(o.Side.String())
	r.string(o.Type.String())
	r.numeric(o.Price)
	r.numeric(o.Amount)
	r.numeric(o.Remain)
	r.numeric(o.Frozen)
	r.numeric(o.FinishedBase)
	r.numeric(o.FinishedQuote)
	r.numeric(o.FinishedFee)
	r.numeric(o.MakerFee)
	r.numeric(o.TakerFee)
	r.bytes(o.Signature)
	r.source(s)
}

// Balance adds a row to balance_changes.
func (b *Batch) Balance(s Source, c *event.Balance) {
	b.balance(balanceChangesTable, s, c)
}

// Deposit adds a row to deposits.
func (b *Batch) Deposit(s Source, c *event.Balance) {
	b.balance(depositsTable, s, c)
}

// Withdrawal adds a row to withdrawals.
func (b *Batch) Withdrawal(s Source, c *event.Balance) {
	b.balance(withdrawalsTable, s, c)
}

// balance writes the columns that the three tables share, then each one's own.
func (b *Batch) balance(id tableID, s Source, c *event.Balance) {
	r := &b.rows[id]
	r.begin(len(tables[id].columns))
	r.int64(c.UserID)
	r.bytes(c.Asset)
	r.time(c.Time)
	r.int64(s.Hash)
	r.bytes(c.Business)
	r.numeric(c.BusinessID)
	r.numeric(c.Change)
	r.numeric(c.Balance)
	r.numeric(c.Available)
	r.numeric(c.Frozen)
	r.bytes(c.Detail)
	if id == balanceChangesTable {
		r.numeric(c.MarketPrice)
	}
	if id != depositsTable {
		r.bytes(c.Signature)
	}
	r.source(s)
}

// Transfer adds a row to internal_transfers.
func (b *Batch) Transfer(s Source, t *event.Transfer) {
	r := &b.rows[internalTransfersTable]
	r.begin(len(tables[internalTransfersTable].columns))
	r.int64(t.UserFrom)
	r.time(t.Time)
	r.int64(s.Hash)
	r.int64(t.UserTo)
	r.bytes(t.Asset)
	r.numeric(t.Amount)
	r.bytes(t.Signature)
	r.source(s)
}

// User adds a row to users; at is the record's timestamp.
func (b *Batch) User(s Source, at event.Micros, u *event.User) {
	r := &b.rows[usersTable]
	r.begin(len(tables[usersTable].columns))
	r.int64(u.UserID)
	r.int64(s.Hash)
	r.bytes(u.L1Address)
	r.bytes(u.L2Pubkey)
	r.time(at)
	r.source(s)
}

// RejectedRecord is a record that cannot be stored, byte for byte. A nil key
// or value is null.
type RejectedRecord struct {
	Offset   int64
	Time     event.Micros
	Key      []byte
	Value    []byte
	Headers  fetch.Headers
	Reason   string
	SQLState string // "" where the decoder refused it
}

// Reject adds a row to rejects. The record is noted by Record as well.
func (b *Batch) Reject(p *Progress, rec RejectedRecord) {
	p.Rejected = append(p.Rejected, rec.Offset)
	r := &b.rows[rejectsTable]
	r.begin(len(tables[rejectsTable].columns))
	r.string(p.Topic)
	r.int32(p.Partition)
	r.int64(rec.Offset)
	r.time(rec.Time)
	r.bytes(rec.Key)
	r.bytes(rec.Value)
	r.headers(rec.Headers)
	r.string(rec.Reason)
	if rec.SQLState == "" {
		r.null()
	} else {
		r.string(rec.SQLState)
	}
	r.int16(p.TopicID)
}

func (b *Batch) duplicateRow(log Log, offset int64, tableName string) {
	r := &b.rows[duplicatesTable]
	r.begin(len(tables[duplicatesTable].columns))
	r.string(log.Topic)
	r.int32(log.Partition)
	r.int64(offset)
	r.string(tableName)
	r.int16(log.TopicID)
}

// ClampTime turns a record's timestamp in ms into a time that PostgreSQL can
// hold. Producers may send any number; a reject must not fail for it.
func ClampTime(ms int64) event.Micros {
	const first, last = -62_135_596_800_000, 253_402_300_799_999 // the years 1 to 9999
	return event.Micros(min(max(ms, first), last) * 1000)
}
