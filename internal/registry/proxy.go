package registry

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// checkBehindProxy keeps a request that a proxy would carry from private
// addresses. The proxy resolves the name itself, so this can only tell what the
// name means here: a name that means something private, or by its form can mean
// nothing public, is refused. One that nobody here knows goes to the proxy: where
// all traffic has to pass one, outside names often do not resolve inside.
func (d *dialer) checkBehindProxy(req *http.Request) error {
	host := strings.TrimSuffix(strings.ToLower(req.URL.Hostname()), ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		if !isPublic(addr) {
			return d.refuse(req.URL.Host)
		}
		return nil
	}
	if isInside(host) {
		return d.refuse(req.URL.Host)
	}
	ctx, cancel := context.WithTimeout(req.Context(), d.patience())
	defer cancel()
	found, err := d.network.lookUp(ctx, "ip", host)
	if err == nil && slices.ContainsFunc(found, func(a netip.Addr) bool { return !isPublic(a) }) {
		return d.refuse(req.URL.Host)
	}
	return nil
}

// isInside reports whether a name cannot be one of the open internet: it has no
// dot, reads as an address in a form that not everybody takes for one, or ends
// as only private networks' names do (RFC 6761, RFC 6762, RFC 8375, and what
// clouds and clusters use).
func isInside(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last == host || last == "" || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return true
	}
	for _, suffix := range []string{".localhost", ".local", ".internal", ".home.arpa", ".localdomain", ".lan", ".intranet", ".corp", ".svc"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}
