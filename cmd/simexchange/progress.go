package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress shows how far a run is, for people: only on a terminal.
type progress struct {
	w       io.Writer
	goal    int
	started time.Time
	shown   time.Time
}

func newProgress(w io.Writer, o *options) *progress {
	p := &progress{goal: o.records, started: time.Now(), shown: time.Now()}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.w = w
		}
	}
	return p
}

func (p *progress) show(t *tally) {
	now := time.Now()
	if p.w == nil || now.Sub(p.shown) < 500*time.Millisecond {
		return
	}
	p.shown = now
	share := ""
	if p.goal > 0 {
		share = fmt.Sprintf(" of %d (%d %%)", p.goal, 100*t.records/p.goal)
	}
	fmt.Fprintf(p.w, "\r\x1b[K%d records%s, %.0f/s", t.records, share, float64(t.records)/now.Sub(p.started).Seconds())
}

func (p *progress) clear() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
