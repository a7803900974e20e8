package store

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/event"
)

func TestWriteIsFencedByTheLedger(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.internaltransfer", 0, 10)
	other := r.begin("p.internaltransfer", 1, 0)
	for _, c := range []struct {
		name     string
		log      Log
		expected int64
	}{
		{"behind the ledger", log, 9},
		{"ahead of the ledger", log, 11},
		{"another incarnation", Log{log.Topic, log.TopicID + 1, 0}, 10},
		{"a partition never begun", Log{log.Topic, log.TopicID, 7}, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := NewBatch()
			add(b, b.Partition(other, 0, 0), 0, 1) // moves first, and must be rolled back
			p := b.Partition(c.log, c.expected, 0)
			add(b, p, c.expected, 2)
			reject(b, p, c.expected+1)
			err := Write(t.Context(), r.conn, b)
			if Classify(err) != Fenced || SQLState(err) != "PX001" {
				t.Fatalf("%v, want a fence", err)
			}
			if r.conn.IsClosed() {
				t.Fatal("the connection is closed")
			}
			r.equal(0, "SELECT (SELECT count(*) FROM dingir.internal_transfers) + (SELECT count(*) FROM dingir.rejects)")
			if r.position("p.internaltransfer", 0).Next != 10 || r.position("p.internaltransfer", 1).Next != 0 {
				t.Error("the ledger moved")
			}
		})
	}
	b := NewBatch()
	add(b, b.Partition(log, 10, 0), 10, 3)
	r.write(b)
	if pos := r.position("p.internaltransfer", 0); pos.Next != 11 || pos.High != 11 || pos.LastOffset != 10 || pos.LastHash != hashOf(3) {
		t.Errorf("the ledger says %+v", pos)
	}
}

// The least number that the ledger's columns hold is read as what it is, and not as
// the negative of one too large for them.
func TestEveryHashCanBeTheLast(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.internaltransfer", 0, 0)
	for at, hash := range []int64{math.MinInt64, -1, math.MaxInt64} {
		b := NewBatch()
		b.Record(b.Partition(log, int64(at), 0), int64(at), hash)
		r.write(b)
		if pos := r.position(log.Topic, 0); pos.Next != int64(at)+1 || pos.LastHash != hash {
			t.Errorf("the ledger says %+v, want the hash %d", pos, hash)
		}
	}
}

func TestWriteFindsDuplicates(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.internaltransfer", 0, 0)
	second := r.begin("p.internaltransfer", 1, 0)
	b := NewBatch()
	p := b.Partition(log, 0, 0)
	for i := range 5 {
		add(b, p, int64(i), i)
	}
	add(b, p, 5, 3) // a producer's retry in the same batch
	r.write(b)
	if p.Duplicates != 1 || !b.Merged(Source{TopicID: log.TopicID, Offset: 5, Hash: 99}) || b.Merged(Source{TopicID: log.TopicID, Offset: 3}) {
		t.Errorf("%d duplicates counted, want the one at offset 5", p.Duplicates)
	}

	b.Reset()
	p, q := b.Partition(log, 6, 0), b.Partition(second, 0, 0)
	add(b, p, 6, 0)
	add(b, p, 7, 100)
	add(b, q, 0, 1)
	add(b, q, 1, 100) // of a row in this batch, from another partition
	add(b, q, 2, 101)
	r.write(b)
	if p.Duplicates != 1 || q.Duplicates != 2 {
		t.Errorf("%d and %d duplicates counted, want 1 and 2", p.Duplicates, q.Duplicates)
	}
	want := "0|5|internal_transfers\n0|6|internal_transfers\n1|0|internal_transfers\n1|1|internal_transfers\n"
	if got := r.text(`SELECT partition, "offset", table_name FROM dingir.duplicates ORDER BY 1, 2`); got != want {
		t.Errorf("duplicates noted:\n%swant\n%s", got, want)
	}
	r.equal(7, "SELECT count(*) FROM dingir.internal_transfers")

	// The ledger goes back by hand: the same positions again are no duplicates
	// of themselves, and those noted are noted once.
	r.exec("UPDATE dingir.ledger SET next_offset = 3 WHERE partition = 0")
	b.Reset()
	p = b.Partition(log, 3, 0)
	add(b, p, 3, 3)
	add(b, p, 4, 4)
	add(b, p, 5, 3)
	add(b, p, 6, 0)
	add(b, p, 7, 100)
	r.write(b)
	if p.Duplicates != 5 {
		t.Errorf("%d records were there already, want 5", p.Duplicates)
	}
	r.equal(4, "SELECT count(*) FROM dingir.duplicates")
	r.equal(7, "SELECT count(*) FROM dingir.internal_transfers")
}

// Where rows were lost and the ledger is moved back to mend it, a position that
// was a duplicate may be the first to bring the row again.
func TestADuplicateBecomesARow(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.internaltransfer", 0, 0)
	b := NewBatch()
	p := b.Partition(log, 0, 0)
	for offset, content := range []int{1, 2, 1, 2} {
		add(b, p, int64(offset), content)
	}
	r.write(b)
	r.exec("DELETE FROM dingir.internal_transfers WHERE content_hash = $1", hashOf(1))
	r.exec("UPDATE dingir.ledger SET next_offset = 2")
	b.Reset()
	p = b.Partition(log, 2, 0)
	add(b, p, 2, 1)
	add(b, p, 3, 2)
	r.write(b)
	if got, want := r.text(`SELECT src_offset FROM dingir.internal_transfers ORDER BY 1`), "1\n2\n"; got != want {
		t.Errorf("rows from offsets %q, want %q", got, want)
	}
	if got, want := r.text(`SELECT "offset" FROM dingir.duplicates`), "3\n"; got != want {
		t.Errorf("duplicates at offsets %q, want %q", got, want)
	}
}

// A user's row has the record's timestamp in it, which a retry's differs in.
func TestTheSameUserAtAnotherTimeIsADuplicate(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.registeruser", 0, 0)
	b := NewBatch()
	p := b.Partition(log, 0, 0)
	u := &event.User{UserID: 3, L1Address: event.Text("0x"), L2Pubkey: event.Text("0x")}
	for offset := range int64(2) {
		b.Record(p, offset, 9)
		b.User(Source{log.TopicID, 0, offset, 9}, event.Micros(1_700_000_000_000_000+offset), u)
	}
	r.write(b)
	r.equal(1, "SELECT count(*) FROM dingir.users")
	r.equal(1, `SELECT count(*) FROM dingir.duplicates WHERE "offset" = 1`)
}

// Equal identity and hash with other columns cannot be told apart from the
// stored row later, so it must not vanish as its duplicate.
func TestWriteRejectsAHashCollision(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.internaltransfer", 0, 0)
	b := NewBatch()
	add(b, b.Partition(log, 0, 0), 0, 1)
	r.write(b)
	for _, c := range []struct {
		name string
		make func(b *Batch, p *Progress) (bad int64)
	}{
		{"with a stored row", func(b *Batch, p *Progress) int64 {
			add(b, p, 1, 5)
			other := transfer(1)
			other.Amount = d("1.5") // equal in value, not in digits
			b.Record(p, 2, hashOf(1))
			b.Transfer(Source{log.TopicID, 0, 2, hashOf(1)}, other)
			return 2
		}},
		{"within the batch", func(b *Batch, p *Progress) int64 {
			add(b, p, 1, 6)
			other := transfer(6)
			other.Signature = []byte{}
			b.Record(p, 2, hashOf(6))
			b.Transfer(Source{log.TopicID, 0, 2, hashOf(6)}, other)
			return 2
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := NewBatch()
			bad := c.make(b, b.Partition(log, 1, 0))
			err := Write(t.Context(), r.conn, b)
			var list *BadRecords
			if !errors.As(err, &list) || len(list.Records) != 1 || list.Records[0].Source.Offset != bad ||
				!strings.HasPrefix(list.Records[0].Reason, "hash collision") {
				t.Fatalf("%v, want one hash collision at offset %d", err, bad)
			}
			r.equal(1, "SELECT count(*) FROM dingir.internal_transfers")
			if r.position(log.Topic, 0).Next != 1 {
				t.Error("the ledger moved")
			}
		})
	}
}

// A trigger that drops rows without an error would lose them behind a ledger that
// has moved. Nothing of the batch may stay, and the same batch is written as soon
// as the trigger is gone.
func TestWriteNoticesRowsThatATriggerDrops(t *testing.T) {
	for _, table := range []string{"internal_transfers", "event_log", "gaps", "rejects", "duplicates"} {
		t.Run(table, func(t *testing.T) {
			r := newRig(t)
			log := r.begin("p.unifyevents", 0, 0)
			first := holding(log, "ETH")
			r.write(first)
			b := NewBatch()
			p := b.Partition(log, 1, 0)
			reject(b, p, 1)
			reject(b, p, 2)
			add(b, p, 3, 1) // as the record at offset 0
			add(b, p, 4, 2)
			if err := b.Archive(p, 4, 0, nil, []byte("{}"), nil); err != nil {
				t.Fatal(err)
			}
			if err := b.Gap(p, 5, 6, "control"); err != nil {
				t.Fatal(err)
			}
			b.State(p, 0, StateRow{Next: 7, LastOrderID: -1, LastTradeID: -1})
			r.exec(`CREATE FUNCTION drop_one() RETURNS trigger LANGUAGE plpgsql AS
				'BEGIN IF to_jsonb(NEW) ->> ''offset'' = ''1'' THEN RETURN NEW; END IF; RETURN NULL; END';
				CREATE TRIGGER drop_one BEFORE INSERT ON dingir.` + table + ` FOR EACH ROW EXECUTE FUNCTION drop_one()`)
			for range 2 {
				err := Write(t.Context(), r.conn, b)
				dropped, is := errors.AsType[*droppedError](err)
				if !is || Classify(err) != Unknown || dropped.table != table || dropped.taken >= dropped.sent {
					t.Fatalf("%v, want an error that halts, over rows of %s", err, table)
				}
				if pos := r.position(log.Topic, 0); pos.Next != 1 || pos.High != 1 || pos.Moves != 0 {
					t.Fatalf("the ledger says %+v although a row is not stored", pos)
				}
				r.equal(1, "SELECT count(*) FROM dingir.internal_transfers")
				r.equal(1, "SELECT next_offset FROM dingir.state")
			}
			r.exec("DROP TRIGGER drop_one ON dingir." + table)
			r.write(b)
			if next := r.position(log.Topic, 0).Next; next != 7 {
				t.Errorf("the ledger stands at %d, want 7", next)
			}
			r.equal(6, `SELECT (SELECT count(*) FROM dingir.internal_transfers) + (SELECT count(*) FROM dingir.rejects)
				+ (SELECT count(*) FROM dingir.duplicates) + (SELECT count(*) FROM dingir.gaps)`)
		})
	}
}

// A statement that ends with its context leaves no half batch and no usable
// connection, since nobody knows what became of it.
func TestWriteCutShort(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.internaltransfer", 0, 0)
	blocker := r.connect()
	if _, err := blocker.Exec(t.Context(), "BEGIN; SELECT FROM dingir.ledger FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	b := NewBatch()
	add(b, b.Partition(log, 0, 0), 0, 1)
	victim := r.connect()
	ctx, cancel := context.WithCancelCause(t.Context())
	cut := errors.New("cut short")
	done := make(chan error, 1)
	go func() { done <- Write(ctx, victim, b) }()
	r.waitFor("the batch waits for the ledger", func() bool {
		return r.count("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()") == 1
	})
	cancel(cut)
	if err := <-done; !errors.Is(err, cut) || Classify(err) != Retry {
		t.Errorf("%v, want the cause, to be tried again", err)
	}
	if !victim.IsClosed() {
		t.Error("the connection is open")
	}
	if _, err := blocker.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	// The server had all of it, so it may commit what nobody waits for any more.
	if err := Write(t.Context(), r.conn, b); err != nil && Classify(err) != Fenced {
		t.Fatal(err)
	}
	r.equal(1, "SELECT count(*) FROM dingir.internal_transfers")
	if next := r.position(log.Topic, 0).Next; next != 1 {
		t.Errorf("the ledger stands at %d, want 1", next)
	}
}

func (r *rig) waitFor(what string, condition func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			r.t.Fatalf("still not: %s", what)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-r.t.Context().Done():
			r.t.Fatalf("the test ended before: %s", what)
		}
	}
}

// Whatever mixture of records, duplicates, gaps, rejects and rewinds comes,
// every position is accounted for exactly once after each batch.
func TestRandomBatchesAreAccountedFor(t *testing.T) {
	r := newRig(t)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	logs := []Log{r.begin("p.internaltransfer", 0, 0), r.begin("p.internaltransfer", 1, 50), r.begin("p.internaltransfer", 2, 0)}
	first := []int64{0, 50, 0}
	next := []int64{0, 50, 0}
	// What each position holds never changes; only how it is read may.
	type item struct {
		kind    string // record, gap
		content int
	}
	held := make([]map[int64]item, len(logs))
	for i := range held {
		held[i] = map[int64]item{}
	}
	at := func(i int, offset int64) item {
		if _, known := held[i][offset]; !known {
			held[i][offset] = item{kind: []string{"record", "record", "record", "gap"}[random.IntN(4)], content: random.IntN(400)}
		}
		return held[i][offset]
	}
	b := NewBatch()
	for round := range 200 {
		b.Reset()
		// As a stricter version of the decoder would; in the first rounds always, so that
		// the rewind behind them, to the beginning, has rejects to resolve.
		const strict = 3
		refuse := round < strict || random.IntN(5) == 0
		for i, log := range logs {
			if round != strict && random.IntN(4) == 0 {
				continue
			}
			if far := next[i] - first[i]; far > 0 && (round == strict || random.IntN(6) == 0) {
				if next[i] = first[i]; round != strict {
					next[i] += random.Int64N(far)
				}
				r.exec("UPDATE dingir.ledger SET next_offset = $1 WHERE partition = $2", next[i], log.Partition)
			}
			p := b.Partition(log, next[i], 0)
			for range 1 + random.IntN(40) {
				offset := next[i]
				switch e := at(i, offset); {
				case e.kind == "gap":
					last := offset
					for at(i, last+1).kind == "gap" && random.IntN(3) > 0 {
						last++
					}
					if err := b.Gap(p, offset, last, "control"); err != nil {
						t.Fatal(err)
					}
					next[i] = last + 1
					continue
				case refuse && e.content%10 == 0 && r.count("SELECT count(*) FROM dingir.internal_transfers WHERE content_hash = $1", hashOf(e.content)) == 0:
					reject(b, p, offset)
				default:
					add(b, p, offset, e.content)
				}
				next[i] = offset + 1
			}
		}
		if b.Empty() {
			continue
		}
		r.write(b)
		if bad := r.text(`
			WITH held AS (
				SELECT src_partition AS partition, src_offset AS at FROM dingir.internal_transfers
				UNION ALL SELECT partition, "offset" FROM dingir.rejects WHERE resolved_at IS NULL
				UNION ALL SELECT partition, "offset" FROM dingir.duplicates
				UNION ALL SELECT partition, generate_series(first_offset, last_offset) FROM dingir.gaps)
			SELECT l.partition, at, count(h.at) FROM dingir.ledger l
			 CROSS JOIN LATERAL generate_series(l.first_offset, l.next_offset - 1) AS at
			  LEFT JOIN held h USING (partition, at) GROUP BY 1, 2 HAVING count(h.at) <> 1 ORDER BY 1, 2 LIMIT 5`); bad != "" {
			t.Fatalf("after batch %d (seed %d), partition|offset|times accounted for:\n%s", round, seed, bad)
		}
		for i, log := range logs {
			if pos := r.position(log.Topic, log.Partition); pos.Next != next[i] {
				t.Fatalf("partition %d stands at %d, want %d", i, pos.Next, next[i])
			}
		}
	}
	if n := r.count("SELECT least((SELECT count(*) FROM dingir.duplicates), (SELECT count(*) FROM dingir.gaps), (SELECT count(*) FROM dingir.rejects WHERE resolved_at IS NOT NULL))"); n == 0 {
		t.Error("the batches had no duplicate, no gap or no reject that was resolved later")
	}
}

func BenchmarkBatch(b *testing.B) {
	batch := NewBatch()
	log := Log{"p.internaltransfer", 1, 0}
	move := transfer(5)
	for i := 0; b.Loop(); i++ {
		if i%1000 == 0 {
			batch.Reset()
		}
		p := batch.Partition(log, 0, 0)
		batch.Record(p, int64(i), 1)
		batch.Transfer(Source{1, 0, int64(i), 1}, move)
	}
	b.ReportMetric(float64(batch.Bytes())/float64(max(1, batch.Records())), "B/row")
}
