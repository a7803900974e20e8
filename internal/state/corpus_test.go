package state

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/thaliumx/persistor/internal/amount"
)

// told is a final state as the corpora have it; real-2021-09 has shorter names
// for some of an order's fields and lacks others.
type toldState struct {
	LastOrderID int64                                        `json:"last_order_id"`
	LastTradeID int64                                        `json:"last_trade_id"`
	Users       map[string]map[string]string                 `json:"users"`
	Balances    map[string]map[string]map[string]json.Number `json:"balances"`
	OpenOrders  []map[string]any                             `json:"open_orders"`
}

func parseState(t *testing.T, r io.Reader) (told toldState) {
	t.Helper()
	d := json.NewDecoder(r)
	d.UseNumber()
	if err := d.Decode(&told); err != nil {
		t.Fatal(err)
	}
	return told
}

var longNames = map[string]string{"fb": "finished_base", "fq": "finished_quote", "ff": "finished_fee"}

// sameAsTold compares the state's JSON with a final state in every balance,
// order and id.
func sameAsTold(t *testing.T, s *State, want toldState) {
	t.Helper()
	var b bytes.Buffer
	if err := s.WriteJSON(&b, Filter{}); err != nil {
		t.Fatal(err)
	}
	got := parseState(t, bytes.NewReader(b.Bytes()))
	if got.LastOrderID != want.LastOrderID || got.LastTradeID != want.LastTradeID {
		t.Errorf("last ids %d and %d, want %d and %d", got.LastOrderID, got.LastTradeID, want.LastOrderID, want.LastTradeID)
	}
	if len(got.Users) != len(want.Users) || len(got.Balances) != len(want.Balances) || len(got.OpenOrders) != len(want.OpenOrders) {
		t.Fatalf("%d users, %d with balances, %d orders; want %d, %d, %d", len(got.Users), len(got.Balances), len(got.OpenOrders),
			len(want.Users), len(want.Balances), len(want.OpenOrders))
	}
	for id, user := range want.Users {
		if g := got.Users[id]; g["l1_address"] != user["l1_address"] || g["l2_pubkey"] != user["l2_pubkey"] {
			t.Errorf("user %s: got %v, want %v", id, g, user)
		}
	}
	for user, row := range want.Balances {
		if len(got.Balances[user]) != len(row) {
			t.Errorf("user %s: got %v, want %v", user, got.Balances[user], row)
		}
		for asset, b := range row {
			// To the letter: both are without trailing zeros.
			if g := got.Balances[user][asset]; g["available"] != b["available"] || g["frozen"] != b["frozen"] {
				t.Errorf("user %s %s: got %v, want %v", user, asset, g, b)
			}
		}
	}
	for i, order := range want.OpenOrders {
		for name, value := range order {
			long := name
			if longNames[name] != "" {
				long = longNames[name]
			}
			g, there := got.OpenOrders[i][long]
			if text, ok := value.(string); ok && there && g != value {
				a, err := amount.Parse([]byte(text))
				there = err == nil && a.String() == g
			} else if g != value {
				there = false
			}
			if !there {
				t.Errorf("order %v %s: got %v, want %v", order["id"], name, g, value)
			}
		}
	}
}

// realChecks is the number of cross-checks that the real dump has.
const realChecks = 2212

func TestRealDump(t *testing.T) {
	s := newPlayer(New(0)).play(t, dump(t, "real-2021-09.unify.jsonl.gz"))
	sameAsTold(t, s.State, parseState(t, openTestdata(t, "real-2021-09.state.json.gz")))
	noMismatch(t, s.State)
	if s.Passed() != realChecks || s.Mismatches() != 0 {
		t.Errorf("%d checks passed, %d failed; want %d and 0", s.Passed(), s.Mismatches(), realChecks)
	}
	t.Logf("%d records, %d checks passed", s.Next(), s.Passed())
	if !s.Complete() || !s.Provisional() || s.Next() != 200 || s.Base() != 0 {
		t.Errorf("complete %v, provisional %v, next %d, base %d", s.Complete(), s.Provisional(), s.Next(), s.Base())
	}
}

func TestEngineRun(t *testing.T) {
	s := newPlayer(New(0)).play(t, dump(t, "engine-1.unify.jsonl.xz"))
	sameAsTold(t, s.State, parseState(t, openTestdata(t, "engine-1.state.json.gz")))
	noMismatch(t, s.State)
	// Of the checks that every log with all kinds of records runs, none may
	// have been skipped altogether.
	for _, c := range s.Checks()[:unreadable] {
		if c.Passed == 0 {
			t.Errorf("%s was never run", c.Name)
		}
	}
	t.Logf("%d records, %d checks passed", s.Next(), s.Passed())
}

func TestJSONIsIndentedAsUsual(t *testing.T) {
	s := newPlayer(New(0)).play(t, dump(t, "real-2021-09.unify.jsonl.gz")[:150])
	user := int64(2)
	for name, f := range map[string]Filter{"all": {}, "user": {User: &user}, "asset": {Asset: "UNI"}, "market": {Market: "UNI_USDT"}, "none": {Market: "no such"}} {
		var b bytes.Buffer
		if err := s.WriteJSON(&b, f); err != nil {
			t.Fatal(err)
		}
		var v any
		d := json.NewDecoder(bytes.NewReader(b.Bytes()))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		again, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(b.String()); got != string(again) {
			t.Errorf("%s: not as encoding/json writes it:\n%s", name, got)
		}
	}
}
