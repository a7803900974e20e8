package config

import (
	"fmt"
	"time"
)

// Ingest says how much work is done at once, and how long things may take.
type Ingest struct {
	// Workers share the partitions; each has a database connection of its own.
	// On two cores two wrote 396 k rows/s and three 353 k, one only 219 k: the
	// third keeps others going while one waits for a lock or a slow partition.
	Workers int

	// BatchRecords bounds a transaction. 20,000 was the best of 1 k (257 k
	// rows/s), 10 k (341), 20 k (386) and 50 k (294).
	BatchRecords int

	// BatchBytes bounds one answer to a fetch, for each worker. 4 MiB hold
	// about 20,000 records; a larger message still comes, whole.
	BatchBytes int

	// OutageGrace is how long Kafka or the database may be away before /readyz
	// says so: longer than a failover's usual hiccup, shorter than patience.
	OutageGrace time.Duration

	// EventLog keeps the archive of unifyevents and the state that follows from
	// it. It costs some of the throughput, and only a benchmark that wants to
	// know how much does without: no rebuild can go beyond what was read so.
	EventLog bool

	// SnapshotRecords is after how many records of unifyevents the state is kept
	// as a whole. A rebuild of any moment reads no more than those: half a million
	// take about two seconds.
	SnapshotRecords int

	// MergeEvery is how often small segments of the event log are joined; 0:
	// never. A daemon that keeps up writes thousands a minute, each a row.
	MergeEvery time.Duration

	// AuditEvery is how often some of the state's balances are compared with
	// those that the engine sent; 0: never. A round takes some milliseconds.
	AuditEvery time.Duration
}

// DefaultIngest has the measured optimum of a small machine.
func DefaultIngest() Ingest {
	return Ingest{
		Workers:      3,
		BatchRecords: 20_000,
		BatchBytes:   4 << 20,
		OutageGrace:  10 * time.Second,
		EventLog:     true,

		SnapshotRecords: 500_000,
		MergeEvery:      30 * time.Second,
		AuditEvery:      time.Minute,
	}
}

func (i *Ingest) settings() []setting {
	return []setting{
		{name: "workers", value: countValue(&i.Workers), usage: "partitions are spread over so many workers, each with its own database connection"},
		{name: "batch-records", value: countValue(&i.BatchRecords), usage: "most records in one transaction"},
		{name: "batch-bytes", value: bytesValue(&i.BatchBytes), usage: "most bytes in one answer of Kafka, for each worker; one larger message still comes"},
		{name: "outage-grace", value: durationValue(&i.OutageGrace), usage: "how long Kafka or the database may be away before /readyz says so"},
		{name: "snapshot-records", value: countValue(&i.SnapshotRecords), usage: "after so many records of unifyevents the exchange's state is kept as a whole, so that any moment can be rebuilt quickly"},
		{name: "merge-every", value: durationValue(&i.MergeEvery), usage: "how often small segments of the event log are joined; 0: never"},
		{name: "audit-every", value: durationValue(&i.AuditEvery), usage: "how often some of the reconstructed balances are compared with balance_changes; 0: never"},
		{name: "event-log", value: boolValue(&i.EventLog), usage: "keep the archive of unifyevents and the exchange's state; false is for benchmarks only: what is read meanwhile is noted as skipped, and no rebuild will have it"},
	}
}

// Validate refuses numbers with which the daemon would stand still.
func (i *Ingest) Validate() error {
	const most = 1 << 30 // a fetch request carries its bounds as int32
	switch {
	case i.Workers < 1 || i.Workers > 256:
		return fmt.Errorf("%s: %d is not between 1 and 256", label("workers"), i.Workers)
	case i.BatchRecords < 1 || i.BatchRecords > 1_000_000:
		return fmt.Errorf("%s: %d is not between 1 and 1000000", label("batch-records"), i.BatchRecords)
	case i.SnapshotRecords < 100:
		return fmt.Errorf("%s: %d is less than 100", label("snapshot-records"), i.SnapshotRecords)
	case i.BatchBytes < 1<<10 || i.BatchBytes > most:
		return fmt.Errorf("%s: %s is not between 1KiB and 1GiB", label("batch-bytes"), formatBytes(i.BatchBytes))
	}
	for name, d := range map[string]time.Duration{"audit-every": i.AuditEvery, "merge-every": i.MergeEvery} {
		if err := within(name, d, 0, 24*time.Hour); err != nil {
			return err
		}
	}
	return within("outage-grace", i.OutageGrace, 0, time.Hour)
}

// within checks the bounds of a duration.
func within(name string, d, least, most time.Duration) error {
	if d < least || d > most {
		return fmt.Errorf("%s: %v is not between %v and %v", label(name), d, least, most)
	}
	return nil
}
