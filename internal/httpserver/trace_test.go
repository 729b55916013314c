package httpserver_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/httpserver"
)

type inTrace struct{}

// A trace is told route and status when the request ends, however it ends, and
// what answers the request is within it.
func TestTraceRequests(t *testing.T) {
	var ended []string
	start := func(r *http.Request) (context.Context, func(string, int)) {
		return context.WithValue(r.Context(), inTrace{}, true), func(route string, status int) { ended = append(ended, route+" "+strconv.Itoa(status)) }
	}
	mux := http.NewServeMux()
	answer := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if traced, _ := r.Context().Value(inTrace{}).(bool); traced == (r.URL.Path == "/livez") {
				t.Errorf("%s: traced is %v", r.URL.Path, traced)
			}
			w.WriteHeader(status)
		}
	}
	mux.Handle("POST /webhooks/{registry}", answer(http.StatusAccepted))
	mux.Handle("GET /livez", answer(http.StatusOK))
	mux.Handle("GET /panics", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") }))
	logger := slog.New(slog.DiscardHandler)
	handler := httpserver.Chain(mux, httpserver.RequestID(nil), httpserver.TraceRequests(start),
		httpserver.LogRequests(logger, httpserver.RoutePattern), httpserver.Recover(logger))
	for _, r := range []*http.Request{
		httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhooks/prod", nil),
		httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/livez", nil),
		httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/nowhere", nil),
		httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/panics", nil),
	} {
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	if want := []string{"POST /webhooks/{registry} 202", "unmatched 404", "GET /panics 500"}; !slices.Equal(ended, want) {
		t.Errorf("the traces ended as %q, want %q", ended, want)
	}
}
