package live

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/state"
)

// A crash takes back what failed in records that the engine forgot; what fails
// afterwards is told all the same, and the page shows what is left.
func TestFailuresAfterSomeWereTakenBack(t *testing.T) {
	deposit := func(user int, balance string) [2]string {
		return [2]string{"deposits", fmt.Sprintf(`{"timestamp":1631097273.0,"user_id":%d,"asset":"USDT","business":"deposit","change":"100","balance":%q,"balance_available":%q,"balance_frozen":"0","detail":"{}"}`, user, balance, balance)}
	}
	bid := func(id int) [2]string {
		return [2]string{"orders", fmt.Sprintf(`{"event":"PUT","order":{"id":%d,"base":"ETH","quote":"USDT","market":"ETH_USDT","type":"LIMIT","side":"BID","user":9,"post_only":false,"price":"1","amount":"1","maker_fee":"0","taker_fee":"0","create_time":1631097282.0,"remain":"1","frozen":"0","finished_base":"0","finished_quote":"0","finished_fee":"0","update_time":1631097282.0},"base":"ETH","quote":"USDT"}`, id)}
	}
	told := map[string]int64{}
	k := &Keeper{state: state.New(0), log: slog.New(slog.DiscardHandler), toTell: map[string]int64{}, found: func(check string, n int64) { told[check] += n }}
	k.failed = failed(nil, k.state)
	var d event.Decoder
	var u event.Unify
	commit := func(records ...[2]string) {
		for _, r := range records {
			if err := Apply(k.state, &d, &u, k.state.Next(), 0, []byte(r[0]), []byte(r[1])); err != nil {
				t.Fatal(err)
			}
		}
		k.Committed()
	}
	at := 0
	for i, name := range state.CheckNames() {
		if name == "payment_balance" {
			at = i
		}
	}
	commit(deposit(9, "100"), deposit(1, "100"), bid(1))
	commit(bid(2), deposit(1, "250"), deposit(1, "400"))
	if told["payment_balance"] != 2 || k.View().Failed[at] != 2 {
		t.Fatalf("told %v, the page shows %v: want 2 balances that are off", told, k.View().Failed)
	}
	commit(bid(2), deposit(1, "200")) // the engine forgot order 2 and both deposits
	if v := k.View(); v.Failed[at] != 0 || told["rewind"] != 1 {
		t.Fatalf("told %v, the page shows %v: want none that is off", told, v.Failed)
	}
	commit(deposit(1, "350"))
	if v := k.View(); told["payment_balance"] != 3 || v.Failed[at] != 1 {
		t.Errorf("told %v, the page shows %v: want the third one told, and one shown", told, v.Failed)
	}
}
