// Package fetch reads partitions by topic id through a kafka-go Transport.
//
// The transport dials, authenticates and routes; the requests (Fetch v13,
// Metadata v12, ListOffsets v6: Kafka 3.1 or newer) and everything in the
// answers are handled here, because kafka-go's own readers skip checksums, show
// aborted records, cannot tell null from empty and read a recreated topic on as
// if nothing had happened.
//
// One Fetch carries any number of partitions of one broker. Its Response holds
// the answer in reused memory, and each Part of it is pulled item by item:
//
//	for {
//		switch kind, err := part.Next(); {
//		case err != nil:           // *CorruptError, *JumpError, *BrokerError, …
//		case kind == fetch.Data:   // part.Record
//		case kind == fetch.Gap:    // part.Gap: markers or aborted records
//		case kind == fetch.Done:   // ask again from part.Position()
//		}
//	}
//
// Reading is always read_committed. Nothing is allocated per record.
package fetch
