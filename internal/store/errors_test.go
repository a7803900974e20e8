package store

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestClassify(t *testing.T) {
	state := func(code string) error {
		return fmt.Errorf("copy 3 rows: %w", &pgconn.PgError{Code: code, Severity: "ERROR", Message: "m"})
	}
	for _, c := range []struct {
		name string
		err  error
		want Class
	}{
		{"network", io.ErrUnexpectedEOF, Retry},
		{"connection failure", state("08006"), Retry},
		{"serialization failure", state("40001"), Retry},
		{"deadlock", state("40P01"), Retry},
		{"lock not available", state("55P03"), Retry},
		{"read only", state("25006"), Retry},
		{"idle in transaction", state("25P03"), Retry},
		{"disk full", state("53100"), Retry},
		{"out of memory", state("53200"), Retry},
		{"too many connections", state("53300"), Retry},
		{"configuration limit", state("53400"), Fault},
		{"terminated", state("57P01"), Retry},
		{"starting up", state("57P03"), Retry},
		{"statement time-out", state("57014"), Retry},
		{"input/output error", state("58030"), Retry},
		{"bad text", state("22021"), BadRow},
		{"out of range", state("22003"), BadRow},
		{"bad binary form", state("22P03"), Fault},
		{"bad COPY form", state("22P04"), Fault},
		{"not null", state("23502"), BadRow},
		{"check", state("23514"), BadRow},
		{"too wide for an index", state("54000"), BadRow},
		{"unique", state("23505"), Duplicate},
		{"fence", state("PX001"), Fenced},
		{"password", state("28P01"), Fault},
		{"no such database", state("3D000"), Fault},
		{"no such table", state("42P01"), Fault},
		{"permission", state("42501"), Fault},
		{"not supported", state("0A000"), Fault},
		{"internal error", state("XX000"), Unknown},
		{"a trigger's own", state("P0001"), Unknown},
		{"refused as a whole", &undecided{state("22003")}, Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Classify(c.err); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
			if c.want.String() == "" {
				t.Error("the class has no name")
			}
		})
	}
}

func TestSQLState(t *testing.T) {
	if got := SQLState(fmt.Errorf("x: %w", &pgconn.PgError{Code: "53100"})); got != "53100" {
		t.Errorf("%q, want 53100", got)
	}
	if got := SQLState(errors.New("x")); got != "" {
		t.Errorf("%q, want none", got)
	}
}

func TestBadRecordsNamesTheFirst(t *testing.T) {
	e := &BadRecords{[]BadRecord{{Source: Source{Partition: 2, Offset: 7}, Reason: "why"}, {}}}
	if got, want := e.Error(), "2 records cannot be stored, the first at partition 2 offset 7: why"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
