package httpserver

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
)

// Proxies are those in front of us whose word is taken for where a request comes
// from. The zero value believes nobody.
type Proxies struct {
	// Trusted are their networks.
	Trusted []netip.Prefix
	// Header is where they say it: X-Forwarded-For, which is the default, or Forwarded
	// (RFC 7239). The other one is not looked at: a proxy that does not know it hands
	// on what callers write there.
	Header string
}

type addressKey struct{}

// Addresses finds out where each request comes from, for AddressOf. A request from
// a trusted proxy comes from the right-most address in its header that is not a
// trusted proxy's: what stands to the left of that, anybody may have written.
func Addresses(p Proxies) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		if len(p.Trusted) == 0 {
			return next
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), addressKey{}, p.caller(r))))
		})
	}
}

// AddressOf is the address a request comes from, without a port.
func AddressOf(r *http.Request) string {
	if address, ok := r.Context().Value(addressKey{}).(string); ok {
		return address
	}
	if peer, ok := peerOf(r); ok {
		return peer.String()
	}
	return r.RemoteAddr
}

// NetworkOf is where a request comes from as limits count it: of IPv6 the network,
// for one host has many addresses in it.
func NetworkOf(r *http.Request) string {
	address := AddressOf(r)
	addr, err := netip.ParseAddr(address)
	if err != nil || !addr.Is6() {
		return address
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return address
	}
	return network.String()
}

// peerOf is the other end of the connection.
func peerOf(r *http.Request) (netip.Addr, bool) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	return from.Addr().Unmap().WithZone(""), true
}

// caller walks from the peer outwards as long as the way leads over trusted
// proxies. A hop that is no address ends the way at who told of it.
func (p Proxies) caller(r *http.Request) string {
	at, ok := peerOf(r)
	if !ok {
		return r.RemoteAddr
	}
	hops := p.hops(r.Header)
	for i := len(hops) - 1; i >= 0 && p.trusts(at); i-- {
		next, ok := parseHop(hops[i])
		if !ok {
			break
		}
		at = next
	}
	return at.String()
}

func (p Proxies) trusts(a netip.Addr) bool {
	for _, network := range p.Trusted {
		if network.Contains(a) {
			return true
		}
	}
	return false
}

// maxHops is more than any way has; what is further left nobody needs.
const maxHops = 50

// hops are the addresses in the header as they stand there, the caller's first.
func (p Proxies) hops(h http.Header) []string {
	name, forwarded := "X-Forwarded-For", strings.EqualFold(p.Header, "Forwarded")
	if forwarded {
		name = "Forwarded"
	}
	parts := strings.Split(strings.Join(h.Values(name), ","), ",")
	if len(parts) > maxHops {
		parts = parts[len(parts)-maxHops:]
	}
	hops := make([]string, 0, len(parts))
	for _, part := range parts {
		hop := strings.TrimSpace(part)
		if forwarded {
			hop = forwardedFor(part)
		}
		hops = append(hops, hop)
	}
	return hops
}

// forwardedFor is the parameter "for" of one element of the header Forwarded (RFC
// 7239, section 4), empty when it has none. Quoted commas do not occur in
// addresses; an element that is torn by one is no address either way.
func forwardedFor(element string) string {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if strings.EqualFold(name, "for") {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

// parseHop reads an address with or without a port.
func parseHop(s string) (netip.Addr, bool) {
	if with, err := netip.ParseAddrPort(s); err == nil {
		return with.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return addr.Unmap().WithZone(""), err == nil
}
