// Package keys is the back room of webhook: it has what requests are checked
// with whose senders sign with a private key, which are the certificates of
// Amazon SNS and JSON Web Key Sets, and it confirms subscriptions.
//
// It is the only part of the receiver that connects anywhere: over https, to
// public addresses, with small answers, short deadlines and no redirects, and
// rarely, since callers who have proved nothing yet can make it ask. It must not
// decide which topic, issuer or address is trusted: the configuration does, and
// webhook holds requests to it.
package keys

import (
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/tidewaiter/tidewaiter/internal/jwks"
	"github.com/tidewaiter/tidewaiter/internal/outbound"
)

// Options say how to connect. The zero value is usable.
type Options struct {
	// CAFile is a PEM file of authorities to trust besides the system's.
	CAFile string
	// Metrics counts fetches; the zero value counts without being registered.
	Metrics Metrics
	// Transport replaces the connections, for tests; nil stands for those of the
	// package comment.
	Transport http.RoundTripper
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time

	// network is what leads out; nil for the system's.
	network *outbound.Network
}

// Keys fetches and keeps what signatures are checked with. It is safe for
// concurrent use.
type Keys struct {
	client  *http.Client
	metrics Metrics
	now     func() time.Time
	flights singleflight.Group

	mu           sync.Mutex
	certificates map[string]certificate  // by URL
	sets         map[string]*jwks.Remote // by URL

	certificateRate, confirmRate *rate.Limiter
}

const (
	// certificatePause and certificateBurst bound how often strangers who know the
	// name of a topic can make us ask for certificates that do not exist.
	certificatePause = 2 * time.Second
	certificateBurst = 10
	confirmPause     = 5 * time.Second
	confirmBurst     = 5
)

// New returns an empty store of keys. The error is of kind Invalid when the CA
// file cannot be used.
func New(o Options) (*Keys, error) {
	if o.Transport == nil {
		t, err := o.transport()
		if err != nil {
			return nil, err
		}
		o.Transport = t
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Keys{
		client: &http.Client{
			Transport:     o.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		metrics:         o.Metrics.orUnregistered(),
		now:             o.Now,
		certificates:    map[string]certificate{},
		sets:            map[string]*jwks.Remote{},
		certificateRate: rate.NewLimiter(rate.Every(certificatePause), certificateBurst),
		confirmRate:     rate.NewLimiter(rate.Every(confirmPause), confirmBurst),
	}, nil
}
