package fetch

import "slices"

// abortedTxn is a transaction that a broker lists as aborted: what the producer
// wrote from first up to its next abort marker does not count.
type abortedTxn struct{ producer, first int64 }

// aborts knows, while the batches of one answer pass by in order, which
// producers are inside an aborted transaction. The rules are those of Kafka's
// own consumer.
type aborts struct {
	ahead []abortedTxn // not reached yet, by first offset
	open  []int64      // producers inside one; hardly ever more than a few
}

func (a *aborts) add(t abortedTxn) { a.ahead = append(a.ahead, t) }

// sort is needed because brokers list transactions in the order in which they
// ended, which for interleaved ones is not the order in which they began.
func (a *aborts) sort() {
	slices.SortFunc(a.ahead, func(x, y abortedTxn) int {
		switch {
		case x.first < y.first:
			return -1
		case x.first > y.first:
			return 1
		}
		return 0
	})
}

// reach opens the transactions that begin at or before offset.
func (a *aborts) reach(offset int64) {
	for len(a.ahead) > 0 && a.ahead[0].first <= offset {
		if t := a.ahead[0]; !slices.Contains(a.open, t.producer) {
			a.open = append(a.open, t.producer)
		}
		a.ahead = a.ahead[1:]
	}
}

// close takes in an abort marker. A commit marker must not come here: it ends
// an earlier transaction of the producer than the one that is open.
func (a *aborts) close(producer int64) {
	if i := slices.Index(a.open, producer); i >= 0 {
		a.open = slices.Delete(a.open, i, i+1)
	}
}

func (a *aborts) covers(producer int64) bool { return slices.Contains(a.open, producer) }
