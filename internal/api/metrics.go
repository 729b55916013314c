package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// metrics count what request metrics cannot tell.
type metrics struct {
	rejected  *prometheus.CounterVec
	unaudited *prometheus.CounterVec
	waiting   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_api_rejected_total", Help: "API requests turned away, by reason.",
		}, []string{"reason"}),
		unaudited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_api_unaudited_total", Help: "Changes without a row in the audit log, by reason (failed, flood). Floods are of refused ones.",
		}, []string{"reason"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidewaiter_api_waiting", Help: "API requests that wait for an image to be answered.",
		}),
	}
	for _, reason := range []string{"failed", "flood"} {
		m.unaudited.WithLabelValues(reason)
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.rejected, m.unaudited, m.waiting} {
		if err := reg.Register(c); err != nil {
			return nil, errs.Wrap(errs.Internal, "api: register metrics", err)
		}
	}
	return m, nil
}

// reject counts a request turned away for a reason: unauthorized, forbidden or
// rate_limited.
func (m *metrics) reject(reason string) { m.rejected.WithLabelValues(reason).Inc() }
