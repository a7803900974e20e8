package replay

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// Progress tells how far a run has come: as a bar on a terminal, as a line in
// the log every few seconds elsewhere. The zero value tells nothing.
type Progress struct {
	Terminal io.Writer    // nil: none
	Log      *slog.Logger // for where there is no terminal

	phase       string
	total, done int64
	begun, told time.Time
}

// How often a bar is drawn, and a line logged.
const (
	drawEvery = 200 * time.Millisecond
	logEvery  = 5 * time.Second
)

// Phase begins another part of the work, of so many records; 0 where nobody
// knows how much it is.
func (p *Progress) Phase(name string, total int64) {
	if p == nil {
		return
	}
	p.End()
	p.phase, p.total, p.done, p.begun = name, total, 0, time.Now()
	p.told = time.Time{}
	switch {
	case p.Terminal != nil:
		p.draw()
	case p.Log != nil && total > 0:
		p.told = time.Now()
		p.Log.Info("replay: "+name, "records", total)
	case p.Log != nil:
		p.Log.Info("replay: " + name)
	}
}

// Add counts records of the phase.
func (p *Progress) Add(records int) {
	if p == nil {
		return
	}
	p.done += int64(records)
	switch {
	case p.Terminal != nil && time.Since(p.told) >= drawEvery:
		p.draw()
	case p.Terminal == nil && p.Log != nil && time.Since(p.told) >= logEvery:
		p.told = time.Now()
		rate, left := p.speed()
		p.Log.Info("replay: "+p.phase, "done", p.done, "records", p.total, "per_second", int64(rate), "left", left.Round(time.Second).String())
	}
}

// End ends the phase.
func (p *Progress) End() {
	if p == nil || p.phase == "" {
		return
	}
	if p.Terminal != nil {
		p.draw()
		fmt.Fprintln(p.Terminal)
	}
	p.phase = ""
}

// speed is the rate in records per second so far, and the time left at it.
func (p *Progress) speed() (rate float64, left time.Duration) {
	elapsed := time.Since(p.begun).Seconds()
	if elapsed > 0 {
		rate = float64(p.done) / elapsed
	}
	if rate > 0 {
		left = time.Duration(float64(max(p.total-p.done, 0)) / rate * float64(time.Second))
	}
	return rate, left
}

const barWidth = 30

// draw writes the line over itself.
func (p *Progress) draw() {
	p.told = time.Now()
	line := fmt.Sprintf("%-28s", p.phase)
	if p.total > 0 {
		full := int(min(p.done, p.total) * barWidth / p.total)
		rate, left := p.speed()
		line += fmt.Sprintf(" [%s%s] %3d %%  %d of %d, %.0f/s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full),
			min(p.done, p.total)*100/p.total, p.done, p.total, rate)
		if p.done < p.total && left > 0 {
			line += ", " + left.Round(time.Second).String() + " left"
		}
	} else {
		line += " " + time.Since(p.begun).Round(100*time.Millisecond).String()
	}
	fmt.Fprintf(p.Terminal, "\r\x1b[K%s", line)
}
