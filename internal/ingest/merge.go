package ingest

import (
	"context"
	"time"

	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// mergeShare is the part of the time that merging may take: it is in nobody's
// hurry.
const mergeShare = 0.2

// mergeLag is the backlog of unifyevents above which nothing is merged: the
// cores have better things to do, and the segments of full batches are large.
const mergeLag = 10_000

// mergeSegments joins the event log's small segments, every so often.
func (d *Daemon) mergeSegments(ctx context.Context, every time.Duration) {
	for sleep(ctx, every) {
		if d.behind() {
			continue
		}
		if err := d.mergeAll(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("small segments of the event log are not joined; it is tried again", "error", err)
		}
	}
}

// mergeAll goes on until there is nothing to join.
func (d *Daemon) mergeAll(ctx context.Context) error {
	conn, err := store.Connect(ctx, d.Options.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	segments, before := 0, time.Now()
	for {
		start := time.Now()
		n, err := store.MergeSegments(ctx, conn)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		segments += n
		if rest := time.Duration(float64(time.Since(start)) * (1 - mergeShare) / mergeShare); !sleep(ctx, rest) || d.behind() {
			break
		}
	}
	if segments > 0 {
		d.log.Debug("segments of the event log joined", "segments", segments, "took", time.Since(before).Round(time.Millisecond).String())
	}
	return nil
}

// behind tells whether unifyevents has a backlog.
func (d *Daemon) behind() bool {
	for _, p := range d.snapshots() {
		if p.Topic == d.Options.Kafka.TopicPrefix+topics.UnifyEvents {
			if lag, known := p.Lag(); !known || lag > mergeLag {
				return true
			}
		}
	}
	return false
}
