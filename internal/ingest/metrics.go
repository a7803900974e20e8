package ingest

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/thaliumx/persistor/internal/httpserver"
	"github.com/thaliumx/persistor/internal/live"
	"github.com/thaliumx/persistor/internal/store"
)

// metrics are those of the contract; no label ever comes from a payload.
type metrics struct {
	records   *prometheus.CounterVec
	conflicts *prometheus.CounterVec
	commits   *prometheus.CounterVec
	duration  prometheus.Histogram
	size      prometheus.Histogram
	endToEnd  prometheus.Histogram

	mismatches *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, d *Daemon) *metrics {
	m := &metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "persistor_records_total",
			Help: "Records taken, by what became of each: a row, a row that was there already, or a reject."}, []string{"topic", "outcome"}),
		conflicts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "persistor_conflicts_total",
			Help: "Ids that returned with other content, as after an engine's crash; both rows are kept."}, []string{"topic"}),
		commits: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "persistor_commits_total",
			Help: "Attempts to store a batch, by result: ok, or the class of the error. Anything but ok that keeps growing needs a look at the log."}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "persistor_commit_duration_seconds",
			Help: "Time to store a batch, from its first byte to the server's word that it is committed.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16)}),
		size: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "persistor_batch_records",
			Help: "Records in a batch: small ones mean that the daemon keeps up.", Buckets: prometheus.ExponentialBuckets(1, 4, 9)}),
		endToEnd: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "persistor_end_to_end_seconds",
			Help: "Time from a record's timestamp to its commit, of the oldest record in each batch.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 20)}),
		mismatches: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "persistor_state_mismatches_total",
			Help: "Cross-checks of the state that failed in records stored by this process: where unifyevents contradicts itself."}, []string{"check"}),
	}
	for _, check := range live.CheckNames() {
		m.mismatches.WithLabelValues(check)
	}
	for _, result := range []string{"ok", store.Retry.String(), store.Duplicate.String(), store.BadRow.String(), store.Fault.String(), store.Fenced.String(), store.Unknown.String()} {
		m.commits.WithLabelValues(result)
	}
	for _, topic := range d.Options.topicNames() {
		for _, outcome := range []string{"stored", "duplicate", "rejected"} {
			m.records.WithLabelValues(topic, outcome)
		}
		m.conflicts.WithLabelValues(topic)
	}
	r.MustRegister(m.records, m.conflicts, m.commits, m.duration, m.size, m.endToEnd, m.mismatches, &partitionCollector{d: d},
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "persistor_rejects_pending",
			Help: "Records of this topic prefix that could not be stored and wait for `persistor rejects`, foreign ones left out."},
			func() float64 { return float64(d.rejectsPending.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "persistor_ready",
			Help: "1 while /readyz is content, else 0; it says why."},
			func() float64 {
				if s := d.Status(); s.Ready() {
					return 1
				}
				return 0
			}))
	return m
}

func (m *metrics) commit(err error, took time.Duration) {
	if err == nil {
		m.commits.WithLabelValues("ok").Inc()
		m.duration.Observe(took.Seconds())
		return
	}
	result := store.Classify(err).String()
	var bad *store.BadRecords
	if errors.As(err, &bad) {
		result = store.BadRow.String()
	}
	m.commits.WithLabelValues(result).Inc()
}

func (m *metrics) stored(p *partition, progress *store.Progress) {
	rejected := len(progress.Rejected)
	m.records.WithLabelValues(p.name, "rejected").Add(float64(rejected))
	m.records.WithLabelValues(p.name, "duplicate").Add(float64(progress.Duplicates))
	m.records.WithLabelValues(p.name, "stored").Add(float64(progress.Records - rejected - progress.Duplicates))
}

func (m *metrics) batch(records int, oldest int64) {
	m.size.Observe(float64(records))
	if oldest > 0 {
		m.endToEnd.Observe(max(0, time.Since(time.UnixMilli(oldest)).Seconds()))
	}
}

func (m *metrics) mismatch(check string, n int64) {
	m.mismatches.WithLabelValues(check).Add(float64(n))
}

func (m *metrics) conflict(topic string, n int) {
	m.conflicts.WithLabelValues(topic).Add(float64(n))
}

// partitionCollector reads the partitions when it is scraped, so that a
// partition given up leaves no stale figure behind.
type partitionCollector struct{ d *Daemon }

var (
	lagDesc = prometheus.NewDesc("kafka_consumer_lag",
		"Offsets that are in the topic but not in the database: high watermark less the ledger.", []string{"group", "topic", "partition"}, nil)
	nextDesc = prometheus.NewDesc("persistor_ledger_next_offset",
		"The ledger's position: the first offset that is not stored.", []string{"topic", "partition"}, nil)
	auditDesc = prometheus.NewDesc("persistor_state_balance_audit_differences",
		"Balances that stand otherwise in balance_changes than in the reconstructed state, also after waiting for what was on its way; dingir.balance_audit lists them.", nil, nil)
	headroomDesc = prometheus.NewDesc("persistor_retention_headroom_records",
		"Offsets between the start of the log and the ledger. When it reaches 0 while there is lag, Kafka's retention is about to remove records that are not stored.", []string{"topic", "partition"}, nil)
	haltedDesc = prometheus.NewDesc("persistor_halted",
		"1 while the partition is halted because going on would lose or double data; the log, /readyz and the status page say why and what to do.", []string{"topic", "partition"}, nil)
)

// Describe sends the descriptions.
func (c *partitionCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{lagDesc, nextDesc, headroomDesc, haltedDesc, auditDesc} {
		ch <- d
	}
}

// Collect sends the figures of the partitions that are ours.
func (c *partitionCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	if c.d.audit != nil {
		if r := c.d.audit.Report(); !r.At.IsZero() {
			gauge(auditDesc, float64(r.Differences))
		}
	}
	for _, p := range c.d.snapshots() {
		id := strconv.Itoa(p.Partition)
		if lag, known := p.Lag(); known {
			gauge(lagDesc, float64(lag), c.d.Options.Consumer.GroupID, p.Topic, id)
		}
		if p.NextOffset >= 0 {
			gauge(nextDesc, float64(p.NextOffset), p.Topic, id)
		}
		if headroom, known := p.Headroom(); known {
			gauge(headroomDesc, float64(headroom), p.Topic, id)
		}
		halted := 0.0
		if p.State == httpserver.Halted {
			halted = 1
		}
		gauge(haltedDesc, halted, p.Topic, id)
	}
}
