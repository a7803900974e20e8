package httpserver

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// fixed is a Source with one answer.
type fixed struct{ status Status }

func (f fixed) Status() Status { return f.status }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// running is a daemon in good health.
func running(now time.Time) Status {
	s := Status{
		Version: "1.4.0", Commit: "0123abc", Started: now.Add(-9*24*time.Hour - 4*time.Hour),
		Kafka:    Connection{Target: "kafka-1:9092,kafka-2:9092,kafka-3:9092", Up: true, Since: now.Add(-26 * time.Hour)},
		Database: Connection{Target: "db.internal:5432, database market, as persistor", Up: true, Since: now.Add(-9 * 24 * time.Hour)},
		Group:    Group{ID: "thaliumx-persistor", State: "stable", Generation: 17},
		Rates:    Rates{Records: 4210, Commits: 7.5, CommitMillis: 8.4, EndToEnd: 37},
	}
	for _, topic := range []string{"balances", "orders", "trades", "unifyevents"} {
		for n := range map[string]int{"balances": 3, "orders": 6, "trades": 6, "unifyevents": 1}[topic] {
			s.Partitions = append(s.Partitions, Partition{
				Topic: topic, Partition: n, State: Running, Worker: len(s.Partitions) % 3,
				NextOffset: 81_234_567 + int64(n), HighWatermark: 81_234_567 + 2*int64(n), LogStart: 12_000_000,
				LastCommit: now.Add(-time.Duration(n) * 100 * time.Millisecond),
			})
		}
	}
	return s
}

// exchange is one that has the exchange's state.
func exchange(now time.Time, complete bool, differences int) Status {
	s := running(now)
	s.State = &Exchange{NextOffset: 7_654_321, Complete: complete, Provisional: !complete, Users: 1204, OpenOrders: 88,
		Audit: &Audit{At: now, Checked: 1000, Differences: differences}}
	return s
}

// halted is one that needs somebody.
func halted(now time.Time) Status {
	s := running(now)
	p := &s.Partitions[7]
	p.State = Halted
	p.Reason = "Kafka's retention has removed offsets 81,234,571 to 81,300,122 before they were stored"
	p.Remedy = "if those records are really gone, run `persistor positions set --topic orders --partition 4 --offset 81300123`, which notes the gap; nothing else will start this partition"
	p.HighWatermark, p.LogStart = 82_400_000, 81_300_123
	p.LastCommit = now.Add(-3*time.Hour - 12*time.Minute)
	w := &s.Partitions[12]
	w.State, w.Reason = Waiting, "a former owner's transaction holds the ledger row"
	s.RejectsPending, s.Conflicts = 3, 12
	return s
}

// outage is one whose database is away.
func outage(now time.Time) Status {
	s := running(now)
	s.Database.Up, s.Database.Since = false, now.Add(-200*time.Second)
	s.Database.Error = "dial tcp 10.3.0.12:5432: connect: connection refused"
	s.Unready = []Reason{{
		Code:    "database_away",
		Message: "the database has not been reached for 3 min 20 s: dial tcp 10.3.0.12:5432: connect: connection refused",
		Remedy:  "look whether PostgreSQL runs on db.internal:5432; the daemon tries again every second and loses nothing meanwhile",
	}}
	for i := range s.Partitions {
		s.Partitions[i].State = Waiting
		s.Partitions[i].HighWatermark += 70_000
	}
	s.Rates = Rates{}
	return s
}

func get(t *testing.T, status Status, path string) *httptest.ResponseRecorder {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "persistor_test_total", Help: "Test."}))
	recorder := httptest.NewRecorder()
	newHandler(fixed{status}, registry, discard()).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	return recorder
}

func TestCodes(t *testing.T) {
	now := time.Now()
	stuck := running(now)
	stuck.Unhealthy = []Reason{{Code: "worker_stuck", Message: "worker 1 has not turned for 2 min 0 s"}}
	notBegun := halted(now)
	notBegun.Partitions[7].NextOffset = -1
	for _, test := range []struct {
		name   string
		status Status
		path   string
		code   int
		body   string
	}{
		{"running is healthy", running(now), "/healthz", 200, `"healthy": true`},
		{"running is ready", running(now), "/readyz", 200, `"ready": true`},
		{"no reasons are an empty list", running(now), "/readyz", 200, `"reasons": []`},
		{"an outage is healthy", outage(now), "/healthz", 200, `"reasons": []`},
		{"an outage is not ready", outage(now), "/readyz", 503, `"code": "database_away"`},
		{"a halt is healthy", halted(now), "/healthz", 200, `"healthy": true`},
		{"a halt is not ready", halted(now), "/readyz", 503, `"code": "partition_halted"`},
		{"a halt says where", halted(now), "/readyz", 503, "orders partition 4 is halted at offset 81234571: Kafka's retention"},
		{"a halt before the beginning", notBegun, "/readyz", 503, "orders partition 4 is halted: Kafka's retention"},
		{"stuck is unhealthy", stuck, "/healthz", 503, `"code": "worker_stuck"`},
		{"stuck is not ready", stuck, "/readyz", 503, `"ready": false`},
		{"nothing assigned is ready", Status{}, "/readyz", 200, `"ready": true`},
		{"status", halted(now), "/api/status", 200, `"rejects_pending": 3`},
		{"metrics", running(now), "/metrics", 200, "persistor_test_total 0"},
		{"page", running(now), "/", 200, "Running"},
		{"elsewhere", running(now), "/favicon.ico", 404, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := get(t, test.status, test.path)
			if text := r.Body.String(); r.Code != test.code || !strings.Contains(text, test.body) {
				t.Errorf("%d: %s", r.Code, text)
			}
			if cached := r.Header().Get("Cache-Control"); cached != "no-store" && test.code != 404 && test.path != "/metrics" {
				t.Errorf("may be cached: %q", cached)
			}
		})
	}
}

func TestOnlyReading(t *testing.T) {
	recorder := httptest.NewRecorder()
	newHandler(fixed{}, prometheus.NewRegistry(), discard()).ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/", nil))
	if recorder.Code != http.StatusMethodNotAllowed {
		t.Errorf("%d", recorder.Code)
	}
}

func TestStatusJSON(t *testing.T) {
	status := running(time.Now())
	status.Partitions[0].HighWatermark = -1
	var got struct {
		Ready      bool       `json:"ready"`
		Healthy    bool       `json:"healthy"`
		Version    string     `json:"version"`
		Reasons    []Reason   `json:"reasons"`
		Kafka      Connection `json:"kafka"`
		Partitions []struct {
			Topic      string `json:"topic"`
			NextOffset int64  `json:"next_offset"`
			Lag        *int64 `json:"lag"`
		} `json:"partitions"`
	}
	if err := json.Unmarshal(get(t, status, "/api/status").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if !got.Ready || !got.Healthy || got.Version != "1.4.0" || got.Reasons == nil || !got.Kafka.Up || len(got.Partitions) != 16 {
		t.Errorf("%+v", got)
	}
	if p := got.Partitions[0]; p.Lag != nil {
		t.Errorf("lag of an unknown end: %d", *p.Lag)
	}
	if p := got.Partitions[2]; p.Lag == nil || *p.Lag != 2 || p.NextOffset != 81_234_569 {
		t.Errorf("%+v", p)
	}
	if text := get(t, Status{}, "/api/status").Body.String(); !strings.Contains(text, `"partitions": []`) {
		t.Error(text)
	}
}

func TestPage(t *testing.T) {
	now := time.Now()
	evil := halted(now)
	evil.Partitions[7].Reason = "<script>alert(1)</script>"
	unknown := running(now)
	unknown.Partitions[0].HighWatermark = -1
	for _, test := range []struct {
		name      string
		status    Status
		want, not []string
	}{
		{"running", running(now), []string{"Running", "16 partitions, up to date", "81,234,567", "4,210", "37 ms", "stable, generation 17"}, []string{"What to do"}},
		{"halted", halted(now), []string{"1 partition halted", "What to do:", "<code><span>persistor</span> <span>positions</span> <span>set</span> <span>--topic</span> <span>orders</span>", "3 h 12 min ago", "<small>a former owner"}, nil},
		{"outage", outage(now), []string{"Not ready", "away for 3 min 20 s", "connection refused"}, []string{"halted"}},
		{"standing by", Status{Started: now}, []string{"Standing by", "not tried yet"}, []string{"<table"}},
		{"not known yet", unknown, []string{"still finding out", "without 1 partition not known yet", "?"}, nil},
		{"state", exchange(now, true, 0), []string{"complete, up to this offset of unifyevents", "7,654,321", "1,204", "88", "differ from balance_changes"}, []string{"incomplete", "provisional"}},
		{"state with gaps", exchange(now, false, 3), []string{"incomplete: unifyevents does not tell all; provisional", `<div class="value">3</div>`}, []string{"complete, up to"}},
		{"no state here", running(now), nil, []string{"Open orders"}},
		{"escaping", evil, []string{"&lt;script&gt;alert(1)"}, []string{"<script>alert"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := get(t, test.status, "/")
			text := r.Body.String()
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("lacks %q", want)
				}
			}
			for _, not := range test.not {
				if strings.Contains(text, not) {
					t.Errorf("has %q", not)
				}
			}
			if strings.Contains(text, "http://") && !strings.Contains(text, "xmlns='http://www.w3.org") {
				t.Error("refers to another server")
			}
			if policy := r.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
				t.Errorf("policy %q", policy)
			}
		})
	}
}

func TestPageHasHaltsFirst(t *testing.T) {
	now := time.Now()
	s := halted(now)
	v := newView(&s, now, "")
	if v.Rows[0].Topic != "orders" || v.Rows[0].Mood != bad || v.Rows[1].Mood != warn || v.Rows[2].Topic != "balances" {
		t.Errorf("%+v", v.Rows[:3])
	}
	s.Unready = outage(now).Unready
	var codes []string
	for _, r := range s.Reasons() {
		codes = append(codes, r.Code)
	}
	if !reflect.DeepEqual(codes, []string{"partition_halted", "database_away"}) {
		t.Error(codes)
	}
}

func TestWords(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{number(0), "0"}, {number(999), "999"}, {number(1000), "1,000"}, {number(-1234567), "-1,234,567"}, {number(-100), "-100"},
		{decimal(0), "0"}, {decimal(0.25), "0.2"}, {decimal(1234.6), "1,235"},
		{millis(0), "–"}, {millis(3.14), "3.1 ms"}, {millis(1500), "1,500 ms"}, {millis(90_000), "1 min 30 s"},
		{duration(-time.Second), "0 s"}, {duration(200 * time.Second), "3 min 20 s"}, {duration(50 * time.Hour), "2 d 2 h"},
		{plural(1, "record"), "1 record"}, {plural(2000, "record"), "2,000 records"},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

// TestWritePages leaves the pages in a directory, for looking at them.
func TestWritePages(t *testing.T) {
	dir := os.Getenv("STATUS_PAGES_DIR")
	if dir == "" {
		t.Skip("STATUS_PAGES_DIR says where to write the pages")
	}
	now := time.Now()
	for name, status := range map[string]Status{"running": running(now), "halted": halted(now), "outage": outage(now), "standby": {Version: "1.4.0", Started: now}} {
		if err := os.WriteFile(dir+"/"+name+".html", get(t, status, "/").Body.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
