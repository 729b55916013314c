package outbound

import (
	"net/netip"
	"strings"
)

// notPublic are the ranges that netip does not know as private: reserved ones,
// carrier-grade NAT (RFC 6598), where clouds keep services of their own, and
// those of IPv6 that embed an IPv4 address.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2001::/32"),
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

// insideSuffixes are what names of private networks only end with (RFC 6761,
// RFC 6762, RFC 8375, and what clouds and clusters use).
var insideSuffixes = []string{
	".localhost", ".local", ".internal", ".home.arpa", ".localdomain", ".lan", ".intranet", ".corp", ".svc",
}

// isInside reports whether a name in lower case cannot be one of the open
// internet: it has no dot, reads as an address in a form that not everybody takes
// for one, or ends as only private networks' names do.
func isInside(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last == host || last == "" || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return true
	}
	for _, suffix := range insideSuffixes {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}
