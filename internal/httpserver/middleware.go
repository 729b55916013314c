package httpserver

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Route names the path template a request was routed by, as "/webhooks/{registry}".
// It is asked after the request was served. Nil stands for RoutePattern.
type Route func(*http.Request) string

// RoutePattern is the pattern the router left in the request (http.ServeMux
// does), or "" when it left none.
func RoutePattern(r *http.Request) string { return r.Pattern }

func routeOf(route Route, r *http.Request) string {
	if route == nil {
		route = RoutePattern
	}
	if name := route(r); name != "" {
		return name
	}
	return unmatched
}

// unmatched stands for the route of a request that no route took.
const unmatched = "unmatched"

// LogRequests writes one line per request when it ends: method, route, path,
// status, bytes, time, and the error that WriteProblem answered with. Queries
// and headers are never logged, for senders put secrets there; see loggedPath
// for paths. Answers of 500 and above are errors, health and metrics routes go
// to debug.
func LogRequests(logger *slog.Logger, route Route) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			note := &errorNote{}
			r = r.WithContext(context.WithValue(r.Context(), errorNoteKey{}, note))
			rec := record(w)
			// Deferred, so that a panic on its way to the server has its line too.
			defer func() {
				name := routeOf(route, r)
				noteRoute(r.Context(), name)
				attrs := []slog.Attr{
					slog.String("method", shorten(r.Method, 20)), slog.String("route", name),
					slog.String("path", loggedPath(name, r.URL.Path)), slog.Int("status", rec.status()),
					slog.Int64("bytes", rec.bytes), slog.Int64("took_ms", time.Since(start).Milliseconds()), slog.String("remote", remoteOf(r)),
				}
				if note.err != nil {
					attrs = append(attrs, slog.String("kind", string(kindOf(note.err))), slog.Any("error", note.err))
				}
				logger.LogAttrs(r.Context(), requestLevel(r, rec.status()), "request", attrs...)
			}()
			next.ServeHTTP(rec, r)
		})
	}
}

// remoteOf is the peer with its port, or the caller that a trusted proxy named.
func remoteOf(r *http.Request) string {
	if _, told := r.Context().Value(addressKey{}).(string); told {
		return AddressOf(r)
	}
	return r.RemoteAddr
}

// apiToken is a token that somebody put where a name belongs.
var apiToken = regexp.MustCompile(`tw_[A-Za-z0-9_-]{20,}`)

// loggedPath returns what may be logged of a path, at most 200 bytes. Some
// senders can only put their secret into the path: a route with a part named
// {secret} is logged as its template. Of a path below a route that takes all
// below it, and of an unmatched one, which may be mistyped, only one more part
// is logged.
func loggedPath(route, path string) string {
	path = apiToken.ReplaceAllString(path, "tw_…")
	template := route[strings.LastIndexByte(route, ' ')+1:]
	switch {
	case strings.Contains(template, "{secret"):
		return template
	case route == unmatched:
		path = onePart("/", path)
	case strings.HasSuffix(template, "/"):
		path = onePart(template, path)
	}
	return shorten(path, 200)
}

// onePart keeps prefix and the first part of path behind it.
func onePart(prefix, path string) string {
	first, _, more := strings.Cut(strings.TrimPrefix(path, prefix), "/")
	if more {
		first += "/…"
	}
	return prefix + first
}

func requestLevel(r *http.Request, status int) slog.Level {
	switch {
	case isProbe(r.URL.Path):
		return slog.LevelDebug // asked every few seconds; not ready is an answer, not a failure
	case status >= http.StatusInternalServerError:
		return slog.LevelError
	}
	return slog.LevelInfo
}

// shorten cuts s at limit bytes, never inside a character.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}

// Recover turns a panic into a problem of kind Internal and logs it with its
// stack. An answer that had begun is cut off instead, so that the caller sees
// it is not whole. http.ErrAbortHandler passes through.
func Recover(logger *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := record(w)
			defer func() {
				v := recover()
				if v == nil {
					return
				}
				if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(v)
				}
				logger.LogAttrs(r.Context(), slog.LevelError, "panic in handler", slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
				if rec.code != 0 {
					panic(http.ErrAbortHandler)
				}
				WriteProblem(rec, r, errs.New(errs.Internal, "httpserver: panic in handler"))
			}()
			next.ServeHTTP(rec, r)
		})
	}
}

// SecurityHeaders sets headers that suit JSON answers: nothing is cached,
// sniffed, framed or run. Over TLS of our own, browsers are told to stay with it
// for a year. Handlers that serve pages overwrite what they need.
func SecurityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// Chain puts middlewares around h; the first is the outermost.
func Chain(h http.Handler, middlewares ...func(http.Handler) http.Handler) http.Handler {
	for i := len(middlewares) - 1; i >= 0; i-- {
		h = middlewares[i](h)
	}
	return h
}
