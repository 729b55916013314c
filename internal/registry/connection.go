package registry

import (
	"context"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

const (
	// sessionLife bounds how long a login is reused; a credential that was
	// replaced in the Docker config counts after that.
	sessionLife = 5 * time.Minute
	// maxSessions bounds how many repositories have a login at a time.
	maxSessions = 256
)

// connection is what is kept per registry.
type connection struct {
	settings Settings
	registry name.Registry
	guard    *guard
	mirrors  []*mirror
	asker    *asker
	listing  *listing

	mu       sync.Mutex
	sessions map[string]session // by repository
}

// session is a login for one repository.
type session struct {
	puller *remote.Puller
	since  time.Time
}

// connect makes the connection of a registry, with those of its mirrors.
func connect(s Settings, m meter) (*connection, error) {
	var options []name.Option
	if s.PlainHTTP {
		options = append(options, name.Insecure)
	}
	registry, err := name.NewRegistry(s.Endpoint, options...)
	if err != nil {
		return nil, errs.New(errs.Invalid, "%.200q is not a host or host:port", s.Endpoint)
	}
	if s.Auth.Keychain != "" {
		if err := CheckKeychain(s.Auth.Keychain, s.Host); err != nil {
			return nil, err
		}
	}
	s.straggler = new(straggler)
	s.credential = newCredential(s.Auth, func() (authn.Authenticator, error) { return s.findCredential(registry) })
	l := newLine(registry.RegistryStr(), s.Limits, m)
	g, err := newGuard(s, registry.RegistryStr(), l)
	if err != nil {
		return nil, err
	}
	c := &connection{settings: s, registry: registry, guard: g, sessions: map[string]session{}}
	if c.mirrors, err = connectMirrors(s, m); err != nil {
		return nil, err
	}
	c.asker = newAsker(c)
	c.listing, err = newListing(c)
	return c, err
}

// session returns a login for the repository, and whether it was kept from
// before.
func (c *connection) session(repository string) (puller *remote.Puller, kept bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.sessions[repository]; ok && time.Since(s.since) < sessionLife {
		return s.puller, true, nil
	}
	puller, err = remote.NewPuller(
		remote.WithAuth(c.settings.authenticator()),
		remote.WithTransport(c.guard),
		// A blip is bridged here; anything longer is up to the scan's own retry.
		remote.WithRetryBackoff(remote.Backoff{Duration: 100 * time.Millisecond, Factor: 3, Jitter: 0.1, Steps: 3}),
		remote.WithRetryPredicate(isBlip),
		remote.WithRetryStatusCodes(408, 500, 502, 503, 504),
	)
	if err != nil {
		return nil, false, errs.Wrap(errs.Internal, "make puller", err)
	}
	c.forgetOld()
	c.sessions[repository] = session{puller, time.Now()}
	return puller, false, nil
}

// withLogin runs one request with the login for a repository, and when that is
// refused, once more with a new one. The library renews a bearer token on a 401
// with a challenge. That leaves a refresh token or password that has expired or
// was replaced while layers were read, which some registries answer with 403 or
// without a challenge.
func (c *connection) withLogin(ctx context.Context, repository string, request func(*remote.Puller) error) error {
	for again := false; ; again = true {
		puller, kept, err := c.session(repository)
		if err != nil {
			return err
		}
		err = c.settings.explain(ctx, request(puller))
		refused := errs.Is(err, errs.Unauthorized) || errs.Is(err, errs.Forbidden)
		if !refused || again || !c.renewLogin(repository, puller, kept) {
			return err
		}
	}
}

// renewLogin gives up a login that was refused and reports whether another may
// fare better.
func (c *connection) renewLogin(repository string, refused *remote.Puller, kept bool) bool {
	renewed := c.settings.credential.renew()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions[repository].puller == refused {
		delete(c.sessions, repository)
	}
	return renewed || kept
}

// forget drops a login after a failure: the next try starts afresh.
func (c *connection) forget(repository string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, repository)
}

// forgetOld makes room for one more login.
func (c *connection) forgetOld() {
	for repository, s := range c.sessions {
		if time.Since(s.since) >= sessionLife || len(c.sessions) >= maxSessions {
			delete(c.sessions, repository)
		}
	}
}
