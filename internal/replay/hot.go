package replay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/ingest"
)

const (
	fetchBytes = 8 << 20
	fetchWait  = 500 * time.Millisecond

	// patience is how long Kafka may be in trouble before the run gives up.
	patience = 2 * time.Minute
)

// hotReader reads the hot topics' spans, all partitions of one broker with each
// request.
type hotReader struct {
	*run
	st      *stager
	at      map[*span]int64 // the next offset
	answer  fetch.Response
	turn    int
	trouble time.Time // since when nothing has come
}

// readHot stages what Kafka has of the hot topics.
func (r *run) readHot(ctx context.Context, st *stager) error {
	h := hotReader{run: r, st: st, at: map[*span]int64{}}
	for _, s := range r.spans {
		s.lost = s.start > s.First
		if !s.unify() && s.start < s.end {
			h.at[s] = s.start
		}
	}
	for len(h.at) > 0 {
		err := h.round(ctx)
		switch {
		case err == nil:
			h.trouble = time.Time{}
		case ctx.Err() != nil:
			return ctx.Err()
		case !fetch.Retriable(err) && !fetch.NeedsMetadata(err):
			return err
		default:
			if err := h.wait(ctx, err); err != nil {
				return err
			}
		}
	}
	return st.flush(ctx)
}

// wait lets a moment pass after trouble with Kafka, and looks anew who leads.
func (h *hotReader) wait(ctx context.Context, trouble error) error {
	if h.trouble.IsZero() {
		h.trouble = time.Now()
		h.Log.Warn("Kafka is in trouble; trying again", "error", trouble)
	}
	if time.Since(h.trouble) > patience {
		return fmt.Errorf("read the topics: %w", trouble)
	}
	timer := time.NewTimer(300 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	var names []string
	for _, t := range h.cluster.Topics {
		names = append(names, t.Name)
	}
	if cluster, err := h.Kafka.Metadata(ctx, names); err == nil {
		h.cluster = cluster
	}
	return nil
}

// round asks each broker once for the partitions that it leads.
func (h *hotReader) round(ctx context.Context) error {
	byLeader := map[int32][]*span{}
	h.turn++
	for i := range h.spans {
		s := h.spans[(i+h.turn)%len(h.spans)] // an answer is filled in the order asked
		if _, open := h.at[s]; !open {
			continue
		}
		leader, err := h.cluster.Leader(s.Topic, s.Partition)
		if err != nil {
			return err
		}
		byLeader[leader] = append(byLeader[leader], s)
	}
	for leader, spans := range byLeader {
		req := &fetch.Request{Broker: leader, MinBytes: 1, MaxBytes: fetchBytes, MaxWait: fetchWait}
		for _, s := range spans {
			req.Partitions = append(req.Partitions, s.want(h.at[s]))
		}
		if err := h.Kafka.Fetch(ctx, req, &h.answer); err != nil {
			return err
		}
		for i, s := range spans {
			if err := h.drain(ctx, s, &h.answer.Partitions[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// drain stages what an answer has of one partition.
func (h *hotReader) drain(ctx context.Context, s *span, part *fetch.Part) error {
	defer func() {
		if h.at[s] >= s.end {
			delete(h.at, s)
		}
	}()
	for h.at[s] < s.end {
		kind, err := part.Next()
		var jump *fetch.JumpError
		switch {
		case errors.As(err, &jump):
			h.hole(s, jump.Found)
			return nil
		case errors.Is(err, kafka.OffsetOutOfRange):
			return h.expired(ctx, s)
		case err != nil:
			return err
		case kind == fetch.Done:
			return nil
		case kind == fetch.Gap:
			last := min(part.Gap.Last, s.end-1)
			if err := h.st.gap(s, part.Gap.First, last); err != nil {
				return err
			}
			h.at[s] = last + 1
		default:
			rec := &part.Record
			if rec.Offset == s.LastOffset && rec.Offset < s.Next && ingest.Hash(rec.Value) != s.LastHash {
				return &HaltedError{s.Topic, s.Partition, fmt.Sprintf("the record at offset %d is not the one that was stored: the log was rewritten", rec.Offset)}
			}
			if s.lost {
				s.lost, s.lostUntil = false, max(s.lostUntil, rec.Timestamp)
			}
			s.newest = max(s.newest, rec.Timestamp)
			h.at[s] = rec.Offset + 1
			if rec.Offset >= s.Next && rec.Timestamp > h.logLast+slack {
				continue // no record of unifyevents can be this one's, but behind it one may be
			}
			if err := h.st.take(ctx, s, rec, rec.Offset < s.Next && h.outside(rec.Timestamp)); err != nil {
				return err
			}
		}
	}
	return nil
}

// hole notes that Kafka lacks the records from where the reading stands up to
// the offset found.
func (h *hotReader) hole(s *span, found int64) {
	s.holes = append(s.holes, [2]int64{h.at[s], min(found, s.end) - 1})
	h.at[s] = found
	s.lost = true
}

// expired goes on at the log's start, which retention has moved past us.
func (h *hotReader) expired(ctx context.Context, s *span) error {
	marks, err := h.Kafka.Watermarks(ctx, h.cluster, []fetch.Want{s.want(0)})
	if err != nil {
		return fmt.Errorf("ask Kafka for the ends of its logs: %w", err)
	}
	if marks[0].LogStart <= h.at[s] {
		return fmt.Errorf("topic %s partition %d: Kafka does not give offset %d, although its log goes from %d to %d",
			s.Topic, s.Partition, h.at[s], marks[0].LogStart, marks[0].HighWatermark)
	}
	h.hole(s, marks[0].LogStart)
	return nil
}
