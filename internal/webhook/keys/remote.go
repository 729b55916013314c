package keys

import (
	"context"
	"net/http"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/tidewaiter/tidewaiter/internal/jwks"
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
		s = &jwks.Remote{Algorithms: jwks.Usual(), Now: k.now,
			Fetch: func(ctx context.Context) ([]byte, http.Header, error) {
				f, err := k.fetch(ctx, kindKeySet, url, jwks.MaxBytes, fetchTimeout)
				return f.body, f.header, err
			},
			Limited: func() { k.metrics.count(kindKeySet, outcomeLimited) },
		}
		k.sets[url] = s
	}
	return s
}
