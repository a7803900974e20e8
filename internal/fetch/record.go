package fetch

import "iter"

// Record is one record of the log. Its slices are valid until the next call of
// Next on any Part of the same Response.
type Record struct {
	Offset    int64
	Timestamp int64  // ms since 1970; the broker's own on LogAppendTime topics
	Key       []byte // nil = null, otherwise not nil even if empty
	Value     []byte // likewise
	Headers   Headers
}

// Headers are a record's headers as they are on the wire: a count, then for each
// a key and a nullable value, all with varint lengths. Headers out of a Record
// have been checked, so All always reaches the end.
type Headers []byte

// Len is the number of headers.
func (h Headers) Len() int {
	n, _ := varint(h, 0)
	return int(n)
}

// All gives the headers in their order; the same key may come more than once.
// A nil value is null.
func (h Headers) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		n, at := varint(h, 0)
		for ; n > 0 && at >= 0; n-- {
			var key, value []byte
			key, at = nullable(h, at)
			value, at = nullable(h, at)
			if at < 0 || !yield(key, value) {
				return
			}
		}
	}
}

// valid reports whether the headers fill their bytes exactly. Keys are never
// null in Kafka's protocol.
func (h Headers) valid() bool {
	n, at := varint(h, 0)
	if n < 0 || n > int64(len(h)) {
		return false
	}
	for ; n > 0 && at >= 0; n-- {
		var key []byte
		if key, at = nullable(h, at); key == nil {
			return false
		}
		_, at = nullable(h, at)
	}
	return at == len(h)
}

// nullable reads bytes behind a varint length; -1 means null. next is negative
// if they are not there.
func nullable(b []byte, i int) (v []byte, next int) {
	if i < 0 {
		return nil, -1
	}
	n, i := varint(b, i)
	switch {
	case i < 0 || n < -1 || n > int64(len(b)-i):
		return nil, -1
	case n == -1:
		return nil, i
	}
	end := i + int(n)
	return b[i:end:end], end
}

// readRecord reads one record at body[i:] of a batch into r and returns where
// the next one starts and the offset's distance from the batch's base. next is
// negative if the bytes are not a record.
func readRecord(body []byte, i int, h *batch, r *Record) (delta int64, next int) {
	size, i := varint(body, i)
	if i < 0 || size < smallestRecord-1 || size > int64(len(body)-i) {
		return 0, -1
	}
	end := i + int(size)
	b := body[:end]
	elapsed, i := varint(b, i+1) // behind the attributes, which have no meaning yet
	if i < 0 {
		return 0, -1
	}
	delta, i = varint(b, i)
	if i < 0 {
		return 0, -1
	}
	key, i := nullable(b, i)
	value, i := nullable(b, i)
	if i < 0 {
		return 0, -1
	}
	headers := Headers(b[i:end:end])
	if (len(headers) != 1 || headers[0] != 0) && !headers.valid() {
		return 0, -1
	}
	r.Offset, r.Timestamp = h.base+delta, h.firstTime+elapsed
	if h.attributes&attrLogAppendTime != 0 {
		r.Timestamp = h.maxTime
	}
	r.Key, r.Value, r.Headers = key, value, headers
	return delta, end
}
