package outbound

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
)

// Public is a way out that refuses addresses which are not public, for requests
// whose address somebody else chose. It is safe for concurrent use.
type Public struct {
	settings Settings
	network  Network
	refuse   func(host string) error
	// Two transports, because the proxy itself may have a private address, and
	// nothing else at that address may be asked.
	direct, proxied *http.Transport
}

// NewPublic returns a way out that connects as base does, to public addresses
// only. An address is looked at after name resolution, so that no name can lead
// inside. Of a request that is refused, refuse makes the error from its
// host[:port].
func NewPublic(s Settings, base *http.Transport, refuse func(host string) error) *Public {
	p := &Public{settings: s, network: s.network(), refuse: refuse, direct: base.Clone(), proxied: base.Clone()}
	p.direct.Proxy, p.direct.DialContext = nil, p.dial
	p.proxied.Proxy = func(r *http.Request) (*url.URL, error) { return p.network.Proxy(r.URL) }
	return p
}

// RoundTrip implements http.RoundTripper.
func (p *Public) RoundTrip(r *http.Request) (*http.Response, error) {
	proxy, err := p.network.Proxy(r.URL)
	if err == nil && proxy == nil {
		return p.direct.RoundTrip(r)
	}
	if err == nil {
		err = p.checkBehindProxy(r)
	}
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	return p.proxied.RoundTrip(r)
}

// CloseIdleConnections is called by http.Client's method of that name.
func (p *Public) CloseIdleConnections() {
	p.direct.CloseIdleConnections()
	p.proxied.CloseIdleConnections()
}

func (p *Public) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := p.settings.dialer()
	d.Control = func(_, resolved string, _ syscall.RawConn) error {
		if ap, err := netip.ParseAddrPort(resolved); err != nil || !isPublic(ap.Addr()) {
			return p.refuse(addr)
		}
		return nil
	}
	return d.DialContext(ctx, network, addr)
}

// checkBehindProxy keeps a request that a proxy would carry from private
// addresses. The proxy resolves the name itself, so this can only tell what the
// name means here: a name that means something private, or by its form can mean
// nothing public, is refused. One that nobody here knows goes to the proxy: where
// all traffic has to pass one, outside names often do not resolve inside.
func (p *Public) checkBehindProxy(r *http.Request) error {
	host := strings.TrimSuffix(strings.ToLower(r.URL.Hostname()), ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		if !isPublic(addr) {
			return p.refuse(r.URL.Host)
		}
		return nil
	}
	if isInside(host) {
		return p.refuse(r.URL.Host)
	}
	ctx, cancel := p.briefly(r.Context())
	defer cancel()
	found, err := p.network.LookUp(ctx, "ip", host)
	if err == nil && slices.ContainsFunc(found, func(a netip.Addr) bool { return !isPublic(a) }) {
		return p.refuse(r.URL.Host)
	}
	return nil
}

// briefly bounds looking up a name.
func (p *Public) briefly(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.settings.ConnectTimeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, p.settings.ConnectTimeout)
}
