package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Span is a piece of work in a trace. nil is none, which all methods take: whoever
// works need not know whether there are traces.
type Span struct {
	span trace.Span
}

// StartSpan begins a part of the span of ctx; without one there is none, so that
// work nobody traces makes no traces of its own. Attributes are for people: they
// are cut, and must hold no secret and no address with a query.
func StartSpan(ctx context.Context, name string, attrs ...slog.Attr) (context.Context, *Span) {
	return child(ctx, name, trace.SpanKindInternal, attrs)
}

// StartCall is StartSpan for a request to somebody else.
func StartCall(ctx context.Context, name string, attrs ...slog.Attr) (context.Context, *Span) {
	return child(ctx, name, trace.SpanKindClient, attrs)
}

func child(ctx context.Context, name string, kind trace.SpanKind, attrs []slog.Attr) (context.Context, *Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, nil
	}
	ctx, span := parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attributes(attrs)...))
	return ctx, &Span{span}
}

// StartTrace begins a trace of its own, where ctx is one of a Tracer.
func StartTrace(ctx context.Context, name string, attrs ...slog.Attr) (context.Context, *Span) {
	return begin(ctx, name, trace.SpanKindInternal, nil, attrs)
}

// Continue begins a span of a trace that another process began. parents are what
// TraceParent returned there: the first is what the span goes on with, the others
// are what it did the work of as well, and are linked. Without one, or where they
// cannot be read, it begins a trace.
func Continue(ctx context.Context, name string, parents []string, attrs ...slog.Attr) (context.Context, *Span) {
	t := tracerOf(ctx)
	if t == nil {
		return ctx, nil
	}
	var links []trace.Link
	if len(parents) > 0 {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parse(parents[0]))
		links = linksTo(parents[1:])
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(links...),
		trace.WithAttributes(attributes(attrs)...))
	return ctx, &Span{span}
}

// linksTo links spans of other processes, as many as a span takes.
func linksTo(parents []string) []trace.Link {
	var links []trace.Link
	for _, p := range parents {
		if other := parse(p); other.IsValid() && len(links) < maxLinks {
			links = append(links, trace.Link{SpanContext: other})
		}
	}
	return links
}

// begin starts a trace, whatever ctx belongs to.
func begin(ctx context.Context, name string, kind trace.SpanKind, links []trace.Link, attrs []slog.Attr) (context.Context, *Span) {
	t := tracerOf(ctx)
	if t == nil {
		return ctx, nil
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithNewRoot(), trace.WithSpanKind(kind), trace.WithLinks(links...),
		trace.WithAttributes(attributes(attrs)...))
	return ctx, &Span{span}
}

// TraceParent is the span of ctx as another process can go on with it (W3C Trace
// Context, section 3.2); empty without one.
func TraceParent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier.Get("traceparent")
}

func parse(parent string) trace.SpanContext {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": parent})
	return trace.SpanContextFromContext(ctx)
}

// StartRequest begins the trace of a request and returns how to end it, given the
// template of its route and the status that was answered. It is a trace of its
// own, linked to that of the caller: a stranger must not decide what is kept, nor
// write into somebody's trace.
func StartRequest(r *http.Request) (ctx context.Context, end func(route string, status int)) {
	var links []trace.Link
	if caller := parse(r.Header.Get("traceparent")); caller.IsValid() {
		links = append(links, trace.Link{SpanContext: caller})
	}
	ctx, span := begin(r.Context(), "request", trace.SpanKindServer, links, Attrs(r.Context()))
	return ctx, func(route string, status int) { span.endRequest(r.Method, route, status) }
}

func (s *Span) endRequest(method, route string, status int) {
	if s == nil {
		return
	}
	if _, path, ok := strings.Cut(route, " "); ok {
		route = path
	}
	s.span.SetName(cut(method) + " " + route)
	s.span.SetAttributes(attribute.String("http.request.method", cut(method)), attribute.String("http.route", route), attribute.Int("http.response.status_code", status))
	if status >= http.StatusInternalServerError {
		s.span.SetStatus(codes.Error, http.StatusText(status))
	}
	s.span.End()
}

// Set adds attributes.
func (s *Span) Set(attrs ...slog.Attr) {
	if s != nil {
		s.span.SetAttributes(attributes(attrs)...)
	}
}

// End ends the work. Of an error only its kind is told: what it says may quote
// what nobody should read.
func (s *Span) End(err error) {
	if s == nil {
		return
	}
	if err != nil {
		kind := string(errs.KindOf(err))
		s.span.SetStatus(codes.Error, kind)
		s.span.SetAttributes(attribute.String("error.type", kind))
	}
	s.span.End()
}

// attributes translates what logs have, cut.
func attributes(attrs []slog.Attr) []attribute.KeyValue {
	out := make([]attribute.KeyValue, 0, len(attrs))
	for _, a := range attrs {
		switch v := a.Value.Resolve(); v.Kind() {
		case slog.KindInt64:
			out = append(out, attribute.Int64(a.Key, v.Int64()))
		case slog.KindBool:
			out = append(out, attribute.Bool(a.Key, v.Bool()))
		case slog.KindFloat64:
			out = append(out, attribute.Float64(a.Key, v.Float64()))
		default:
			if text := v.String(); text != "" {
				out = append(out, attribute.String(a.Key, cut(text)))
			}
		}
	}
	return out
}

// cut bounds a text of outside and keeps it valid.
func cut(s string) string {
	s = strings.ToValidUTF8(s, "�")
	if len(s) > maxAttribute {
		s = strings.ToValidUTF8(s[:maxAttribute], "")
	}
	return s
}

// traceID is the trace that ctx belongs to where it is kept; empty elsewhere.
func traceID(ctx context.Context) string {
	if s := trace.SpanContextFromContext(ctx); s.IsSampled() {
		return s.TraceID().String()
	}
	return ""
}
