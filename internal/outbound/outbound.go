// Package outbound makes the HTTP connections that leave this machine: with
// deadlines, through the proxy of the environment, trusting a file of authorities
// besides the system's and, where somebody else chose the address, to the open
// internet only.
//
// It is responsible for how to connect, and for telling public addresses from
// private ones. It must not decide who may be asked for what, hold a credential
// or follow a redirect: that is for the rooms that ask.
package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// Network is what leads out of this machine.
type Network struct {
	// Proxy returns the proxy for a request to a URL, nil for none.
	Proxy func(*url.URL) (*url.URL, error)
	// LookUp resolves a name, as net.Resolver.LookupNetIP does.
	LookUp func(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// System is the network as it is: HTTP_PROXY, HTTPS_PROXY and NO_PROXY have the
// values of now.
func System() Network {
	return Network{Proxy: httpproxy.FromEnvironment().ProxyFunc(), LookUp: net.DefaultResolver.LookupNetIP}
}

// Settings say how to connect. The zero value trusts the system's authorities and
// has no deadlines.
type Settings struct {
	// Roots are the authorities to trust, as Roots reads them; nil stands for the
	// system's.
	Roots *x509.CertPool
	// ConnectTimeout bounds each of looking up a name, connecting and the TLS
	// handshake.
	ConnectTimeout time.Duration
	// AnswerTimeout bounds the wait for the header of an answer.
	AnswerTimeout time.Duration
	// Network is what leads out; nil stands for System.
	Network *Network
}

func (s Settings) network() Network {
	if s.Network != nil {
		return *s.Network
	}
	return System()
}

// NewTransport returns a transport that connects to any address. It is the
// caller's to change before it is first used.
func NewTransport(s Settings) *http.Transport {
	network := s.network()
	return &http.Transport{
		Proxy:                  func(r *http.Request) (*url.URL, error) { return network.Proxy(r.URL) },
		DialContext:            s.dialer().DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: s.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    s.ConnectTimeout,
		ResponseHeaderTimeout:  s.AnswerTimeout,
		ExpectContinueTimeout:  time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}
}

func (s Settings) dialer() *net.Dialer {
	return &net.Dialer{Timeout: s.ConnectTimeout, KeepAlive: 30 * time.Second}
}
