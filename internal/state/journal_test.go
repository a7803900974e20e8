package state

import (
	"testing"

	"github.com/thaliumx/persistor/internal/amount"
)

func TestJournalKeepsAmountsOfAnySize(t *testing.T) {
	one := amount.Int(1)
	wide := amount.Of([]byte("79228162514264337593543950336")) // 2^96
	high, fine := amount.Of([]byte("288230376151711744")), amount.Of([]byte("-0.0000000000000001"))
	var a accountBefore
	var o orderBefore
	for _, x := range []amount.Amount{one, wide, high, one, fine, wide, one} { // what one leaves behind is not the next one's
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
