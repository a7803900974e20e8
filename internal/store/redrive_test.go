package store

import (
	"errors"
	"testing"
)

// What a trigger drops is not stored: its reject must stay.
func TestRedriveOfARowThatTheDatabaseDrops(t *testing.T) {
	r := newRig(t)
	log := r.begin("p.internaltransfer", 0, 0)
	b := NewBatch()
	reject(b, b.Partition(log, 0, 0), 0)
	r.write(b)
	decode := func(s Stored, b *Batch) error {
		b.Transfer(Source{s.TopicID, s.Partition, s.Offset, hashOf(1)}, transfer(1))
		return nil
	}
	id := int64(r.count("SELECT id FROM dingir.rejects"))

	r.exec(`CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`)
	r.exec("CREATE TRIGGER drop_it BEFORE INSERT ON dingir.internal_transfers FOR EACH ROW EXECUTE FUNCTION drop_it()")
	_, err := Redrive(t.Context(), r.conn, id, decode)
	if dropped, ok := errors.AsType[*droppedError](err); !ok || dropped.sent != 1 || dropped.taken != 0 {
		t.Errorf("%v, want that the row was dropped", err)
	}
	r.equal(1, "SELECT count(*) FROM dingir.rejects WHERE resolved_at IS NULL")

	r.exec("DROP TRIGGER drop_it ON dingir.internal_transfers")
	done, err := Redrive(t.Context(), r.conn, id, decode)
	if err != nil || done != (Redriven{Table: "internal_transfers"}) {
		t.Errorf("%+v, %v", done, err)
	}
	r.equal(0, "SELECT count(*) FROM dingir.rejects WHERE resolved_at IS NULL")
	r.equal(1, "SELECT count(*) FROM dingir.internal_transfers")
	if _, err := Redrive(t.Context(), r.conn, id, decode); !errors.Is(err, ErrResolved) {
		t.Errorf("once more: %v", err)
	}
}
