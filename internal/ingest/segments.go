package ingest

import (
	"context"
	"time"

	"github.com/thaliumx/persistor/internal/store"
)

// joinEvery is how often small segments of the event log are joined: a daemon
// that keeps up writes one with nearly every record. What is left meanwhile is
// about half a megabyte.
const joinEvery = time.Minute

// joinSegments joins the event log's small segments now and then, with a session
// of its own: nothing waits for it. Where several processes do, one is at it.
func (d *Daemon) joinSegments(ctx context.Context, every time.Duration) {
	for sleep(ctx, every) {
		joined, err := d.joinAll(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			// An outage is told of elsewhere, and the next time will do.
			d.log.Warn("small segments of the event log are left as they are for now", "error", err)
		case joined > 0:
			d.log.Debug("joined small segments of the event log", "segments", joined)
		}
	}
}

func (d *Daemon) joinAll(ctx context.Context) (joined int, err error) {
	conn, err := store.Connect(ctx, d.Options.Database)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for {
		n, err := store.MergeSegments(ctx, conn)
		if n == 0 || err != nil {
			return joined, err
		}
		joined += n
	}
}
