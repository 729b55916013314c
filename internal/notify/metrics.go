package notify

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// metrics tell of messages. Their labels are configured names.
type metrics struct {
	messages *prometheus.CounterVec
	attempts *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	waiting  *prometheus.GaugeVec
	oldest   *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_notify_messages_total",
			Help: "Messages made of what was new, by rule and kind (push, vulnerability, digest).",
		}, []string{"rule", "kind"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_notify_attempts_total",
			Help: "Attempts to send a message, by channel and outcome (sent, retried, failed).",
		}, []string{"channel", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tidewaiter_notify_attempt_seconds",
			Help:    "How long attempts to send a message took, in seconds.",
			Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20},
		}, []string{"channel"}),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidewaiter_notify_waiting",
			Help: "Messages that are queued for a channel, told by the process that makes messages.",
		}, []string{"channel"}),
		oldest: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidewaiter_notify_oldest_waiting_seconds",
			Help: "Age of the oldest message that is queued for a channel, in seconds; 0 without one.",
		}, []string{"channel"}),
	}
	if r != nil {
		r.MustRegister(m.messages, m.attempts, m.seconds, m.waiting, m.oldest)
	}
	return m
}

func (m *metrics) made(rule string, kind report.NewsKind) {
	m.messages.WithLabelValues(rule, string(kind)).Inc()
}

func (m *metrics) attempted(channel, outcome string, took time.Duration) {
	m.attempts.WithLabelValues(channel, outcome).Inc()
	m.seconds.WithLabelValues(channel).Observe(took.Seconds())
}

func (m *metrics) backlog(channels []string, waiting map[string]report.NotificationBacklog) {
	for _, name := range channels {
		m.waiting.WithLabelValues(name).Set(float64(waiting[name].Waiting))
		m.oldest.WithLabelValues(name).Set(waiting[name].Oldest.Seconds())
	}
}
