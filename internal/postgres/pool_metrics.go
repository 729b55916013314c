package postgres

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// poolMetrics tells what the connections of a pool do, when it is asked.
type poolMetrics struct {
	pool        *pgxpool.Pool
	connections *prometheus.Desc
	most        *prometheus.Desc
	wait        *prometheus.Desc
}

// Metrics returns what collects the figures of the store's connections.
func (s *Store) Metrics() prometheus.Collector {
	return &poolMetrics{
		pool: s.pool,
		connections: prometheus.NewDesc("tidewaiter_postgres_connections",
			"Connections of this process to Postgres, by state (busy, idle, connecting).", []string{"state"}, nil),
		most: prometheus.NewDesc("tidewaiter_postgres_connections_max",
			"Connections this process may open (database.max_conns).", nil, nil),
		wait: prometheus.NewDesc("tidewaiter_postgres_connection_wait_seconds_total",
			"Time that work waited for a free connection, in seconds.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *poolMetrics) Describe(to chan<- *prometheus.Desc) {
	to <- m.connections
	to <- m.most
	to <- m.wait
}

// Collect implements prometheus.Collector.
func (m *poolMetrics) Collect(to chan<- prometheus.Metric) {
	now := m.pool.Stat()
	for state, n := range map[string]int32{"busy": now.AcquiredConns(), "idle": now.IdleConns(), "connecting": now.ConstructingConns()} {
		to <- prometheus.MustNewConstMetric(m.connections, prometheus.GaugeValue, float64(n), state)
	}
	to <- prometheus.MustNewConstMetric(m.most, prometheus.GaugeValue, float64(now.MaxConns()))
	to <- prometheus.MustNewConstMetric(m.wait, prometheus.CounterValue, now.EmptyAcquireWaitTime().Seconds())
}
