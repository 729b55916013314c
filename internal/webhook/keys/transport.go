package keys

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// transport goes through the proxy of the environment where there is one, and
// directly to public addresses only otherwise.
type transport struct {
	proxy           func(*url.URL) (*url.URL, error)
	direct, proxied *http.Transport
}

// newTransport honours HTTP_PROXY, HTTPS_PROXY and NO_PROXY as they are now.
func newTransport(caFile string) (*transport, error) {
	roots, err := authorities(caFile)
	if err != nil {
		return nil, err
	}
	proxy := httpproxy.FromEnvironment().ProxyFunc()
	t := &transport{proxy: proxy, direct: base(roots), proxied: base(roots)}
	dialer := net.Dialer{Timeout: fetchTimeout, Control: refusePrivate}
	t.direct.DialContext = dialer.DialContext
	t.proxied.Proxy = func(r *http.Request) (*url.URL, error) { return proxy(r.URL) }
	return t, nil
}

// base has no room for idle connections: certificates and keys are asked for a
// few times a day.
func base(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    fetchTimeout,
		ResponseHeaderTimeout:  confirmTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		DisableKeepAlives:      true,
		ForceAttemptHTTP2:      true,
	}
}

// authorities returns the system's pool and those of file; nil, which stands for
// the system's, without one.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "keys: read the CA file", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errs.New(errs.Invalid, "keys: the CA file %s holds no certificate in PEM form", file)
	}
	return pool, nil
}

// RoundTrip implements http.RoundTripper. A proxy would connect where we must
// not, so literal addresses are looked at in any case.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if addr, err := netip.ParseAddr(r.URL.Hostname()); err == nil && !isPublic(addr) {
		return nil, notPublic()
	}
	proxy, err := t.proxy(r.URL)
	if err != nil {
		return nil, err
	}
	if proxy != nil {
		return t.proxied.RoundTrip(r)
	}
	return t.direct.RoundTrip(r)
}

// refusePrivate runs after name resolution, so that no name can lead inside.
func refusePrivate(_, resolved string, _ syscall.RawConn) error {
	if ap, err := netip.ParseAddrPort(resolved); err != nil || !isPublic(ap.Addr()) {
		return notPublic()
	}
	return nil
}

func notPublic() error {
	return errs.New(errs.Forbidden, "keys: not a public address").
		WithHint("give the certificate or the key set as a file")
}

// isPublic reports whether an address is one of the open internet: not private,
// shared (RFC 6598), reserved, or an IPv6 address with an IPv4 address inside.
func isPublic(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4",
		"64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "fec0::/10",
	} {
		if netip.MustParsePrefix(p).Contains(a) {
			return false
		}
	}
	return true
}

const (
	fetchTimeout   = 5 * time.Second
	confirmTimeout = 10 * time.Second
)
