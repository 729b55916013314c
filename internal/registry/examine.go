package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// Examination is what a registry shows to somebody who pulls nothing.
type Examination struct {
	// Endpoint is the host:port that was asked.
	Endpoint string
	// Login is how it asks for a login: "bearer", "basic", or empty when it asks
	// for none.
	Login string
	// Credential reports whether there is one to log in with.
	Credential bool
	// Offset is how far its clock is ahead of ours, to the second; Clock is false
	// when it did not tell the time.
	Offset time.Duration
	Clock  bool
}

// Examine finds out whether the registry of a host can be reached and takes the
// credential that is configured; with the host of a mirror, the same of that. It
// asks for nothing but /v2/ and what the registry's login takes. Errors have the
// kinds of Resolve, and a hint. What is known when it fails is returned with it.
func (c *Client) Examine(ctx context.Context, host, mirror string) (Examination, error) {
	conn, ok := c.byHost[image.CanonicalHost(host)]
	if !ok {
		return Examination{}, errs.New(errs.Invalid, "registry: host %.200q is not a configured registry", host)
	}
	if mirror != "" {
		own := conn
		conn = nil
		for _, m := range own.mirrors {
			if m.connection.settings.Host == image.CanonicalHost(mirror) {
				conn = m.connection
			}
		}
		if conn == nil {
			return Examination{}, errs.New(errs.Invalid, "registry: %.200q is no mirror of %s", mirror, host)
		}
	}
	ctx, cancel := conn.withTimeout(ctx)
	defer cancel()
	out, err := conn.examine(ctx)
	return out, errs.Op("registry: "+conn.settings.Name, err)
}

func (c *connection) examine(ctx context.Context) (Examination, error) {
	out := Examination{Endpoint: c.registry.RegistryStr()}
	if err := c.settings.explain(ctx, c.readClock(ctx, &out)); err != nil {
		return out, c.doubtScheme(ctx, err)
	}
	own, err := authn.Authorization(ctx, c.settings.authenticator())
	if err != nil {
		return out, c.settings.explain(ctx, err)
	}
	out.Credential = *own != authn.AuthConfig{}
	err = c.enterAnywhere(ctx)
	c.asker.mu.Lock()
	if c.asker.handshake.challenge != nil {
		out.Login = strings.ToLower(c.asker.handshake.challenge.Scheme)
	}
	c.asker.mu.Unlock()
	if err = c.settings.explain(ctx, err); err != nil {
		return out, c.doubtScheme(ctx, err)
	}
	return out, nil
}

// readClock asks without a credential, as every client does first.
func (c *connection) readClock(ctx context.Context, into *Examination) error {
	to := url.URL{Scheme: c.registry.Scheme(), Host: c.registry.RegistryStr(), Path: "/v2/"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return errs.New(errs.Invalid, "%.200q cannot be asked", to.Host)
	}
	asked := time.Now()
	resp, err := c.guard.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if theirs, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		between := asked.Add(time.Since(asked) / 2)
		into.Offset, into.Clock = theirs.Sub(between).Truncate(time.Second), true
	}
	return transport.CheckError(resp, http.StatusOK, http.StatusUnauthorized)
}

// enterAnywhere logs in for no repository, which is what docker login does.
func (c *connection) enterAnywhere(ctx context.Context) error {
	resp, err := c.asker.ask(ctx, http.MethodGet, "", url.URL{Path: "/v2/"}, http.Header{})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	return transport.CheckError(resp, http.StatusOK)
}

// doubtScheme finds out whether a registry that is asked without TLS speaks TLS:
// what it answers to a plain request does not say.
func (c *connection) doubtScheme(ctx context.Context, err error) error {
	if !c.settings.PlainHTTP || errs.Is(err, errs.Unauthorized) || errs.Is(err, errs.Forbidden) || !c.speaksTLS(ctx) {
		return err
	}
	return errs.New(errs.Unavailable, "%s speaks TLS, and plain_http is true", c.settings.Endpoint).
		WithHint("remove plain_http of registry %s", c.settings.Name)
}

// speaksTLS reports whether a handshake gets as far as a certificate.
func (c *connection) speaksTLS(ctx context.Context) bool {
	const patience = 3 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	endpoint := c.registry.RegistryStr()
	if _, _, err := net.SplitHostPort(endpoint); err != nil {
		endpoint = net.JoinHostPort(endpoint, "80")
	}
	dialer := tls.Dialer{Config: &tls.Config{ServerName: hostname(endpoint), MinVersion: tls.VersionTLS12}}
	conn, err := dialer.DialContext(ctx, "tcp", endpoint)
	if err == nil {
		_ = conn.Close()
		return true
	}
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &certificate)
}
