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
		int2, int4, int8 = pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID
		when, money      = pgtype.TimestampOID, pgtype.NumericOID
		name, blob       = pgtype.VarcharOID, pgtype.ByteaOID
	)
	tests := map[string][]column{
		"market_trade": {
			{"time", when}, {"market", name}, {"trade_id", int8}, {"price", money}, {"amount", money},
			{"quote_amount", money}, {"taker_side", name},
		},
		"user_trade": {
			{"id", int4}, {"time", when}, {"user_id", int4}, {"market", name}, {"trade_id", int8}, {"order_id", int8},
			{"counter_order_id", int8}, {"side", int2}, {"role", int2}, {"price", money}, {"amount", money},
			{"quote_amount", money}, {"fee", money}, {"counter_order_fee", money},
		},
		"order_history": {
			{"id", int8}, {"create_time", when}, {"finish_time", when}, {"user_id", int4}, {"market", name},
			{"order_type", name}, {"order_side", name}, {"price", money}, {"amount", money}, {"taker_fee", money},
			{"maker_fee", money}, {"finished_base", money}, {"finished_quote", money}, {"finished_fee", money},
			{"status", orderStatus}, {"post_only", pgtype.BoolOID}, {"signature", blob},
		},
		"internal_tx": {
			{"time", when}, {"user_from", int4}, {"user_to", int4}, {"asset", name}, {"amount", money}, {"signature", blob},
		},
		"account": {{"id", int4}, {"l1_address", name}, {"l2_pubkey", name}},
		"balance_history": {
			{"id", int4}, {"time", when}, {"user_id", int4}, {"business_id", int8}, {"asset", name}, {"business", name},
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
