// Package otlp sends the traces of this process to a collector by OTLP over HTTP.
//
// It is responsible for the exporter: where traces go, which are kept, what of a
// span is bounded, and that nothing is started where there is no endpoint. Spans
// are begun with package telemetry, which it must know nothing of but the Tracer.
package otlp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/time/rate"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
)

// Settings say where traces go. The variables that OpenTelemetry defines for what
// is not here (OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_TRACES_SAMPLER, OTEL_BSP_…,
// OTEL_RESOURCE_ATTRIBUTES) count as well.
type Settings struct {
	// Endpoint takes OTLP over HTTP; "/v1/traces" is added to one without a path.
	// Empty means no traces.
	Endpoint string
	// Headers go with every request; they hold the credential.
	Headers map[string]string
	// Roots are the authorities to trust; nil for the system's.
	Roots *x509.CertPool
	// Share of traces that are kept, from 0 to 1. OTEL_TRACES_SAMPLER wins.
	Share float64
	// Service is the name of this service in traces.
	Service string
	Build   telemetry.Build
	Logger  *slog.Logger // told when traces cannot be sent; nil discards
}

// maxAttribute bounds a value of an attribute, in bytes, and maxLinks the links of
// a span: much of what is in them comes from outside.
const (
	maxAttribute  = 200
	maxAttributes = 32
	maxLinks      = 16
)

// New makes a tracer that sends in the background; it connects to nothing
// yet. It is nil without an endpoint, and when OTEL_SDK_DISABLED is true. The
// caller calls Shutdown. The error is of kind Invalid.
//
// OpenTelemetry tells errors of sending to one handler per process; this sets it.
func New(ctx context.Context, t Settings) (*telemetry.Tracer, error) {
	if t.Endpoint == "" || strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return nil, nil
	}
	target, err := tracesURL(t.Endpoint)
	if err != nil {
		return nil, err
	}
	options := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(target)}
	if len(t.Headers) > 0 {
		options = append(options, otlptracehttp.WithHeaders(t.Headers))
	}
	if t.Roots != nil {
		options = append(options, otlptracehttp.WithTLSClientConfig(&tls.Config{RootCAs: t.Roots, MinVersion: tls.VersionTLS12}))
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, errs.New(errs.Invalid, "otlp: traces cannot be sent to this endpoint").WithHint("check telemetry.otlp_endpoint and the OTEL_ variables")
	}
	about, err := resource.New(ctx, resource.WithHost(), resource.WithTelemetrySDK(), resource.WithFromEnv(), resource.WithAttributes(
		attribute.String("service.name", t.Service), attribute.String("service.version", t.Build.Version)))
	if err != nil && about == nil {
		return nil, errs.Wrap(errs.Invalid, "otlp: describe this process", err)
	}
	limits := sdktrace.NewSpanLimits()
	limits.AttributeValueLengthLimit, limits.AttributeCountLimit, limits.LinkCountLimit = maxAttribute, maxAttributes, maxLinks
	provided := []sdktrace.TracerProviderOption{sdktrace.WithBatcher(exporter), sdktrace.WithResource(about), sdktrace.WithRawSpanLimits(limits), sdktrace.WithoutPanicRecording()}
	if os.Getenv("OTEL_TRACES_SAMPLER") == "" {
		provided = append(provided, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(t.Share))))
	}
	otel.SetErrorHandler(tellFailures(t.Logger))
	provider := sdktrace.NewTracerProvider(provided...)
	return telemetry.NewTracer(provider, provider.Shutdown), nil
}

// tracesURL adds the usual path where there is none.
func tracesURL(endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", errs.New(errs.Invalid, "otlp: the endpoint is not an https:// or http:// address").WithField("otlp_endpoint")
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/traces"
	}
	return u.String(), nil
}

// tellFailures logs that traces are lost, once a minute at most. What the library
// says may hold the address with what is secret in it.
func tellFailures(logger *slog.Logger) otel.ErrorHandler {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	seldom := rate.NewLimiter(rate.Every(time.Minute), 1)
	return otel.ErrorHandlerFunc(func(err error) {
		if seldom.Allow() {
			logger.Warn("traces not sent", "kind", string(errs.KindOf(err)))
		}
	})
}
