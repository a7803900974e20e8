package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/zstd"
)

func TestStateUsage(t *testing.T) {
	dump := realDump(t)
	for _, test := range []struct {
		name, args, stderr string
		code               int
	}{
		{"both moments", "--at-offset 3 --at-time 2026-01-01", "which of the two", 2},
		{"no offset", "--at-offset last", `"last" is no offset`, 2},
		{"negative offset", "--at-offset=-1", "is no offset", 2},
		{"no time", "--at-time yesterday", "is no time", 2},
		{"a file has no times", "--at-time 2026-01-01 --from " + dump, "a dump file has no timestamps", 2},
		{"no file", "--from " + dump + ".none", "no such file", 2},
		{"format", "--format xml", "none of json, table and csv", 2},
		{"table of JSON", "--format json --table users", "--table", 2},
		{"table", "--format csv --table fees", "none of balances", 2},
		{"user", "--user me", "no user's id", 2},
		{"argument", "now", "unexpected argument", 2},
		{"the future", "--at-offset 201 --from " + dump, "has not been reached", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := execute(t, nil, append([]string{"state"}, strings.Fields(test.args)...)...)
			if got.code != test.code || !strings.Contains(got.stderr, test.stderr) || got.stdout != "" || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("%+v", got)
			}
		})
	}
}

func realDump(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dump.jsonl")
	if err := os.WriteFile(path, slices.Concat(joinLines(corpus(t, "real-2021-09.unify.jsonl"))...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func joinLines(lines [][]byte) (out [][]byte) {
	for _, line := range lines {
		out = append(out, line, []byte("\n"))
	}
	return out
}

// stateJSON is what the contract promises of the JSON.
type stateJSON struct {
	Users       map[string]map[string]string         `json:"users"`
	Balances    map[string]map[string]map[string]any `json:"balances"`
	OpenOrders  []map[string]any                     `json:"open_orders"`
	LastOrderID *int64                               `json:"last_order_id"`
	LastTradeID *int64                               `json:"last_trade_id"`
	NextOffset  *int64                               `json:"next_offset"`
	BaseOffset  *int64                               `json:"base_offset"`
	Mismatches  *int64                               `json:"mismatches"`
	Complete    *bool                                `json:"complete"`
	Provisional *bool                                `json:"provisional"`
}

func parseState(t *testing.T, text string) (s stateJSON) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("%v in %.300s", err, text)
	}
	for name, missing := range map[string]bool{"last_order_id": s.LastOrderID == nil, "last_trade_id": s.LastTradeID == nil, "next_offset": s.NextOffset == nil,
		"base_offset": s.BaseOffset == nil, "mismatches": s.Mismatches == nil, "complete": s.Complete == nil, "provisional": s.Provisional == nil} {
		if missing {
			t.Fatalf("no %s in %.300s", name, text)
		}
	}
	return s
}

// A dump needs no server, and every form of the output tells the same.
func TestStateOfADump(t *testing.T) {
	dump := realDump(t)
	none := []string{"PERSISTOR_KAFKA_BROKERS=127.0.0.1:1", "PERSISTOR_DATABASE_URL=postgres://nobody@127.0.0.1:1/none"}
	got := execute(t, none, "state", "--from", dump)
	if got.code != 0 || !strings.Contains(got.stderr, "state at offset 200: 200 records from "+dump) {
		t.Fatalf("%+v", got)
	}
	s := parseState(t, got.stdout)
	if *s.NextOffset != 200 || *s.LastOrderID != 79 || *s.LastTradeID != 31 || !*s.Complete || *s.Mismatches != 0 || len(s.Users) != 5 || len(s.OpenOrders) != 40 ||
		s.Balances["1"]["USDT"]["frozen"] != "820.908302" {
		t.Errorf("%.2000s", got.stdout)
	}
	if at := parseState(t, execute(t, none, "state", "--from", dump, "--at-offset", "5").stdout); *at.NextOffset != 5 || len(at.OpenOrders) != 0 {
		t.Errorf("at offset 5: %+v", at)
	}
	only := parseState(t, execute(t, none, "state", "--from", dump, "--user", "1", "--asset", "UNI").stdout)
	if len(only.Balances) != 1 || len(only.Balances["1"]) != 1 || len(only.Users) != 1 || len(only.OpenOrders) != 3 {
		t.Errorf("user 1's UNI: %+v", only)
	}

	table := execute(t, none, "state", "--from", dump, "--format", "table").stdout
	for _, line := range []string{
		"state at offset 200: last order 79, last trade 31",
		"balances: 25",
		"USER  ASSET      AVAILABLE       FROZEN",
		"   1  ETH         9.6705       0",
		"      USDT   500163.56448    820.908302",
		"open orders: 40",
		"   20     5  UNI_USDT    ask   limit    22.3   0.3333  0.0056     0.0056    2021-09-08 10:34:46.381859",
		"users: 5",
		"   4  0xc79030afa00571bda193846ff5b1f10bc1cf9a1e  0xcbc39e27f90416f287aefe20490227723e157d26dfff30c24f2a885b27b42490",
	} {
		if !slices.Contains(strings.Split(table, "\n"), line) {
			t.Errorf("no line %q in\n%s", line, table)
		}
	}
	if one := execute(t, none, "state", "--from", dump, "--format", "table", "--table", "users", "--user", "9").stdout; !strings.HasSuffix(one, "\n\nno users\n") {
		t.Errorf("a user that is not there:\n%s", one)
	}
	for name, want := range map[string]struct {
		rows int
		line string
	}{
		"balances": {25, "1,USDT,500163.56448,820.908302,true"},
		"orders":   {40, "20,5,UNI_USDT,UNI,USDT,ask,limit,false,22.3,0.3333,0.0056,0.0056,0.3277,7.312956,0,0,0,2021-09-08 10:34:46.381859,"},
		"users":    {5, "4,0xc79030afa00571bda193846ff5b1f10bc1cf9a1e,0xcbc39e27f90416f287aefe20490227723e157d26dfff30c24f2a885b27b42490"},
	} {
		text := execute(t, none, "state", "--from", dump, "--format", "csv", "--table", name).stdout
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil || len(rows) != want.rows+1 || !strings.Contains(text, "\n"+want.line) {
			t.Errorf("%s: %d rows, %v, want a line %q in\n%s", name, len(rows), err, want.line, text)
		}
	}
}

// Where the log contradicts itself, the table says at which record, and nothing in
// it does anything to a terminal.
func TestStateShowsContradictions(t *testing.T) {
	dump := filepath.Join(t.TempDir(), "dump.json")
	line := `{"type":"DepositMessage","value":{"timestamp":1631097273.0,"user_id":7,"asset":"U\u001b[31m","business":"deposit","change":"5","balance":"6","balance_available":"6","balance_frozen":"0","detail":"{}"}}` + "\n"
	if err := os.WriteFile(dump, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	got := execute(t, nil, "state", "--from", dump, "--format", "table")
	if got.code != 0 || !strings.Contains(got.stdout, "payment_balance 1\nthe first of each:\n  payment_balance at offset 0: balance of user 7, U\\x1b[31m: expected 5, found 6\n") {
		t.Errorf("%+v", got)
	}
}

// What the daemon stored answers for every source and every moment as a dump of
// the same records does, and a compressed dump as a plain one.
func TestStateOfTheDaemon(t *testing.T) {
	s := newSystem(t)
	lines := corpus(t, "real-2021-09.unify.jsonl")
	s.produceUnify(lines)
	var at []time.Time // the timestamps of the records of unifyevents
	begin := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	for i, r := range s.records {
		r.Timestamp = begin.Add(time.Duration(i) * time.Millisecond) // Kafka's retention takes what is old
		if strings.HasSuffix(r.Topic, "unifyevents") {
			at = append(at, r.Timestamp)
		}
	}
	s.check() // the daemon drains all
	dump := filepath.Join(t.TempDir(), "dump.jsonl.zst")
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dump, w.EncodeAll(slices.Concat(joinLines(lines)...), nil), 0o600); err != nil {
		t.Fatal(err)
	}
	state := func(args ...string) result {
		got := execute(t, s.env, append([]string{"state", "--format", "json"}, args...)...)
		if got.code != 0 {
			t.Fatalf("state %q: %+v", args, got)
		}
		return got
	}
	for _, offset := range []int{0, 1, 57, 123, 200} {
		want := state("--from", dump, "--at-offset", fmt.Sprint(offset)).stdout
		for _, from := range [][]string{nil, {"--from", "archive"}, {"--from", "kafka"}, {"--without-snapshots"}} {
			if got := state(append(from, "--at-offset", fmt.Sprint(offset))...); got.stdout != want {
				t.Errorf("%q: another state at offset %d: %s", from, offset, got.stderr)
			}
			if offset > 0 {
				when := at[offset-1].UTC().Format(time.RFC3339Nano)
				if got := state(append(from, "--at-time", when)...); got.stdout != want {
					t.Errorf("%q: another state at %s: %s", from, when, got.stderr)
				}
			}
		}
	}
	// What the archive has needs no topic.
	want := state("--from", dump, "--at-offset", "57").stdout
	got := execute(t, append(slices.Clone(s.env), "PERSISTOR_KAFKA_BROKERS=127.0.0.1:1"), "state", "--format", "json", "--at-time", at[56].UTC().Format(time.RFC3339Nano))
	if got.code != 0 || got.stdout != want {
		t.Errorf("without Kafka: %+v", got)
	}
	for flags, hint := range map[string]string{
		"--asset btc": "no asset btc in this state; there are: ", "--market BTC-USDT": "no market BTC-USDT in this state; there are: ", "--user 9999": "no user 9999 in this state"} {
		if got := state(strings.Fields(flags)...); !strings.Contains(got.stderr, hint) {
			t.Errorf("%s: %q, want %q", flags, got.stderr, hint)
		}
	}
	if got := state("--user", "1"); strings.Contains(got.stderr, "in this state") {
		t.Errorf("a user that is there: %q", got.stderr)
	}
	last := at[199].UTC().Format(time.RFC3339Nano)
	for when, hint := range map[string]string{"2199-01-01": "this is where the log ends, its latest record of " + last, at[198].UTC().Format(time.RFC3339Nano): ""} {
		for _, from := range [][]string{nil, {"--from", "archive"}, {"--from", "kafka"}, {"--without-snapshots"}} {
			got := state(append(from, "--at-time", when)...)
			if !strings.Contains(got.stderr, hint) || hint == "" && strings.Contains(got.stderr, "ends") {
				t.Errorf("%q at %s: %q, want %q", from, when, got.stderr, hint)
			}
		}
	}
	if got := execute(t, s.env, "state", "--at", "2026-01-01"); got.code != 2 || !strings.Contains(got.stderr, "did you mean --at-offset or --at-time?") {
		t.Errorf("%+v", got)
	}
	if got := state(); !strings.Contains(got.stderr, "state at offset 200: ") || !strings.Contains(got.stderr, " records from the archive, 0 from the topic") {
		t.Errorf("how it got there: %q", got.stderr)
	}
	// The topic's beginning goes: the archive has it. The archive goes as well.
	deleteBelow(t, s, 100)
	if got := state("--at-offset", "57"); got.stdout != want {
		t.Errorf("without the topic's beginning: %s", got.stderr)
	}
	if got := execute(t, s.env, "state", "--from", "kafka", "--at-offset", "57"); got.code != 1 || !strings.Contains(got.stderr, "can answer from offset 100 on; the archive may reach farther back") {
		t.Errorf("the topic without its beginning: %+v", got)
	}
	conn, err := pgx.Connect(t.Context(), s.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "DELETE FROM dingir.event_log; DELETE FROM dingir.state_snapshots"); err != nil {
		t.Fatal(err)
	}
	if got := execute(t, s.env, "state", "--at-offset", "57"); got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "can answer from offset 100 on") {
		t.Errorf("without either's beginning: %+v", got)
	}
	if got := parseState(t, state("--format", "json").stdout); *got.BaseOffset != 100 || *got.NextOffset != 200 || *got.Complete {
		t.Errorf("what is left: %+v", got)
	}
	missing := execute(t, append(slices.Clone(s.env), "PERSISTOR_TOPIC_PREFIX=none."), "state", "--from", "archive")
	if missing.code != 1 || !strings.Contains(missing.stderr, "nothing is archived yet") || !strings.Contains(missing.stderr, "persistor run") {
		t.Errorf("no archive: %+v", missing)
	}
}
