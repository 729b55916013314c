package webhook

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// reasonMethod is the label of requests with another method than POST, which
// has no kind.
const reasonMethod = "method"

// Metrics counts what endpoints receive. Every label is bounded: registry is a
// configured name ("" for requests to no endpoint), reason one of Reasons or an
// error kind. The zero value counts without being registered anywhere. One
// Metrics may serve several handlers, one after the other.
type Metrics struct{ set *metricSet }

type metricSet struct {
	received, accepted, ignored, rejected, greeted *prometheus.CounterVec
	duration                                       *prometheus.HistogramVec
	silence                                        *silence
}

// NewMetrics registers the metrics of the receiver. The error is of kind
// Conflict when they are there already.
func NewMetrics(registerer prometheus.Registerer) (Metrics, error) {
	s := newMetricSet()
	for _, c := range []prometheus.Collector{s.received, s.accepted, s.ignored, s.rejected, s.greeted, s.duration, s.silence} {
		if err := registerer.Register(c); err != nil {
			return Metrics{}, errs.Wrap(errs.Conflict, "webhook: register metrics", err)
		}
	}
	return Metrics{s}, nil
}

func newMetricSet() *metricSet {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidewaiter_webhook_" + name, Help: help}, labels)
	}
	return &metricSet{
		received: counter("received_total", "Requests to an endpoint.", "registry"),
		accepted: counter("accepted_total", "Events stored that ask for work.", "registry"),
		ignored:  counter("ignored_total", "Events stored that ask for nothing, by reason.", "registry", "reason"),
		rejected: counter("rejected_total", "Requests refused or not stored, by reason.", "registry", "reason"),
		greeted:  counter("greetings_total", "Requests that only asked whether the endpoint is there or wants the events.", "registry"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tidewaiter_webhook_accept_duration_seconds",
			Help:    "Time from the request's arrival to its events being stored.",
			Buckets: []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
		}, []string{"registry"}),
		silence: newSilence(),
	}
}

func (m Metrics) orUnregistered() Metrics {
	if m.set == nil {
		return Metrics{newMetricSet()}
	}
	return m
}

// prepare makes the series of an endpoint visible at zero.
func (m Metrics) prepare(registry string, now time.Time) {
	m.set.received.WithLabelValues(registry)
	m.set.accepted.WithLabelValues(registry)
	m.set.rejected.WithLabelValues(registry, string(errs.Unauthorized))
	m.set.duration.WithLabelValues(registry)
	m.set.silence.start(registry, now)
}

func (m Metrics) receive(registry string) { m.set.received.WithLabelValues(registry).Inc() }

func (m Metrics) greet(registry string) { m.set.greeted.WithLabelValues(registry).Inc() }

func (m Metrics) reject(registry, reason string) {
	m.set.rejected.WithLabelValues(registry, reason).Inc()
}

// accept counts the items of one stored request.
func (m Metrics) accept(registry string, items []Item, started, stored time.Time) {
	m.set.duration.WithLabelValues(registry).Observe(stored.Sub(started).Seconds())
	for _, item := range items {
		if item.Ignored == "" {
			m.set.accepted.WithLabelValues(registry).Inc()
		} else {
			m.set.ignored.WithLabelValues(registry, reasonLabel(item.Ignored)).Inc()
		}
	}
	if len(items) > 0 {
		m.set.silence.hear(registry, stored)
	}
}

// silence tells how long ago each endpoint last stored an event, counted at the
// moment of the scrape. Several senders never retry, so a silent endpoint is
// the only sign that something is wrong. An endpoint that heard nothing yet
// counts from its start.
type silence struct {
	desc *prometheus.Desc
	now  func() time.Time
	mu   sync.Mutex
	last map[string]time.Time
}

func newSilence() *silence {
	return &silence{
		desc: prometheus.NewDesc("tidewaiter_webhook_seconds_since_last_event",
			"Seconds since the endpoint last stored an event; since its start when it has stored none.", []string{"registry"}, nil),
		now:  time.Now,
		last: make(map[string]time.Time),
	}
}

func (s *silence) start(registry string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, heard := s.last[registry]; !heard {
		s.last[registry] = now
	}
}

func (s *silence) hear(registry string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[registry] = now
}

// Describe implements prometheus.Collector.
func (s *silence) Describe(ch chan<- *prometheus.Desc) { ch <- s.desc }

// Collect implements prometheus.Collector.
func (s *silence) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for registry, last := range s.last {
		ch <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, s.now().Sub(last).Seconds(), registry)
	}
}
