package keys

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

const (
	maxKeySet = 256 << 10
	// A key set is kept as long as its Cache-Control says, within these bounds,
	// and used on for staleKeySet while it cannot be had.
	leastKeySet   = 5 * time.Minute
	defaultKeySet = time.Hour
	mostKeySet    = 24 * time.Hour
	staleKeySet   = 24 * time.Hour
	// keySetPause is the least time between two attempts: tokens that name a key
	// nobody knows cost nothing more.
	keySetPause = 30 * time.Second
)

// KeySet returns the JSON Web Key Set at a URL, which is fetched when it is first
// needed, when it is old, and when a token names a key that is not in it. Its
// errors are of kind Unauthorized for a token that no key has signed, Unavailable
// when the set cannot be had.
func (k *Keys) KeySet(url string) oidc.KeySet {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.sets[url]
	if !ok {
		s = &remoteSet{keys: k, url: url}
		k.sets[url] = s
	}
	return s
}

// remoteSet is the key set at a URL.
type remoteSet struct {
	keys *Keys
	url  string

	mu     sync.Mutex
	set    Set
	until  time.Time // when set is old; zero when there is none
	tried  time.Time // the last attempt
	failed error     // of the last attempt
}

// VerifySignature implements oidc.KeySet.
func (s *remoteSet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	_, id, err := parseToken(token)
	if err != nil {
		return nil, err
	}
	set, err := s.withKey(ctx, id)
	if err != nil {
		return nil, err
	}
	return set.VerifySignature(ctx, token)
}

// withKey returns the set, fetched again when it lacks the key or is old.
func (s *remoteSet) withKey(ctx context.Context, id string) (Set, error) {
	if set, good := s.known(id); good {
		return set, nil
	}
	done := s.keys.flights.DoChan("set "+s.url, func() (any, error) {
		s.renew(context.WithoutCancel(ctx), id)
		return nil, nil
	})
	select {
	case <-done:
	case <-ctx.Done():
		return Set{}, errs.Op("keys: wait for the key set", ctx.Err())
	}
	return s.usable()
}

// known reports whether the set is fresh and has the key.
func (s *remoteSet) known(id string) (Set, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set, s.set.has(id) && s.keys.now().Before(s.until)
}

// usable returns the set as it is; one that is old is better than none.
func (s *remoteSet) usable() (Set, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.until.IsZero() && s.keys.now().Before(s.until.Add(staleKeySet)) {
		return s.set, nil
	}
	return Set{}, unavailable("keys: there is no key set to check the token with", s.failed)
}

// renew fetches the set, unless that was tried a moment ago.
func (s *remoteSet) renew(ctx context.Context, id string) {
	now := s.keys.now()
	if _, good := s.known(id); good {
		return // somebody else just fetched it
	}
	if !s.mayTry(now) {
		s.keys.metrics.count(kindKeySet, outcomeLimited)
		return
	}
	f, err := s.keys.fetch(ctx, kindKeySet, s.url, maxKeySet, fetchTimeout)
	var set Set
	if err == nil {
		set, err = ParseSet(f.body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed = err; err == nil {
		s.set, s.until = set, now.Add(lifetime(f.header))
	}
}

func (s *remoteSet) mayTry(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.tried.IsZero() && now.Sub(s.tried) < keySetPause {
		return false
	}
	s.tried = now
	return true
}

// lifetime reads max-age of Cache-Control (RFC 9111, section 5.2.2.1).
func lifetime(header http.Header) time.Duration {
	for _, directive := range strings.Split(header.Get("Cache-Control"), ",") {
		age, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(directive)), "max-age=")
		if seconds, err := strconv.Atoi(age); ok && err == nil {
			return min(max(time.Duration(min(seconds, 1<<30))*time.Second, leastKeySet), mostKeySet)
		}
	}
	return defaultKeySet
}
