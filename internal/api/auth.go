package api

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

const (
	// How often one address may come with a token that nobody knows.
	failuresPerSecond = 5
	failuresBurst     = 50
	// How often one address may ask for what needs no token.
	publicPerSecond = 20
	publicBurst     = 100
	// How many refusals of one caller the audit log keeps.
	refusalsPerSecond = 1
	refusalsBurst     = 100
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
	if !h.good.Knows(key) && h.failures.Exhausted(httpserver.NetworkOf(r)) {
		return report.Principal{}, httpserver.TooMany(time.Second, "too many tokens from this address were refused")
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.RequestTimeout)
	defer cancel()
	who, err := h.Tokens.Authenticate(ctx, token)
	if err != nil {
		if errs.Is(err, errs.Unauthorized) {
			h.good.Forget(key)
			h.failures.Allow(httpserver.NetworkOf(r))
		}
		return report.Principal{}, err
	}
	h.good.Allow(key)
	if pause := h.tokens.Allow(who.Actor() + "\n" + who.Subject); pause > 0 {
		return report.Principal{}, httpserver.TooMany(pause, "the token %q asks too often", who.Token)
	}
	return who, nil
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
