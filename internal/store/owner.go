package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// OtherStateError says that the one state in the database, the tables balances,
// open_orders and state, is that of another topic: two installations with
// different prefixes share the database.
type OtherStateError struct{ Topic, Owner string }

// Error says whose it is.
func (e *OtherStateError) Error() string {
	return fmt.Sprintf("balances, open_orders and state in this database are those of %s, not of %s", e.Owner, e.Topic)
}

// Remedy is what an operator can do.
func (e *OtherStateError) Remedy() string {
	return "each PERSISTOR_TOPIC_PREFIX needs a database of its own; where nobody writes " + e.Owner +
		" here any more, give these tables to who comes next: `DELETE FROM dingir.state`"
}

// CheckStateOwner returns an *OtherStateError where the state in the database is
// that of another topic than the one named, whose incarnations have one state.
// dingir.put_state refuses to write it then, as Fenced.
func CheckStateOwner(ctx context.Context, session Querier, topic string) error {
	rows, err := session.Query(ctx, "SELECT t.name FROM dingir.state s JOIN dingir.topics t ON t.id = s.topic_id WHERE t.name <> $1", topic)
	if err != nil {
		return fmt.Errorf("look whose the state is: %w", err)
	}
	others, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look whose the state is: %w", err)
	}
	if len(others) > 0 {
		return &OtherStateError{Topic: topic, Owner: others[0]}
	}
	return nil
}
