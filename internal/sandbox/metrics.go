package sandbox

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Metrics counts children and jobs. A nil *Metrics counts nothing.
type Metrics struct {
	jobs     *prometheus.CounterVec
	seconds  prometheus.Histogram
	starts   *prometheus.CounterVec
	starting prometheus.Histogram
	peaks    prometheus.Histogram
}

// NewMetrics registers the metrics of worker processes.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_worker_jobs_total",
			Help: "Jobs that worker processes were given, by how they ended (done, broken, or an error kind).",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tidewaiter_worker_job_seconds",
			Help:    "How long a worker process had a job, in seconds.",
			Buckets: []float64{.02, .1, .5, 1, 2, 5, 10, 30, 60, 300, 1800},
		}),
		starts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_worker_starts_total",
			Help: "Worker processes started, by why (first, aged, failed).",
		}, []string{"why"}),
		starting: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tidewaiter_worker_start_seconds",
			Help:    "How long a worker process took until it was ready, in seconds.",
			Buckets: []float64{.1, .5, 1, 2, 5, 10, 30, 120},
		}),
		peaks: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tidewaiter_worker_peak_resident_bytes",
			Help:    "Most resident memory a worker process was seen with during a job, in bytes.",
			Buckets: []float64{64 << 20, 128 << 20, 192 << 20, 256 << 20, 384 << 20, 512 << 20, 768 << 20, 1 << 30, 3 << 29, 2 << 30, 4 << 30},
		}),
	}
	r.MustRegister(m.jobs, m.seconds, m.starts, m.starting, m.peaks)
	return m
}

func (m *Metrics) job(err error, took time.Duration) {
	if m == nil {
		return
	}
	outcome := "done"
	switch {
	case isBroken(err):
		outcome = "broken"
	case err != nil:
		outcome = string(errs.KindOf(err))
	}
	m.jobs.WithLabelValues(outcome).Inc()
	m.seconds.Observe(took.Seconds())
}

func (m *Metrics) start(why string) {
	if m != nil {
		m.starts.WithLabelValues(why).Inc()
	}
}

func (m *Metrics) ready(took time.Duration) {
	if m != nil {
		m.starting.Observe(took.Seconds())
	}
}

func (m *Metrics) peak(bytes int64) {
	if m != nil {
		m.peaks.Observe(float64(bytes))
	}
}
