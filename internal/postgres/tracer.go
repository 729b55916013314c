package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
)

// Tracer measures queries; see NewTracer.
type Tracer struct {
	seconds *prometheus.HistogramVec
}

// NewTracer registers the metrics of queries and returns a tracer for Options.
func NewTracer(r prometheus.Registerer) *Tracer {
	t := &Tracer{seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "tidewaiter_postgres_query_seconds",
		Help:    "How long queries to Postgres took, in seconds, by outcome (ok, error).",
		Buckets: []float64{.0005, .001, .005, .01, .05, .1, .5, 1, 5, 30},
	}, []string{"outcome"})}
	r.MustRegister(t.seconds)
	return t
}

type startKey struct{}

// TraceQueryStart notes when a query began (pgx.QueryTracer).
func (t *Tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, startKey{}, time.Now())
}

// TraceQueryEnd measures it (pgx.QueryTracer).
func (t *Tracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	start, ok := ctx.Value(startKey{}).(time.Time)
	if !ok {
		return
	}
	outcome := "ok"
	if data.Err != nil {
		outcome = "error"
	}
	t.seconds.WithLabelValues(outcome).Observe(time.Since(start).Seconds())
}
