package keys

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// The labels of the metric.
const (
	kindCertificate = "certificate"
	kindKeySet      = "key_set"
	kindConfirm     = "confirmation"

	outcomeOK      = "ok"
	outcomeFailed  = "failed"
	outcomeLimited = "limited" // not asked, because too much was asked before
)

// Metrics counts fetches. The zero value counts without being registered
// anywhere.
type Metrics struct{ fetches *prometheus.CounterVec }

// NewMetrics registers the metric. The error is of kind Conflict when it is
// there already.
func NewMetrics(registerer prometheus.Registerer) (Metrics, error) {
	m := Metrics{}.orUnregistered()
	if err := registerer.Register(m.fetches); err != nil {
		return Metrics{}, errs.Wrap(errs.Conflict, "keys: register metrics", err)
	}
	return m, nil
}

func (m Metrics) orUnregistered() Metrics {
	if m.fetches != nil {
		return m
	}
	m.fetches = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidewaiter_webhook_key_fetches_total",
		Help: "Requests for what signed webhooks are checked with, by kind (certificate, key_set, confirmation) and outcome (ok, failed, limited).",
	}, []string{"kind", "outcome"})
	for _, kind := range []string{kindCertificate, kindKeySet, kindConfirm} {
		for _, outcome := range []string{outcomeOK, outcomeFailed, outcomeLimited} {
			m.fetches.WithLabelValues(kind, outcome)
		}
	}
	return m
}

func (m Metrics) count(kind, outcome string) { m.fetches.WithLabelValues(kind, outcome).Inc() }
