package verify

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/thaliumx/persistor/internal/store"
)

// names are the columns of the table, in the order of a row's fields.
func (t tableID) names() []string { return store.Columns(hot[t].name) }

func (t tableID) column(name string) int {
	i := slices.Index(t.names(), name)
	if i < 0 {
		panic("verify: dingir." + hot[t].name + " has no column " + name)
	}
	return i
}

// show is a column's value for a person.
func show(column string, b []byte) string {
	if b == nil {
		return "NULL"
	}
	switch column {
	case "time", "create_time", "update_time", "registered_at":
		return time.UnixMicro(int64(binary.BigEndian.Uint64(b)) + pgEpoch).UTC().Format("2006-01-02T15:04:05.999999Z")
	case "post_only":
		return strconv.FormatBool(b[0] == 1)
	case "market", "asset", "business", "side", "type", "event", "taker_side", "detail", "l1_address", "l2_pubkey":
		return strconv.Quote(short(string(b)))
	case "signature":
		if len(b) == 64 {
			return `\x` + short(hex.EncodeToString(b))
		}
		return strconv.Quote(short(string(b)))
	case "trade_id", "order_id", "user_id", "ask_user_id", "bid_user_id", "ask_order_id", "bid_order_id", "user_from", "user_to", "content_hash":
		return strconv.FormatInt(int64(binary.BigEndian.Uint64(b)), 10)
	}
	return numeric(b)
}

func short(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}

// numeric is the text of a binary numeric, as the server shows it.
func numeric(b []byte) string { return string(appendNumeric(nil, b)) }

func appendNumeric(out, b []byte) []byte {
	if len(b) < 8 || len(b) < 8+2*int(binary.BigEndian.Uint16(b)) {
		return fmt.Appendf(out, "%x", b)
	}
	digits := int(binary.BigEndian.Uint16(b))
	weight := int(int16(binary.BigEndian.Uint16(b[2:])))
	scale := int(binary.BigEndian.Uint16(b[6:]))
	switch binary.BigEndian.Uint16(b[4:]) {
	case 0xC000:
		return append(out, "NaN"...)
	case 0xD000:
		return append(out, "Infinity"...)
	case 0xF000:
		return append(out, "-Infinity"...)
	case 0x4000:
		out = append(out, '-')
	}
	group := func(w int) uint16 { // of ten thousands to the power of w
		if i := weight - w; i >= 0 && i < digits {
			return binary.BigEndian.Uint16(b[8+2*i:])
		}
		return 0
	}
	four := func(g uint16) {
		out = append(out, byte('0'+g/1000), byte('0'+g/100%10), byte('0'+g/10%10), byte('0'+g%10))
	}
	out = strconv.AppendUint(out, uint64(group(max(weight, 0))), 10)
	for w := weight - 1; w >= 0; w-- {
		four(group(w))
	}
	if scale == 0 {
		return out
	}
	out = append(out, '.')
	end := len(out) + scale
	for w := -1; len(out) < end; w-- {
		four(group(w))
	}
	return out[:end]
}
