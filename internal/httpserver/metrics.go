package httpserver

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// MeasureRequests registers the request metrics on reg and returns the
// middleware that feeds them. Requests are labelled by route template, never by
// path, so that callers cannot make labels. It panics when reg has the metrics
// already: share the middleware between servers.
func MeasureRequests(reg prometheus.Registerer, route Route) func(http.Handler) http.Handler {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidewaiter_http_requests_total", Help: "HTTP requests answered.",
	}, []string{"method", "route", "status"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tidewaiter_http_request_duration_seconds", Help: "Time from a request's header to the end of its answer.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
	}, []string{"method", "route"})
	running := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tidewaiter_http_requests_in_flight", Help: "HTTP requests being answered now.",
	})
	reg.MustRegister(total, seconds, running)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			running.Inc()
			rec := record(w)
			defer func() {
				running.Dec()
				method, name := methodLabel(r.Method), routeOf(route, r)
				total.WithLabelValues(method, name, strconv.Itoa(rec.status())).Inc()
				seconds.WithLabelValues(method, name).Observe(time.Since(start).Seconds())
			}()
			next.ServeHTTP(rec, r)
		})
	}
}

// methodLabel keeps made-up methods from becoming labels.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// Metrics serves what g gathers in the Prometheus text format.
func Metrics(g prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}
