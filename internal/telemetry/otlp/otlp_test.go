package otlp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
	"github.com/tidewaiter/tidewaiter/internal/telemetry/otlp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink is a collector that keeps what it is sent.
type sink struct {
	*httptest.Server
	mu      sync.Mutex
	spans   []*tracev1.Span
	about   map[string]string // attributes of the process
	headers http.Header
	path    string
}

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{about: map[string]string{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *sink) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var sent collector.ExportTraceServiceRequest
	_ = proto.Unmarshal(body, &sent)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.headers, s.path = r.Header, r.URL.Path
	for _, process := range sent.ResourceSpans {
		for _, a := range process.Resource.Attributes {
			s.about[a.Key] = a.Value.GetStringValue()
		}
		for _, scope := range process.ScopeSpans {
			s.spans = append(s.spans, scope.Spans...)
		}
	}
}

// named returns the only span of the name.
func (s *sink) named(t *testing.T, name string) *tracev1.Span {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*tracev1.Span
	for _, span := range s.spans {
		if span.Name == name {
			found = append(found, span)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans are called %q", len(found), name)
	}
	return found[0]
}

func attributesOf(s *tracev1.Span) map[string]string {
	out := map[string]string{}
	for _, a := range s.Attributes {
		out[a.Key] = a.Value.GetStringValue()
	}
	return out
}

// tracing returns a context that traces into a sink, and what ends it.
func tracing(t *testing.T, s *sink, share float64) (ctx context.Context, end func()) {
	t.Helper()
	tracer, err := otlp.New(t.Context(), otlp.Settings{
		Endpoint: s.URL, Headers: map[string]string{"x-key": "k"}, Share: share, Service: "harbour", Build: telemetry.Build{Version: "v1.2.3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tracer.Within(t.Context()), func() {
		if err := tracer.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestSpansArriveAsTheyWereMade(t *testing.T) {
	s := newSink(t)
	ctx, end := tracing(t, s, 1)
	ctx, root := telemetry.StartTrace(ctx, "root", slog.String("image", strings.Repeat("ä", 500)), slog.Int("n", 3))
	_, part := telemetry.StartCall(ctx, "part")
	part.End(errs.New(errs.RateLimited, "https://registry.example/v2/?token=hidden"))
	root.Set(slog.String("bad", "a\xffb"))
	root.End(nil)
	end()
	whole, inside := s.named(t, "root"), s.named(t, "part")
	if !bytes.Equal(inside.TraceId, whole.TraceId) || !bytes.Equal(inside.ParentSpanId, whole.SpanId) || len(whole.ParentSpanId) != 0 {
		t.Errorf("the part does not belong to the root: %v %v", inside, whole)
	}
	if got := attributesOf(inside)["error.type"]; got != "rate_limited" || inside.Status.Message != "rate_limited" || strings.Contains(inside.String(), "hidden") {
		t.Errorf("got %v", inside)
	}
	if got := attributesOf(whole)["image"]; len(got) == 0 || len(got) > 200 {
		t.Errorf("an attribute has %d bytes", len(got))
	}
	if s.about["service.name"] != "harbour" || s.about["service.version"] != "v1.2.3" || s.headers.Get("X-Key") != "k" || s.path != "/v1/traces" {
		t.Errorf("got %v, header %q, path %q", s.about, s.headers.Get("X-Key"), s.path)
	}
}

func TestAnotherProcessGoesOnWithATrace(t *testing.T) {
	s := newSink(t)
	ctx, end := tracing(t, s, 1)
	first, one := telemetry.StartTrace(ctx, "first")
	second, two := telemetry.StartTrace(ctx, "second")
	parents := []string{telemetry.TraceParent(first), telemetry.TraceParent(second), "damaged"}
	one.End(nil)
	two.End(nil)
	_, job := telemetry.Continue(ctx, "job", parents)
	job.End(nil)
	_, alone := telemetry.Continue(ctx, "alone", []string{"damaged"})
	alone.End(nil)
	end()
	got := s.named(t, "job")
	if !bytes.Equal(got.TraceId, s.named(t, "first").TraceId) || !bytes.Equal(got.ParentSpanId, s.named(t, "first").SpanId) {
		t.Error("the job does not go on with the first trace")
	}
	if len(got.Links) != 1 || !bytes.Equal(got.Links[0].TraceId, s.named(t, "second").TraceId) {
		t.Errorf("the job has the links %v", got.Links)
	}
	if len(s.named(t, "alone").ParentSpanId) != 0 {
		t.Error("a trace that cannot be read has a child")
	}
}

// Whoever calls from outside must not decide what is kept, nor write into a trace.
func TestACallerDoesNotDecideWhatIsKept(t *testing.T) {
	const theirs = "0af7651916cd43dd8448eb211c80319c"
	for share, want := range map[float64]int{0: 0, 1: 1} {
		s := newSink(t)
		ctx, end := tracing(t, s, share)
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/webhooks/prod?token=hidden", nil)
		r.Header.Set("Traceparent", "00-"+theirs+"-b7ad6b7169203331-01")
		inside, finish := telemetry.StartRequest(r)
		if parent := telemetry.TraceParent(inside); strings.Contains(parent, theirs) {
			t.Errorf("the request goes on as %s", parent)
		}
		finish("POST /webhooks/{registry}", http.StatusAccepted)
		end()
		if len(s.spans) != want {
			t.Fatalf("with a share of %v, %d spans were sent", share, len(s.spans))
		}
		if want == 0 {
			continue
		}
		span := s.named(t, "POST /webhooks/{registry}")
		if len(span.Links) != 1 || strings.Contains(span.String(), "hidden") {
			t.Errorf("got %v", span)
		}
	}
}

func TestWithoutAnEndpointNothingIsStarted(t *testing.T) {
	tracer, err := otlp.New(t.Context(), otlp.Settings{Share: 1})
	if err != nil || tracer != nil {
		t.Fatalf("got %v, %v", tracer, err)
	}
	ctx := tracer.Within(t.Context())
	ctx, span := telemetry.StartTrace(ctx, "root")
	span.Set(slog.Int("n", 1))
	span.End(errors.New("x"))
	if _, part := telemetry.StartSpan(ctx, "part"); part != nil || span != nil || telemetry.TraceParent(ctx) != "" {
		t.Error("there are spans without a tracer")
	}
	if err := tracer.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	t.Setenv("OTEL_SDK_DISABLED", "true")
	if tracer, err := otlp.New(t.Context(), otlp.Settings{Endpoint: "http://127.0.0.1:4318"}); err != nil || tracer != nil {
		t.Errorf("OTEL_SDK_DISABLED: %v, %v", tracer, err)
	}
}

// A collector that does not answer must not keep a process from ending.
func TestTheEndDoesNotWaitForACollectorThatHangs(t *testing.T) {
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hanging.Close()
	defer close(release)
	tracer, err := otlp.New(t.Context(), otlp.Settings{Endpoint: hanging.URL, Share: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, span := telemetry.StartTrace(tracer.Within(t.Context()), "root")
	span.End(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := tracer.Shutdown(ctx); !errs.Is(err, errs.Timeout) && !errs.Is(err, errs.Internal) {
		t.Errorf("got %v", err)
	}
}

func TestLogLinesNameTheTrace(t *testing.T) {
	s := newSink(t)
	ctx, end := tracing(t, s, 1)
	var out bytes.Buffer
	logger := slog.New(telemetry.NewHandler(slog.NewTextHandler(&out, nil)))
	ctx, span := telemetry.StartTrace(ctx, "root")
	logger.InfoContext(ctx, "inside")
	span.End(nil)
	end()
	if want := telemetry.TraceParent(ctx)[3:35]; !strings.Contains(out.String(), "trace_id="+want) {
		t.Errorf("no %s in %s", want, &out)
	}
}

func TestABadEndpointIsRefused(t *testing.T) {
	for _, endpoint := range []string{"collector:4318", "ftp://collector", "http://"} {
		if _, err := otlp.New(t.Context(), otlp.Settings{Endpoint: endpoint}); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}
