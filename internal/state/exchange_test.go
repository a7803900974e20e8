package state

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/thaliumx/persistor/internal/amount"
	"github.com/thaliumx/persistor/internal/exchange"
)

// simulate runs a simulated exchange and returns its records on unifyevents.
func simulate(t testing.TB, cfg exchange.Config, operations int) (*exchange.Exchange, []record) {
	t.Helper()
	x, err := exchange.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var log []record
	for range operations {
		for _, m := range x.Step() {
			if m.Topic == exchange.UnifyTopic {
				log = append(log, record{m.Key, m.Value})
			}
		}
	}
	if uint64(len(log)) != x.NextOffset() {
		t.Fatalf("%d records, counted %d", len(log), x.NextOffset())
	}
	return x, log
}

func plain(text string) string { return amount.Of([]byte(text)).String() }

// differences are where the state is not the exchange's own.
func differences(s *State, want exchange.State) (found []string) {
	differ := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if s.LastOrderID() != int64(want.LastOrderID) || s.LastTradeID() != int64(want.LastTradeID) {
		differ("last ids %d and %d, want %d and %d", s.LastOrderID(), s.LastTradeID(), want.LastOrderID, want.LastTradeID)
	}
	users := map[uint32]exchange.User{}
	for u := range s.Users() {
		users[uint32(u.ID)] = exchange.User{L1Address: u.L1Address, L2Pubkey: u.L2Pubkey}
	}
	if !maps.Equal(users, want.Users) {
		differ("%d users, want %d", len(users), len(want.Users))
	}
	seen := 0
	for b := range s.Balances() {
		w, there := want.Balances[uint32(b.UserID)][b.Asset]
		seen++
		if !there {
			w = exchange.Balance{Available: "0", Frozen: "0"}
			seen--
		}
		if b.Available.String() != w.Available || b.Frozen.String() != w.Frozen {
			differ("user %d %s: %s and %s, want %s and %s", b.UserID, b.Asset, b.Available, b.Frozen, w.Available, w.Frozen)
		}
	}
	count := 0
	for _, row := range want.Balances {
		count += len(row)
	}
	if seen != count {
		differ("%d balances, want %d", seen, count)
	}
	orders := map[uint64]exchange.OpenOrder{}
	for _, o := range want.OpenOrders {
		orders[o.ID] = o
	}
	for o := range s.OpenOrders() {
		w, there := orders[uint64(o.ID)]
		if !there {
			differ("order %d should not be open", o.ID)
			continue
		}
		delete(orders, w.ID)
		got := []string{o.Market, strconv.FormatInt(o.UserID, 10), o.Price.String(), o.Amount.String(), o.Remain.String(), o.Frozen.String(),
			o.FinishedBase.String(), o.FinishedQuote.String(), o.FinishedFee.String()}
		told := []string{w.Market, strconv.FormatUint(uint64(w.User), 10), plain(w.Price), plain(w.Amount), plain(w.Remain), plain(w.Frozen),
			plain(w.FinishedBase), plain(w.FinishedQuote), plain(w.FinishedFee)}
		if !slices.Equal(got, told) {
			differ("order %d: %v, want %v", o.ID, got, told)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(orders)) {
		differ("order %d is not open", id)
	}
	return found
}

func TestExchangeIsReproduced(t *testing.T) {
	tests := map[string]func(*exchange.Config){
		"default":          func(*exchange.Config) {},
		"no market orders": func(c *exchange.Config) { c.MarketOrders = false },
		"two users":        func(c *exchange.Config) { c.Users = 2 },
		"many users":       func(c *exchange.Config) { c.Users = 300 },
		"lost topics":      func(c *exchange.Config) { c.CrashEvery, c.LoseTopics = 300, 20 },
		"self-trades":      func(c *exchange.Config) { c.AllowSelfTrade, c.Users = true, 5 },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(4) {
				cfg := exchange.DefaultConfig()
				cfg.Seed = seed
				change(&cfg)
				x, log := simulate(t, cfg, 5*cfg.Users+1500)
				s := newPlayer(New(0)).play(t, log)
				if found := differences(s.State, x.State()); len(found) > 0 {
					t.Errorf("seed %d: %v", seed, found)
				}
				for _, c := range s.Checks() {
					want := int64(0)
					if c.Name == "rewind" {
						want = int64(x.Stats().Panics)
					}
					if c.Failed != want {
						t.Errorf("seed %d: %s failed %d times, want %d: %+v", seed, c.Name, c.Failed, want, c.Examples)
					}
				}
			}
		})
	}
}
