package catalog

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/catalog/layers"
)

// Metrics count what cataloguing takes. A nil *Metrics counts nothing.
type Metrics struct {
	tally   *tally // in place of all others
	layers  *prometheus.CounterVec
	skipped prometheus.Counter
	written prometheus.Counter
	cache   prometheus.Gauge
	found   *prometheus.CounterVec
}

// NewMetrics registers the metrics of cataloguing.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		layers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_layers_total",
			Help: "Image layers that were needed, by outcome (cached, read; read_again for a second reading because of content that was not kept).",
		}, []string{"outcome"}),
		skipped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidewaiter_layer_entries_skipped_total",
			Help: "Entries of layers that were left out because no file system could hold them.",
		}),
		written: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidewaiter_layer_written_bytes_total",
			Help: "Bytes written to disk for layers that were read.",
		}),
		cache: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidewaiter_layer_cache_bytes",
			Help: "Bytes that kept layers take on disk, as last counted; 0 before the first scan.",
		}),
		found: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_catalogers_total",
			Help: "Catalogers that were asked about an image, by outcome (recalled: what it found in another image it would find again; run).",
		}, []string{"outcome"}),
	}
	for _, outcome := range []string{"cached", "read", "read_again"} {
		m.layers.WithLabelValues(outcome)
	}
	for _, outcome := range []string{"recalled", "run"} {
		m.found.WithLabelValues(outcome)
	}
	r.MustRegister(m.layers, m.skipped, m.written, m.cache, m.found)
	return m
}

// count takes down what the layers of an image took, when they are done with.
func (m *Metrics) count(read []*layers.Layer) {
	if m == nil {
		return
	}
	for _, l := range read {
		if l == nil {
			continue
		}
		outcome := "read"
		if l.Cached {
			outcome = "cached"
		}
		m.layers.WithLabelValues(outcome).Inc()
		if l.Missed() {
			m.layers.WithLabelValues("read_again").Inc()
		}
		m.written.Add(float64(l.Written()))
		m.skipped.Add(float64(l.Skipped))
	}
}

// kept takes down what a layer took that is kept for a worker process.
func (m *Metrics) kept(v variant, k *layers.Kept) {
	if m == nil {
		return
	}
	outcome := "read"
	switch {
	case v.Everything:
		outcome = "read_again"
	case k.Cached:
		outcome = "cached"
	}
	m.layers.WithLabelValues(outcome).Inc()
	if !k.Cached {
		m.written.Add(float64(k.Bytes))
	}
	if !v.Everything {
		m.skipped.Add(float64(k.Skipped))
	}
}

// asked counts a cataloger.
func (m *Metrics) asked(outcome string) {
	switch {
	case m == nil:
	case m.tally != nil:
		m.tally.asked(outcome)
	default:
		m.found.WithLabelValues(outcome).Inc()
	}
}

// told takes down what a worker process counted.
func (m *Metrics) told(recalled, run int) {
	const most = 1000 // there are not so many catalogers
	if m != nil && recalled >= 0 && run >= 0 && recalled+run <= most {
		m.found.WithLabelValues("recalled").Add(float64(recalled))
		m.found.WithLabelValues("run").Add(float64(run))
	}
}

// tally is what a worker process counts of a job, for another to take down.
type tally struct{ recalled, run atomic.Int64 }

func (t *tally) asked(outcome string) {
	if outcome == "recalled" {
		t.recalled.Add(1)
		return
	}
	t.run.Add(1)
}

func (m *Metrics) size(store *layers.Store) {
	if m != nil {
		m.cache.Set(float64(store.Size()))
	}
}
