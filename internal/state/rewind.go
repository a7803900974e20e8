package state

import (
	"strconv"

	"github.com/thaliumx/persistor/internal/amount"
)

type question struct{}

func (s *State) learn(slot int32, total amount.Amount, frozen *amount.Amount) {}

func (s *State) returned(id int64) *order { return nil }

func (s *State) doubtPassedOver(k *book, maker *order) {}

// isRepeated reports whether the newest record of that kind and id is the same
// event, and counts it then.
func (s *State) isRepeated(kind step, id int64, mark uint64) bool {
	r := &s.journal.records
	for i := r.head; i > r.tail; i-- {
		if e := r.at(i - 1); e.kind == kind && e.id == id {
			if e.mark != mark {
				return false
			}
			if s.fail(repeated) {
				s.example(repeated, "id "+strconv.FormatInt(id, 10), "once", "again, as at offset "+strconv.FormatInt(e.offset, 10))
			}
			return true
		}
	}
	return false
}

func (s *State) rewindTo(id int64) {}
