package fetch

import (
	"context"
	"errors"
	"time"
)

// At reads one record, from the leader named in cluster. It is nil where the log
// goes on behind want.Offset and has no record there: transactions do that, and
// compaction. Where the log ends there the error is ErrNoAnswer.
func (c *Client) At(ctx context.Context, cluster *Cluster, want Want) (*Record, error) {
	leader, err := cluster.Leader(want.Topic, want.Partition)
	if err != nil {
		return nil, err
	}
	var answer Response
	// A broker gives a whole batch, however little is asked for.
	if err := c.Fetch(ctx, &Request{Broker: leader, Partitions: []Want{want}, MinBytes: 1, MaxBytes: 1, MaxWait: time.Second}, &answer); err != nil {
		return nil, err
	}
	part := &answer.Partitions[0]
	kind, err := part.Next()
	if _, jump := errors.AsType[*JumpError](err); jump {
		return nil, nil
	}
	switch {
	case err != nil:
		return nil, err
	case kind == Done:
		return nil, ErrNoAnswer
	case kind == Gap || part.Record.Offset != want.Offset:
		return nil, nil
	}
	return &part.Record, nil
}
