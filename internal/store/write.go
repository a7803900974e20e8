package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// mergeRounds bounds how often a batch is merged anew because another process
// stored the same rows between the question and the COPY.
const mergeRounds = 5

// Write stores the batch in one transaction. An error is classed by Classify:
//
//   - nil: committed; Progress.Duplicates counts the rows that were there
//   - Fenced: the ledger stands elsewhere; nothing was written
//   - *BadRecords: nothing was written; build the batch anew with these rejected
//   - without SQLSTATE: the outcome is unknown and the connection is closed
//
// After other errors the connection can be used again, unless the server has
// ended the session.
func Write(ctx context.Context, conn *pgx.Conn, b *Batch) error {
	if err := b.closeSegment(); err != nil {
		return err
	}
	err := transact(ctx, conn, b)
	for range mergeRounds {
		if Classify(err) != Duplicate {
			break
		}
		if mergeErr := merge(ctx, conn, b); mergeErr != nil {
			return mergeErr
		}
		err = transact(ctx, conn, b)
	}
	if Classify(err) == BadRow {
		return findBadRows(ctx, conn, b, err)
	}
	return err
}
