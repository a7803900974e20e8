package positions

import (
	"fmt"
	"strconv"

	"github.com/thaliumx/persistor/internal/topics"
)

// Wish is where an operator wants a partition to stand, and what may be lost.
type Wish struct {
	Offset         string // a number, "earliest" or "latest"
	AcceptNewTopic bool   // begin with a topic that was made again, or another cluster's
	AcceptLoss     bool   // go on with a log that lost or changed records that are stored
}

// RefusalError says why a wish cannot be granted, and what to do.
type RefusalError struct{ Reason string }

// Error gives the reason.
func (r *RefusalError) Error() string { return r.Reason }

func refuse(format string, args ...any) error {
	return &RefusalError{fmt.Sprintf(format, args...)}
}

// action is what a move does to the ledger.
type action uint8

const (
	stay    action = iota
	begin          // the ledger does not know the partition yet
	restart        // another incarnation of the topic
	cutOff         // the log lost or changed what is stored from there on
	back
	forward
)

// Plan is a move that the rules allow.
type Plan struct {
	Partition Partition
	To        int64
	action    action
	forget    bool // the log lost or changed records: the last one's hash is not to be compared any more
}

// Nothing tells whether the plan would change nothing.
func (p *Plan) Nothing() bool { return p.action == stay }

// MakePlan checks a wish against the partition. Its errors are *RefusalError.
func MakePlan(p Partition, prefix string, w Wish) (*Plan, error) {
	switch {
	case p.Err != nil:
		return nil, refuse("what Kafka has of topic %s partition %d is not known: %v", p.Topic, p.ID, p.Err)
	case !p.Present:
		return nil, refuse("Kafka has no topic %s with a partition %d", p.Topic, p.ID)
	}
	plan := &Plan{Partition: p}
	switch w.Offset {
	case "earliest":
		plan.To = p.LogStart
	case "latest":
		plan.To = p.High
	default:
		to, err := strconv.ParseInt(w.Offset, 10, 64)
		if err != nil {
			return nil, refuse("%q is no offset: want a number, earliest or latest", w.Offset)
		}
		plan.To = to
	}
	if plan.To < p.LogStart || plan.To > p.High {
		return nil, refuse("offset %d is not in the log, which goes from %d up to %d", plan.To, p.LogStart, p.High)
	}
	l := p.Ledger
	unify := p.Topic == prefix+topics.UnifyEvents
	switch {
	case !p.Begun:
		plan.action = begin
	case l.ClusterID != p.ClusterID || l.TopicUUID != p.TopicUUID:
		if !w.AcceptNewTopic {
			return nil, refuse("topic %s is not the one in the ledger: it was made again, or this is another cluster (%s; the ledger has %s); to begin with this one add --accept-new-topic",
				p.Topic, p.ClusterID, l.ClusterID)
		}
		plan.action, plan.forget = restart, w.AcceptLoss
	case p.High < l.Next:
		if !w.AcceptLoss {
			return nil, refuse("the log ends at offset %d, before the ledger's %d: it lost records that are stored; to go on with what it holds now add --accept-loss", p.High, l.Next)
		}
		if plan.To != p.High {
			return nil, refuse("the log ends at offset %d, before the ledger's %d: only `latest` is possible first; afterwards it can be moved back", p.High, l.Next)
		}
		plan.action, plan.forget = cutOff, true
	case w.AcceptLoss && plan.To <= l.Next && plan.To < l.High:
		// Other records may have the offsets from there on now.
		plan.action, plan.forget = cutOff, true
	case plan.To < l.Next:
		if unify && plan.To < l.First {
			return nil, refuse("%s cannot be moved below %d, where its archive begins", p.Topic, l.First)
		}
		plan.action, plan.forget = back, plan.To <= l.LastOffset
	case plan.To > l.Next:
		plan.action, plan.forget = forward, w.AcceptLoss
	case w.AcceptLoss:
		plan.action, plan.forget = forward, true // over no distance
	}
	return plan, nil
}

// String says what the plan will do.
func (p *Plan) String() string {
	where := fmt.Sprintf("topic %s partition %d", p.Partition.Topic, p.Partition.ID)
	l := p.Partition.Ledger
	switch p.action {
	case begin:
		return fmt.Sprintf("%s begins at offset %d; %d older records in the log are not read", where, p.To, p.To-p.Partition.LogStart)
	case restart:
		return fmt.Sprintf("%s begins anew at offset %d of the topic as it is now; what is stored of the former one, up to offset %d, stays", where, p.To, l.Next)
	case cutOff:
		if p.Partition.High >= l.Next {
			return fmt.Sprintf("%s goes back from offset %d to %d; what is stored from there on stays, as history, and the log is read as it is now", where, l.Next, p.To)
		}
		return fmt.Sprintf("%s goes back from offset %d to %d, the log's end; what is stored of the %d records that the log lost stays, as history",
			where, l.Next, p.To, l.Next-p.To)
	case back:
		return fmt.Sprintf("%s goes back from offset %d to %d; %d offsets are read again, rows that are there already stay single", where, l.Next, p.To, l.Next-p.To)
	case forward:
		if p.To == l.Next {
			return fmt.Sprintf("%s stays at offset %d, and its last record is no longer compared with the log's", where, p.To)
		}
		expired := min(max(p.Partition.LogStart-l.Next, 0), p.To-l.Next)
		return fmt.Sprintf("%s goes forward from offset %d to %d; of %d offsets %d have expired on Kafka and %d are skipped: those that are not stored yet never will be",
			where, l.Next, p.To, p.To-l.Next, expired, p.To-l.Next-expired)
	case stay:
	}
	return fmt.Sprintf("%s stands at offset %d already", where, p.To)
}
