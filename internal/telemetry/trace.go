package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Tracer begins traces. nil is one that begins none, which all methods and
// functions take.
type Tracer struct {
	tracer   trace.Tracer
	shutdown func(context.Context) error
}

// scope names who makes the spans.
const scope = "github.com/tidewaiter/tidewaiter"

// What is bounded of a span, in bytes and numbers: much of it comes from outside.
const (
	maxAttribute = 200
	maxLinks     = 16
)

// NewTracer returns a tracer that begins traces with a provider; shutdown ends it.
func NewTracer(provider trace.TracerProvider, shutdown func(context.Context) error) *Tracer {
	return &Tracer{provider.Tracer(scope), shutdown}
}

// Shutdown sends what is waiting, as far as ctx lets it, and ends the tracer. The
// error is told by its kind alone: what the library says may hold an address with a
// secret in it.
func (t *Tracer) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.shutdown(ctx); err != nil {
		return errs.New(errs.KindOf(err), "telemetry: the last traces could not be sent")
	}
	return nil
}

type tracerKey struct{}

// Within returns a context under which traces begin with t.
func (t *Tracer) Within(ctx context.Context) context.Context {
	if t == nil {
		return ctx
	}
	return context.WithValue(ctx, tracerKey{}, t)
}

func tracerOf(ctx context.Context) *Tracer {
	t, _ := ctx.Value(tracerKey{}).(*Tracer)
	return t
}
