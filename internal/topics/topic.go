// Package topics knows the topics that the platform documents, compares a
// cluster with them and, for development, creates them.
package topics

import "time"

// What all documented topics have in common (the platform's docs/KAFKA_TOPICS.md).
const (
	Compression     = "snappy"
	SegmentBytes    = 1 << 30
	MaxMessageBytes = 10 << 20
	TimestampType   = "CreateTime"
)

// The names that code has to tell apart.
const (
	Trades           = "trades"
	Orders           = "orders"
	Balances         = "balances"
	Deposits         = "deposits"
	Withdraws        = "withdraws"
	InternalTransfer = "internaltransfer"
	RegisterUser     = "registeruser"
	UnifyEvents      = "unifyevents"

	DeadLetterTransactions = "thaliumx.dlq.transactions"
	DeadLetterGeneral      = "thaliumx.dlq.general"
)

const day = 24 * time.Hour

// Topic is one topic as documented.
type Topic struct {
	Name       string
	Partitions int
	Retention  time.Duration
}

// Consumed returns the eight topics that the engine and the platform write and
// the daemon reads.
func Consumed() []Topic {
	return []Topic{
		{Trades, 6, 7 * day},
		{Orders, 6, 7 * day},
		{Balances, 3, 7 * day},
		{Deposits, 3, 30 * day},
		{Withdraws, 3, 30 * day},
		{InternalTransfer, 3, 7 * day},
		{RegisterUser, 3, 30 * day},
		// One partition is what makes it a total order.
		{UnifyEvents, 1, 7 * day},
	}
}

// Documented returns all topics that a cluster has to have: the consumed ones
// and the two for dead letters, each name with prefix before it.
func Documented(prefix string) []Topic {
	all := append(Consumed(),
		Topic{DeadLetterGeneral, 3, 30 * day},
		Topic{DeadLetterTransactions, 3, 90 * day},
	)
	for i := range all {
		all[i].Name = prefix + all[i].Name
	}
	return all
}

// Names returns the names of list, in its order.
func Names(list []Topic) []string {
	names := make([]string, len(list))
	for i, t := range list {
		names[i] = t.Name
	}
	return names
}

// DeadLetter returns where records of a consumed topic go that could not be
// stored. Both names are without prefix.
func DeadLetter(topic string) string {
	switch topic {
	case Trades, Balances, Deposits, Withdraws, InternalTransfer:
		return DeadLetterTransactions
	default:
		return DeadLetterGeneral
	}
}
