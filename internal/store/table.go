// Package store writes batches of rows into TimescaleDB, each in one
// transaction with the ledger's move: encoding (batch.go, rows.go, numeric.go),
// the transaction (write.go, transaction.go), what to do when rows are there
// already (merge.go) or can never be stored (badrow.go), and what an error means
// (errors.go).
package store

import "strings"

// tableID numbers the tables in the order in which every transaction writes
// them: two transactions that created chunks in opposite orders would deadlock
// (40P01).
type tableID uint8

const (
	tradesTable tableID = iota
	orderEventsTable
	balanceChangesTable
	depositsTable
	withdrawalsTable
	internalTransfersTable
	usersTable
	eventLogTable
	snapshotsTable
	gapsTable
	rejectsTable
	duplicatesTable
	tableCount
)

// A table is one target of COPY. Its columns are listed in the order in which
// batch.go encodes them.
type table struct {
	name    string
	columns []string
	types   []string // of the identity's columns, for unnest
	key     int      // so many leading columns are the row's identity; 0: the table takes no part in merging
	time    int      // which of them is the hypertable's time; -1: none
	record  int      // so many trailing columns tell of the record, not of its value
	copySQL string
}

// sourceColumns end every row of the tables that hold records: the record that
// the row came from. content_hash stands with the identity, at the front.
const sourceColumns = "src_topic src_partition src_offset"

var tables = [tableCount]table{
	tradesTable: newTable("trades", 3, 1, "trade_id:bigint time:timestamptz content_hash:bigint "+
		"ask_user_id ask_order_id bid_user_id bid_order_id market price amount quote_amount taker_side ask_fee bid_fee "+sourceColumns),
	orderEventsTable: newTable("order_events", 3, 1, "order_id:bigint time:timestamptz content_hash:bigint "+
		"user_id create_time update_time post_only event market side type price amount remain frozen "+
		"finished_base finished_quote finished_fee maker_fee taker_fee signature "+sourceColumns),
	balanceChangesTable: newTable("balance_changes", 4, 2, "user_id:bigint asset:text time:timestamptz content_hash:bigint "+
		"business business_id change balance balance_available balance_frozen detail market_price signature "+sourceColumns),
	depositsTable: newTable("deposits", 4, 2, "user_id:bigint asset:text time:timestamptz content_hash:bigint "+
		"business business_id change balance balance_available balance_frozen detail "+sourceColumns),
	withdrawalsTable: newTable("withdrawals", 4, 2, "user_id:bigint asset:text time:timestamptz content_hash:bigint "+
		"business business_id change balance balance_available balance_frozen detail signature "+sourceColumns),
	internalTransfersTable: newTable("internal_transfers", 3, 1, "user_from:bigint time:timestamptz content_hash:bigint "+
		"user_to asset amount signature "+sourceColumns),
	usersTable: newTable("users", 2, -1, "user_id:bigint content_hash:bigint "+
		"l1_address l2_pubkey registered_at "+sourceColumns),
	snapshotsTable:  newTable("state_snapshots", 0, -1, "topic_id next_offset latest_time data"),
	eventLogTable:   newTable("event_log", 0, -1, "first_offset last_offset first_time last_time records topic_id data"),
	gapsTable:       newTable("gaps", 0, -1, "topic partition first_offset last_offset reason topic_id"),
	rejectsTable:    newTable("rejects", 0, -1, `topic partition "offset" record_time key value headers reason sqlstate topic_id`),
	duplicatesTable: newTable("duplicates", 0, -1, `topic partition "offset" table_name topic_id`),
}

func newTable(name string, key, time int, columns string) table {
	t := table{name: name, key: key, time: time, record: len(strings.Fields(sourceColumns))}
	for _, c := range strings.Fields(columns) {
		column, kind, _ := strings.Cut(c, ":")
		t.columns = append(t.columns, column)
		if kind != "" {
			t.types = append(t.types, kind)
		}
	}
	if name == "users" {
		t.record++ // registered_at is the record's timestamp: a retry has another
	}
	t.copySQL = "COPY dingir." + name + " (" + strings.Join(t.columns, ", ") + ") FROM STDIN (FORMAT binary)"
	return t
}
