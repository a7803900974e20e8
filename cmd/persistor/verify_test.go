package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/testenv"
	"github.com/thaliumx/persistor/internal/verify"
)

// migrated returns a database with the schema, and what runs SQL on it.
func migrated(t *testing.T) (url string, sql func(string, ...any)) {
	t.Helper()
	url = testenv.Database(t)
	if _, err := store.Migrate(t.Context(), store.Options{URL: url}); err != nil {
		t.Fatal(err)
	}
	return url, func(text string, args ...any) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if _, err := conn.Exec(t.Context(), text, args...); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerify(t *testing.T) {
	url, sql := migrated(t)
	env := []string{"PERSISTOR_DATABASE_URL=" + url, "PERSISTOR_TOPIC_PREFIX=p."}
	got := execute(t, env, "verify")
	if got.code != 0 || !strings.Contains(got.stdout, "nothing has been stored here yet") {
		t.Errorf("empty: %+v", got)
	}
	sql(`INSERT INTO dingir.topics (name, cluster_id, topic_uuid) VALUES ('p.trades', 'c', gen_random_uuid());
		INSERT INTO dingir.ledger (topic, partition, topic_id, first_offset, next_offset, high_offset) VALUES ('p.trades', 0, 1, 0, 5, 5)`)
	got = execute(t, env, "verify")
	if got.code != 3 || !strings.Contains(got.stdout, "missing: topic p.trades partition 0 offsets 0 to 4 (5)") {
		t.Errorf("missing: %+v", got)
	}
	got = execute(t, env, "verify", "--format", "json")
	var r verify.Report
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || got.code != 3 || r.Total != 1 || r.Differences[0].Last != 4 {
		t.Errorf("json: %v %+v", err, got)
	}
	for _, wrong := range [][]string{{"--format", "xml"}, {"--since", "yesterday"}, {"--since", "-1h"}, {"--connections", "0"}} {
		if got = execute(t, env, append([]string{"verify"}, wrong...)...); got.code != 2 {
			t.Errorf("%v: %+v", wrong, got)
		}
	}
	got = execute(t, env, "verify", "--since", "1h", "--connections", "1", "--checkpoint", filepath.Join(t.TempDir(), "checkpoint"))
	if got.code != 0 || !strings.Contains(got.stdout, "since 2") {
		t.Errorf("since: %+v", got)
	}
}

func TestVerifyWithoutSchema(t *testing.T) {
	got := execute(t, []string{"PERSISTOR_DATABASE_URL=" + testenv.Database(t)}, "verify")
	if got.code != 1 || !strings.Contains(got.stderr, "persistor migrate") {
		t.Errorf("%+v", got)
	}
}
