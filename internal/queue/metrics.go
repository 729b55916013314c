package queue

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// Metrics counts scans. A nil *Metrics counts nothing.
type Metrics struct {
	attempts *prometheus.CounterVec
	phases   *prometheus.HistogramVec
	pulled   prometheus.Counter
	scans    *prometheus.GaugeVec
	oldest   prometheus.Gauge
}

// NewMetrics registers the metrics of scans.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_scan_attempts_total",
			Help: "Attempts at scans, by outcome (end, retry, canceled by somebody) and error kind (none when it succeeded).",
		}, []string{"outcome", "kind"}),
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tidewaiter_scan_phase_seconds",
			Help:    "How long each phase of a scan took, in seconds.",
			Buckets: []float64{.005, .02, .1, .5, 1, 2, 5, 10, 30, 60, 300, 1800},
		}, []string{"phase"}),
		pulled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidewaiter_scan_pulled_bytes_total",
			Help: "Compressed bytes of layers read from registries.",
		}),
	}
	m.scans = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tidewaiter_scans",
		Help: "Scans that wait or run in all processes, by state (queued, running).",
	}, []string{"state"})
	m.oldest = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tidewaiter_scan_oldest_due_seconds",
		Help: "How long the scan that is due longest has waited for a worker, in seconds; 0 when none is due.",
	})
	r.MustRegister(m.attempts, m.phases, m.pulled, m.scans, m.oldest)
	m.depth(0, 0, 0)
	return m
}

func (m *Metrics) depth(queued, running int, oldest time.Duration) {
	if m == nil {
		return
	}
	m.scans.WithLabelValues("queued").Set(float64(queued))
	m.scans.WithLabelValues("running").Set(float64(running))
	m.oldest.Set(oldest.Seconds())
}

func (m *Metrics) observe(result scan.Result, d decision, cause error) {
	if m == nil {
		return
	}
	kind := "none"
	if cause != nil {
		kind = string(errs.KindOf(cause))
	}
	m.attempts.WithLabelValues(d.String(), kind).Inc()
	for _, p := range result.Phases {
		m.phases.WithLabelValues(p.Name).Observe(p.Duration.Seconds())
	}
	m.pulled.Add(float64(result.Pulled))
}
