package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/reconcile"
)

// reconcileMetrics tell of comparisons of registries. Their registry labels are
// configured names.
type reconcileMetrics struct {
	runs     *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	success  *prometheus.GaugeVec
	tags     *prometheus.CounterVec
	queued   *prometheus.CounterVec
	requests *prometheus.CounterVec
}

func newReconcileMetrics(r prometheus.Registerer) *reconcileMetrics {
	m := &reconcileMetrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_reconcile_runs_total",
			Help: "Comparisons of registries that this process ended, by outcome (done, failed, interrupted).",
		}, []string{"registry", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tidewaiter_reconcile_run_seconds",
			Help:    "How long this process worked on a comparison of a whole registry that it ended, in seconds.",
			Buckets: []float64{1, 5, 15, 60, 300, 900, 3600, 14400, 43200},
		}, []string{"registry"}),
		success: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidewaiter_reconcile_last_success_timestamp_seconds",
			Help: "When the last comparison of the whole registry ended well, in seconds since 1970, whichever process did it.",
		}, []string{"registry"}),
		tags: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_reconcile_compared_total",
			Help: "Tags and untagged manifests compared, by result (new, moved, same, gone, excluded, retried, error).",
		}, []string{"registry", "result"}),
		queued: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_reconcile_scans_queued_total",
			Help: "Scans queued by comparisons, by why (new, moved, gone, retried, rules).",
		}, []string{"registry", "why"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_reconcile_requests_total",
			Help: "Questions that comparisons put to registries; logins are not counted.",
		}, []string{"registry"}),
	}
	r.MustRegister(m.runs, m.seconds, m.success, m.tags, m.queued, m.requests)
	return m
}

// observe adds what a run came across since it was told last.
func (m *reconcileMetrics) observe(registry string, since reconcile.Counts, queued map[reconcile.Why]int) {
	for result, n := range map[string]int64{
		"new": since.New, "moved": since.Moved, "same": since.Same, "gone": since.Gone, "excluded": since.Excluded,
		"retried": since.Retried, "error": since.Errors,
	} {
		m.tags.WithLabelValues(registry, result).Add(float64(n))
	}
	for why, n := range queued {
		m.queued.WithLabelValues(registry, string(why)).Add(float64(n))
	}
	m.requests.WithLabelValues(registry).Add(float64(since.Requests))
}

// ended counts a run.
func (m *reconcileMetrics) ended(run reconcile.Run, took time.Duration, err error) {
	outcome := "done"
	switch {
	case errs.Is(err, errs.Canceled):
		outcome = "interrupted"
	case err != nil:
		outcome = "failed"
	}
	m.runs.WithLabelValues(run.Registry, outcome).Inc()
	if run.Repository == "" && outcome != "interrupted" {
		m.seconds.WithLabelValues(run.Registry).Observe(took.Seconds())
	}
	if run.Repository == "" && err == nil {
		m.success.WithLabelValues(run.Registry).SetToCurrentTime()
	}
}

// succeeded takes over what other processes did.
func (m *reconcileMetrics) succeeded(last map[string]time.Time) {
	for registry, at := range last {
		m.success.WithLabelValues(registry).Set(float64(at.Unix()))
	}
}
