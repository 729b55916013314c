// Package registry reads manifests and images from OCI registries.
//
// It is responsible for the line between us and a registry: which hosts may be
// reached, which credential goes where, limits, time-outs, and turning what a
// registry answers into the project's words and error kinds. It connects to
// configured registries only (and to where these send it, under the rules of
// guard). It must not unpack layers, and must not know webhooks or storage.
package registry

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/outbound"
)

// Settings describe one registry. Only Host is required.
type Settings struct {
	// Name is what the configuration calls the registry, for messages.
	Name string
	// Host is the host[:port] that image references name; Docker Hub's is
	// docker.io.
	Host string
	// Aliases are further hosts that mean this registry.
	Aliases []string
	// Endpoint is the host[:port] to connect to; empty means Host.
	Endpoint string
	// PlainHTTP speaks HTTP without TLS. Without it nothing but TLS is tried, on
	// localhost neither.
	PlainHTTP bool
	// CAFile holds PEM certificates trusted for this registry besides the
	// system's; empty means none.
	CAFile string
	// ClientCertFile and ClientKeyFile are the certificate, with its key, that is
	// shown to the registry and its trusted hosts; empty means none. The files are
	// read anew for every connection.
	ClientCertFile, ClientKeyFile string
	// TrustedHosts are host[:port] of token and storage services that belong to
	// the registry. Only they may have private addresses.
	TrustedHosts []string
	// Auth is the credential.
	Auth Auth
	// RequestTimeout bounds a small request as a whole, and each pause within a
	// layer; 0 means 30 seconds.
	RequestTimeout time.Duration
	// MaxManifestBytes bounds a manifest and a config; 0 means 8 MiB.
	MaxManifestBytes int64
	// Limits are how hard the registry may be used.
	Limits Limits
	// Mirrors are asked for content by digest before the registry, in this order.
	Mirrors []Mirror
	// Listing says how its repositories are found.
	Listing Listing

	// credential is what Auth says, as it is now.
	credential *credential
	// straggler is a look-up of it that did not come back.
	straggler *straggler
	// network is what leads out; nil for the system's.
	network *outbound.Network
}

// Limits are how hard one process may use a registry. They hold for everything
// it does there, scans and listings together; zero means no limit.
type Limits struct {
	// ConcurrentPulls is how many layers may be open at a time.
	ConcurrentPulls int
	// RequestsPerSecond counts requests to the registry and its token service; as
	// many may come at once.
	RequestsPerSecond int
	// Bandwidth is in bytes per second of answers.
	Bandwidth int64
}

// Auth is a credential: a user with a password, a bearer token, or where to
// look one up. The first that is set counts; none means anonymous access.
type Auth struct {
	Username, Password string
	// Token is sent to the registry as it is.
	Token string
	// DockerConfig is the path of a Docker config.json. Credential helpers it
	// names are run. The file is read anew, so that it can be replaced.
	DockerConfig string
	// Keychain names the cloud that is asked for a credential with the identity
	// it gives this process: KeychainECR, KeychainGoogle or KeychainACR.
	Keychain string
	// keychain is what a one-shot scan finds credentials with.
	keychain authn.Keychain
}

func (s Settings) withDefaults() Settings {
	s.Host = image.CanonicalHost(s.Host)
	if s.Endpoint == "" {
		s.Endpoint = s.Host
	}
	if s.Endpoint == "docker.io" {
		// Docker Hub serves its API under another name.
		s.Endpoint = "index.docker.io"
	}
	if s.Name == "" {
		s.Name = s.Host
	}
	if s.RequestTimeout == 0 {
		s.RequestTimeout = 30 * time.Second
	}
	if s.MaxManifestBytes == 0 {
		s.MaxManifestBytes = 8 << 20
	}
	return s
}

// Client reads from the configured registries. It is safe for concurrent use.
type Client struct {
	byHost  map[string]*connection // by canonical host and alias
	metrics *Metrics
	// skipped is told of what lists leave out; nil tells nobody.
	skipped func(context.Context, Skipped)
}

// Option changes how a client is made.
type Option func(*Client)

// WithMetrics has a client count what it asks of registries.
func WithMetrics(m *Metrics) Option { return func(c *Client) { c.metrics = m } }

// New checks the settings and makes a client; it connects to nothing. The error
// is of kind Invalid and names the registry.
func New(settings []Settings, options ...Option) (*Client, error) {
	c := &Client{byHost: map[string]*connection{}}
	for _, o := range options {
		o(c)
	}
	for _, s := range settings {
		s = s.withDefaults()
		conn, err := connect(s, meter{c.metrics, s.Name, viaRegistry})
		if err != nil {
			return nil, errs.Op("registry: "+s.Name, err)
		}
		for _, host := range append([]string{s.Host}, s.Aliases...) {
			host = image.CanonicalHost(host)
			if host == "" {
				return nil, errs.New(errs.Invalid, "registry: %s: a host is empty", s.Name)
			}
			if other, taken := c.byHost[host]; taken && other != conn {
				return nil, errs.New(errs.Invalid, "registry: %s: host %s belongs to %s already", s.Name, host, other.settings.Name)
			}
			c.byHost[host] = conn
		}
	}
	return c, nil
}

// Lookup returns the settings of the registry that host, in any spelling, is a
// host or alias of.
func (c *Client) Lookup(host string) (Settings, bool) {
	conn, ok := c.byHost[image.CanonicalHost(host)]
	if !ok {
		return Settings{}, false
	}
	return conn.settings, true
}

// at finds the connection a reference goes to and checks the reference, which
// may come from a webhook's body.
func (c *Client) at(ref image.Reference) (*connection, error) {
	conn, ok := c.byHost[image.CanonicalHost(ref.Registry)]
	if !ok {
		return nil, errs.New(errs.Invalid, "host %.200q is not a configured registry", ref.Registry).
			WithHint("add it to the configuration's registries, as host or alias")
	}
	if !image.IsRepository(ref.Repository) {
		return nil, errs.New(errs.Invalid, "%.300q is not a repository", ref.Repository)
	}
	return conn, nil
}

// hostname cuts the port off a host[:port].
func hostname(hostport string) string {
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		return h
	}
	return strings.Trim(hostport, "[]")
}

// withTimeout bounds a small request.
func (c *connection) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return begin(ctx, c.settings.RequestTimeout, c.tooSlow())
}

func (c *connection) tooSlow() error {
	return errs.New(errs.Timeout, "%s did not answer within %s", c.settings.Endpoint, c.settings.RequestTimeout)
}
