package registry

import (
	"sync"
	"time"

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

	mu       sync.Mutex
	sessions map[string]session // by repository
}

// session is a login for one repository.
type session struct {
	puller *remote.Puller
	since  time.Time
}

func connect(s Settings) (*connection, error) {
	var options []name.Option
	if s.PlainHTTP {
		options = append(options, name.Insecure)
	}
	registry, err := name.NewRegistry(s.Endpoint, options...)
	if err != nil {
		return nil, errs.New(errs.Invalid, "%.200q is not a host or host:port", s.Endpoint)
	}
	g, err := newGuard(s, registry.RegistryStr())
	if err != nil {
		return nil, err
	}
	return &connection{settings: s, registry: registry, guard: g, sessions: map[string]session{}}, nil
}

// puller returns a login for the repository, a kept one when it is fresh.
func (c *connection) puller(repository string) (*remote.Puller, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.sessions[repository]; ok && time.Since(s.since) < sessionLife {
		return s.puller, nil
	}
	auth, err := c.settings.authenticator(c.registry)
	if err != nil {
		return nil, err
	}
	puller, err := remote.NewPuller(
		remote.WithAuth(auth),
		remote.WithTransport(c.guard),
		// A blip is bridged here; anything longer is up to the scan's own retry.
		remote.WithRetryBackoff(remote.Backoff{Duration: 100 * time.Millisecond, Factor: 3, Jitter: 0.1, Steps: 3}),
		remote.WithRetryPredicate(isBlip),
		remote.WithRetryStatusCodes(408, 500, 502, 503, 504),
	)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "make puller", err)
	}
	c.forgetOld()
	c.sessions[repository] = session{puller, time.Now()}
	return puller, nil
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
