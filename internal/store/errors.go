package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Class says what to do about an error of the database. It is decided here,
// once, by SQLSTATE, never by text.
type Class uint8

// Classes.
const (
	// Retry: the server or the way to it is in trouble; the same batch will do later.
	Retry Class = iota
	// BadRow: one of the rows can never be stored.
	BadRow
	// Fault: our own mistake or the operator's; nothing is gained by trying at once.
	Fault
	// Fenced: the ledger does not stand where we thought; nothing was written.
	Fenced
	// Duplicate: a row of the batch is there already.
	Duplicate
	// Unknown: not listed; some retries, then halt.
	Unknown
)

// String names the class as metrics and logs show it.
func (c Class) String() string {
	return [...]string{"retry", "bad_row", "fault", "fenced", "duplicate", "unknown"}[c]
}

// sqlstateFenced is raised by dingir.advance.
const sqlstateFenced = "PX001"

// Classify tells what to do about err. Errors without an SQLSTATE come from
// the network: retry.
func Classify(err error) Class {
	var vague *undecided
	if errors.As(err, &vague) {
		return Unknown
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return Retry
	}
	switch pg.Code {
	case sqlstateFenced:
		return Fenced
	case "23505": // unique_violation
		return Duplicate
	case "53400", // configuration_limit_exceeded
		"22P03", "22P04": // invalid_binary_representation, bad_copy_file_format: our encoder
		return Fault
	case "40001", "40P01", // serialization_failure, deadlock_detected
		"55P03", // lock_not_available
		"25006", // read_only_sql_transaction: a standby, or a server told to rest
		"25P03", // idle_in_transaction_session_timeout: we were frozen
		"58030": // io_error
		return Retry
	case "23502", "23514", // not_null_violation, check_violation
		"54000": // program_limit_exceeded: a row too wide for an index
		return BadRow
	}
	switch {
	case hasClass(pg.Code, "08", "53", "57"): // connection, resources (disk full too), operator intervention
		return Retry
	case hasClass(pg.Code, "22"): // data exception
		return BadRow
	case hasClass(pg.Code, "28", "3D", "42", "0A"): // authorization, no such database, no such table, not supported
		return Fault
	}
	return Unknown
}

func hasClass(code string, classes ...string) bool {
	for _, c := range classes {
		if strings.HasPrefix(code, c) {
			return true
		}
	}
	return false
}

// SQLState returns the SQLSTATE of err, or "".
func SQLState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// BadRecords says that records of a batch can never be stored. Nothing of the
// batch was written; it has to be built again with these rejected.
type BadRecords struct { //nolint:errname // named for what it lists
	Records []BadRecord
}

// BadRecord is one of them.
type BadRecord struct {
	Source   Source
	Reason   string
	SQLState string
}

// Error names the first.
func (e *BadRecords) Error() string {
	r := e.Records[0]
	return fmt.Sprintf("%d records cannot be stored, the first at partition %d offset %d: %s",
		len(e.Records), r.Source.Partition, r.Source.Offset, r.Reason)
}
