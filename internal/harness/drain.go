package harness

import (
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Ledger returns the next offset of each partition that the ledger has.
func (s *Site) Ledger(conn *pgx.Conn) map[Place]int64 {
	s.t.Helper()
	rows, err := conn.Query(s.t.Context(), "SELECT topic, partition, next_offset FROM dingir.ledger")
	if err != nil {
		s.t.Fatal(err)
	}
	ledger := map[Place]int64{}
	var p Place
	var next int64
	if _, err := pgx.ForEachRow(rows, []any{&p.Topic, &p.Partition, &next}, func() error {
		ledger[p] = next
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
	return ledger
}

// Behind lists the partitions whose ledger does not stand at the log's end.
func (s *Site) Behind(conn *pgx.Conn) (behind []string) {
	s.t.Helper()
	_, end := s.Offsets()
	ledger := s.Ledger(conn)
	for place, offset := range end {
		if next, found := ledger[place]; !found || next != offset {
			behind = append(behind, fmt.Sprintf("%s/%d at %d of %d", place.Topic, place.Partition, next, offset))
		}
	}
	return behind
}

// WaitDrained returns when the ledger stands at the end of every partition of
// every topic, and fails the test where that takes longer.
func (s *Site) WaitDrained(within time.Duration) {
	s.t.Helper()
	conn := s.Connect()
	defer conn.Close(s.t.Context())
	deadline := time.Now().Add(within)
	for {
		behind := s.Behind(conn)
		if len(behind) == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("not drained within %v: %s", within, strings.Join(behind, ", "))
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-s.t.Context().Done():
			s.t.Fatal("the test ended before the topics were drained")
		}
	}
}
