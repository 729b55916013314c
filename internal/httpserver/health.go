package httpserver

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Check is one condition for being ready.
type Check struct {
	Name string
	// Timeout bounds Check; zero means 2 s.
	Timeout time.Duration
	// Check returns nil when the condition holds. It should honour ctx; when it
	// does not, it counts as timed out all the same.
	Check func(ctx context.Context) error
}

// Readiness is the answer of /readyz.
type Readiness struct {
	Ready  bool          `json:"ready"`
	Checks []CheckResult `json:"checks"`
}

// CheckResult is the outcome of one check. Kind and Hint tell why it failed;
// the whole error is for the log, because this answer needs no token.
type CheckResult struct {
	Name string    `json:"name"`
	OK   bool      `json:"ok"`
	Kind errs.Kind `json:"kind,omitempty"`
	Hint string    `json:"hint,omitempty"`
}

// readyFor is how long an outcome is served again, so that callers without a
// token cannot make us work.
const readyFor = time.Second

// Live answers 200 as long as the process can answer at all.
func Live() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]bool{"live": true})
	})
}

// Ready runs all checks side by side and answers 200 when all hold, else 503,
// with a Readiness. An outcome is reused for a second.
func Ready(checks ...Check) http.Handler {
	return &ready{checks: checks}
}

type ready struct {
	checks []Check

	mu   sync.Mutex
	last Readiness
	at   time.Time
}

func (h *ready) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	outcome := h.outcome(r.Context())
	status := http.StatusOK
	if !outcome.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, outcome)
}

func (h *ready) outcome(ctx context.Context) Readiness {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.at.IsZero() && time.Since(h.at) < readyFor {
		return h.last
	}
	// Others share the outcome, so a caller that leaves must not spoil it.
	h.last = runChecks(context.WithoutCancel(ctx), h.checks)
	h.at = time.Now()
	return h.last
}

func runChecks(ctx context.Context, checks []Check) Readiness {
	out := Readiness{Ready: true, Checks: make([]CheckResult, len(checks))}
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { out.Checks[i] = runCheck(ctx, c) })
	}
	wg.Wait()
	for _, c := range out.Checks {
		out.Ready = out.Ready && c.OK
	}
	return out
}

func runCheck(ctx context.Context, c Check) CheckResult {
	timeout := c.Timeout
	timeout = cmp.Or(timeout, 2*time.Second)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.Check(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return CheckResult{Name: c.Name, OK: err == nil, Kind: errs.KindOf(err), Hint: errs.Hint(err)}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The caller may be gone; there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(v)
}
