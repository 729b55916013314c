package httpserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// HoldToRate lets through what a limiter does of each address, for routes that need
// no token. The answer to the rest is 429.
func HoldToRate(l *Limiter) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if pause := l.Allow(NetworkOf(r)); pause > 0 {
				WriteProblem(w, r, TooMany(pause, "too many requests from this address"))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// NeedBearer lets through requests that carry the token (RFC 6750, section 2.1). An
// empty one lets everybody through.
func NeedBearer(token string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		if token == "" {
			return next
		}
		want := sha256.Sum256([]byte(token))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			got := sha256.Sum256([]byte(strings.TrimSpace(given)))
			if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
				WriteProblem(w, r, errs.New(errs.Unauthorized, "this needs the token that metrics_token in the configuration is"))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
