package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/thaliumx/persistor/internal/testenv"
)

// The engine's own tables, as far as a slice is in them.
const engineTables = `
	CREATE TABLE account (id int PRIMARY KEY, l1_address varchar(42) NOT NULL DEFAULT '', l2_pubkey varchar(66) NOT NULL DEFAULT '');
	CREATE TABLE slice_history (id serial PRIMARY KEY, time bigint NOT NULL, end_operation_log_id bigint NOT NULL, end_order_id bigint NOT NULL, end_trade_id bigint NOT NULL);
	CREATE TABLE balance_slice (id serial PRIMARY KEY, slice_id bigint NOT NULL, user_id int NOT NULL, asset varchar(30) NOT NULL, t smallint NOT NULL, balance numeric(30, 16) NOT NULL);
	CREATE TABLE order_slice (id bigint NOT NULL, slice_id bigint NOT NULL, order_type varchar(30) NOT NULL, order_side varchar(30) NOT NULL,
		create_time timestamp(0) NOT NULL, update_time timestamp(0) NOT NULL, user_id int NOT NULL, market varchar(30) NOT NULL,
		price numeric(30, 8) NOT NULL, amount numeric(30, 8) NOT NULL, taker_fee numeric(30, 4) NOT NULL, maker_fee numeric(30, 4) NOT NULL,
		remain numeric(30, 8) NOT NULL, frozen numeric(30, 8) NOT NULL, finished_base numeric(30, 8) NOT NULL, finished_quote numeric(30, 16) NOT NULL,
		finished_fee numeric(30, 12) NOT NULL, post_only bool NOT NULL DEFAULT false, signature bytea NOT NULL, PRIMARY KEY (slice_id, id));
	CREATE TABLE market (id serial PRIMARY KEY, base_asset varchar(30) NOT NULL, quote_asset varchar(30) NOT NULL, market_name varchar(30))`

// saveSlice writes a state into the engine's tables, as the engine does.
func saveSlice(t *testing.T, conn *pgx.Conn, s stateJSON, at time.Time) {
	t.Helper()
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	id := at.Unix()
	for user, assets := range s.Balances {
		for asset, b := range assets {
			for kind, amount := range []any{b["available"], b["frozen"]} {
				exec("INSERT INTO balance_slice (slice_id, user_id, asset, t, balance) VALUES ($1, $2::text::int, $3, $4, $5::text::numeric)", id, user, asset, kind+1, amount)
			}
		}
	}
	for _, o := range s.OpenOrders {
		text := func(name string) string { return fmt.Sprint(o[name]) }
		exec(`INSERT INTO order_slice VALUES ($1, $2, lower($3), lower($4), to_timestamp($5) AT TIME ZONE 'UTC', to_timestamp($6) AT TIME ZONE 'UTC', $7, $8,
			$9::text::numeric, $10::text::numeric, $11::text::numeric, $12::text::numeric, $13::text::numeric, $14::text::numeric, $15::text::numeric, $16::text::numeric, $17::text::numeric, $18, decode($19, 'hex'))`,
			int64(o["id"].(float64)), id, text("type"), text("side"), o["create_time"], o["update_time"], int64(o["user"].(float64)), text("market"),
			text("price"), text("amount"), text("taker_fee"), text("maker_fee"), text("remain"), text("frozen"), text("finished_base"), text("finished_quote"), text("finished_fee"), o["post_only"], text("signature"))
	}
	for user, u := range s.Users {
		exec("INSERT INTO account VALUES ($1::text::int, $2, $3) ON CONFLICT DO NOTHING", user, u["l1_address"], u["l2_pubkey"])
	}
	exec("INSERT INTO slice_history (time, end_operation_log_id, end_order_id, end_trade_id) VALUES ($1, 1, $2, $3)", id, *s.LastOrderID, *s.LastTradeID)
}

// A persistor that was installed when the log had lost its beginning knows
// little; with the engine's slice it knows all that the whole log tells, live and
// by every later way.
func TestStateImport(t *testing.T) {
	s := newSystem(t)
	lines := corpus(t, "real-2021-09.unify.jsonl")
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	s.produceUnify(lines)
	s.records = slices.DeleteFunc(s.records, func(r *kgo.Record) bool { return !strings.HasSuffix(r.Topic, "unifyevents") })
	for i, r := range s.records {
		r.Timestamp = begin.Add(time.Duration(i) * time.Second)
	}
	if err := s.client.ProduceSync(t.Context(), s.records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	const lost, sliced = 60, 121 // a PUT begins an operation there
	deleteBelow(t, s, lost)
	dump := realDump(t)
	want := parseState(t, execute(t, nil, "state", "--from", dump).stdout)

	theirs := testenv.Database(t)
	engine, err := pgx.Connect(t.Context(), theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close(t.Context())
	if _, err := engine.Exec(t.Context(), engineTables); err != nil {
		t.Fatal(err)
	}
	env := append(slices.Clone(s.env), "PERSISTOR_ENGINE_DATABASE_URL="+theirs)
	if got := execute(t, s.env, "state", "import", "--yes"); got.code != 2 || !strings.Contains(got.stderr, "PERSISTOR_ENGINE_DATABASE_URL") {
		t.Errorf("without the engine's database: %+v", got)
	}
	if got := execute(t, env, "state", "import", "--yes"); got.code != 1 || !strings.Contains(got.stderr, "no slice yet") {
		t.Errorf("without a slice: %+v", got)
	}
	stop := s.daemon() // does not fill the engine's accounts
	defer func() { stop() }()
	s.drained()

	conn, err := pgx.Connect(t.Context(), s.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	complete := func() (is bool) {
		if err := conn.QueryRow(t.Context(), "SELECT coalesce((SELECT complete FROM dingir.state), false)").Scan(&is); err != nil {
			t.Fatal(err)
		}
		return is
	}
	if complete() || *parseState(t, execute(t, env, "state").stdout).Complete {
		t.Error("a log without its beginning is complete")
	}
	saveSlice(t, engine, parseState(t, execute(t, nil, "state", "--from", dump, "--at-offset", fmt.Sprint(sliced)).stdout), begin.Add(sliced*time.Second))
	got := execute(t, env, "state", "import", "--yes")
	if got.code != 0 || !strings.Contains(got.stdout, fmt.Sprintf("it belongs at offset %d:", sliced)) || !strings.Contains(got.stdout, "done: ") {
		t.Fatalf("%+v", got)
	}
	deadline := time.Now().Add(30 * time.Second)
	for !complete() {
		if time.Now().After(deadline) {
			t.Fatal("the daemon does not take it over")
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
	for _, args := range [][]string{nil, {"--from", "archive"}, {"--without-snapshots"}} {
		now := parseState(t, execute(t, env, append([]string{"state"}, args...)...).stdout)
		if !*now.Complete || *now.Mismatches != 0 || *now.BaseOffset != lost {
			t.Errorf("%q: complete %v, %d mismatches, base %d", args, *now.Complete, *now.Mismatches, *now.BaseOffset)
		}
		if a, b := essence(t, now), essence(t, want); a != b {
			t.Errorf("%q: another state: %s\nwant %s", args, a, b)
		}
	}
	var rows int
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM dingir.balances WHERE known AND available + frozen > 0").Scan(&rows); err != nil || rows != 25 {
		t.Errorf("%d known balances in the table, %v", rows, err)
	}
	// What was before the slice is as unknown as ever.
	if before := parseState(t, execute(t, env, "state", "--at-offset", fmt.Sprint(sliced-1)).stdout); *before.Complete {
		t.Error("complete before the slice")
	}
	if got := execute(t, env, "state", "import", "--yes"); got.code != 1 || !strings.Contains(got.stderr, "nothing was changed") {
		t.Errorf("again: %+v", got)
	}
	stop()
	stop = func() {}
	s.must("verify")
}

// essence is what a slice keeps of a state.
func essence(t *testing.T, s stateJSON) string {
	t.Helper()
	for _, o := range s.OpenOrders {
		delete(o, "create_time")
		delete(o, "update_time")
	}
	text, err := json.Marshal([]any{s.Users, s.Balances, s.OpenOrders, s.LastOrderID, s.LastTradeID, s.NextOffset})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func deleteBelow(t *testing.T, s *system, offset int64) {
	t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 30_000
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = s.prefix + "unifyevents"
	partition := kmsg.NewDeleteRecordsRequestTopicPartition()
	partition.Offset = offset
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	answer, err := req.RequestWith(t.Context(), s.client)
	if err == nil {
		err = kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
}
