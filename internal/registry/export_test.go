package registry

import (
	"context"
	"net/netip"
	"net/url"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tidewaiter/tidewaiter/internal/outbound"
)

// WithKeychain has credentials looked up in k, as those of a cloud are.
func (s Settings) WithKeychain(k authn.Keychain) Settings {
	s.Auth = Auth{keychain: k}
	return s
}

// WithProxy sends everything through a proxy and resolves names with lookUp.
func (s Settings) WithProxy(proxy *url.URL, lookUp func(host string) ([]netip.Addr, error)) Settings {
	s.network = &outbound.Network{
		Proxy:  func(*url.URL) (*url.URL, error) { return proxy, nil },
		LookUp: func(_ context.Context, _, host string) ([]netip.Addr, error) { return lookUp(host) },
	}
	return s
}
