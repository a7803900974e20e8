package ingest

import (
	"context"
	"time"

	"github.com/thaliumx/persistor/internal/failpoint"
	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// takeBatch decodes and stores one batch of what an answer brought, and of what
// follows where that does not fill it. What is left over waits its turn behind
// other answers, so that the loop looks at everything else meanwhile.
func (w *worker) takeBatch(take, ctx context.Context, f *fetcher) error {
	began := time.Now()
	failpoint.Hit("fetched")
	w.batch.Reset()
	w.decoder.ids, w.oldest = w.decoder.ids[:0], 0
	more := w.fill(take, began, f)
	// Who is behind asks for more at once. Who is not asks once this is committed:
	// the broker answers with whatever is there, so what comes meanwhile is one
	// batch then, and not a tiny one before it.
	for !more && f.behind() {
		w.rearm(ctx, f)
		next := w.awaitMore(ctx)
		if next == nil {
			break
		}
		f = next
		more = w.fill(take, began, f)
	}
	if more {
		w.giveBack(f)
	}
	w.writeState()
	if w.batch.Empty() {
		return nil
	}
	if err := w.commit(ctx); err != nil {
		return err
	}
	if !more && w.batch.Records() < smallBatch {
		sleep(ctx, time.Until(began.Add(pace)))
	}
	return nil
}

// A batch costs broker, server and us some 5 ms of CPU however small it is, and a
// machine that is busy with tiny ones is late with all of them. So small ones
// begin no sooner after each other than this; the first record after a while
// waits for nothing.
const (
	pace       = 20 * time.Millisecond
	smallBatch = 1000
)

// giveBack has the loop meet an answer again. There is room for it, since it came
// from there.
func (w *worker) giveBack(f *fetcher) {
	f.busy = true
	w.answers <- f
}

// awaitMore waits a little for the answer that follows, where there is more to
// come for a batch that is not full: full batches cost the server a tenth less a
// row. nil: what there is has to do.
func (w *worker) awaitMore(ctx context.Context) *fetcher {
	const patience = 50 * time.Millisecond
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case f := <-w.answers:
		if f.err != nil {
			w.giveBack(f)
			return nil
		}
		f.busy = false
		return f
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return nil
	}
}

// batchTime bounds how long a batch is filled: records can be dear that contradict
// the state, and what is decoded is to be stored, and a signal to be heard.
const batchTime = time.Second

// fill decodes records into the batch until a limit is reached (more) or the
// answer is empty.
func (w *worker) fill(take context.Context, began time.Time, f *fetcher) (more bool) {
	most := w.Options.Ingest.BatchRecords
	if w.most > 0 {
		most = min(most, w.most)
	}
	for i := range f.answer.Partitions {
		part := &f.answer.Partitions[i]
		p := f.asked[i]
		p.alone = false
		if !p.admitted || p.leader != f.broker || part.Want.TopicID != p.topicUUID || part.Position() != p.next {
			continue // what was asked for is not what is wanted any more
		}
		if part.HighWatermark >= 0 {
			p.sawLog(part.LogStart, part.HighWatermark)
		}
		for n := 1; ; n++ {
			if w.batch.Records() >= most || w.batch.Bytes() >= maxBatchBytes {
				return true
			}
			if n%16 == 0 && (take.Err() != nil || time.Since(began) > batchTime) {
				return true
			}
			done, err := w.take(p, part)
			if err != nil {
				w.partFailed(p, part, err)
			}
			if done || err != nil {
				break
			}
		}
		if time.Now().Before(w.alone) && !w.batch.Empty() {
			return true
		}
	}
	return false
}

// take moves one item of the log into the batch.
func (w *worker) take(p *partition, part *fetch.Part) (done bool, err error) {
	kind, err := part.Next()
	if err != nil || kind == fetch.Done {
		return true, err
	}
	progress := w.batch.Partition(p.log, p.committed, p.archived)
	if kind == fetch.Gap {
		p.next = part.Gap.Last + 1
		return false, w.takeGap(p, progress, part.Gap)
	}
	rec := &part.Record
	hash := Hash(rec.Value)
	record := Record{rec.Offset, rec.Timestamp, rec.Key, rec.Value}
	bad, poisoned := p.poison[rec.Offset]
	reason, state := bad.Reason, bad.SQLState
	switch {
	case p.topic == topics.UnifyEvents:
		var archiveErr error
		if err, archiveErr = w.takeEvent(p, progress, record, rec.Headers, hash, poisoned); archiveErr != nil {
			return true, archiveErr
		}
	case !poisoned:
		err = w.decoder.Add(w.batch, p.log, p.topic, record, hash)
	}
	w.batch.Record(progress, rec.Offset, hash)
	if w.oldest == 0 || rec.Timestamp < w.oldest {
		w.oldest = rec.Timestamp
	}
	p.next = rec.Offset + 1
	if err != nil {
		reason, state = err.Error(), ""
	}
	if err == nil && !poisoned {
		return false, nil
	}
	w.batch.Reject(progress, store.RejectedRecord{
		Offset: rec.Offset, Time: store.ClampTime(rec.Timestamp), Key: rec.Key, Value: rec.Value,
		Headers: rec.Headers, Reason: reason, SQLState: state,
	})
	return false, nil
}
