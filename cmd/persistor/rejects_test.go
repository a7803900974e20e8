package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/thaliumx/persistor/internal/ingest"
)

const goodTransfer = `{"time":1631097274.239939,"user_from":1,"user_to":2,"asset":"USDT","amount":"1000.00","signature":"ab"}`

// rejected is a database with a ledger of internaltransfer up to offset 6 and
// of orders up to 1, and a reject at each position.
func rejected(t *testing.T) (env []string, sql func(string, ...any)) {
	t.Helper()
	url, sql := migrated(t)
	sql(`INSERT INTO dingir.topics (name, cluster_id, topic_uuid) VALUES ('p.internaltransfer', 'c', gen_random_uuid()), ('p.orders', 'c', gen_random_uuid());
		INSERT INTO dingir.topics (id, name, cluster_id, topic_uuid) OVERRIDING SYSTEM VALUE VALUES (9, 'p.internaltransfer', 'c', gen_random_uuid()) -- of before`)
	sql(`INSERT INTO dingir.ledger (topic, partition, topic_id, first_offset, next_offset, high_offset) VALUES
		('p.internaltransfer', 0, 1, 0, 4, 4), ('p.orders', 0, 2, 0, 1, 1)`)
	insert := func(topic string, id, offset int, key, value []byte, headers, reason string) {
		sql(`INSERT INTO dingir.rejects (topic, partition, "offset", record_time, key, value, headers, reason, topic_id) VALUES ($1, 0, $2, '2024-01-01', $3, $4, $5, $6, $7)`,
			topic, offset, key, value, headers, reason, id)
	}
	insert("p.internaltransfer", 1, 0, []byte{}, []byte(goodTransfer), `[{"key":"h","value":"AAE="},{"key":"n","value":null}]`, "22003: out of range")
	insert("p.internaltransfer", 1, 1, []byte("\x1b[31m"), []byte(goodTransfer), "[]", "22003: out of range") // the same bytes at another position
	insert("p.internaltransfer", 1, 2, nil, []byte(`{"amount":`+strings.Repeat("1", 9000)), "[]", "truncated")
	insert("p.internaltransfer", 1, 3, nil, nil, "[]", "tombstone")
	insert("p.orders", 2, 0, nil, []byte(`{"event":"order.created","data":{}}`), "[]", "foreign")
	return []string{"PERSISTOR_DATABASE_URL=" + url, "PERSISTOR_TOPIC_PREFIX=p."}, sql
}

func TestRejectsList(t *testing.T) {
	env, sql := rejected(t)
	sql("UPDATE dingir.rejects SET resolved_at = now(), published_at = now() WHERE id = 4")
	for _, test := range []struct {
		name string
		args string
		ids  string
	}{
		{"unresolved", "", "1 2 3 5"},
		{"all", "--all", "1 2 3 4 5"},
		{"topic", "--topic orders", "5"},
		{"topic in full", "--topic p.orders --all", "5"},
		{"another topic", "--topic trades", ""},
		{"reason", "--reason foreign", "5"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := append([]string{"rejects", "list"}, strings.Fields(test.args)...)
			got := execute(t, env, append(args, "--format", "json")...)
			var ids []string
			for d := json.NewDecoder(strings.NewReader(got.stdout)); d.More(); {
				var r rejectRow
				if err := d.Decode(&r); err != nil {
					t.Fatal(err)
				}
				ids = append(ids, fmt.Sprint(r.ID))
			}
			if got.code != 0 || strings.Join(ids, " ") != test.ids {
				t.Errorf("%+v", got)
			}
			got = execute(t, env, args...)
			if test.ids != "" && strings.Count(got.stdout, "\n") != len(ids)+1 || test.ids == "" && got.stdout != "no rejects\n" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Headers that are kept as bytes are shown like any, but not millions of them.
func TestRejectsShowHeadersKeptAsBytes(t *testing.T) {
	env, sql := rejected(t)
	raw := append(binary.AppendVarint(nil, 1_000_001), "\x02k\x04\x00\x01"...) // k: 00 01, then as many empty ones
	raw = append(raw, make([]byte, 2_000_000)...)
	sql("UPDATE dingir.rejects SET headers = jsonb_build_array(jsonb_build_object('raw', translate(encode($1, 'base64'), E'\\n', ''))) WHERE id = 1", raw)
	got := execute(t, env, "rejects", "show", "1")
	if got.code != 0 || !strings.Contains(got.stdout, `header       k: \x00\x01`) || !strings.Contains(got.stdout, "(1000001 in all; ") || len(got.stdout) > 10_000 {
		t.Errorf("%d bytes shown; %.2000s %s", len(got.stdout), got.stdout, got.stderr)
	}
}

// A reason has its odd bytes escaped once, by whoever gave it.
func TestReasonsAreLegible(t *testing.T) {
	env, sql := rejected(t)
	sql(`UPDATE dingir.rejects SET reason = E'byte 13 is "\\x1b", and \x1b' WHERE id = 1`)
	for _, command := range []string{"list", "show 1"} {
		if got := execute(t, env, append([]string{"rejects"}, strings.Fields(command)...)...); !strings.Contains(got.stdout, `byte 13 is "\x1b", and \x1b`) || strings.Contains(got.stdout, "\x1b") {
			t.Errorf("%s: %+v", command, got)
		}
	}
}

func TestRejectsShow(t *testing.T) {
	env, _ := rejected(t)
	for _, test := range []struct {
		name string
		args string
		code int
		want []string
	}{
		{"whole", "1", 0, []string{"topic p.internaltransfer partition 0 offset 0", "key          empty", `value        {"time":1631`, `header       h: \x00\x01`, "header       n: null", "published    no"}},
		{"escapes", "2", 0, []string{`key          \x1b[31m`}},
		{"bounded", "3", 0, []string{"9010 bytes in all", "key          null"}},
		{"tombstone", "4", 0, []string{"value        null"}},
		{"raw", "1 --raw", 0, []string{goodTransfer}},
		{"missing", "77", 1, []string{"there is no reject 77"}},
		{"no id", "x", 2, []string{"no id of a reject"}},
		{"no argument", "", 2, []string{"want one id"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := execute(t, env, append([]string{"rejects", "show"}, strings.Fields(test.args)...)...)
			if got.code != test.code || strings.Contains(got.stdout, "\x1b") {
				t.Errorf("%+v", got)
			}
			for _, w := range test.want {
				if !strings.Contains(got.stdout+got.stderr, w) {
					t.Errorf("no %q in %+v", w, got)
				}
			}
			if strings.Contains(test.args, "--raw") && got.stdout != goodTransfer {
				t.Errorf("raw: %q", got.stdout)
			}
		})
	}
}

func TestRejectsRedrive(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare string
		args    string
		code    int
		want    []string
	}{
		{"one", "", "1", 0, []string{"reject 1 resolved: stored in dingir.internal_transfers", "1 rejects resolved"}},
		{"the same bytes twice", "", "1 2", 0, []string{"reject 1 resolved: stored", "reject 2 resolved: its row is in dingir.internal_transfers already"}},
		{"all", "", "--all", 1, []string{"reject 1 resolved", "reject 2 resolved", "reject 3 stays: ", "reject 4 stays: ", "2 of 4 rejects"}},
		{"all of its own prefix", "UPDATE dingir.rejects SET topic = 'other.' || topic WHERE id = 4", "--all", 1, []string{"reject 3 stays: ", "1 of 3 rejects"}},
		{"topic", "", "--topic internaltransfer", 1, []string{"2 of 4 rejects"}},
		{"reason", "", "--reason tombstone", 1, []string{"reject 4 stays", "1 of 1 rejects"}},
		{"foreign", "", "--reason foreign", 1, []string{"reject 5 stays: foreign"}},
		{"nothing left", "UPDATE dingir.rejects SET resolved_at = now() WHERE id = 9", "--topic trades", 0, []string{"0 rejects resolved"}},
		{"unknown", "", "99", 1, []string{"reject 99: there is no such reject; `persistor rejects list`"}},
		{"one twice", "", "1 1", 0, []string{"reject 1 resolved: stored", "reject 1: it is resolved already", "1 rejects resolved"}},
		{"collision", `INSERT INTO dingir.internal_transfers (time, user_from, user_to, content_hash, src_offset, src_partition, src_topic, asset, amount)
			VALUES ('2021-09-08 10:34:34.239939Z', 1, 3, HASH, 0, 0, 9, 'USDT', 7)`, "1", 1, []string{"hash collision"}},
		{"refused by the database", "ALTER TABLE dingir.internal_transfers ADD CHECK (amount < 10)", "1", 1, []string{"reject 1 stays: dingir.internal_transfers refuses it: ", "violates check constraint"}},
		{"nothing chosen", "", "", 2, []string{"want either ids"}},
		{"both chosen", "", "1 --all", 2, []string{"want either ids"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			env, sql := rejected(t)
			if test.prepare != "" {
				sql(strings.ReplaceAll(test.prepare, "HASH", fmt.Sprint(ingest.Hash([]byte(goodTransfer)))))
			}
			got := execute(t, env, append([]string{"rejects", "redrive"}, strings.Fields(test.args)...)...)
			if got.code != test.code {
				t.Errorf("%+v", got)
			}
			for _, w := range test.want {
				if !strings.Contains(got.stdout+got.stderr, w) {
					t.Errorf("no %q in %+v", w, got)
				}
			}
			// Whatever happened, each position is accounted for once.
			if got := execute(t, env, "verify"); got.code != 0 {
				t.Errorf("verify: %+v", got)
			}
		})
	}
}

// A redriven record can bring an id that another row has by now: both are kept, and
// whoever redrives it is told.
func TestRedriveTellsOfConflicts(t *testing.T) {
	env, sql := rejected(t)
	sql("INSERT INTO dingir.topics (name, cluster_id, topic_uuid) VALUES ('p.registeruser', 'c', gen_random_uuid())")
	sql("INSERT INTO dingir.ledger (topic, partition, topic_id, first_offset, next_offset, high_offset) VALUES ('p.registeruser', 0, 3, 0, 2, 2)")
	for offset, id := range []int{7, 8} {
		sql(`INSERT INTO dingir.rejects (topic, partition, "offset", record_time, value, headers, reason, topic_id) VALUES ('p.registeruser', 0, $1, '2024-01-01', $2, '[]', '22003: out of range', 3)`,
			offset, fmt.Appendf(nil, `{"user_id":%d,"l1_address":"0x%d","l2_pubkey":"0x"}`, id, id))
	}
	sql("INSERT INTO dingir.users (registered_at, user_id, content_hash, src_offset, src_partition, src_topic, l1_address, l2_pubkey) VALUES ('2024-01-02', 8, 1, 9, 0, 3, '0xff', '0x')")
	got := execute(t, env, "rejects", "redrive", "6", "7")
	if got.code != 0 || strings.Contains(got.stdout, "reject 6: a conflict") || !strings.Contains(got.stdout, "reject 7 resolved: stored in dingir.users\nreject 7: a conflict, its id is there with other content; both rows are kept\n") {
		t.Errorf("%+v", got)
	}
}
