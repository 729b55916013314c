package keys

import (
	"net/http"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/outbound"
)

// transport leads to public addresses, through the proxy of the environment
// where there is one. It has no room for idle connections: certificates and keys
// are asked for a few times a day.
func (o Options) transport() (http.RoundTripper, error) {
	roots, err := outbound.Roots(o.CAFile)
	if err != nil {
		return nil, errs.Op("keys", err)
	}
	s := outbound.Settings{Roots: roots, ConnectTimeout: fetchTimeout, AnswerTimeout: confirmTimeout, Network: o.network}
	base := outbound.NewTransport(s)
	base.MaxResponseHeaderBytes = 64 << 10
	base.DisableKeepAlives = true
	return outbound.NewPublic(s, base, notPublic), nil
}

// notPublic does not name the address: it is the caller's to tell which URL it
// asked for.
func notPublic(string) error {
	return errs.New(errs.Forbidden, "keys: not a public address").
		WithHint("give the certificate or the key set as a file")
}

const (
	fetchTimeout   = 5 * time.Second
	confirmTimeout = 10 * time.Second
)
