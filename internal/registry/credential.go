package registry

import (
	"context"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/time/rate"
)

const (
	// credentialLife is how long a credential that was looked up counts. One that
	// was replaced is noticed after that, or when the old one is refused.
	credentialLife = 5 * time.Minute
	// failedLookUpLife is how long a look-up that failed counts, so that whoever
	// makes us ask a registry does not make us ask a helper or a cloud as often.
	failedLookUpLife = 10 * time.Second
	// renewalPause is the least time between look-ups because of a refusal.
	renewalPause = 10 * time.Second
)

// credential is what a connection logs in with. It is consulted whenever a
// credential is sent, so that logins of any age use the present one. It is safe
// for concurrent use.
type credential struct {
	find     func() (authn.Authenticator, error)
	fixed    bool // the configuration itself holds it
	renewals *rate.Limiter

	mu    sync.Mutex
	found *authn.AuthConfig
	err   error
	until time.Time
	empty bool // the last look-up went well and found nothing
}

func newCredential(a Auth, find func() (authn.Authenticator, error)) *credential {
	return &credential{
		find:     find,
		fixed:    a.DockerConfig == "" && a.Keychain == "" && a.keychain == nil,
		renewals: rate.NewLimiter(rate.Every(renewalPause), 1),
	}
}

// Authorization is AuthorizationContext without a context.
func (c *credential) Authorization() (*authn.AuthConfig, error) {
	return c.AuthorizationContext(context.Background())
}

// AuthorizationContext returns the present credential. One look-up serves
// everybody who waits; it has a deadline of its own.
func (c *credential) AuthorizationContext(context.Context) (*authn.AuthConfig, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().Before(c.until) {
		return c.found, c.err
	}
	c.found, c.err = c.lookUp()
	c.until = time.Now().Add(credentialLife)
	if c.err != nil {
		c.until = time.Now().Add(failedLookUpLife)
	}
	return c.found, c.err
}

func (c *credential) lookUp() (*authn.AuthConfig, error) {
	a, err := c.find()
	if err != nil {
		return nil, err
	}
	c.empty = a == authn.Anonymous
	return a.Authorization()
}

// renew gives up a credential that was refused and reports whether there may be
// another.
func (c *credential) renew() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	// After a look-up that failed nothing was sent that could be refused.
	if c.fixed || c.err != nil || !c.renewals.Allow() {
		return false
	}
	c.until = time.Time{}
	return true
}

// isEmpty reports whether a credential was looked for and there is none.
func (c *credential) isEmpty() bool {
	if c == nil || c.fixed {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.empty
}
