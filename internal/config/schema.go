package config

import (
	"fmt"
	"time"
)

// Schema says how `persistor migrate` lays out the tables, where that is the
// operator's choice.
type Schema struct {
	// ChunkInterval is the time that a new chunk of trades, order_events and
	// balance_changes covers; the other tables' chunks cover seven times as much.
	// 0 leaves it as it is: a day, unless somebody has changed it.
	ChunkInterval time.Duration

	// ColumnstoreAfter is the age at which chunks are compressed, with
	// TimescaleDB's Community edition; 0 leaves them as they are.
	ColumnstoreAfter time.Duration
}

func (s *Schema) settings() []setting {
	return []setting{
		{name: "chunk-interval", value: durationValue(&s.ChunkInterval),
			usage: "time that a new chunk of trades, order_events and balance_changes covers, of the others seven times as much; 1 to 5 million rows a chunk are best; 0: as it is, a day at first"},
		{name: "columnstore-after", value: durationValue(&s.ColumnstoreAfter),
			usage: "age at which chunks are compressed, with TimescaleDB's Community edition; 0: as it is, never at first"},
	}
}

// Validate refuses what would make thousands of chunks, or compress what is
// being written.
func (s *Schema) Validate() error {
	const day = 24 * time.Hour
	for _, v := range []struct {
		name  string
		value time.Duration
	}{{"chunk-interval", s.ChunkInterval}, {"columnstore-after", s.ColumnstoreAfter}} {
		if v.value != 0 && (v.value < time.Hour || v.value > 3650*day) {
			return fmt.Errorf("%s: %v is not between 1h and 87600h", label(v.name), v.value)
		}
	}
	return nil
}
