package httpserver

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// handler answers from one source.
type handler struct {
	source Source
	log    *slog.Logger
}

func newHandler(source Source, metrics prometheus.Gatherer, log *slog.Logger) http.Handler {
	h := &handler{source: source, log: log}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		// One broken collector must not take the other metrics with it.
		ErrorHandling:     promhttp.ContinueOnError,
		EnableOpenMetrics: true,
	}))
	mux.HandleFunc("GET /healthz", h.healthz)
	mux.HandleFunc("GET /readyz", h.readyz)
	mux.HandleFunc("GET /api/status", h.status)
	mux.HandleFunc("GET /{$}", h.page)
	return mux
}

// healthz is for a liveness probe: a restart helps against what it reports.
func (h *handler) healthz(w http.ResponseWriter, _ *http.Request) {
	s := h.source.Status()
	h.write(w, code(s.Healthy()), struct {
		Healthy bool     `json:"healthy"`
		Reasons []Reason `json:"reasons"`
	}{s.Healthy(), append([]Reason{}, s.Unhealthy...)})
}

// readyz is for a readiness probe and for whoever is on call.
func (h *handler) readyz(w http.ResponseWriter, _ *http.Request) {
	s := h.source.Status()
	h.write(w, code(s.Ready()), struct {
		Ready   bool     `json:"ready"`
		Reasons []Reason `json:"reasons"`
	}{s.Ready(), s.Reasons()})
}

func code(fine bool) int {
	if fine {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

// status is 200 also when things are bad: asking how they are has worked.
func (h *handler) status(w http.ResponseWriter, _ *http.Request) {
	s := h.source.Status()
	if s.Partitions == nil {
		s.Partitions = []Partition{}
	}
	h.write(w, http.StatusOK, struct {
		Now     time.Time `json:"now"`
		Healthy bool      `json:"healthy"`
		Ready   bool      `json:"ready"`
		Reasons []Reason  `json:"reasons"`
		Status
	}{time.Now().UTC(), s.Healthy(), s.Ready(), s.Reasons(), s})
}

func (h *handler) write(w http.ResponseWriter, code int, value any) {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		h.fail(w, "encode the status", err)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	h.send(w, append(body, '\n'))
}

// page is for people. It is rendered whole before the first byte leaves, so
// that a mistake in the template cannot pass for half a page.
func (h *handler) page(w http.ResponseWriter, _ *http.Request) {
	s := h.source.Status()
	nonce := rand.Text()
	var body bytes.Buffer
	if err := pageTemplate().Execute(&body, newView(&s, time.Now(), nonce)); err != nil {
		h.fail(w, "render the status page", err)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; frame-ancestors 'self'; script-src 'nonce-"+nonce+"'")
	h.send(w, body.Bytes())
}

func (h *handler) fail(w http.ResponseWriter, what string, err error) {
	h.log.Error(what, "error", err)
	http.Error(w, what+": "+err.Error(), http.StatusInternalServerError)
}

// send writes the answer; a reader that went away is none of our business.
func (h *handler) send(w http.ResponseWriter, body []byte) {
	if _, err := w.Write(body); err != nil {
		h.log.Debug("send an HTTP answer", "error", err)
	}
}
