package queue

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// Metrics counts scans. A nil *Metrics counts nothing.
type Metrics struct {
	attempts *prometheus.CounterVec
	phases   *prometheus.HistogramVec
	pulled   prometheus.Counter
}

// NewMetrics registers the metrics of scans.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_scan_attempts_total",
			Help: "Attempts at scans, by outcome (end, retry) and error kind (none when it succeeded).",
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
	r.MustRegister(m.attempts, m.phases, m.pulled)
	return m
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
