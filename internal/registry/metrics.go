package registry

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// What requests wait for.
const (
	waitRequests   = "requests"
	waitBandwidth  = "bandwidth"
	waitPulls      = "pulls"
	waitRetryAfter = "retry_after"
)

// Metrics count what is asked of registries. A nil *Metrics counts nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	wait     *prometheus.CounterVec
}

// NewMetrics registers the metrics of registries.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_registry_requests_total",
			Help: "Requests for a registry, by who was asked (registry, mirror) and outcome (ok, unauthorized, forbidden, not_found, rate_limited, client_error, server_error; refused for those not sent, failed, canceled).",
		}, []string{"registry", "via", "outcome"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_registry_received_bytes_total",
			Help: "Bytes of answers read from a registry and from where it redirects, by who was asked (registry, mirror).",
		}, []string{"registry", "via"}),
		wait: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_registry_wait_seconds_total",
			Help: "Time requests, readers and pulls waited in line, in seconds, by reason: a limit (requests, bandwidth, pulls) or the pause the registry asked for (retry_after).",
		}, []string{"registry", "reason"}),
	}
	r.MustRegister(m.requests, m.bytes, m.wait)
	return m
}

// meter counts for one connection.
type meter struct {
	metrics  *Metrics
	registry string
	via      string
}

const (
	viaRegistry = "registry"
	viaMirror   = "mirror"
)

func (m meter) answered(resp *http.Response, err error) {
	if m.metrics != nil {
		m.metrics.requests.WithLabelValues(m.registry, m.via, outcome(resp, err)).Inc()
	}
}

func (m meter) received(n int) {
	if m.metrics != nil && n > 0 {
		m.metrics.bytes.WithLabelValues(m.registry, m.via).Add(float64(n))
	}
}

func (m meter) waited(why string, d time.Duration) {
	if m.metrics != nil {
		m.metrics.wait.WithLabelValues(m.registry, why).Add(d.Seconds())
	}
}

// outcome is the class of an answer. What the guard did not let out is refused.
func outcome(resp *http.Response, err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errs.Is(err, errs.RateLimited):
		return "rate_limited"
	case errs.Is(err, errs.Forbidden), errs.Is(err, errs.Unsupported):
		return "refused"
	case errs.RetryAfter(err) > 0:
		return "server_error"
	case err != nil:
		return "failed"
	}
	switch status := resp.StatusCode; {
	case status < 400:
		return "ok"
	case status == http.StatusUnauthorized:
		return "unauthorized"
	case status == http.StatusForbidden:
		return "forbidden"
	case status == http.StatusNotFound:
		return "not_found"
	case status < 500:
		return "client_error"
	}
	return "server_error"
}
