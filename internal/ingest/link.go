package ingest

import (
	"log/slog"
	"sync"
	"time"

	"github.com/thaliumx/persistor/internal/httpserver"
)

// remindEvery is how often the log repeats that a server is away: once at the
// start, then rarely.
const remindEvery = time.Minute

// settled is how long a server has to be well before trouble is new trouble:
// sessions reconnect one by one, also to a server that then refuses to store.
const settled = 10 * time.Second

// flicker is how short trouble may be to pass without a word, where the log has
// just told of it.
const flicker = time.Second

// link is how the process and one server get along.
type link struct {
	name string
	hint string // what to look at when it is away
	log  *slog.Logger

	mu       sync.Mutex
	state    httpserver.Connection
	trouble  time.Time // since when, of the last one
	reminded time.Time
	fell     time.Time // when the server last went from well to not
	told     bool      // the log has told of it since
}

func newLink(name, target, hint string, log *slog.Logger) *link {
	return &link{name: name, hint: hint, log: log, state: httpserver.Connection{Target: target}}
}

func (l *link) up() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.Up {
		return
	}
	// One worker's trouble while the others do well comes and goes several times a
	// second, and is not told each time.
	if l.told || !l.fell.IsZero() && time.Since(l.fell) > flicker {
		l.log.Info(l.name+" is back", "away", time.Since(l.state.Since).Round(time.Second).String())
	}
	l.trouble, l.told = l.state.Since, false
	l.state.Up, l.state.Since, l.state.Error = true, time.Now(), ""
}

func (l *link) down(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.Up {
		l.fell = time.Now()
	}
	switch {
	case l.state.Up && !l.trouble.IsZero() && time.Since(l.state.Since) < settled:
		l.state.Since = l.trouble
	case l.state.Up || l.state.Since.IsZero():
		l.state.Since, l.reminded = time.Now(), time.Time{}
	}
	l.state.Up, l.state.Error = false, err.Error()
	if time.Since(l.reminded) >= remindEvery {
		l.reminded, l.told = time.Now(), true
		l.log.Warn(l.name+" is in trouble; waiting for it", "target", l.state.Target,
			"since", l.state.Since.Format(time.RFC3339), "error", err, "hint", l.hint)
	}
}

func (l *link) snapshot() httpserver.Connection {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}
