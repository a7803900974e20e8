package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What makes single rows impossible is found, alone, whatever raises it, and
// nothing is written until the caller has made rejects of them.
func TestBadRowsAreFoundAlone(t *testing.T) {
	for _, c := range []struct{ name, prepare, state string }{
		{"check", "ALTER TABLE dingir.internal_transfers ADD CONSTRAINT odd CHECK (amount NOT IN (13.5, 14.5, 77.5))", "23514"},
		{"trigger raising a data exception", `CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN IF NEW.amount IN (13.5, 14.5, 77.5) THEN RAISE EXCEPTION 'odd' USING ERRCODE = '22003'; END IF; RETURN NEW; END $$;
			CREATE TRIGGER odd BEFORE INSERT ON dingir.internal_transfers FOR EACH ROW EXECUTE FUNCTION odd()`, "22003"},
		{"too much for a program", `CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN IF NEW.amount IN (13.5, 14.5, 77.5) THEN RAISE EXCEPTION 'odd' USING ERRCODE = '54000'; END IF; RETURN NEW; END $$;
			CREATE TRIGGER odd BEFORE INSERT ON dingir.internal_transfers FOR EACH ROW EXECUTE FUNCTION odd()`, "54000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			log := r.begin("p.internaltransfer", 0, 0)
			b := NewBatch()
			p := b.Partition(log, 0, 0)
			add(b, p, 0, 5)
			r.write(b)
			r.exec(c.prepare)

			b.Reset()
			p = b.Partition(log, 1, 0)
			for i := range 100 {
				add(b, p, int64(1+i), i) // 5 is there already
			}
			err := Write(t.Context(), r.conn, b)
			var bad *BadRecords
			if !errors.As(err, &bad) {
				t.Fatalf("%v, want bad records", err)
			}
			var offsets []int64
			for _, e := range bad.Records {
				offsets = append(offsets, e.Source.Offset)
				if e.SQLState != c.state || !strings.HasPrefix(e.Reason, "dingir.internal_transfers refuses it: ") {
					t.Errorf("offset %d: %s: %q", e.Source.Offset, e.SQLState, e.Reason)
				}
			}
			if !slices.Equal(offsets, []int64{14, 15, 78}) {
				t.Errorf("bad are %v, want 14, 15 and 78", offsets)
			}
			r.equal(1, "SELECT count(*) FROM dingir.internal_transfers")
			if next := r.position(log.Topic, 0).Next; next != 1 {
				t.Errorf("the ledger stands at %d, want 1", next)
			}

			b.Reset()
			p = b.Partition(log, 1, 0)
			for i := range 100 {
				if slices.Contains(offsets, int64(1+i)) {
					reject(b, p, int64(1+i))
				} else {
					add(b, p, int64(1+i), i)
				}
			}
			r.write(b)
			r.equal(97, "SELECT count(*) FROM dingir.internal_transfers")
			r.equal(3, "SELECT count(*) FROM dingir.rejects")
			r.equal(1, "SELECT count(*) FROM dingir.duplicates")
		})
	}
}

// Where each row alone is fine, none of them may be rejected.
func TestABatchRefusedAsAWholeRejectsNothing(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.internaltransfer", 0, 0)
	r.exec(`CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN RAISE EXCEPTION 'odd' USING ERRCODE = '22003'; END $$;
		CREATE TRIGGER odd BEFORE UPDATE ON dingir.ledger FOR EACH ROW EXECUTE FUNCTION odd()`)
	b := NewBatch()
	p := b.Partition(log, 0, 0)
	for i := range 8 {
		add(b, p, int64(i), i)
	}
	err := Write(t.Context(), r.conn, b)
	var bad *BadRecords
	if errors.As(err, &bad) || Classify(err) != Unknown {
		t.Errorf("%v, want an error of the class unknown", err)
	}
}

// An outage in the middle of the search is an outage.
func TestTheSearchForABadRowPassesOnOtherTrouble(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.internaltransfer", 0, 0)
	r.exec(`CREATE SEQUENCE tries; CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN IF nextval('tries') = 1 THEN RAISE EXCEPTION 'odd' USING ERRCODE = '22003'; END IF;
		RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$;
		CREATE TRIGGER odd BEFORE INSERT ON dingir.internal_transfers FOR EACH ROW EXECUTE FUNCTION odd()`)
	b := NewBatch()
	add(b, b.Partition(log, 0, 0), 0, 1)
	err := Write(t.Context(), r.conn, b)
	if Classify(err) != Retry || SQLState(err) != "53100" {
		t.Errorf("%v (%v), want a disk that is full", err, Classify(err))
	}
	if r.conn.IsClosed() {
		t.Error("the connection is closed")
	}
}

func BenchmarkSplit(b *testing.B) {
	batch := NewBatch()
	p := batch.Partition(Log{"t", 1, 0}, 0, 0)
	for i := range 1000 {
		add(batch, p, int64(i), i)
	}
	for b.Loop() {
		if n := len(batch.rows[internalTransfersTable].split(len(tables[internalTransfersTable].columns))); n != 1000 {
			b.Fatal(fmt.Sprint(n, " rows"))
		}
	}
}
