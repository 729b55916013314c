package registry

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/outbound"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
)

// guard is the one door through which requests for a registry leave. It decides
// where they may go:
//
//   - to the registry's own endpoint, always with the configured scheme;
//   - to a token service that the registry named in a challenge: with TLS, on
//     the registry's own host name, on a trusted host or at a public address;
//   - where a redirect points: to a trusted host or a public address, with TLS
//     unless the registry itself has none, and never with a credential.
//
// Anything else is refused: an image whose manifest names an address of its own
// gets no request.
type guard struct {
	settings Settings
	endpoint string
	line     *line
	trusted  http.RoundTripper
	public   http.RoundTripper

	mu     sync.Mutex
	realms map[string]error // token services by URL; the error says why not
}

func newGuard(s Settings, endpoint string, l *line) (*guard, error) {
	roots, err := outbound.Roots(s.CAFile)
	if err == nil {
		err = s.checkClientCertificate()
	}
	if err != nil {
		return nil, err
	}
	trusted, public := newTransports(s, roots)
	return &guard{settings: s, endpoint: endpoint, line: l, trusted: trusted, public: public, realms: map[string]error{}}, nil
}

// RoundTrip sends a request that is allowed, once the registry's limits let it,
// follows redirects that are allowed, and bounds the answer.
func (g *guard) RoundTrip(in *http.Request) (*http.Response, error) {
	ctx, span := telemetry.StartCall(in.Context(), "registry "+subject(in.URL.Path), slog.String("registry", g.settings.Name),
		slog.String("http.request.method", in.Method), slog.String("server.address", in.URL.Host)) //nolint:sloglint // names of OpenTelemetry
	resp, err := g.roundTrip(in.WithContext(ctx))
	g.line.meter.answered(resp, err)
	if resp != nil {
		span.Set(slog.Int("http.response.status_code", resp.StatusCode)) //nolint:sloglint // a name of OpenTelemetry
	}
	span.End(err)
	return resp, err
}

// subject is what a request is about, in a word.
func subject(path string) string {
	if !strings.HasPrefix(path, "/v2/") {
		return "token"
	}
	parts := strings.Split(path, "/")
	for _, part := range []string{parts[len(parts)-1], parts[max(len(parts)-2, 0)]} {
		switch part {
		case "manifests":
			return "manifest"
		case "blobs":
			return "blob"
		case "list", "tags":
			return "tags"
		case "_catalog":
			return "catalog"
		case "referrers":
			return "referrers"
		}
	}
	return "api"
}

func (g *guard) roundTrip(in *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(in.Context())
	resp, err := g.send(in.Clone(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = newBody(resp, cancel, g.settings, g.line)
	if err := tooBusy(resp); err != nil {
		attemptOf(ctx).refuse(err)
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// maxRedirects is how often one request may be sent elsewhere.
const maxRedirects = 5

func (g *guard) send(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", "tidewaiter")
	via, err := g.route(req)
	if err == nil {
		err = g.line.admit(req.Context())
	}
	first := req
	for redirects := 0; err == nil; redirects++ {
		var resp *http.Response
		if resp, err = via.RoundTrip(req); err != nil {
			break
		}
		if g.isEndpoint(req.URL.Host) {
			g.learnRealms(resp)
		}
		if req == first {
			// A store that is redirected to speaks for itself only.
			g.line.heed(resp)
		}
		target, redirected := redirect(req, resp)
		if !redirected {
			// What was asked for says how to read the answer, wherever it came from.
			resp.Request = first
			return resp, nil
		}
		_ = resp.Body.Close()
		if redirects == maxRedirects {
			return nil, errs.New(errs.Unavailable, "%s redirects in circles", g.endpoint)
		}
		if req, err = next(req, target); err == nil {
			via, err = g.routeRedirect(req)
		}
	}
	return nil, err
}

// redirect returns where an answer points, if it is a redirect that can be
// followed. It is done here and not by the library, which refuses private
// addresses even where they are trusted.
func redirect(req *http.Request, resp *http.Response) (target string, ok bool) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		target = resp.Header.Get("Location")
	}
	return target, target != "" && (req.Method == http.MethodGet || req.Method == http.MethodHead)
}

// next is the request that a redirect asks for.
func next(req *http.Request, target string) (*http.Request, error) {
	u, err := req.URL.Parse(target)
	if err != nil || u.Host == "" {
		return nil, errs.New(errs.Unavailable, "%s redirects to no usable address", req.URL.Host)
	}
	out := req.Clone(req.Context())
	u.User = nil
	out.URL, out.Host = u, ""
	return out, nil
}

// route chooses the way for a request.
func (g *guard) route(req *http.Request) (http.RoundTripper, error) {
	if g.isEndpoint(req.URL.Host) {
		return g.routeEndpoint(req), nil
	}
	refused, known := g.realm(req.URL)
	switch {
	case refused != nil:
		return nil, refused
	case known:
		return g.wayTo(req.URL, true), nil
	}
	return nil, errs.New(errs.Unsupported, "the image keeps content outside its registry, at %.200q; that is not fetched", req.URL.Host)
}

func (g *guard) routeEndpoint(req *http.Request) http.RoundTripper {
	req.URL.Scheme = "https"
	if g.settings.PlainHTTP {
		req.URL.Scheme = "http"
	}
	return g.trusted
}

// routeRedirect chooses the way for a request that a redirect led to and takes
// from it what must not leave the registry.
func (g *guard) routeRedirect(req *http.Request) (http.RoundTripper, error) {
	if g.isEndpoint(req.URL.Host) {
		return g.routeEndpoint(req), nil
	}
	for _, h := range []string{"Authorization", "Cookie", "Proxy-Authorization"} {
		req.Header.Del(h)
	}
	if req.URL.Scheme != "https" && !(g.settings.PlainHTTP && req.URL.Scheme == "http") {
		return nil, errs.New(errs.Forbidden, "redirected to %.200q without TLS", req.URL.Host)
	}
	return g.wayTo(req.URL, false), nil
}

// wayTo is the checked way, except to hosts that count as the registry's own.
// For a token service its own host name is enough: many have it on another port.
func (g *guard) wayTo(u *url.URL, token bool) http.RoundTripper {
	if g.isTrusted(u.Host) || token && strings.EqualFold(u.Hostname(), hostname(g.endpoint)) {
		return g.trusted
	}
	return g.public
}

func (g *guard) isEndpoint(host string) bool {
	return image.CanonicalHost(host) == image.CanonicalHost(g.endpoint) || strings.EqualFold(host, g.endpoint)
}

func (g *guard) isTrusted(host string) bool {
	for _, t := range g.settings.TrustedHosts {
		if image.CanonicalHost(host) == image.CanonicalHost(t) {
			return true
		}
	}
	return false
}

// maxRealms bounds what a registry can make us remember.
const maxRealms = 64

var realmPattern = regexp.MustCompile(`(?i)\brealm="([^"]*)"`)

// learnRealms notes the token services that a refused request is referred to.
func (g *guard) learnRealms(resp *http.Response) {
	if resp.StatusCode != http.StatusUnauthorized {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, challenge := range resp.Header.Values("WWW-Authenticate") {
		for _, m := range realmPattern.FindAllStringSubmatch(challenge, -1) {
			u, err := url.Parse(m[1])
			if err == nil && u.Host != "" && len(g.realms) < maxRealms {
				g.realms[realmKey(u)] = g.checkRealm(u)
			}
		}
	}
}

// checkRealm decides whether a token service may see the credential.
func (g *guard) checkRealm(u *url.URL) error {
	own := strings.EqualFold(u.Hostname(), hostname(g.endpoint)) || g.isTrusted(u.Host)
	if u.User == nil && (u.Scheme == "https" || own && u.Scheme == "http" && g.settings.PlainHTTP) {
		return nil
	}
	return errs.New(errs.Unauthorized, "the token service %.200q has no TLS", u.Host).
		WithHint("registry %s asks for a login at an address that is not safe to send a credential to", g.settings.Name)
}

func (g *guard) realm(u *url.URL) (refused error, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	refused, known = g.realms[realmKey(u)]
	return refused, known
}

func realmKey(u *url.URL) string { return u.Scheme + "://" + strings.ToLower(u.Host) + u.EscapedPath() }
