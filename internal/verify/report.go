package verify

import (
	"fmt"
	"strings"
	"time"
)

// Report is what an audit found. It is clean where Total is 0.
type Report struct {
	Since       *time.Time   `json:"since,omitempty"`
	Partitions  []Partition  `json:"partitions"`
	History     []History    `json:"history,omitempty"`
	Tables      []Table      `json:"tables"`
	State       *StateReport `json:"state,omitempty"`
	Money       []AssetMoney `json:"money,omitempty"`
	Differences []Difference `json:"differences"`

	// Findings are worth to be known and no differences by themselves.
	Findings []Difference `json:"findings"`

	// Total counts all differences; Differences has the first listed of each
	// kind and place.
	Total int64 `json:"total"`
}

// Partition counts how the positions of one partition are accounted for.
type Partition struct {
	Topic       string `json:"topic"`
	Partition   int32  `json:"partition"`
	TopicID     int16  `json:"topic_id"`
	FirstOffset int64  `json:"first_offset"`
	NextOffset  int64  `json:"next_offset"`           // where the ledger stood when the audit began
	HighOffset  int64  `json:"high_offset"`           // above NextOffset while records are read again
	JudgedFrom  *int64 `json:"judged_from,omitempty"` // with a time given: the first offset that was looked at

	Rows       int64 `json:"rows"`       // in the tables, with positions of this partition
	Rejects    int64 `json:"rejects"`    // unresolved
	Duplicates int64 `json:"duplicates"` // noted
	Gaps       int64 `json:"gaps"`       // offsets inside gaps
	Archived   int64 `json:"archived"`   // records in the event log; unifyevents only
}

// History counts rows of an earlier incarnation of a topic, or of a topic that
// the ledger does not have. They are listed, not judged.
type History struct {
	Topic   string `json:"topic"`
	TopicID int16  `json:"topic_id"`
	Rows    int64  `json:"rows"`
}

// Table counts how the rows of a table and the records of the event log agree.
type Table struct {
	Table   string `json:"table"`
	Rows    int64  `json:"rows"`
	Records int64  `json:"records"` // in the event log, that could be rows here

	OnlyInTable int64 `json:"only_in_table"` // rows that the event log does not have
	OnlyInLog   int64 `json:"only_in_log"`   // records without a row
	Earlier     int64 `json:"earlier"`       // of either side, before the other one begins
	Later       int64 `json:"later"`         // of either side, beyond the other's end
	Rejected    int64 `json:"rejected"`      // records that have a reject instead
	Altered     int64 `json:"altered"`       // rows that are not what the record says
	OtherForm   int64 `json:"other_form"`    // rows of the documented shape, compared as far as they go
	Unproven    int64 `json:"unproven"`      // rows whose bytes could not be proved by content_hash
}

// The parts of an audit.
const (
	Positions = "positions"
	Archive   = "archive"
	Tables    = "tables"
	State     = "state"
	Money     = "money"
)

// The kinds of differences.
const (
	Missing    = "missing"      // no row, reject, duplicate or gap
	Doubled    = "doubled"      // accounted for more than once
	OutOfRange = "out of range" // a position that the ledger does not reach
	Misplaced  = "misplaced"    // a row in another table than its topic's
	EventLog   = "event log"    // a segment that is damaged or not what it says
	Altered    = "altered"      // a row that is not what the archived record says
	Moved      = "moved"        // a row whose position is that of another record
	Forged     = "forged"       // a row that claims a position where the event log has another record
)

// The kinds of differences in the state and the money.
const (
	RowState      = "state"      // the row of dingir.state
	BalanceState  = "balance"    // a row of balances
	OrderState    = "open order" // a row of open_orders
	SnapshotState = "snapshot"   // a snapshot of the state
	MoneyOff      = "money"      // balances that are not what came in less what went out
)

// Kinds that are differences unless the event log makes the tables so: an engine
// that crashed.
const (
	FrozenOff       = "frozen"   // what is frozen is not what open orders hold
	NegativeBalance = "negative" // balances below zero
)

// The kinds of findings.
const (
	OnlyInTable = "only in the table" // a row that the event log does not have
	OnlyInLog   = "only in the log"   // an archived record without a row
	Unchecked   = "unchecked"         // what could not be compared
	Unproven    = "unproven"          // a row that the engine would not have written so
)

// Place is a run of positions.
type Place struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Range
}

// Difference is something that is not as it should be, or a finding. What it
// has not got is left out.
type Difference struct {
	Kind string `json:"kind"`
	Part string `json:"part"`
	*Place
	Table  string     `json:"table,omitempty"`
	ID     *int64     `json:"id,omitempty"`              // of a trade, order or user
	Log    *int64     `json:"archived_offset,omitempty"` // of the record in the event log
	Next   *int64     `json:"next_offset,omitempty"`     // of a state: the first offset that is not in it
	Asset  string     `json:"asset,omitempty"`
	Time   *time.Time `json:"time,omitempty"`
	Detail string     `json:"detail"`
}

// String is the whole difference in one line.
func (d Difference) String() string {
	s := d.Kind + ": "
	if d.Table != "" {
		s += "dingir." + d.Table + " "
		if d.ID != nil {
			s += fmt.Sprintf("id %d ", *d.ID)
		}
		if d.Time != nil {
			s += d.Time.UTC().Format("2006-01-02T15:04:05.999999Z ")
		}
	}
	if d.Place != nil {
		where := fmt.Sprintf("offset %d", d.First)
		if d.Last != d.First {
			where = fmt.Sprintf("offsets %d to %d (%d)", d.First, d.Last, d.Last-d.First+1)
		}
		s += fmt.Sprintf("topic %s partition %d %s", d.Topic, d.Partition, where)
	}
	if d.Next != nil {
		s += fmt.Sprintf("before offset %d", *d.Next)
	}
	s += d.Asset
	return strings.TrimSuffix(strings.TrimSpace(s), ":") + ": " + d.Detail
}
