package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// metrics are those of the whole process.
type metrics struct {
	built    prometheus.Gauge
	sample   prometheus.Gauge
	old      prometheus.Gauge
	failures *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		built: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidewaiter_vulndb_built_timestamp_seconds",
			Help: "When the database build in force was built, in seconds since 1970; 0 when there is none.",
		}),
		sample: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidewaiter_vulndb_sample",
			Help: "1 when the build in force is the sample database, which is never good for decisions.",
		}),
		old: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidewaiter_vulndb_old",
			Help: "1 when the build in force is older than vulndb.alarm_age.",
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_vulndb_update_failures_total",
			Help: "Looks for a newer database that failed, by error kind.",
		}, []string{"kind"}),
	}
	r.MustRegister(m.built, m.sample, m.old, m.failures)
	return m
}

func (m *metrics) setActive(b vuln.Build) {
	if b.Built.After(time.Unix(0, 0)) {
		m.built.Set(float64(b.Built.Unix()))
	}
	m.sample.Set(0)
	if b.Sample {
		m.sample.Set(1)
	}
}

func (m *metrics) setOld(old bool) {
	m.old.Set(0)
	if old {
		m.old.Set(1)
	}
}

func (m *metrics) updateFailed(err error) {
	m.failures.WithLabelValues(string(errs.KindOf(err))).Inc()
}
