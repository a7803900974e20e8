package ingest

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/thaliumx/persistor/internal/fetch"
)

// fetcher asks one broker for the worker's partitions that it leads, one
// request at a time.
type fetcher struct {
	broker int32
	asked  []*partition // answer.Partitions are these
	answer fetch.Response
	err    error
	busy   bool
	turn   int
	cancel context.CancelFunc
}

// behind tells whether the broker had more than it put into its answer.
func (f *fetcher) behind() bool {
	for i := range f.answer.Partitions {
		part := &f.answer.Partitions[i]
		if p := f.asked[i]; p.admitted && part.Err == nil && part.Position() == p.next && part.LastStable > p.next {
			return true
		}
	}
	return false
}

// arm puts a request under way at every leader that has none. Where brokers that
// led before keep all the room for answers, it waits for one of them to end.
func (w *worker) arm(ctx context.Context) error {
	if w.cluster == nil {
		cluster, err := w.kafka.Metadata(ctx, w.topicNames())
		if err != nil {
			return err
		}
		w.cluster = cluster
	}
	leaders, stale := map[int32]bool{}, false
	for _, p := range w.partitions {
		if !p.admitted {
			continue
		}
		leader, err := w.cluster.Leader(p.name, p.id)
		if err != nil { // the others need not wait for it
			p.waits(err.Error())
			p.retryAt, stale = time.Now().Add(time.Second), true
			continue
		}
		if leader != p.leader {
			w.compareAnew(p, "its leader changed")
			continue
		}
		leaders[leader] = true
	}
	for broker, f := range w.fetchers {
		if !f.busy && !leaders[broker] {
			f.cancel()
			delete(w.fetchers, broker)
		}
	}
	for leader := range leaders {
		f := w.fetchers[leader]
		if f == nil {
			if len(w.fetchers) == cap(w.answers) {
				continue
			}
			f = &fetcher{broker: leader}
			w.fetchers[leader] = f
		}
		w.start(ctx, f)
	}
	if stale {
		w.cluster = nil
	}
	return nil
}

// compareAnew has a partition's log compared with the ledger before more of it is
// read: a new leader, and one that was away, can have lost records that are stored
// and have others at their offsets, as after an unclean election.
func (w *worker) compareAnew(p *partition, because string) {
	p.waits(because + ": its log is being compared with the ledger")
	select {
	case w.wake <- struct{}{}: // now
	default:
	}
}

// rearm asks for what follows.
func (w *worker) rearm(ctx context.Context, f *fetcher) {
	if w.cluster != nil {
		w.start(ctx, f)
	}
}

// start sends the fetcher's next request, unless one is under way. The order of
// the partitions rotates: a broker fills an answer in the order asked. A partition
// to be asked for by itself comes before all others.
func (w *worker) start(ctx context.Context, f *fetcher) {
	if f.busy {
		return
	}
	f.asked = f.asked[:0]
	var wants []fetch.Want
	f.turn++
	for i := range w.partitions {
		p := w.partitions[(i+f.turn)%len(w.partitions)]
		if !p.admitted || p.leader != f.broker {
			continue
		}
		if p.alone {
			f.asked, wants = append(f.asked[:0], p), append(wants[:0], p.want())
			break
		}
		f.asked = append(f.asked, p)
		wants = append(wants, p.want())
	}
	if len(wants) == 0 {
		return
	}
	if f.cancel != nil {
		f.cancel()
	}
	ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	f.busy = true
	req := &fetch.Request{
		Broker: f.broker, Partitions: wants,
		MinBytes: 1, MaxBytes: int32(min(w.Options.Ingest.BatchBytes, math.MaxInt32)), MaxWait: maxWait,
	}
	go func() {
		f.err = w.kafka.Fetch(ctx, req, &f.answer)
		w.answers <- f // never blocks: there are no more fetchers than room, and each has one answer
	}()
}

// tooLarge deals with an answer that the client refuses to take in. A record batch
// of a single partition makes it so, and the answer does not tell which: they are
// asked one by one, and the one whose own answer is too large is halted.
func (w *worker) tooLarge(f *fetcher, large *fetch.AnswerTooLargeError) {
	for _, p := range f.asked {
		p.alone = true
	}
	if len(f.asked) > 1 {
		w.log.Warn("an answer of Kafka is too large; asking for each partition alone", "broker", f.broker, "error", large)
		return
	}
	p := f.asked[0]
	if !p.admitted || p.leader != f.broker {
		return
	}
	p.stuck = true
	w.haltPartition(p, &Halt{
		Reason: fmt.Sprintf("the record batch at offset %d is too large: Kafka's answer has %d bytes, the limit is %d", p.next, large.Bytes, large.Limit),
		Remedy: fmt.Sprintf("set PERSISTOR_BATCH_BYTES to %dMiB or more and restart; or note the loss and go on: %s", large.Bytes>>20+1, skip(p.log, -1)),
	})
}
