package exchange

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

// The engine's own messages are the proof of ours: this test takes the requests
// out of a recorded run, makes them to our engine, and compares every record
// with the recorded bytes.

type corpusOrder struct {
	ID            uint64      `json:"id"`
	Market        string      `json:"market"`
	Type          string      `json:"type"`
	Side          string      `json:"side"`
	User          uint32      `json:"user"`
	PostOnly      bool        `json:"post_only"`
	Signature     string      `json:"signature"`
	Price         string      `json:"price"`
	Amount        string      `json:"amount"`
	MakerFee      string      `json:"maker_fee"`
	TakerFee      string      `json:"taker_fee"`
	CreateTime    json.Number `json:"create_time"`
	Remain        string      `json:"remain"`
	Frozen        string      `json:"frozen"`
	FinishedQuote string      `json:"finished_quote"`
	UpdateTime    json.Number `json:"update_time"`
}

// corpusLine is the union of the fields that the test needs of any message.
type corpusLine struct {
	Type  string          `json:"type"`
	Value json.RawMessage `json:"value"`
	body  struct {
		User
		UserID     uint32      `json:"user_id"`
		Timestamp  json.Number `json:"timestamp"`
		Time       json.Number `json:"time"`
		UserFrom   uint32      `json:"user_from"`
		UserTo     uint32      `json:"user_to"`
		Asset      string      `json:"asset"`
		Amount     string      `json:"amount"`
		Business   string      `json:"business"`
		Change     string      `json:"change"`
		Detail     string      `json:"detail"`
		Signature  string      `json:"signature"`
		Event      string      `json:"event"`
		Order      corpusOrder `json:"order"`
		AskOrderID uint64      `json:"ask_order_id"`
		BidOrderID uint64      `json:"bid_order_id"`
	}
}

// openCorpus opens a recorded run: the shared one where the checkout has it
// beside it, else the excerpt in testdata.
func openCorpus(t *testing.T, name string) io.Reader {
	t.Helper()
	for _, path := range []string{shared(name), filepath.Join("testdata", strings.TrimSuffix(name, ".xz")+".gz")} {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		t.Cleanup(func() { f.Close() })
		var r io.Reader = f
		switch filepath.Ext(path) {
		case ".xz":
			r, err = xz.NewReader(f)
		case ".gz":
			r, err = gzip.NewReader(f)
		}
		if err != nil {
			t.Fatalf("open %s: %v", path, err)
		}
		return r
	}
	t.Fatalf("no corpus %s", name)
	return nil
}

func shared(name string) string { return filepath.Join("..", "..", "..", "shared", "corpus", name) }

// sameState compares a state with the engine's own, to the letter.
func sameState(t *testing.T, s State, r io.Reader) {
	t.Helper()
	want, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.TrimSpace(got), bytes.TrimSpace(want)) {
		a, b := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Fatalf("state line %d: got %s, want %s", i+1, a[i], b[i])
			}
		}
		t.Fatalf("state: %d lines, want %d", len(a), len(b))
	}
}

func lines(t *testing.T, r io.Reader) (all [][]byte) {
	t.Helper()
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		all = append(all, bytes.Clone(scanner.Bytes()))
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func must(t testing.TB, s string) decimal {
	t.Helper()
	d, err := parseDecimal(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// micros reads a time of the wire; a transfer's noise rounds away.
func micros(t *testing.T, n json.Number) int64 {
	t.Helper()
	whole, fraction, _ := strings.Cut(n.String(), ".")
	d := must(t, whole+"."+(fraction + "000000000")[:9])
	return int64((d.lo + 500) / 1000)
}

// player makes the recorded requests to an engine.
type player struct {
	t     *testing.T
	e     *engine
	log   []corpusLine
	times []int64 // the clock's next readings
}

func newPlayer(t *testing.T, r io.Reader, assets []asset, markets []*market) *player {
	p := &player{t: t}
	for i, line := range lines(t, r) {
		var l corpusLine
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		if err := json.Unmarshal(l.Value, &l.body); err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		p.log = append(p.log, l)
	}
	p.e = newEngine(assets, markets, p.now, &recorder{})
	return p
}

func (p *player) now() int64 {
	if len(p.times) == 0 {
		p.t.Fatal("the engine read its clock more often than the recorded one")
	}
	next := p.times[0]
	p.times = p.times[1:]
	return next
}

func (p *player) asset(name string) int {
	for i, a := range p.e.assets {
		if a.name == name {
			return i
		}
	}
	p.t.Fatalf("no asset %s", name)
	return 0
}

// step makes the request that led to the line at i.
func (p *player) step(i int) {
	l := &p.log[i].body
	switch p.log[i].Type {
	case "UserMessage":
		p.times = []int64{0}
		p.e.registerUser(l.User)
	case "DepositMessage", "WithdrawMessage":
		p.times = []int64{micros(p.t, l.Timestamp)}
		var detail struct {
			ID uint64 `json:"id"`
		}
		if err := json.Unmarshal([]byte(l.Detail), &detail); err != nil {
			p.t.Fatal(err)
		}
		p.e.updateBalance(l.UserID, p.asset(l.Asset), l.Business, detail.ID, must(p.t, l.Change), l.Detail, l.Signature)
	case "TransferMessage":
		p.times = []int64{micros(p.t, l.Time)}
		p.e.transfer(l.UserFrom, l.UserTo, p.asset(l.Asset), must(p.t, l.Amount), l.Signature)
	case "OrderMessage":
		if l.Event == eventPut {
			p.put(i)
		} else {
			p.cancel(l.Order)
		}
	default:
		p.t.Fatalf("line %d: a %s begins no operation", i+1, p.log[i].Type)
	}
}

func (p *player) cancel(c corpusOrder) {
	for _, tr := range p.e.trading {
		for _, k := range tr.sides {
			for _, o := range k.orders {
				if o.id == c.ID {
					p.times = []int64{0}
					p.e.cancel(o)
					return
				}
			}
		}
	}
	p.t.Fatalf("order %d is not open", c.ID)
}

// put repeats an order; the lines after its PUT tell when its trades were, and
// what a market bid was allowed to spend.
func (p *player) put(i int) {
	c := p.log[i].body.Order
	o := order{user: c.User, postOnly: c.PostOnly, isMarket: c.Type == "MARKET", signature: c.Signature,
		price: must(p.t, c.Price), amount: must(p.t, c.Amount), makerFee: must(p.t, c.MakerFee), takerFee: must(p.t, c.TakerFee)}
	for _, m := range p.e.markets {
		if m.name == c.Market {
			o.market = m
		}
	}
	if c.Side == "BID" {
		o.side = bid
	}
	p.times = []int64{micros(p.t, c.CreateTime)}
	var limit decimal
	for k := i + 1; k < len(p.log); k++ {
		l := &p.log[k].body
		if p.log[k].Type == "TradeMessage" {
			maker := min(l.AskOrderID, l.BidOrderID)
			p.times = append(p.times, p.updateTime(k, maker), micros(p.t, l.Timestamp))
			continue
		}
		if p.log[k].Type != "OrderMessage" || l.Event == eventPut {
			break
		}
		if l.Order.ID == c.ID && l.Event == eventFinish {
			if o.isMarket && must(p.t, l.Order.Remain).lo > 0 {
				limit = must(p.t, l.Order.FinishedQuote)
			}
			break
		}
	}
	p.e.put(o, limit)
}

// updateTime is the time of a trade's booking, which its maker's next record
// tells.
func (p *player) updateTime(from int, id uint64) int64 {
	for k := from; k < len(p.log); k++ {
		if p.log[k].Type == "OrderMessage" && p.log[k].body.Order.ID == id {
			return micros(p.t, p.log[k].body.Order.UpdateTime)
		}
	}
	p.t.Fatalf("maker %d is never told of", id)
	return 0
}

// run plays the whole log and returns the balance records.
func (p *player) run() (balances [][]byte) {
	keys := map[string]string{"UserMessage": topicUsers, "DepositMessage": topicDeposits, "WithdrawMessage": topicWithdraws,
		"TransferMessage": topicTransfers, "OrderMessage": topicOrders, "TradeMessage": topicTrades}
	for i := 0; i < len(p.log); {
		p.step(i)
		var told, own []Message
		for _, m := range p.e.out.take() {
			switch m.Topic {
			case topicBalances:
				balances = append(balances, m.Value)
			case topicUnify:
				told = append(told, m)
			default:
				own = append(own, m)
			}
		}
		if len(told) == 0 {
			p.t.Fatalf("line %d: nothing emitted, want %s", i+1, p.log[i].Value)
		}
		for _, m := range told {
			if i == len(p.log) {
				p.t.Fatalf("more than the log: %s", m.Value)
			}
			if !bytes.Equal(m.Value, p.log[i].Value) || string(m.Key) != keys[p.log[i].Type] {
				p.t.Fatalf("line %d:\n got %s %s\nwant %s %s", i+1, m.Key, m.Value, p.log[i].Type, p.log[i].Value)
			}
			i++
		}
		for _, m := range own {
			if m.Key == nil || len(m.Key) != 0 {
				p.t.Fatalf("%s: key %q, want an empty one", m.Topic, m.Key)
			}
		}
	}
	return balances
}

// withoutSecond cuts the time of a balance record: its second is another reading
// of the clock, which only its own record tells.
func withoutSecond(b []byte) []byte { return b[bytes.IndexByte(b, ','):] }

func TestEngineRunIsRepeatedByteForByte(t *testing.T) {
	assets, markets, err := DefaultConfig().compile()
	if err != nil {
		t.Fatal(err)
	}
	p := newPlayer(t, openCorpus(t, "engine-1.unify.jsonl.xz"), assets, markets)
	got := p.run()
	want := lines(t, openCorpus(t, "engine-1.balances.jsonl.xz"))
	if len(got) < len(want) {
		t.Errorf("%d balance records, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(withoutSecond(got[i]), withoutSecond(want[i])) {
			t.Fatalf("balance record %d:\n got %s\nwant %s", i+1, got[i], want[i])
		}
	}
	if _, err := os.Stat(shared("engine-1.state.json")); err == nil {
		sameState(t, p.e.state(), openCorpus(t, "engine-1.state.json"))
	}
	t.Logf("%d unify and %d balance records", len(p.log), len(want))
}

func TestRealDumpIsRepeatedByteForByte(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Assets, cfg.Markets = nil, nil
	for _, name := range []string{"USDT", "ETH", "UNI", "LINK", "MATIC"} {
		cfg.Assets = append(cfg.Assets, Asset{Name: name, SavePrec: 6, ShowPrec: 6, Opening: "10"})
	}
	for _, base := range []string{"ETH", "UNI", "LINK", "MATIC"} {
		cfg.Markets = append(cfg.Markets, Market{Base: base, Quote: "USDT", PricePrec: 2, AmountPrec: 4, Price: "1", MaxAmount: "1",
			MakerFees: []string{"0"}, TakerFees: []string{"0"}})
	}
	assets, markets, err := cfg.compile()
	if err != nil {
		t.Fatal(err)
	}
	newPlayer(t, openCorpus(t, "real-2021-09.unify.jsonl"), assets, markets).run()
}
