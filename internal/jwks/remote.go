package jwks

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

const (
	// MaxBytes is more than the key set of any issuer takes.
	MaxBytes = 256 << 10
	// A set is kept as long as its Cache-Control says, within these bounds, and used
	// on for StaleFor while it cannot be had.
	leastAge   = 5 * time.Minute
	defaultAge = time.Hour
	mostAge    = 24 * time.Hour
	// StaleFor is how long a set that is old is used while no newer one can be had.
	StaleFor = 24 * time.Hour
	// RetryPause is the least time between two attempts to fetch a set: tokens that
	// name a key nobody knows cost nothing more.
	RetryPause = 30 * time.Second
)

// Remote is a set that is fetched when it is first needed, when it is old, and
// when a token names a key that is not in it. It is safe for concurrent use.
type Remote struct {
	// Algorithms are those that tokens may be signed with.
	Algorithms Algorithms
	// Fetch gets the set with the header of the answer. The error is of kind
	// Unavailable when that may work later.
	Fetch func(ctx context.Context) (text []byte, header http.Header, err error)
	// Limited is told that nothing was fetched because that was tried a moment ago;
	// nil for nobody.
	Limited func()
	// Now is the clock.
	Now func() time.Time

	flights singleflight.Group
	mu      sync.Mutex
	set     Set
	until   time.Time // when set is old; zero when there is none
	tried   time.Time // the last attempt
	failed  error     // of the last attempt
}

// VerifySignature returns the content of a token that a key of the set has signed.
// The error is of kind Unauthorized when none has, Unavailable when that cannot be
// told because the set cannot be had.
func (r *Remote) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	_, id, err := parseToken(token, r.Algorithms)
	if err != nil {
		return nil, err
	}
	set, err := r.withKey(ctx, id)
	if err != nil {
		return nil, err
	}
	return set.VerifySignature(ctx, token)
}

// withKey returns the set, fetched again when it lacks the key or is old.
func (r *Remote) withKey(ctx context.Context, id string) (Set, error) {
	if set, good := r.known(id); good {
		return set, nil
	}
	done := r.flights.DoChan("", func() (any, error) {
		r.renew(context.WithoutCancel(ctx), id)
		return nil, nil
	})
	select {
	case <-done:
	case <-ctx.Done():
		return Set{}, errs.Op("keys: wait for the key set", ctx.Err())
	}
	return r.usable(id)
}

// known reports whether the set is fresh and has the key.
func (r *Remote) known(id string) (Set, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.set, r.set.has(id) && r.Now().Before(r.until)
}

// usable returns the set as it is; one that is old is better than none. One that
// lacks the key, and could not be fetched, says nothing about the token.
func (r *Remote) usable(id string) (Set, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.until.IsZero() && r.Now().Before(r.until.Add(StaleFor)) && (r.failed == nil || r.set.has(id)) {
		return r.set, nil
	}
	return Set{}, &errs.Error{Kind: errs.Unavailable, Op: "keys: there is no key set to check the token with", Err: r.failed,
		Hint: errs.Hint(r.failed), RetryAfter: RetryPause}
}

// renew fetches the set, unless that was tried a moment ago.
func (r *Remote) renew(ctx context.Context, id string) {
	now := r.Now()
	if _, good := r.known(id); good {
		return // somebody else just fetched it
	}
	if !r.mayTry(now) {
		if r.Limited != nil {
			r.Limited()
		}
		return
	}
	text, header, err := r.Fetch(ctx)
	var set Set
	if err == nil {
		set, err = Parse(text, r.Algorithms)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed = err; err == nil {
		r.set, r.until = set, now.Add(lifetime(header))
	}
}

func (r *Remote) mayTry(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.tried.IsZero() && now.Sub(r.tried) < RetryPause {
		return false
	}
	r.tried = now
	return true
}

// lifetime reads max-age of Cache-Control (RFC 9111, section 5.2.2.1).
func lifetime(header http.Header) time.Duration {
	for _, directive := range strings.Split(header.Get("Cache-Control"), ",") {
		age, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(directive)), "max-age=")
		if seconds, err := strconv.Atoi(age); ok && err == nil {
			return min(max(time.Duration(min(seconds, 1<<30))*time.Second, leastAge), mostAge)
		}
	}
	return defaultAge
}
