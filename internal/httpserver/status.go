package httpserver

import (
	"encoding/json"
	"fmt"
	"time"
)

// Source tells the state of the daemon. Status is called for every request, also
// while the daemon is in trouble, so it must not wait for anything: no database,
// no Kafka, no lock that is held during either.
type Source interface {
	Status() Status
}

// Status is what an operator wants to know. The JSON names are an interface.
type Status struct {
	Version string    `json:"version"`
	Commit  string    `json:"commit,omitempty"`
	Started time.Time `json:"started"`

	// Unhealthy has the reasons for a restart: loops that do not turn any more.
	// Trouble outside of the process never belongs here.
	Unhealthy []Reason `json:"unhealthy"`
	// Unready has the reasons why this process does not do its work, but for
	// halted partitions, which are found among Partitions.
	Unready []Reason `json:"unready"`

	Kafka    Connection `json:"kafka"`
	Database Connection `json:"database"`
	Group    Group      `json:"group"`

	// Partitions are those of this process, by topic and number.
	Partitions []Partition `json:"partitions"`

	RejectsPending int64 `json:"rejects_pending"`
	Conflicts      int64 `json:"conflicts"`        // since the start
	Mismatches     int64 `json:"state_mismatches"` // of the reconstructed state, ever
	Rates          Rates `json:"rates"`

	// State is the exchange's, as reconstructed from unifyevents. Only the process
	// that reads that topic has it.
	State *Exchange `json:"state,omitempty"`
}

// Exchange is the reconstructed state as committed last.
type Exchange struct {
	BaseOffset  int64            `json:"base_offset"`
	NextOffset  int64            `json:"next_offset"`
	Complete    bool             `json:"complete"`    // the log begins with the exchange and nothing of it is missing
	Provisional bool             `json:"provisional"` // the last operation may not be at its end
	Users       int              `json:"users"`
	OpenOrders  int              `json:"open_orders"`
	LastOrderID int64            `json:"last_order_id"`
	LastTradeID int64            `json:"last_trade_id"`
	Mismatches  int64            `json:"mismatches"`
	Checks      map[string]int64 `json:"failed_checks"` // how often each failed; those that never did are left out
	Audit       *Audit           `json:"balance_audit,omitempty"`
}

// Audit is the comparison of the state's balances with balance_changes.
type Audit struct {
	At          time.Time `json:"at"`
	Checked     int64     `json:"checked"` // balances compared since the start
	Differences int       `json:"differences"`
}

// Healthy says that the process is alive and its loops turn.
func (s *Status) Healthy() bool { return len(s.Unhealthy) == 0 }

// Ready says that the process does its work.
func (s *Status) Ready() bool { return len(s.Reasons()) == 0 }

// Reasons has all that is wrong, the worst first: halts, which only an operator
// ends, then what is unhealthy, then what is unready. It is never nil, so that
// JSON shows a list.
func (s *Status) Reasons() []Reason {
	all := []Reason{}
	for _, p := range s.Partitions {
		if p.State == Halted {
			at := ""
			if p.NextOffset >= 0 { // the ledger has begun it
				at = fmt.Sprintf(" at offset %d", p.NextOffset)
			}
			all = append(all, Reason{
				Code:    "partition_halted",
				Message: fmt.Sprintf("%s partition %d is halted%s: %s", p.Topic, p.Partition, at, p.Reason),
				Remedy:  p.Remedy,
			})
		}
	}
	all = append(all, s.Unhealthy...)
	return append(all, s.Unready...)
}

// Reason is one thing that is wrong.
type Reason struct {
	Code    string `json:"code"`             // for machines, such as "database_away"
	Message string `json:"message"`          // what is wrong, since when
	Remedy  string `json:"remedy,omitempty"` // what to do
}

// Connection is how the process and a server get along.
type Connection struct {
	Target string    `json:"target"` // server for people, never with a password
	Up     bool      `json:"up"`
	Since  time.Time `json:"since"` // of being up or not; zero: not tried yet
	Error  string    `json:"error,omitempty"`
}

// Group is this process's membership of the consumer group.
type Group struct {
	ID         string `json:"id"`
	State      string `json:"state"` // such as "stable", "joining", "away"
	Generation int    `json:"generation"`
}

// State is what a partition's worker is at.
type State string

// The states of a partition.
const (
	Running  State = "running"  // there is nothing that keeps it
	Waiting  State = "waiting"  // for a server, a lock, or a former owner
	Halted   State = "halted"   // until an operator does something
	Draining State = "draining" // to be given up
)

// Partition is the progress in one partition. An offset that is not known yet is
// negative.
type Partition struct {
	Topic         string    `json:"topic"`
	Partition     int       `json:"partition"`
	State         State     `json:"state"`
	Reason        string    `json:"reason,omitempty"` // why it halts or waits
	Remedy        string    `json:"remedy,omitempty"` // what to do about it
	NextOffset    int64     `json:"next_offset"`      // the ledger's: the first one not stored
	HighWatermark int64     `json:"high_watermark"`   // Kafka's: the first one not written
	LogStart      int64     `json:"log_start"`        // Kafka's: the first one still retained
	Worker        int       `json:"worker"`
	LastCommit    time.Time `json:"last_commit,omitzero"`  // zero: none yet
	BehindSince   time.Time `json:"behind_since,omitzero"` // zero: there is no lag
}

// Lag is how many offsets are not stored yet, where that is known. It is
// negative where the log ends before the ledger, which halts a partition.
func (p Partition) Lag() (offsets int64, known bool) {
	return p.HighWatermark - p.NextOffset, p.NextOffset >= 0 && p.HighWatermark >= 0
}

// Headroom is how many offsets Kafka's retention may still remove before it
// takes records that are not stored, where that is known.
func (p Partition) Headroom() (offsets int64, known bool) {
	return p.NextOffset - p.LogStart, p.NextOffset >= 0 && p.LogStart >= 0
}

// MarshalJSON adds the lag, null where it is not known.
func (p Partition) MarshalJSON() ([]byte, error) {
	type plain Partition
	var lag *int64
	if offsets, known := p.Lag(); known {
		lag = &offsets
	}
	return json.Marshal(struct {
		plain
		Lag *int64 `json:"lag"`
	}{plain(p), lag})
}

// Rates are averages over the last seconds.
type Rates struct {
	Records      float64 `json:"records_per_second"`
	Commits      float64 `json:"commits_per_second"`
	CommitMillis float64 `json:"commit_milliseconds"`     // of a typical commit
	EndToEnd     float64 `json:"end_to_end_milliseconds"` // record timestamp to commit
}
