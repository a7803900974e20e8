package store

import (
	"testing"

	"github.com/thaliumx/persistor/internal/amount"
)

// holding is a batch of one deposit and the state behind it.
func holding(log Log, asset string) *Batch {
	b := NewBatch()
	p := b.Partition(log, 0, 0)
	add(b, p, 0, 1)
	b.State(p, 0, StateRow{Next: 1, LastOrderID: -1, LastTradeID: -1})
	b.PutBalance(&Holding{UserID: 1, Asset: asset, Available: amount.Int(5), Known: true})
	return b
}

// Texts of the state travel as literals, which a database may be set up to read
// in another way.
func TestTextsOfTheStateComeAsTheyAre(t *testing.T) {
	r := newRig(t)
	r.exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET standard_conforming_strings = off', current_database()); END $$`)
	log := r.begin("p.unifyevents", 0, 0)
	const asset = `a'b\c"d\\{,} NULL \'); DROP TABLE dingir.balances; --`
	conn := r.connect()
	b := holding(log, asset)
	if err := Write(t.Context(), conn, b); err != nil {
		t.Fatal(err)
	}
	if got := r.text("SELECT asset FROM dingir.balances"); got != asset+"\n" {
		t.Errorf("stored is %q, want %q", got, asset)
	}
}

// Where rows of a batch were dropped the ledger goes back, and the state that was
// written with them is ahead of it: the same batch must not be written again.
func TestTheStateBehindDroppedRows(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.unifyevents", 0, 0)
	r.exec(`CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
		CREATE TRIGGER drop_it BEFORE INSERT ON dingir.internal_transfers FOR EACH ROW EXECUTE FUNCTION drop_it()`)
	b := holding(log, "ETH")
	if err := Write(t.Context(), r.conn, b); Classify(err) != Unknown {
		t.Fatalf("%v, want an error that halts", err)
	}
	if err := Write(t.Context(), r.conn, b); Classify(err) != Fenced {
		t.Errorf("%v, want a fence: the tables are ahead", err)
	}
	if pos := r.position(log.Topic, 0); pos.Next != 0 || pos.High != 1 {
		t.Errorf("the ledger says %+v", pos)
	}
}
