package httpserver

import (
	"cmp"
	_ "embed" // for page.html
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed page.html
var pageSource string

// pageTemplate parses the page once, at its first use; a test executes it.
var pageTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{"spans": spans}).Parse(pageSource))
})

// view is the status in the words of the page.
type view struct {
	Nonce    string
	Status   *Status
	Mood     string // good, warn or bad: the colours
	Headline string
	Summary  string
	Title    string // of the browser's tab
	Now      string
	Uptime   string
	Reasons  []Reason
	Flow     []tile
	Oddities []tile
	State    []tile
	Servers  []server
	Rows     []row
}

type tile struct{ Label, Value, Note, Mood string }

type server struct{ Label, Target, State, Error, Mood string }

type row struct {
	Partition
	Mood, LagText, NextText, HighText, HeadroomText, CommitText, CommitTime string
}

const (
	good = "good"
	warn = "warn"
	bad  = "bad"
)

func newView(s *Status, now time.Time, nonce string) *view {
	v := &view{
		Nonce:   nonce,
		Status:  s,
		Now:     now.UTC().Format("2006-01-02 15:04:05 UTC"),
		Uptime:  ago(s.Started, now),
		Reasons: s.Reasons(),
		Servers: []server{connection("Kafka", s.Kafka, now), connection("Database", s.Database, now), group(s.Group)},
		Rows:    rows(s.Partitions, now),
	}
	v.headline()
	v.Flow, v.Oddities, v.State = v.flow(), v.oddities(), v.state()
	return v
}

// headline says in a line whether one may go back to sleep.
func (v *view) headline() {
	halted := count(v.Status.Partitions, Halted)
	switch {
	case halted > 0:
		v.Mood, v.Headline = bad, plural(halted, "partition")+" halted: an operator has to decide"
		v.Summary = "This process has no other."
		if others := len(v.Rows) - halted; others > 0 {
			v.Summary = plural(others, "other partition") + " of this process not halted."
		}
	case !v.Status.Healthy():
		v.Mood, v.Headline = bad, "Unhealthy"
		v.Summary = "The process does not do what it should; a restart is safe."
	case len(v.Reasons) > 0:
		v.Mood, v.Headline = warn, "Not ready"
		v.Summary = "It goes on by itself as soon as the reason below is gone."
	case len(v.Rows) == 0:
		v.Mood, v.Headline = good, "Standing by"
		v.Summary = "This process has no partitions: other members of the group have them all."
	default:
		v.Mood, v.Headline = good, "Running"
		v.Summary = plural(len(v.Rows), "partition") + ", " + v.behind()
	}
	v.Title = v.Headline + " · persistor"
}

// behind is the sentence about the lag.
func (v *view) behind() string {
	lag, unknown := totalLag(v.Status.Partitions)
	switch {
	case unknown > 0:
		return "still finding out where Kafka is"
	case lag == 0:
		return "everything stored"
	case v.Status.Rates.Records >= 1:
		seconds := float64(lag) / v.Status.Rates.Records
		if seconds < 1 {
			return "up to date"
		}
		return plural(lag, "record") + " behind, " + duration(time.Duration(min(seconds, 1e8)*float64(time.Second))) + " of work"
	}
	return plural(lag, "record") + " behind"
}

// flow is how much passes, and how fast.
func (v *view) flow() []tile {
	s := v.Status
	lag, unknown := totalLag(s.Partitions)
	lagTile := tile{Label: "Lag", Value: number(lag), Note: "records not stored yet", Mood: good}
	if unknown > 0 {
		lagTile.Note = "without " + plural(unknown, "partition") + " not known yet"
	}
	return []tile{
		lagTile,
		{"Stored", number(int64(math.Round(s.Rates.Records))), "records a second", good},
		{"Delay", millis(s.Rates.EndToEnd), "from engine to database", good},
		{"Commits", decimal(s.Rates.Commits), "a second, " + millis(s.Rates.CommitMillis) + " each", good},
	}
}

// state is the exchange's, where this process has it.
func (v *view) state() []tile {
	e := v.Status.State
	if e == nil {
		return nil
	}
	upTo := tile{"State", number(e.NextOffset), "complete, up to this offset of unifyevents", good}
	if !e.Complete {
		upTo.Note, upTo.Mood = "incomplete: unifyevents does not tell all", warn
	}
	if e.Provisional {
		upTo.Note += "; provisional: its last operation may go on"
	}
	audit := tile{"Balances", "–", "not compared with balance_changes yet", good}
	if a := e.Audit; a != nil {
		audit.Value, audit.Note, audit.Mood = number(int64(a.Differences)), "differ from balance_changes", warnIf(a.Differences > 0)
	}
	return []tile{
		upTo,
		{"Users", number(int64(e.Users)), "registered", good},
		{"Open orders", number(int64(e.OpenOrders)), "in all markets", good},
		audit,
	}
}

// oddities is what was stored, but was not as it should be.
func (v *view) oddities() []tile {
	s := v.Status
	return []tile{
		{"Rejects", number(s.RejectsPending), "unresolved: see persistor rejects list", warnIf(s.RejectsPending > 0)},
		{"Conflicts", number(s.Conflicts), "ids seen with other content, both kept", warnIf(s.Conflicts > 0)},
		{"Mismatches", number(s.Mismatches), "of the log with itself", warnIf(s.Mismatches > 0)},
	}
}

func warnIf(condition bool) string {
	if condition {
		return warn
	}
	return good
}

func connection(label string, c Connection, now time.Time) server {
	s := server{Label: label, Target: c.Target, Error: c.Error, Mood: good}
	switch {
	case c.Since.IsZero():
		s.State, s.Mood = "not tried yet", warn
	case c.Up:
		s.State = "up for " + ago(c.Since, now)
	default:
		s.State, s.Mood = "away for "+ago(c.Since, now), bad
	}
	return s
}

func group(g Group) server {
	s := server{Label: "Group", Target: g.ID, State: g.State, Mood: warnIf(g.State != "stable")}
	if g.Generation > 0 {
		s.State += ", generation " + strconv.Itoa(g.Generation)
	}
	return s
}

// rows has what needs somebody first, then the order of the source.
func rows(partitions []Partition, now time.Time) []row {
	list := make([]row, len(partitions))
	for i, p := range partitions {
		r := row{
			Partition: p, Mood: mood(p.State),
			NextText: offset(p.NextOffset), HighText: offset(p.HighWatermark),
			LagText: "?", HeadroomText: "?", CommitText: "none yet",
		}
		if lag, known := p.Lag(); known {
			r.LagText = number(lag)
		}
		if headroom, known := p.Headroom(); known {
			r.HeadroomText = number(headroom)
		}
		if !p.LastCommit.IsZero() {
			r.CommitText = ago(p.LastCommit, now) + " ago"
			r.CommitTime = p.LastCommit.UTC().Format(time.RFC3339Nano)
		}
		list[i] = r
	}
	slices.SortStableFunc(list, func(a, b row) int { return cmp.Compare(urgency(a.State), urgency(b.State)) })
	return list
}

func urgency(s State) int {
	switch s {
	case Halted:
		return 0
	case Waiting:
		return 1
	default:
		return 2
	}
}

func mood(s State) string {
	switch s {
	case Halted:
		return bad
	case Waiting, Draining:
		return warn
	default:
		return good
	}
}

func count(partitions []Partition, s State) int {
	n := 0
	for _, p := range partitions {
		if p.State == s {
			n++
		}
	}
	return n
}

// totalLag adds up what is known, and counts the partitions where it is not.
func totalLag(partitions []Partition) (lag int64, unknown int) {
	for _, p := range partitions {
		if offsets, known := p.Lag(); known {
			lag += max(offsets, 0)
		} else {
			unknown++
		}
	}
	return lag, unknown
}

func offset(n int64) string {
	if n < 0 {
		return "?"
	}
	return number(n)
}

// number writes thousands apart: 1,234,567.
func number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	first := 0
	if n < 0 {
		first = 1
	}
	for i := len(digits) - 3; i > first; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// decimal writes small rates with a digit more.
func decimal(f float64) string {
	if f >= 10 || f == 0 {
		return number(int64(math.Round(f)))
	}
	return strconv.FormatFloat(f, 'f', 1, 64)
}

func millis(ms float64) string {
	switch {
	case ms == 0:
		return "–"
	case ms < 10:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	case ms < 10_000:
		return number(int64(math.Round(ms))) + " ms"
	}
	return duration(time.Duration(ms) * time.Millisecond)
}

func ago(t, now time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return duration(now.Sub(t))
}

// duration keeps the two units that matter: 4 s, 3 min 20 s, 2 h 5 min, 9 d 4 h.
func duration(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%d d %d h", s/86400, s%86400/3600)
}

func plural[N int | int64](n N, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return number(int64(n)) + " " + noun
}

// span is a piece of a text: plain, or a command, by its words, which must not
// be broken at a hyphen.
type span struct {
	Text    string
	Command []string
}

// spans cuts a text at its backquotes, between which commands stand.
func spans(text string) []span {
	var list []span
	for i, piece := range strings.Split(text, "`") {
		if i%2 == 1 {
			list = append(list, span{Command: strings.Fields(piece)})
		} else if piece != "" {
			list = append(list, span{Text: piece})
		}
	}
	return list
}
