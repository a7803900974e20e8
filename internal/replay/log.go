package replay

import (
	"context"
	"errors"
	"fmt"

	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// forever is beyond any offset and any timestamp.
const forever = int64(1<<63 - 1)

// logReader stages unifyevents.
type logReader struct {
	*run
	ctx context.Context //nolint:containedctx // of one Read, whose sink has none
	st  *stager
	s   *span

	records     int64
	first, last int64 // timestamps in ms of the first and the latest record
	before      int64 // while a gap lies behind: the timestamp before it
	inGap       bool
}

// darkness is a stretch of time in which the log does not tell what there was:
// before its first record, and where records of it are lost. Both ends are
// timestamps in ms.
type darkness struct{ from, until int64 }

// unifySpan is the total order's, nil where it was never read.
func (r *run) unifySpan() *span {
	for _, s := range r.spans {
		if s.topic == topics.UnifyEvents && s.Partition == 0 {
			return s
		}
	}
	return nil
}

// boundLog fixes which part of unifyevents is read.
func (r *run) boundLog(ctx context.Context) error {
	s := r.unifySpan()
	if s == nil {
		r.note("%s%s was never read: only the other topics can be compared", r.Prefix, topics.UnifyEvents)
		return nil
	}
	first, next, err := r.Events.Bounds(ctx)
	if err != nil {
		return fmt.Errorf("look how far the log of events reaches: %w", err)
	}
	until := min(s.Next, next)
	if r.UntilOffset >= 0 {
		until = min(until, r.UntilOffset)
	}
	s.start = min(max(s.First, first), max(until, s.First))
	s.end = max(until, s.start)
	s.read = s.end
	if s.start > s.First {
		r.note("the log of events reaches back to offset %d only, not to %d: what is older stays as it is", s.start, s.First)
	}
	if next < s.Next {
		r.note("the log of events ends at offset %d, before the ledger's %d", next, s.Next)
	}
	return nil
}

// readLog stages what unifyevents says.
func (r *run) readLog(ctx context.Context, st *stager) error {
	s := r.unifySpan()
	if s == nil {
		r.dark = []darkness{{-forever, forever}}
		return nil
	}
	l := &logReader{run: r, ctx: ctx, st: st, s: s}
	if s.start < s.end {
		if err := r.Events.Read(ctx, s.start, s.end, l); err != nil {
			return fmt.Errorf("read the log of events: %w%s", err, segmentHint(err))
		}
	}
	if err := st.flush(ctx); err != nil {
		return err
	}
	l.finish()
	return nil
}

// segmentHint says what can be done about an archive that cannot be read.
func segmentHint(err error) string {
	if seam, differs := errors.AsType[*eventlog.SeamError](err); differs {
		return fmt.Sprintf("; where it was the archive, `DELETE FROM dingir.event_log WHERE %d BETWEEN first_offset AND last_offset`: a replay fills the hole from the topic", seam.Offset)
	}
	if store.SQLState(err) != "" || errors.Is(err, context.Canceled) || fetch.Retriable(err) {
		return ""
	}
	return "; where a segment of dingir.event_log is damaged and the topic still has its records, delete it: a replay fills the hole from there"
}

// Record stages one record, or ends the reading at the first that is too late.
func (l *logReader) Record(e *eventlog.Record) error {
	if e.Time > l.UntilTime {
		l.s.end, l.s.read = e.Offset, e.Offset
		return eventlog.ErrStop
	}
	if l.records == 0 {
		l.first, l.last = e.Time, e.Time
	}
	if l.inGap {
		l.dark = append(l.dark, darkness{l.before - slack, e.Time + slack})
		l.inGap = false
	}
	l.records++
	l.last = max(l.last, e.Time)
	rec := fetch.Record{Offset: e.Offset, Timestamp: e.Time, Key: e.Key, Value: e.Value, Headers: e.Headers}
	return l.st.take(l.ctx, l.s, &rec, false)
}

// Gap notes since when the log does not tell what there was.
func (l *logReader) Gap(first, last int64, reason string) error {
	if reason != eventlog.Control && !l.inGap {
		l.inGap, l.before = true, l.last
		if l.records == 0 {
			l.before = -forever + slack
		}
	}
	return l.st.archiveGap(l.s, first, last, reason)
}

// slack in ms is how far apart the timestamps of one event's records on two
// topics may be, where the log begins or ends in the middle of things: the
// engine's producers send independently.
const slack = 60_000

// finish notes what the run covers of time.
func (l *logReader) finish() {
	begin := l.first - 1000 // some messages have whole seconds, cut
	if l.s.start > 0 {
		begin = l.first + slack
	}
	if l.records == 0 {
		begin = forever
	}
	l.dark = append(l.dark, darkness{-forever, begin})
	if l.inGap {
		l.dark = append(l.dark, darkness{l.before - slack, forever})
	}
	if l.partial {
		l.dark = append(l.dark, darkness{l.last - slack, forever})
	}
	l.logFirst, l.logLast, l.logRecords = l.first, l.last, l.records
	if l.UntilOffset >= 0 {
		l.UntilTime = min(l.UntilTime, l.last)
	}
}

// outside tells whether a hot topic's record is later than the run covers.
func (r *run) outside(timestamp int64) bool { return timestamp > r.UntilTime }
