package app

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
)

// Retention is what a configuration says of how long what is over is kept.
func Retention(c config.Config) postgres.Retention {
	r := c.Retention
	return postgres.Retention{
		Untagged: r.Untagged, Gone: r.Gone, Documents: r.Documents, History: r.History, Events: r.Events,
		Deliveries: r.Deliveries, Scans: r.Scans, Reconciliations: r.Reconciliations, Audit: r.Audit,
	}
}

// collector sees to it that what is over goes when its time has come. The
// database decides which process does it.
type collector struct {
	store     *postgres.Store
	retention postgres.Retention
	every     time.Duration // zero for only on demand
	metrics   *collectMetrics
	logger    *slog.Logger
}

func (a *App) newCollector() *collector {
	return &collector{store: a.store, retention: Retention(a.config), every: a.config.Retention.Interval,
		metrics: newCollectMetrics(a.metrics), logger: a.logger}
}

// run collects on schedule until ctx ends.
func (g *collector) run(ctx context.Context) {
	const look = 5 * time.Minute
	for wait(ctx, time.Minute); ctx.Err() == nil; wait(ctx, look) { // what just started has better to do
		if g.every > 0 {
			g.collect(ctx)
		}
		if last, err := g.store.LastCollected(ctx); err == nil {
			g.metrics.succeeded(last)
		}
	}
}

// collect makes a pass when it is time for one. That another process makes it is
// no failure.
func (g *collector) collect(ctx context.Context) {
	start := time.Now()
	done, err := g.store.Collect(ctx, g.retention, postgres.CollectOptions{Every: g.every, Observe: g.metrics.observe, Logger: g.logger})
	switch {
	case ctx.Err() != nil || errs.Is(err, errs.Conflict) || err == nil && !done.Due:
	case err != nil:
		g.metrics.failures.WithLabelValues(string(errs.KindOf(err))).Inc()
		g.logger.WarnContext(ctx, "collection cut off, going on later", "error", err)
	default:
		g.metrics.seconds.Observe(time.Since(start).Seconds())
		sum := done.Figures.Sum()
		attrs := []any{"rows", sum.Rows, "bytes", sum.Bytes, "seconds", time.Since(start).Seconds(), "resumed", done.Resumed, "skipped", done.Skipped}
		for _, table := range slices.Sorted(maps.Keys(done.Figures)) {
			attrs = append(attrs, table, done.Figures[table].Rows)
		}
		g.logger.InfoContext(ctx, "collected what was over", attrs...)
	}
}

// collectMetrics tell of collections. Their table labels are tables of the schema.
type collectMetrics struct {
	rows, bytes *prometheus.CounterVec
	seconds     prometheus.Histogram
	failures    *prometheus.CounterVec
	success     prometheus.Gauge
}

func newCollectMetrics(r prometheus.Registerer) *collectMetrics {
	m := &collectMetrics{
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_collect_rows_total",
			Help: "Rows that collections of this process deleted, by table.",
		}, []string{"table"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_collect_bytes_total",
			Help: "What those rows took as they were stored, without indexes.",
		}, []string{"table"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tidewaiter_collect_seconds",
			Help:    "How long this process worked on a collection that it ended, in seconds.",
			Buckets: []float64{1, 5, 15, 60, 300, 900, 3600, 14400},
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_collect_failures_total",
			Help: "Collections that were cut off, by error kind; they go on later.",
		}, []string{"kind"}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidewaiter_collect_last_success_timestamp_seconds",
			Help: "When the last collection came to its end, in seconds since 1970, whichever process made it; 0 when none did.",
		}),
	}
	r.MustRegister(m.rows, m.bytes, m.seconds, m.failures, m.success)
	return m
}

// observe adds what a batch took.
func (m *collectMetrics) observe(gone postgres.Figures) {
	for table, f := range gone {
		m.rows.WithLabelValues(table).Add(float64(f.Rows))
		m.bytes.WithLabelValues(table).Add(float64(f.Bytes))
	}
}

func (m *collectMetrics) succeeded(at time.Time) {
	if !at.IsZero() {
		m.success.Set(float64(at.Unix()))
	}
}
