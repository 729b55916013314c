package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/intake"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// bookkeeper keeps the books nobody asks for at the moment they change: the
// requests to endpoints that were refused, and the metrics of what is known and
// what became of it.
type bookkeeper struct {
	store      *postgres.Store
	rejections *intake.Rejections
	metrics    *coverageMetrics
	logger     *slog.Logger
}

const (
	countCoverage = time.Minute     // between two counts for the metrics
	lastEntries   = 5 * time.Second // for what has to be written at the stop
)

func newBookkeeper(store *postgres.Store, registerer prometheus.Registerer, logger *slog.Logger) *bookkeeper {
	b := &bookkeeper{store: store, rejections: intake.NewRejections(store, logger), metrics: newCoverageMetrics(), logger: logger}
	registerer.MustRegister(b.metrics)
	return b
}

// run works until ctx ends.
func (b *bookkeeper) run(ctx context.Context) error {
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() { b.rejections.Run(ctx) })
	for b.count(ctx); ctx.Err() == nil; b.count(ctx) {
		wait(ctx, countCoverage)
	}
	return nil
}

// count brings the metrics up to date; those of the last time stay when it
// fails.
func (b *bookkeeper) count(ctx context.Context) {
	ledgers, err := b.store.RefreshLedgers(ctx)
	if err == nil {
		var endpoints map[string]report.Endpoint
		if endpoints, err = b.store.Endpoints(ctx); err == nil {
			b.metrics.set(ledgers, endpoints)
		}
	}
	if err != nil && ctx.Err() == nil {
		b.logger.WarnContext(ctx, "coverage not counted, trying again", "error", err)
	}
}

// close writes what was refused until the server had stopped.
func (b *bookkeeper) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastEntries)
	defer cancel()
	if err := b.rejections.Flush(ctx); err != nil {
		b.logger.WarnContext(ctx, "rejected webhook requests not recorded", "error", err)
	}
}

// coverageMetrics shows the last count, whole: a scrape never sees one half done.
type coverageMetrics struct {
	manifests, unresolved, unread *prometheus.Desc
	ratio, oldest                 *prometheus.Desc
	last, gap, silent             *prometheus.Desc

	mu        sync.Mutex
	ledgers   []report.RegistryCoverage
	endpoints map[string]report.Endpoint
}

func newCoverageMetrics() *coverageMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tidewaiter_"+name, help, append([]string{"registry"}, labels...), nil)
	}
	return &coverageMetrics{
		manifests:  desc("coverage_manifests", "What is known of a registry, by state: manifests of repositories, and targets no scan has found out about.", "state"),
		unresolved: desc("coverage_unresolved", "Targets that somebody told of and no scan has found out about; part of tidewaiter_coverage_manifests."),
		unread:     desc("coverage_unread", "Repositories and tags that the newest whole reconciliation could not look at."),
		ratio:      desc("coverage_ratio", "Share of what is known and not gone, and of what could not be looked at, that has a standing last word: done, unsupported, too_large or excluded."),
		oldest:     desc("coverage_oldest_answer_timestamp_seconds", "When the oldest answer behind a live tag was made, in seconds since 1970."),
		last:       desc("webhook_last_delivery_timestamp_seconds", "When an event of the endpoint was last stored, by any process, in seconds since 1970."),
		gap:        desc("webhook_usual_gap_seconds", "Gaps between bursts of events in the week before the last one (median, p95, longest).", "gap"),
		silent:     desc("webhook_silent", "1 when the time since the last event is far beyond the usual gaps; missing while too little was heard to say."),
	}
}

func (m *coverageMetrics) set(ledgers []report.RegistryCoverage, endpoints map[string]report.Endpoint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ledgers, m.endpoints = ledgers, endpoints
}

// Describe implements prometheus.Collector.
func (m *coverageMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.manifests, m.unresolved, m.unread, m.ratio, m.oldest, m.last, m.gap, m.silent} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *coverageMetrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for _, l := range m.ledgers {
		for _, state := range report.LedgerStates() {
			gauge(m.manifests, float64(l.States.Of(state)), l.Registry, string(state))
		}
		gauge(m.unresolved, float64(l.Unresolved), l.Registry)
		gauge(m.unread, float64(l.Unread), l.Registry)
		if l.Share != nil {
			gauge(m.ratio, *l.Share, l.Registry)
		}
		if l.OldestAnswerAt != nil {
			gauge(m.oldest, float64(l.OldestAnswerAt.Unix()), l.Registry)
		}
	}
	for registry, e := range m.endpoints {
		gauge(m.last, float64(e.LastDeliveryAt.Unix()), registry)
		gauge(m.gap, float64(e.Pace.MedianGapSeconds), registry, "median")
		gauge(m.gap, float64(e.Pace.P95GapSeconds), registry, "p95")
		gauge(m.gap, float64(e.Pace.LongestGapSeconds), registry, "longest")
		switch e.Pace.Judge(time.Since(*e.LastDeliveryAt)) {
		case report.SilenceAlarm:
			gauge(m.silent, 1, registry)
		case report.SilenceUsual:
			gauge(m.silent, 0, registry)
		}
	}
}
