package httpserver

import (
	"context"
	"net/http"
)

// StartTrace begins the trace of a request and returns the context to answer it
// in, and what ends the trace; telemetry.StartRequest is one.
type StartTrace func(*http.Request) (ctx context.Context, end func(route string, status int))

type routeNoteKey struct{}

// TraceRequests answers each request within a trace. Health and metrics routes,
// which are asked every few seconds, have none. It belongs before LogRequests,
// whose lines then name the trace, and which tells it the route.
func TraceRequests(start StartTrace) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isProbe(r.URL.Path) {
				next.ServeHTTP(w, r)
				return
			}
			ctx, end := start(r)
			route, rec := unmatched, record(w)
			defer func() { end(route, rec.status()) }()
			next.ServeHTTP(rec, r.WithContext(context.WithValue(ctx, routeNoteKey{}, &route)))
		})
	}
}

// noteRoute tells a trace further out by which route the request went.
func noteRoute(ctx context.Context, route string) {
	if note, ok := ctx.Value(routeNoteKey{}).(*string); ok {
		*note = route
	}
}

// isProbe reports whether a path is one that machines ask every few seconds.
func isProbe(path string) bool {
	return path == "/livez" || path == "/readyz" || path == "/metrics"
}
