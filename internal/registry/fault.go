package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// explain gives an error of the library a kind and words of our own. What the
// library says may quote URLs with signatures in them, tokens and anything a
// registry cares to send, so only what is known to be harmless is passed on.
func (s Settings) explain(ctx context.Context, err error) error {
	var known *errs.Error
	var answer *transport.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case ctx.Err() != nil:
		if cause := context.Cause(ctx); errors.As(cause, &known) {
			return known
		}
		return ctx.Err()
	case errors.As(err, &answer):
		return s.fromAnswer(answer)
	}
	return s.fromNetwork(err)
}

// fromAnswer reads a status that says no.
func (s Settings) fromAnswer(e *transport.Error) error {
	kind, hint := s.kindOf(e)
	out := errs.New(kind, "%s answered %d%s", s.Endpoint, e.StatusCode, diagnosis(e))
	if hint != "" {
		out = out.WithHint("%s", hint)
	}
	return out
}

func (s Settings) kindOf(e *transport.Error) (kind errs.Kind, hint string) {
	if !isAboutContent(e) && e.StatusCode == http.StatusNotFound {
		// That an address is wrong must not look like an image that is gone.
		return errs.Unavailable, "check host and endpoint of registry " + s.Name
	}
	for _, d := range e.Errors {
		switch d.Code {
		case transport.ManifestUnknownErrorCode, transport.NameUnknownErrorCode, transport.BlobUnknownErrorCode:
			return errs.NotFound, ""
		case transport.TooManyRequestsErrorCode:
			return errs.RateLimited, ""
		}
	}
	switch e.StatusCode {
	case http.StatusUnauthorized:
		return errs.Unauthorized, s.loginHint()
	case http.StatusForbidden:
		return errs.Forbidden, "the credential of registry " + s.Name + " may not pull this repository"
	case http.StatusNotFound, http.StatusGone:
		return errs.NotFound, ""
	case http.StatusTooManyRequests:
		return errs.RateLimited, ""
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return errs.Timeout, ""
	case http.StatusNotAcceptable:
		return errs.Unsupported, ""
	}
	if e.StatusCode >= 500 {
		return errs.Unavailable, ""
	}
	return errs.Malformed, "registry " + s.Name + " may not be an OCI registry at this address"
}

// loginHint says what to look at when a login was refused.
func (s Settings) loginHint() string {
	switch {
	case s.Auth.DockerConfig != "" && s.credential.isEmpty():
		return "the docker config of registry " + s.Name + " has no login for " + s.Host + "; its auths and credHelpers are looked up by that name"
	case s.Auth.Keychain != "":
		return "check that the identity of this process may pull from registry " + s.Name + ", which asks keychain " + s.Auth.Keychain
	case s.Auth.Token != "":
		return "check auth of registry " + s.Name + ": the token may have expired, or be one to exchange at a token service, which belongs under password"
	}
	return "check auth of registry " + s.Name
}

// isAboutContent reports whether a manifest or a blob was asked for, rather than
// the registry as such or a token.
func isAboutContent(e *transport.Error) bool {
	return e.Request == nil || strings.Contains(e.Request.URL.Path, "/manifests/") || strings.Contains(e.Request.URL.Path, "/blobs/")
}

// diagnosis is the first of the registry's own error entries, if it sent one
// (OCI distribution-spec, "Error Codes").
func diagnosis(e *transport.Error) string {
	if len(e.Errors) == 0 {
		return ""
	}
	return ": " + printable(string(e.Errors[0].Code)+" "+e.Errors[0].Message, 200)
}

// fromNetwork reads what went wrong on the way. What is left in the end is an
// answer that contradicts itself.
func (s Settings) fromNetwork(err error) error {
	var network net.Error
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var named x509.HostnameError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var wrapped *url.Error
	switch {
	case strings.Contains(err.Error(), "private or link-local"):
		// The library's own check of token services.
		return errs.New(errs.Forbidden, "%s refers to a private address for its tokens", s.Endpoint).
			WithHint("give the token service of registry %s a host name and name it under trusted_hosts", s.Name)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return errs.New(errs.Unavailable, "the certificate of %s has expired or is not valid yet: %s", s.Endpoint, clean(err)).
			WithHint("renew the certificate of registry %s; if it is a new one, set the clock of this machine", s.Name)
	case errors.As(err, &named):
		return errs.New(errs.Unavailable, "the certificate of %s is for another name: %s", s.Endpoint, clean(err)).
			WithHint("set host or endpoint of registry %s to a name that its certificate has", s.Name)
	case errors.As(err, &authority), errors.As(err, &certificate):
		return errs.New(errs.Unavailable, "the certificate of %s is not trusted: %s", s.Endpoint, clean(err)).
			WithHint("name its CA under ca_file of registry %s", s.Name)
	case strings.Contains(err.Error(), "remote error: tls:"):
		return s.fromAlert(err)
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return errs.New(errs.Unavailable, "%s does not speak TLS", s.Endpoint).
			WithHint("if it is meant to be without TLS, set plain_http of registry %s", s.Name)
	case errors.As(err, &network) && network.Timeout():
		return errs.New(errs.Timeout, "%s did not answer in time", s.Endpoint)
	case errors.As(err, &network), errors.As(err, &wrapped), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), isErrno(err):
		return errs.New(errs.Unavailable, "cannot reach %s: %s", s.Endpoint, clean(err))
	}
	return errs.New(errs.Malformed, "the answer of %s cannot be used: %s", s.Endpoint, clean(err))
}

// fromAlert reads why a server ended a handshake: mostly because of the
// certificate it was shown, or was not.
func (s Settings) fromAlert(err error) error {
	out := errs.New(errs.Unavailable, "%s refused the connection: %s", s.Endpoint, clean(err))
	if !strings.Contains(err.Error(), "certificate") && !strings.Contains(err.Error(), "unknown certificate authority") {
		return out
	}
	out.Kind = errs.Unauthorized
	if s.ClientCertFile == "" {
		return out.WithHint("it wants a client certificate: name one under client_cert_file and client_key_file of registry %s", s.Name)
	}
	return out.WithHint("check client_cert_file of registry %s: it may have expired or come from another authority", s.Name)
}

func isErrno(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno)
}

// isBlip reports whether a request is worth repeating at once. An answer with
// one of the status codes named to the library also comes here.
func isBlip(err error) bool {
	var known *errs.Error
	var answer *transport.Error
	switch {
	case err == nil, errors.As(err, &known), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &answer):
		return answer.Temporary()
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// tooBusy returns an error for an answer that asks to come back later. It is
// made here because the library drops the header that says when.
func tooBusy(resp *http.Response) error {
	pause := retryAfter(resp.Header.Get("Retry-After"), time.Now())
	host := resp.Request.URL.Host
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		return &errs.Error{Kind: errs.RateLimited, Op: host + " answered 429", RetryAfter: pause,
			Hint: "the registry limits how often it may be asked; a credential often raises the limit"}
	case resp.StatusCode == http.StatusServiceUnavailable && pause > 0:
		return &errs.Error{Kind: errs.Unavailable, Op: host + " answered 503", RetryAfter: pause}
	}
	return nil
}

// maxRetryAfter keeps a registry from putting work off for good.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads the header as seconds or as a date (RFC 9110, section
// 10.2.3); 0 when it says nothing usable.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// clean is the text of an error without the URL it happened at and without what
// a registry sent over several lines.
func clean(err error) string {
	var at *url.Error
	for errors.As(err, &at) {
		err = at.Err
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	if strings.Contains(text, "token") || strings.Contains(text, "?") {
		return fmt.Sprintf("unexpected answer (%T)", err)
	}
	return printable(text, 300)
}

// printable keeps what is safe on a terminal, up to limit bytes.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return strings.TrimSpace(s)
}
