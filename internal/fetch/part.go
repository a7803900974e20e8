package fetch

import "errors"

// Kind is what Part.Next found.
type Kind uint8

const (
	// Done means that the answer holds no more of this partition; ask again from Position.
	Done Kind = iota
	// Data means that Part.Record is the next record.
	Data
	// Gap means that Part.Gap is a range of positions that hold no record for a reader of
	// committed data.
	Gap
)

// Range is positions, both ends inclusive, of transaction markers or of records
// whose transaction was aborted.
type Range struct{ First, Last int64 }

// Part is what an answer says about one wanted partition, and an iterator over
// its records. It may be left in the middle of a batch, also for another Part,
// and taken up again.
type Part struct {
	Want Want
	Err  error // why the broker refused the partition (*BrokerError), or nil

	// Of the partition when the broker answered, -1 where it did not say. The
	// positions at and beyond LastStable are not readable yet: a transaction is
	// open there.
	HighWatermark, LastStable, LogStart int64

	Record Record // after Next said Data
	Gap    Range  // after Next said Gap

	response *Response
	answered bool
	empty    bool   // the answer brought no bytes for this partition
	rest     []byte // batches not opened yet
	next     int64  // position of the next item
	failed   error
	aborts   aborts

	batch  batch // the open one, if opened
	opened bool
	seen   bool  // a batch has been opened
	at     int   // where in the open batch's records the next one starts
	left   int   // records of it not read yet
	delta  int64 // of the record read last, -1 before the first
}

// Position is the offset to ask for next: behind the last item that Next gave.
func (p *Part) Position() int64 { return p.next }

// Next goes to the next item. Records below the wanted offset, with which a
// first batch may begin, are passed over. An error is final for this answer and
// comes again on every call: *BrokerError (Err), *CorruptError,
// *BatchTooLargeError, or *JumpError for missing positions; all items before it
// have been given, and Position tells how far they reach.
func (p *Part) Next() (Kind, error) {
	if p.failed != nil {
		return Done, p.failed
	}
	kind, err := p.step()
	if err != nil {
		p.failed = err
	}
	return kind, err
}

func (p *Part) step() (Kind, error) {
	for {
		switch {
		case p.opened && p.left > 0:
			ok, err := p.readRecord()
			if err != nil {
				return Done, err
			}
			if ok {
				return Data, nil
			}
		case p.opened:
			if err := p.closeBatch(); err != nil {
				return Done, err
			}
		default:
			if kind, err := p.openBatch(); kind != Data || err != nil {
				return kind, err
			}
		}
	}
}

// openBatch goes to the next batch: Data if it has records to read, Gap if it
// has none for us (Part.Gap is set), Done if there is no further whole batch.
func (p *Part) openBatch() (Kind, error) {
	for {
		h, rest, complete, reason := splitBatch(p.rest)
		if reason != "" {
			return Done, p.corruptBatch(reason, rest)
		}
		if !complete {
			// Brokers cut the last batch where the byte limit falls. Cutting the
			// first one, or sending only batches below the wanted offset, would
			// repeat for ever.
			if p.next == p.Want.Offset && !p.empty {
				return Done, p.corrupt("the answer has bytes, but no whole batch at or beyond this offset", nil)
			}
			p.rest = nil
			return Done, nil
		}
		if p.seen && h.base <= p.batch.last {
			return Done, p.corrupt("it overlaps the batch before it", nil)
		}
		p.rest, p.batch, p.seen = rest, h, true
		if p.response.inflated == p {
			p.response.inflated = nil
		}
		if p.aborts.reach(h.last); h.attributes&attrControl != 0 {
			if err := p.marker(); err != nil {
				return Done, err
			}
		}
		if h.last < p.next {
			continue
		}
		if h.base > p.next && (h.count > 0 || h.attributes&attrControl != 0) {
			return Done, p.jump(h.base)
		}
		if h.attributes&attrControl != 0 || h.attributes&attrTransactional != 0 && p.aborts.covers(h.producer) {
			p.Gap = Range{First: p.next, Last: h.last}
			p.next = h.last + 1
			return Gap, nil
		}
		p.opened, p.at, p.left, p.delta = true, 0, h.count, -1
		return Data, nil
	}
}

// marker takes in a control batch: its record's key is a version and a type,
// both int16, and type 0 is "aborted". Other types end no aborted transaction.
func (p *Part) marker() error {
	if p.batch.count == 0 {
		return nil // emptied by compaction
	}
	body, err := p.body()
	if err != nil {
		return err
	}
	var r Record
	if _, next := readRecord(body, 0, &p.batch, &r); next < 0 || len(r.Key) < 4 {
		return p.corrupt("its transaction marker cannot be read", nil)
	}
	if be.Uint16(r.Key[2:]) == 0 {
		p.aborts.close(p.batch.producer)
	}
	return nil
}

// readRecord reads the open batch's next record into p.Record; ok is false if
// it lies below the wanted offset.
func (p *Part) readRecord() (ok bool, err error) {
	body, err := p.body()
	if err != nil {
		return false, err
	}
	delta, at := readRecord(body, p.at, &p.batch, &p.Record)
	if at < 0 {
		return false, p.corrupt("a record in it cannot be read", nil)
	}
	if delta <= p.delta || delta > p.batch.last-p.batch.base {
		return false, p.corrupt("the offsets in it are out of order", nil)
	}
	if p.left == 1 && at != len(body) {
		return false, p.corrupt("it has bytes behind its last record", nil)
	}
	if p.Record.Offset > p.next {
		return false, p.jump(p.Record.Offset)
	}
	p.at, p.delta = at, delta
	p.left--
	if p.Record.Offset < p.next {
		return false, nil
	}
	p.next++
	return true, nil
}

// closeBatch leaves a batch whose records have all been read. Compaction leaves
// a batch its last offset when it removes the last records.
func (p *Part) closeBatch() error {
	if p.next <= p.batch.last {
		return p.jump(p.emptyUpTo())
	}
	p.opened = false
	return nil
}

// emptyUpTo is where the next records are, or may be, behind the open batch, which has
// none left: compaction keeps a producer's last batch without its records.
func (p *Part) emptyUpTo() int64 {
	last := p.batch.last
	for {
		h, rest, complete, reason := splitBatch(p.rest)
		switch {
		case !complete || reason != "" || h.base <= last:
			return last + 1
		case h.count > 0 || h.attributes&attrControl != 0:
			return h.base
		}
		last, p.rest = h.last, rest
	}
}

// body is the open batch's records. The inflated ones share one buffer in the
// Response: after another Part has used it they are inflated again.
func (p *Part) body() ([]byte, error) {
	codec := p.batch.attributes & attrCodec
	if codec == 0 {
		return p.batch.payload, nil
	}
	f := &p.response.inflater
	if p.response.inflated == p {
		return f.out, nil
	}
	p.response.inflated = nil
	err := f.inflate(codec, p.batch.payload)
	if errors.Is(err, errTooLarge) {
		return nil, &BatchTooLargeError{Topic: p.Want.Topic, Partition: p.Want.Partition, Offset: p.next, Next: p.batch.last + 1, Limit: f.limit}
	}
	if err != nil {
		return nil, p.corrupt("it cannot be inflated", err)
	}
	p.response.inflated = p
	return f.out, nil
}

// corrupt is about the batch that was split off last, whose header is right, or
// about what follows it.
func (p *Part) corrupt(reason string, err error) error {
	next := int64(-1)
	if p.seen && p.batch.last >= p.next {
		next = p.batch.last + 1
	}
	return &CorruptError{Topic: p.Want.Topic, Partition: p.Want.Partition, Offset: p.next, Next: next, Reason: reason, Err: err}
}

// corruptBatch is about a batch whose header cannot be trusted. rest is what
// follows it: where that begins another batch, it tells where this one ends.
func (p *Part) corruptBatch(reason string, rest []byte) error {
	damaged := p.rest
	next := int64(-1)
	switch {
	case len(rest) < len(damaged) && len(rest) >= batchPrefix:
		next = int64(be.Uint64(rest))
	case len(damaged) >= batchHeader:
		next = int64(be.Uint64(damaged)) + int64(int32(be.Uint32(damaged[23:]))) + 1
	}
	if next <= p.next || p.HighWatermark >= 0 && next > p.HighWatermark {
		next = -1
	}
	return &CorruptError{Topic: p.Want.Topic, Partition: p.Want.Partition, Offset: p.next, Next: next, Reason: reason}
}

func (p *Part) jump(found int64) error {
	return &JumpError{Topic: p.Want.Topic, Partition: p.Want.Partition, Expected: p.next, Found: found}
}
