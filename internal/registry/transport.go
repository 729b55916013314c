package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"syscall"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// newTransport makes the connections themselves. A public one refuses
// addresses that are not public, after name resolution, so that no name can lead
// inside; the others show the client certificate.
func newTransport(s Settings, roots *x509.CertPool, public bool) *http.Transport {
	d := &dialer{settings: s, public: public, network: s.network, proxies: map[string]bool{}}
	if d.network == nil {
		d.network = &network{proxy: http.ProxyFromEnvironment, lookUp: net.DefaultResolver.LookupNetIP}
	}
	secure := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if !public && s.ClientCertFile != "" {
		secure.GetClientCertificate = s.showCertificate
	}
	return &http.Transport{
		Proxy:                  d.proxy,
		DialContext:            d.dial,
		TLSClientConfig:        secure,
		TLSHandshakeTimeout:    min(10*time.Second, s.RequestTimeout),
		ResponseHeaderTimeout:  s.RequestTimeout,
		ExpectContinueTimeout:  time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		// A digest is over the bytes as they are sent.
		DisableCompression: true,
	}
}

// network is what leads out of this machine.
type network struct {
	proxy  func(*http.Request) (*url.URL, error)
	lookUp func(ctx context.Context, network, host string) ([]netip.Addr, error)
}

type dialer struct {
	settings Settings
	public   bool
	network  *network

	mu      sync.Mutex
	proxies map[string]bool // host:port the environment sends requests through
}

// proxy asks the environment and remembers the answer: a proxy's own address may
// be private.
func (d *dialer) proxy(req *http.Request) (*url.URL, error) {
	u, err := d.network.proxy(req)
	if u == nil || err != nil {
		return nil, err
	}
	if d.public {
		if err := d.checkBehindProxy(req); err != nil {
			return nil, err
		}
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "socks5": "1080"}[u.Scheme]
	}
	if port == "" {
		port = "80"
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.proxies[net.JoinHostPort(u.Hostname(), port)] = true
	return u, nil
}

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	inner := net.Dialer{Timeout: d.patience(), KeepAlive: 30 * time.Second}
	d.mu.Lock()
	proxy := d.proxies[addr]
	d.mu.Unlock()
	if d.public && !proxy {
		inner.Control = func(_, resolved string, _ syscall.RawConn) error {
			if ap, err := netip.ParseAddrPort(resolved); err != nil || !isPublic(ap.Addr()) {
				return d.refuse(addr)
			}
			return nil
		}
	}
	return inner.DialContext(ctx, network, addr)
}

// patience is how long a name or a connection may take.
func (d *dialer) patience() time.Duration { return min(10*time.Second, d.settings.RequestTimeout) }

func (d *dialer) refuse(addr string) error {
	return errs.New(errs.Forbidden, "%.200q is not a public address", addr).
		WithHint("if it belongs to registry %s, name it under trusted_hosts", d.settings.Name)
}

// shared is the address space of carrier-grade NAT (RFC 6598), where clouds keep
// services of their own; nat64 and sixToFour embed IPv4 addresses.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("fec0::/10"),
}

// isPublic reports whether an address is one of the open internet.
func isPublic(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
