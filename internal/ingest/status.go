package ingest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/thaliumx/persistor/internal/httpserver"
	"github.com/thaliumx/persistor/internal/live"
)

// stalledAfter is how long a backlog may exist without a commit before the
// process calls itself unready. A batch takes less than a second; half a minute
// covers a lock, a checkpoint, a failover.
const stalledAfter = 30 * time.Second

// stuckAfter is how long a worker's loop may stand still. Each of its waits is
// bounded by far less, a fetch, a lock, an unacknowledged byte, but one: for a
// database that is there and does not answer, against which a restart does not help.
const stuckAfter = 5 * time.Minute

// Status tells the state of the daemon; it waits for nothing.
func (d *Daemon) Status() httpserver.Status {
	s := httpserver.Status{
		Version: d.Options.Version, Commit: d.Options.Commit, Started: d.started,
		Unhealthy: []httpserver.Reason{}, Unready: []httpserver.Reason{},
		Kafka: d.kafkaLink.snapshot(), Database: d.databaseLink.snapshot(),
		Partitions: d.snapshots(), RejectsPending: d.rejectsPending.Load(),
		Conflicts: d.conflictCount.Load(), Rates: d.rates.read(),
	}
	s.State = d.stateStatus()
	if s.State != nil {
		s.Mismatches = s.State.Mismatches
	}
	d.mu.Lock()
	s.Group = d.group
	assigned, crew := d.assigned, d.crew
	s.Unready = append(s.Unready, d.missing...)
	d.mu.Unlock()
	for _, w := range crew {
		if asked := w.asking.Load(); asked != 0 {
			if since := time.Unix(asked, 0); time.Since(since) > stalledAfter {
				s.Unready = append(s.Unready, httpserver.Reason{Code: "database_silent",
					Message: fmt.Sprintf("worker %d waits for the database's answer since %s", w.id, since.Format(time.RFC3339)),
					Remedy:  "look at pg_stat_activity: does it wait for a standby (synchronous_standby_names), or for its disk?"})
			}
			continue
		}
		if turned := time.Unix(w.turned.Load(), 0); time.Since(turned) > stuckAfter {
			s.Unhealthy = append(s.Unhealthy, httpserver.Reason{Code: "stuck",
				Message: fmt.Sprintf("worker %d does not turn since %s", w.id, turned.Format(time.RFC3339)), Remedy: "restart the process"})
		}
	}
	away := func(code, name, remedy string, c httpserver.Connection) {
		since := c.Since
		if since.IsZero() {
			since = d.started
		}
		if !c.Up && time.Since(since) > d.Options.Ingest.OutageGrace {
			s.Unready = append(s.Unready, httpserver.Reason{Code: code,
				Message: fmt.Sprintf("%s (%s) is away since %s: %s", name, c.Target, since.Format(time.RFC3339), c.Error), Remedy: remedy})
		}
	}
	// Kafka is not tried before the database has been reached.
	if !s.Kafka.Since.IsZero() || s.Database.Up {
		away("kafka_away", "Kafka", d.kafkaLink.hint, s.Kafka)
	}
	away("database_away", "the database", d.databaseLink.hint, s.Database)
	for _, p := range s.Partitions {
		lag, known := p.Lag()
		// A quiet partition's last commit may be hours ago when a record comes.
		last := slices.MaxFunc([]time.Time{p.LastCommit, assigned, p.BehindSince}, time.Time.Compare)
		if known && lag > 0 && p.State != httpserver.Halted && time.Since(last) > stalledAfter {
			s.Unready = append(s.Unready, httpserver.Reason{Code: "stalled",
				Message: fmt.Sprintf("%s partition %d has a backlog of %d and nothing is committed since %s", p.Topic, p.Partition, lag, last.Format(time.RFC3339))})
		}
		if !known && p.State == httpserver.Waiting && time.Since(assigned) > stalledAfter {
			s.Unready = append(s.Unready, httpserver.Reason{Code: "stalled",
				Message: fmt.Sprintf("%s partition %d is ours since %s and not in work yet: %s", p.Topic, p.Partition, assigned.Format(time.RFC3339), p.Reason)})
		}
	}
	return s
}

// stateStatus is the exchange's state as committed last; nil where another
// process has it.
func (d *Daemon) stateStatus() *httpserver.Exchange {
	if d.keeper == nil {
		return nil
	}
	v := d.keeper.View()
	if !v.Known {
		return nil
	}
	e := &httpserver.Exchange{
		BaseOffset: v.Base, NextOffset: v.Next, Complete: v.Complete, Provisional: v.Provisional,
		Users: v.Users, OpenOrders: v.OpenOrders, LastOrderID: v.LastOrderID, LastTradeID: v.LastTradeID,
		Mismatches: v.Mismatches, Checks: map[string]int64{},
	}
	for i, name := range live.CheckNames() {
		if v.Failed[i] > 0 {
			e.Checks[name] = v.Failed[i]
		}
	}
	if r := d.audit.Report(); !r.At.IsZero() {
		e.Audit = &httpserver.Audit{At: r.At, Checked: r.Checked, Differences: r.Differences}
	}
	return e
}

// rates are averages over the last seconds.
type rates struct {
	mu      sync.Mutex
	seconds [10]second
}

type second struct {
	at                   int64
	records, commits     int
	commitTime, endToEnd time.Duration
}

func (r *rates) add(records int, took, endToEnd time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now().Unix()
	s := &r.seconds[now%int64(len(r.seconds))]
	if s.at != now {
		*s = second{at: now}
	}
	s.records += records
	s.commits++
	s.commitTime += took
	s.endToEnd += endToEnd
}

func (r *rates) read() httpserver.Rates {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now().Unix()
	var sum second
	for _, s := range r.seconds {
		if s.at < now && now-s.at < int64(len(r.seconds)) {
			sum.records += s.records
			sum.commits += s.commits
			sum.commitTime += s.commitTime
			sum.endToEnd += s.endToEnd
		}
	}
	n := float64(len(r.seconds) - 1)
	out := httpserver.Rates{Records: float64(sum.records) / n, Commits: float64(sum.commits) / n}
	if sum.commits > 0 {
		out.CommitMillis = float64(sum.commitTime.Milliseconds()) / float64(sum.commits)
		out.EndToEnd = float64(sum.endToEnd.Milliseconds()) / float64(sum.commits)
	}
	return out
}
