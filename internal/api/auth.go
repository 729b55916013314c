package api

import (
	"context"
	"crypto/sha256"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// How often one address may come with a token that nobody knows.
const (
	failuresPerSecond = 5
	failuresBurst     = 50
)

type principalKey struct{}

// principal returns who asks. Without authentication it is nobody, whom no
// scope allows anything.
func principal(ctx context.Context) report.Principal {
	who, _ := ctx.Value(principalKey{}).(report.Principal)
	return who
}

// authenticate finds out who asks and holds them to their rate. Guessing is held
// to a rate by address, which those whose token was good lately do not share.
func (h *handler) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := h.identify(r)
		if err != nil {
			h.metrics.reject(string(errs.KindOf(err)))
			httpserver.WriteProblem(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), principalKey{}, who)))
	})
}

func (h *handler) identify(r *http.Request) (report.Principal, error) {
	token, err := bearer(r)
	if err != nil {
		return report.Principal{}, err
	}
	// The limiter must not keep tokens in memory.
	sum := sha256.Sum256([]byte(token))
	key := string(sum[:])
	if !h.tokens.knows(key) && h.failures.exhausted(address(r)) {
		return report.Principal{}, tooMany(time.Second, "too many tokens from this address were refused")
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.RequestTimeout)
	defer cancel()
	who, err := h.Tokens.Authenticate(ctx, token)
	if err != nil {
		if errs.Is(err, errs.Unauthorized) {
			h.tokens.forget(key)
			h.failures.allow(address(r))
		}
		return report.Principal{}, err
	}
	if pause := h.tokens.allow(key); pause > 0 {
		return report.Principal{}, tooMany(pause, "the token %q asks too often", who.Token)
	}
	return who, nil
}

func tooMany(pause time.Duration, format string, args ...any) error {
	err := errs.New(errs.RateLimited, format, args...)
	err.RetryAfter = max(pause, time.Second)
	return err
}

// bearer reads the token of a request (RFC 6750, section 2.1).
func bearer(r *http.Request) (string, error) {
	header := r.Header.Get("Authorization")
	scheme, token, ok := strings.Cut(header, " ")
	if token = strings.TrimSpace(token); !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", errs.New(errs.Unauthorized, "the request carries no token").
			WithHint("send the header Authorization: Bearer tw_…; make a token with tidewaiter token create")
	}
	return token, nil
}

// address is where a request comes from, of IPv6 the network: one host has many
// addresses in it. What proxies claim about their callers is not believed.
func address(r *http.Request) string {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	addr := from.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}
