package state

import (
	"testing"

	"github.com/thaliumx/persistor/internal/amount"
)

func TestJournalKeepsAmountsOfAnySize(t *testing.T) {
	one, wide := amount.Int(1), amount.Of([]byte("79228162514264337593543950336")) // 2^96
	var a accountBefore
	var o orderBefore
	for _, x := range []amount.Amount{one, wide, one} { // what one leaves behind is not the next one's
		h := holdings{total: one, held: x, odd: one, flags: existing}
		if a.pack(&h); a.holdings() != h {
			t.Errorf("got %v, want %v", a.holdings(), h)
		}
		p := progress{remain: one, frozen: one, finishedBase: one, finishedQuote: one, finishedFee: x, updateTime: 7}
		if o.pack(&p); o.progress() != p {
			t.Errorf("got %v, want %v", o.progress(), p)
		}
	}
}
