package registry

import (
	"crypto/x509"
	"net/http"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/outbound"
)

// newTransports makes the two ways out: one to the registry and the hosts that
// are trusted like it, which shows the client certificate, and one to public
// addresses.
func newTransports(s Settings, roots *x509.CertPool) (trusted *http.Transport, public *outbound.Public) {
	out := outbound.Settings{
		Roots: roots, ConnectTimeout: min(10*time.Second, s.RequestTimeout), AnswerTimeout: s.RequestTimeout, Network: s.network,
	}
	trusted = outbound.NewTransport(out)
	// A digest is over the bytes as they are sent.
	trusted.DisableCompression = true
	public = outbound.NewPublic(out, trusted, s.refuse)
	if s.ClientCertFile != "" {
		trusted.TLSClientConfig.GetClientCertificate = s.showCertificate
	}
	return trusted, public
}

func (s Settings) refuse(addr string) error {
	return errs.New(errs.Forbidden, "%.200q is not a public address", addr).
		WithHint("if it belongs to registry %s, name it under trusted_hosts", s.Name)
}
