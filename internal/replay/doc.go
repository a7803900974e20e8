// Package replay rebuilds beside the live tables what the log says, compares
// the two, and puts right what differs.
//
// A run fixes its range first (ranges.go): of each partition the offsets below
// the ledger's next. It reads that range (hot.go, log.go) into tables of its own
// schema (stage.go), compares them with the live ones in one snapshot
// (compare.go for the rows, notes.go for duplicates, rejects and gaps), reports
// (report.go), and applies the differences in one transaction (apply.go). Until
// that transaction commits, nothing live has changed.
//
// # What is compared with what
//
// A record is on unifyevents, on a topic of its own kind (a hot topic), or on
// both. Records of equal identity are one group, which has one row. Where Kafka
// still has the record on the hot topic the row belongs to that position, else
// to the position that it names, if that can be true: positions below the hot
// topic's log start cannot be looked at any more. Live rows are matched by
// identity first, then by position, then by content: a row that was altered in
// one of these is found by the others. What is left of the live rows inside the
// covered range is surplus.
package replay
