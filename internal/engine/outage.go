package engine

import (
	"context"
	"log/slog"
	"time"
)

// reminder is how often an outage that goes on is logged again.
const reminder = 10 * time.Minute

// outage logs a failure when it begins, when it turns into another one, and now
// and then while it lasts.
type outage struct {
	log           *slog.Logger
	since, logged time.Time
	code          string
}

func (o *outage) report(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // we are the ones who left
	}
	now := time.Now()
	if o.since.IsZero() {
		o.since = now
	} else if code(err) == o.code && now.Sub(o.logged) < reminder {
		return
	}
	o.code, o.logged = code(err), now
	o.log.Warn("cannot fill the engine's accounts; trying again", "error", err, "since", o.since)
}

func (o *outage) over() {
	if o.since.IsZero() {
		return
	}
	o.log.Info("the engine's accounts can be filled again", "after", time.Since(o.since).Round(time.Second))
	o.since = time.Time{}
}
