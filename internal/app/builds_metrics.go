package app

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/postgres"
)

// buildMetrics shows the last count of builds and of what they led to, whole.
type buildMetrics struct {
	states, seconds, changed, judged, fresh, events *prometheus.Desc

	mu      sync.Mutex
	counted bool
	figures postgres.BuildFigures
}

func newBuildMetrics() *buildMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tidewaiter_"+name, help, labels, nil)
	}
	return &buildMetrics{
		states:  desc("vulndb_builds", "Database builds by state (active, candidate, held); a held one waits for a person.", "state"),
		seconds: desc("vulndb_published_to_judged_seconds", "Time from when the build in force was published until all answers were of it, in seconds."),
		changed: desc("vulndb_changed_packages", "Packages that were judged for the build in force because what concerns them had changed."),
		judged:  desc("vulndb_candidate_judged_ratio", "Share of the packages a candidate has to judge that are judged; 1 when there is no candidate."),
		fresh:   desc("freshness_ratio", "Share of images in repositories that have an answer of a database build younger than 24 hours."),
		events:  desc("finding_events", "Events of findings in the last hour, by kind (opened, closed, escalated, fix_available, reopened) and cause (push, build, exception, delete).", "kind", "cause"),
	}
}

// count brings the metrics up to date.
func (m *buildMetrics) count(ctx context.Context, store *postgres.Store) error {
	figures, err := store.BuildFigures(ctx)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.figures, m.counted = figures, true
	return nil
}

// Describe implements prometheus.Collector.
func (m *buildMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.states, m.seconds, m.changed, m.judged, m.fresh, m.events} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *buildMetrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.counted {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for _, state := range []string{"active", "candidate", "held"} {
		gauge(m.states, float64(m.figures.States[state]), state)
	}
	gauge(m.seconds, m.figures.SecondsToJudge)
	gauge(m.changed, float64(m.figures.ChangedPackages))
	gauge(m.judged, m.figures.Judged)
	gauge(m.fresh, m.figures.Fresh)
	for _, e := range m.figures.Events {
		gauge(m.events, float64(e.N), e.Kind, e.Cause)
	}
}
