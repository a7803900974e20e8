package verify

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// documented tells whether a row was made of the platform's documented shape,
// which says less than the engine's on unifyevents: its bytes are others, so
// its content_hash is, and columns are NULL.
func (c *comparison) documented(row *entry) bool {
	f := fields(row.image)
	null := func(names ...string) bool {
		for _, name := range names {
			if f[c.id.column(name)] != nil {
				return false
			}
		}
		return true
	}
	switch c.id {
	case trades:
		return null("ask_user_id", "bid_user_id", "ask_fee", "bid_fee")
	case orderEvents:
		return null("frozen", "maker_fee", "taker_fee", "update_time")
	default:
		return false
	}
}

// sameAsFar compares a row of the documented shape with a record of the
// engine's, as far as the row says anything. Amounts are compared as numbers and
// times by the second, since the documented ones end at the millisecond.
func (c *comparison) sameAsFar(row, e *entry) bool {
	a, b := fields(row.image), fields(e.image)
	for i, name := range c.id.names()[:len(a)-3] {
		if a[i] == nil || name == "content_hash" || (name == "time" && c.id == orderEvents) {
			continue
		}
		if b[i] == nil {
			return false
		}
		switch name {
		case "time", "create_time":
			if late := int64(binary.BigEndian.Uint64(b[i])) - int64(binary.BigEndian.Uint64(a[i])); late < -1_000_000 || late > 1_000_000 {
				return false
			}
		case "price", "amount", "quote_amount", "remain", "finished_base", "finished_quote":
			if plain(a[i]) != plain(b[i]) {
				return false
			}
		default:
			if !bytes.Equal(a[i], b[i]) {
				return false
			}
		}
	}
	return true
}

// plain is a number without the zeros at its end.
func plain(b []byte) string {
	s := numeric(b)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}
