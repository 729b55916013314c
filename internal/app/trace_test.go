package app_test

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
)

// traces is a collector that keeps what it is sent.
type traces struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*tracev1.Span
}

func collectTraces(t *testing.T) *traces {
	t.Helper()
	c := &traces{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var sent collector.ExportTraceServiceRequest
		_ = proto.Unmarshal(body, &sent)
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, process := range sent.ResourceSpans {
			for _, scope := range process.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// until waits for a span and the beginning of its trace, and returns that.
func (c *traces) until(t *testing.T, what string, wanted func(*tracev1.Span) bool) []*tracev1.Span {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		c.mu.Lock()
		i := slices.IndexFunc(c.spans, wanted)
		var trace []*tracev1.Span
		for _, s := range c.spans {
			if i >= 0 && string(s.TraceId) == string(c.spans[i].TraceId) {
				trace = append(trace, s)
			}
		}
		c.mu.Unlock()
		if slices.ContainsFunc(trace, func(s *tracev1.Span) bool { return len(s.ParentSpanId) == 0 }) {
			return trace
		}
		select {
		case <-deadline:
			t.Fatalf("no span that %s among %v", what, names(c.spans))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func names(spans []*tracev1.Span) (out []string) {
	for _, s := range spans {
		out = append(out, s.Name)
	}
	return out
}

func attributeOf(s *tracev1.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// A push is one trace: from the request in one process through the scan in another
// to the requests for the registry.
func TestAPushIsOneTrace(t *testing.T) {
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
	c := collectTraces(t)
	var shared config.Config
	s := startOn(t, pgtest.URL(t), func(cfg *config.Config) {
		cfg.Telemetry.OTLPEndpoint = config.URL(c.URL)
		shared = *cfg
		cfg.Workers.Enabled = false
	})
	worker := shared
	worker.Receiver.Enabled, worker.API.Enabled, worker.Listen = false, false, "127.0.0.1:0"
	replica, err := app.New(t.Context(), app.Options{Config: worker, Logger: testLogger(t), Catalogues: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := replica.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.runUntilCleanup(replica)
	s.pushed(withNPM(t, "lodash", "4.17.20"), "demo/shop", "1.0")

	ended := func(s *tracev1.Span) bool {
		return s.Name == "scan" && attributeOf(s, "outcome") == "end" && attributeOf(s, "error.type") == ""
	}
	trace := c.until(t, "is of a scan that ended well", ended)
	for _, want := range []string{"POST /webhooks/", "intake", "scan", "resolve", "catalogue", "inventory", "match", "store", "compare", "registry manifest", "registry blob"} {
		if !slices.ContainsFunc(trace, func(s *tracev1.Span) bool { return strings.HasPrefix(s.Name, want) }) {
			t.Errorf("no span %q in the trace: %v", want, names(trace))
		}
	}
	ids := map[string]bool{}
	roots := 0
	for _, s := range trace {
		ids[string(s.SpanId)] = true
	}
	for _, s := range trace {
		switch {
		case len(s.ParentSpanId) == 0:
			roots++
		case !ids[string(s.ParentSpanId)]:
			t.Errorf("%s hangs on a span %s that is not there", s.Name, hex.EncodeToString(s.ParentSpanId))
		}
		if text := s.Name + fmt.Sprint(s.Attributes); strings.Contains(text, secret) || strings.Contains(text, "?") {
			t.Errorf("a secret or a query is in %s", text)
		}
	}
	if roots != 1 {
		t.Errorf("the trace has %d beginnings", roots)
	}

	s.request("demo/shop:missing")
	failed := c.until(t, "is of a scan that failed", func(s *tracev1.Span) bool { return s.Name == "scan" && attributeOf(s, "error.type") == "not_found" })
	if !slices.ContainsFunc(failed, func(s *tracev1.Span) bool { return s.Name == "resolve" && attributeOf(s, "error.type") == "not_found" }) {
		t.Errorf("the phase that failed is not told: %v", names(failed))
	}
}
