package httpserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// house is all middlewares around a few routes, as an app would have it.
func house(out *bytes.Buffer, reg prometheus.Registerer) http.Handler {
	logger := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/{name}", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "hello") })
	mux.HandleFunc("POST /webhooks/{registry}/{secret}", func(w http.ResponseWriter, r *http.Request) {
		WriteProblem(w, r, errs.New(errs.Unauthorized, "webhook: wrong secret"))
	})
	mux.HandleFunc("/below/", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /early", func(http.ResponseWriter, *http.Request) { panic("early") })
	mux.HandleFunc("GET /late", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, "part")
		panic("late")
	})
	mux.HandleFunc("GET /abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	return Chain(mux, RequestID(annotated), SecurityHeaders, LogRequests(logger, nil), MeasureRequests(reg, nil), Recover(logger))
}

type annotationKey struct{}

func annotated(ctx context.Context, attrs ...slog.Attr) context.Context {
	return context.WithValue(ctx, annotationKey{}, attrs)
}

func serve(h http.Handler, r *http.Request) (w *httptest.ResponseRecorder, panicked any) {
	w = httptest.NewRecorder()
	defer func() { panicked = recover() }()
	h.ServeHTTP(w, r)
	return w, nil
}

// lines returns the request lines that were logged.
func lines(t *testing.T, out *bytes.Buffer) []map[string]any {
	t.Helper()
	var all []map[string]any
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if m["msg"] == "request" {
			for _, k := range []string{"time", "took_ms", "remote", "msg"} {
				delete(m, k)
			}
			all = append(all, m)
		}
	}
	return all
}

func TestRequestLine(t *testing.T) {
	tests := []struct {
		name, method, target string
		want                 map[string]any
	}{
		{"plain", "GET", "/repos/a?token=hunter2", map[string]any{"level": "INFO", "method": "GET", "route": "GET /repos/{name}", "path": "/repos/a", "status": 200.0, "bytes": 5.0}},
		{"secret in the path", "POST", "/webhooks/prod/hunter2?code=hunter2", map[string]any{"level": "INFO", "method": "POST", "route": "POST /webhooks/{registry}/{secret}", "path": "/webhooks/{registry}/{secret}", "status": 401.0, "kind": "unauthorized", "error": "webhook: wrong secret"}},
		{"mistyped path with a secret", "POST", "/webhook/prod/hunter2", map[string]any{"level": "INFO", "method": "POST", "route": "unmatched", "path": "/webhook/…", "status": 404.0}},
		{"secret below a route", "GET", "/below/prod/hunter2", map[string]any{"level": "INFO", "method": "GET", "route": "/below/", "path": "/below/prod/…", "status": 200.0}},
		{"part below a route", "GET", "/below/prod", map[string]any{"level": "INFO", "method": "GET", "route": "/below/", "path": "/below/prod", "status": 200.0}},
		{"panic", "GET", "/early", map[string]any{"level": "ERROR", "method": "GET", "route": "GET /early", "path": "/early", "status": 500.0, "kind": "internal", "error": "httpserver: panic in handler"}},
		{"panic after the answer began", "GET", "/late", map[string]any{"level": "INFO", "method": "GET", "route": "GET /late", "path": "/late", "status": 200.0, "bytes": 4.0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			r := httptest.NewRequest(tt.method, tt.target, nil)
			r.Header.Set("Authorization", "Bearer hunter2")
			_, _ = serve(house(&out, prometheus.NewRegistry()), r)
			if strings.Contains(out.String(), "hunter2") {
				t.Errorf("a secret was logged: %s", out.String())
			}
			got := lines(t, &out)
			if len(got) != 1 {
				t.Fatalf("%d request lines, want 1", len(got))
			}
			if _, fixed := tt.want["bytes"]; !fixed {
				delete(got[0], "bytes")
			}
			if diff := cmp.Diff(tt.want, got[0]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRecover(t *testing.T) {
	tests := []struct {
		path     string
		panicked any
		status   int
		logged   bool
	}{
		{"/early", nil, 500, true},
		{"/late", http.ErrAbortHandler, 200, true},
		{"/abort", http.ErrAbortHandler, 200, false},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			var out bytes.Buffer
			w, panicked := serve(house(&out, prometheus.NewRegistry()), httptest.NewRequest(http.MethodGet, tt.path, nil))
			if panicked != tt.panicked || w.Code != tt.status {
				t.Errorf("got panic %v and status %d, want %v and %d", panicked, w.Code, tt.panicked, tt.status)
			}
			if logged := strings.Contains(out.String(), "middleware_test.go"); logged != tt.logged {
				t.Errorf("stack logged: %v, want %v", logged, tt.logged)
			}
			if tt.path == "/early" && w.Header().Get("Content-Type") != ProblemType {
				t.Error("the caller got no problem")
			}
		})
	}
}

func TestRequestID(t *testing.T) {
	tests := []struct {
		name, sent string
		kept       bool
	}{
		{"none", "", false},
		{"plain", "abc-1.2_3", true},
		{"with a line end", "a\nlevel=ERROR", false},
		{"too long", strings.Repeat("a", 65), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var inside string
			var attrs []slog.Attr
			h := RequestID(annotated)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				inside = RequestIDFrom(r.Context())
				attrs, _ = r.Context().Value(annotationKey{}).([]slog.Attr)
			}))
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set(RequestIDHeader, tt.sent)
			w, _ := serve(h, r)
			if inside == "" || inside != w.Header().Get(RequestIDHeader) || len(attrs) != 1 || attrs[0].Value.String() != inside {
				t.Errorf("inside %q, answered %q, annotated %v", inside, w.Header().Get(RequestIDHeader), attrs)
			}
			if (inside == tt.sent) != tt.kept {
				t.Errorf("id is %q for %q", inside, tt.sent)
			}
		})
	}
}

func TestRequestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := house(&bytes.Buffer{}, reg)
	for _, r := range []*http.Request{
		httptest.NewRequest(http.MethodGet, "/repos/a", nil), httptest.NewRequest(http.MethodGet, "/repos/b", nil), httptest.NewRequest(http.MethodGet, "/early", nil),
		httptest.NewRequest(http.MethodGet, "/made/up/1", nil), httptest.NewRequest("BREW", "/made/up/2", nil), httptest.NewRequest(http.MethodGet, "/abort", nil),
	} {
		_, _ = serve(h, r)
	}
	w, _ := serve(Metrics(reg), httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`tidewaiter_http_requests_total{method="GET",route="GET /repos/{name}",status="200"} 2`,
		`tidewaiter_http_requests_total{method="GET",route="GET /early",status="500"} 1`,
		`tidewaiter_http_requests_total{method="GET",route="unmatched",status="404"} 1`,
		`tidewaiter_http_requests_total{method="other",route="unmatched",status="404"} 1`,
		`tidewaiter_http_request_duration_seconds_count{method="GET",route="GET /repos/{name}"} 2`,
		"tidewaiter_http_requests_in_flight 0",
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(w.Body.String(), "made") || strings.Contains(w.Body.String(), "BREW") {
		t.Error("a caller made a label")
	}
}

func TestSecurityHeaders(t *testing.T) {
	w, _ := serve(house(&bytes.Buffer{}, prometheus.NewRegistry()), httptest.NewRequest(http.MethodGet, "/repos/a", nil))
	for k, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "X-Frame-Options": "DENY",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Referrer-Policy": "no-referrer",
	} {
		if got := w.Header().Get(k); got != want {
			t.Errorf("%s: got %q, want %q", k, got, want)
		}
	}
}

// A token that somebody puts into a path is not logged, nor repeated.
func TestTokensInPathsAreNotLogged(t *testing.T) {
	token := "tw_" + strings.Repeat("x", 43)
	var out bytes.Buffer
	handler := house(&out, prometheus.NewRegistry())
	for _, path := range []string{"/repos/" + token, "/" + token, "/below/" + token + "/x"} {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	}
	w := httptest.NewRecorder()
	NotFound(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/"+token, nil))
	if out.Len() == 0 || strings.Contains(out.String()+w.Body.String(), token) {
		t.Errorf("%s%s", out.String(), w.Body)
	}
}

// The log names the caller that a trusted proxy tells of.
func TestTheLogNamesTheCallerBehindAProxy(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&out, nil))
	handler := Chain(nothing, Addresses(Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}), LogRequests(logger, nil))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil) // from 192.0.2.1
	r.Header.Set("X-Forwarded-For", "198.51.100.7")
	handler.ServeHTTP(httptest.NewRecorder(), r)
	if !strings.Contains(out.String(), `"remote":"198.51.100.7"`) {
		t.Error(out.String())
	}
}
