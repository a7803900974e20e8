package verify

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// Nobody but its own topic has the records of balance_changes, and that only as
// long as Kafka keeps them. But the engine writes a record in one way only, so a
// row that is what arrived gives the record's bytes again, and their hash is in
// the row. Where it is not, a column was altered since, or the record was not
// the engine's own.

// prover proves rows by their content_hash.
type prover struct{ json []byte }

// The columns of balance_changes in a row.
const (
	changeUser = iota
	changeAsset
	changeTime
	changeHash
	changeBusiness
	changeBusinessID
	changeChange
	changeBalance
	changeAvailable
	changeFrozen
	changeDetail
	changeMarketPrice
	changeSignature
	changeColumns
)

// maxSuspects bounds the rows that Kafka is asked about. Where there are more, they
// are of a topic that somebody else writes.
const maxSuspects = 5000

// prove counts the row, and notes it where its bytes are not proved.
func (s *scanner) prove(r *record) {
	if s.proved(r) {
		return
	}
	t := s.tally
	t.Unproven[balanceChanges]++
	if len(t.Suspects) < maxSuspects {
		t.Suspects = append(t.Suspects, bytes.Clone(r.image))
	}
}

// proved writes the record as the engine does (wire format, sections 1.2, 1.4
// and 1.10) and compares the hash.
func (p *prover) proved(r *record) bool {
	var f [changeColumns][]byte
	at := 2
	for i := range f {
		n := int(int32(binary.BigEndian.Uint32(r.image[at:])))
		at += 4
		if n >= 0 {
			f[i] = r.image[at : at+n]
			at += n
		}
	}
	b := p.json[:0]
	b = append(b, `{"timestamp":`...)
	b = appendSeconds(b, r.time)
	b = strconv.AppendInt(append(b, `,"user_id":`...), r.id, 10)
	if f[changeBusinessID] != nil {
		b = appendNumeric(append(b, `,"business_id":`...), f[changeBusinessID])
	}
	b = appendText(append(b, `,"asset":`...), f[changeAsset])
	b = appendText(append(b, `,"business":`...), f[changeBusiness])
	b = appendAmount(b, `,"market_price":"`, f[changeMarketPrice])
	b = appendAmount(b, `,"change":"`, f[changeChange])
	b = appendAmount(b, `,"balance":"`, f[changeBalance])
	b = appendAmount(b, `,"balance_available":"`, f[changeAvailable])
	b = appendAmount(b, `,"balance_frozen":"`, f[changeFrozen])
	if f[changeDetail] != nil {
		b = appendText(append(b, `,"detail":`...), f[changeDetail])
	}
	if f[changeSignature] != nil {
		b = appendText(append(b, `,"signature":`...), f[changeSignature])
	}
	b = append(b, '}')
	p.json = b
	return int64(xxhash.Sum64(p.json)) == r.hash
}

// appendSeconds writes a time in µs as the engine's float of seconds.
func appendSeconds(b []byte, micros int64) []byte {
	b = strconv.AppendInt(b, micros/1_000_000, 10)
	fraction := micros % 1_000_000
	if fraction == 0 {
		return append(b, '.', '0')
	}
	digits := strconv.AppendInt(nil, 1_000_000+fraction, 10)[1:]
	for digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	return append(append(b, '.'), digits...)
}

// appendAmount writes an amount behind its name, if there is one.
func appendAmount(b []byte, name string, amount []byte) []byte {
	if amount == nil {
		return b
	}
	return append(appendNumeric(append(b, name...), amount), '"')
}

// appendText writes a JSON string as serde_json does: only what must be escaped
// is.
func appendText(b, text []byte) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= 0x20:
			b = append(b, c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\b':
			b = append(b, `\b`...)
		case c == '\f':
			b = append(b, `\f`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(b, '"')
}

// mostlyProved is how many of so many rows have to be proved for the others to
// be differences: where the engine writes a topic, nobody else does.
const mostlyProved, ofSoMany = 99, 100

// judgeUnproven decides what the rows are that were not proved. Their records do,
// as long as Kafka has them. The others are altered, unless somebody else than the
// engine writes such records.
func (c *comparison) judgeUnproven(ctx context.Context) {
	var suspects []entry
	for _, image := range c.state.Tally.Suspects {
		r := c.id.parse(image)
		suspects = append(suspects, c.id.entry(&r))
	}
	slices.SortFunc(suspects, func(x, y entry) int {
		return cmp.Or(cmp.Compare(x.TopicID, y.TopicID), cmp.Compare(x.Partition, y.Partition), cmp.Compare(x.offset, y.offset))
	})
	t, place := &c.table, "dingir."+c.table.Table
	proved, others := t.Rows-t.Unproven, false
	var left []Difference
	for i := range suspects {
		e := &suspects[i]
		d := c.describe(Altered, e)
		own, found := c.row(ctx, c.id, e.source)
		if !found {
			d.Detail = "its columns do not give the bytes that content_hash is of: it was altered, or the engine did not write it"
			left = append(left, d)
			continue
		}
		t.Unproven--
		if c.id.digest(own.image) == e.digest {
			others = true
			continue
		}
		t.Altered++
		d.Detail = c.id.differences(e.image, own.image)
		c.differ(place, d)
	}
	altered := !others && proved >= mostlyProved && proved*ofSoMany >= mostlyProved*t.Rows
	for _, d := range left {
		if altered {
			c.differ(place, d)
			continue
		}
		d.Kind = Unproven
		c.find(place, d)
	}
	if altered {
		t.Altered += t.Unproven
		c.report.Total += t.Unproven - int64(len(left))
	}
}
