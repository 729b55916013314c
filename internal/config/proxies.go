package config

import (
	"net/netip"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

func (c Config) checkProxies(ps *Problems) {
	for i, given := range c.TrustedProxies {
		network, err := parseNetwork(given)
		switch {
		case err != nil:
			ps.add(at("trusted_proxies", i), "%.80q is neither an address nor a network such as 10.0.0.0/8", given)
		case network.Bits() == 0:
			ps.add(at("trusted_proxies", i), "%q is everybody: who comes from where could be made up", given)
		}
	}
	if !strings.EqualFold(c.ForwardedHeader, "X-Forwarded-For") && !strings.EqualFold(c.ForwardedHeader, "Forwarded") {
		ps.add("forwarded_header", "%.80q is neither X-Forwarded-For nor Forwarded", c.ForwardedHeader)
	}
}

// checkTokens checks secrets that callers have to show.
func (c Config) checkTokens(ps *Problems) {
	if given := c.API.AdminToken.Reveal(); given != "" {
		if err := report.CheckGivenToken(given); err != nil {
			ps.add("api.admin_token", "%s; %s", err, errs.Hint(err))
		}
	}
	if given := c.MetricsToken.Reveal(); given != "" && (len(given) < leastMetricsToken || strings.ContainsFunc(given, func(r rune) bool { return r <= ' ' || r > '~' })) {
		ps.add("metrics_token", "has to be %d characters or more, without spaces", leastMetricsToken)
	}
}

const leastMetricsToken = 16

// parseNetwork reads a network, or an address as the network of it alone.
func parseNetwork(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		network, err := netip.ParsePrefix(s)
		return network.Masked(), err
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	addr = addr.Unmap().WithZone("")
	return addr.Prefix(addr.BitLen())
}

// Proxies translates the proxies whose word is taken.
func (c Config) Proxies() httpserver.Proxies {
	p := httpserver.Proxies{Header: c.ForwardedHeader}
	for _, given := range c.TrustedProxies {
		if network, err := parseNetwork(given); err == nil {
			p.Trusted = append(p.Trusted, network)
		}
	}
	return p
}
