package compat_test

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
)

// The upstream engine's columns, in its order and with its types. Its reader
// (sqlx 0.5) refuses any other type: text for varchar, timestamptz for
// timestamp.
func TestViewsHaveUpstreamColumns(t *testing.T) {
	conn := connect(t)
	var orderStatus uint32
	err := conn.QueryRow(t.Context(), `SELECT oid FROM pg_type
		WHERE typname = 'order_status' AND typnamespace = 'dingir_compat'::regnamespace`).Scan(&orderStatus)
	if err != nil {
		t.Fatal(err)
	}
	const (
		i2, i4, i8  = pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID
		when, money = pgtype.TimestampOID, pgtype.NumericOID
		name, blob  = pgtype.VarcharOID, pgtype.ByteaOID
	)
	tests := map[string][]column{
		"market_trade": {
			{"time", when}, {"market", name}, {"trade_id", i8}, {"price", money}, {"amount", money},
			{"quote_amount", money}, {"taker_side", name},
		},
		"user_trade": {
			{"id", i4}, {"time", when}, {"user_id", i4}, {"market", name}, {"trade_id", i8}, {"order_id", i8},
			{"counter_order_id", i8}, {"side", i2}, {"role", i2}, {"price", money}, {"amount", money},
			{"quote_amount", money}, {"fee", money}, {"counter_order_fee", money},
		},
		"order_history": {
			{"id", i8}, {"create_time", when}, {"finish_time", when}, {"user_id", i4}, {"market", name},
			{"order_type", name}, {"order_side", name}, {"price", money}, {"amount", money}, {"taker_fee", money},
			{"maker_fee", money}, {"finished_base", money}, {"finished_quote", money}, {"finished_fee", money},
			{"status", orderStatus}, {"post_only", pgtype.BoolOID}, {"signature", blob},
		},
		"internal_tx": {
			{"time", when}, {"user_from", i4}, {"user_to", i4}, {"asset", name}, {"amount", money}, {"signature", blob},
		},
		"account": {{"id", i4}, {"l1_address", name}, {"l2_pubkey", name}},
		"balance_history": {
			{"id", i4}, {"time", when}, {"user_id", i4}, {"business_id", i8}, {"asset", name}, {"business", name},
			{"market_price", money}, {"change", money}, {"balance", money}, {"balance_available", money},
			{"balance_frozen", money}, {"detail", pgtype.TextOID}, {"signature", blob},
		},
	}
	for view, want := range tests {
		t.Run(view, func(t *testing.T) {
			if _, got := rows(t, conn, "SELECT * FROM "+view); !slices.Equal(got, want) {
				t.Errorf("columns\n got %v\nwant %v", got, want)
			}
		})
	}
	labels, _ := rows(t, conn, "SELECT unnest(enum_range(NULL::order_status))::text")
	if got := slices.Concat(labels...); !slices.Equal(got, []string{"active", "filled", "cancelled", "expired"}) {
		t.Errorf("order_status has the labels %q", got)
	}
}
