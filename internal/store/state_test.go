package store

import (
	"errors"
	"strings"
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

// The state is that of one topic, also where two write their first at once.
func TestTheStateHasOneOwner(t *testing.T) {
	r := newRig(t)
	mine, theirs := r.begin("p.unifyevents", 0, 0), r.begin("q.unifyevents", 0, 0)
	ctx := t.Context()
	if err := CheckStateOwner(ctx, r.conn, mine.Topic); err != nil {
		t.Errorf("before there is one: %v", err)
	}
	conn := r.connect()
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const put = "SELECT dingir.put_state($1, $2, 0, 0, 0, true, true, -1, -1, 0, NULL)"
	if _, err := tx.Exec(ctx, put, mine.Topic, mine.TopicID); err != nil {
		t.Fatal(err)
	}
	late := r.connect()
	pid := late.PgConn().PID()
	answer := make(chan error, 1)
	go func() { answer <- Write(ctx, late, holding(theirs, "ETH")) }()
	for waits := false; !waits; {
		if err := r.conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)", pid).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; Classify(err) != Fenced || !strings.Contains(err.Error(), "not that of topic q.unifyevents") {
		t.Errorf("%v, want a fence", err)
	}
	if got := r.text("SELECT count(*) FROM dingir.balances"); got != "0\n" {
		t.Errorf("%s balances of the other topic", got)
	}
	if err := Write(ctx, conn, holding(mine, "ETH")); err != nil {
		t.Errorf("its owner cannot write: %v", err)
	}
	if err := CheckStateOwner(ctx, r.conn, mine.Topic); err != nil {
		t.Error(err)
	}
	other, is := errors.AsType[*OtherStateError](CheckStateOwner(ctx, r.conn, theirs.Topic))
	if !is || other.Owner != mine.Topic {
		t.Errorf("the owner is %+v, want %s", other, mine.Topic)
	}
}
