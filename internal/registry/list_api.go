package registry

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// vendorAPI is a vendor's own interface, beside the distribution API. It goes through a
// guard as everything does; its host is configured or the vendor's own, and
// nothing in an answer changes it.
type vendorAPI struct {
	*connection
	base *url.URL
	door *guard
	via  http.RoundTripper // door, with blips bridged
	hint string            // what to do about a credential that is refused
}

// newAPI makes the interface at the configured address, else at the vendor's own,
// else at the registry.
func newAPI(c *connection, hint string) (*vendorAPI, error) {
	address := c.settings.Listing.APIURL
	if address == "" {
		address = vendorOf(c.settings.Listing.lister()).address(c.settings.Host)
	}
	if address == "" {
		address = c.registry.Scheme() + "://" + c.registry.RegistryStr()
		if !c.settings.PlainHTTP {
			address = "https://" + c.registry.RegistryStr()
		}
	}
	base, err := url.Parse(address)
	if err != nil {
		return nil, errs.New(errs.Invalid, "%.200q is not an address", address)
	}
	if base.Scheme == "http" && !c.settings.PlainHTTP {
		return nil, errs.New(errs.Invalid, "the address of the listing has no TLS, so the credential would travel in the clear").
			WithHint("use https:// in reconcile.api_url, or set plain_http of registry %s", c.settings.Name)
	}
	door, err := c.doorTo(base)
	if err != nil {
		return nil, err
	}
	return &vendorAPI{connection: c, base: base, door: door, via: bridged(door), hint: hint}, nil
}

// doorTo returns the registry's guard for its own host, so that limits are
// shared, else one for the other host.
func (c *connection) doorTo(base *url.URL) (*guard, error) {
	plain := base.Scheme == "http"
	if c.guard.isEndpoint(base.Host) && plain == c.settings.PlainHTTP {
		return c.guard, nil
	}
	s := c.settings
	s.Endpoint, s.PlainHTTP = base.Host, plain
	s.ClientCertFile, s.ClientKeyFile = "", "" // shown to the registry only
	return newGuard(s, base.Host, newLine(base.Host, s.Limits, c.guard.line.meter))
}

// get reads a JSON document. elements are parts of its path, escaped where they
// are not of our own making. It returns the header of the answer.
func (a *vendorAPI) get(ctx context.Context, authorization string, query url.Values, into any, elements ...string) (http.Header, error) {
	asking, cancel := a.withTimeout(ctx)
	defer cancel()
	to := a.base.JoinPath(elements...)
	to.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(asking, http.MethodGet, to.String(), nil)
	if err != nil {
		return nil, errs.New(errs.Invalid, "%.300q cannot be asked for", to.Path)
	}
	req.Header.Set("Accept", "application/json")
	if authorization != "" {
		// Of all headers that carry a credential, the guard takes this one off when
		// a redirect leads elsewhere.
		req.Header.Set("Authorization", authorization)
	}
	return a.send(asking, a.via, req, into)
}

func (a *vendorAPI) send(ctx context.Context, via http.RoundTripper, req *http.Request, into any) (http.Header, error) {
	resp, err := via.RoundTrip(req)
	if err != nil {
		return nil, a.explain(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, a.refusal(resp)
	}
	return resp.Header, a.explain(ctx, decode(resp.Body, into))
}

// explain names the host that was asked, which is not always the registry.
func (a *vendorAPI) explain(ctx context.Context, err error) error {
	s := a.settings
	s.Endpoint = a.base.Host
	return s.explain(ctx, err)
}

// refusal gives a status a kind. Bodies are not passed on: they may hold anything.
func (a *vendorAPI) refusal(resp *http.Response) error {
	kind, hint := errs.Malformed, "check reconcile.api_url of registry "+a.settings.Name
	switch status := resp.StatusCode; {
	case isExhausted(resp):
		kind, hint = errs.RateLimited, ""
	case status == http.StatusUnauthorized:
		kind, hint = errs.Unauthorized, a.hint
	case status == http.StatusForbidden:
		kind, hint = errs.Forbidden, a.hint
	case status == http.StatusNotFound:
		kind = errs.NotFound
	case status == http.StatusRequestTimeout, status == http.StatusGatewayTimeout:
		kind, hint = errs.Timeout, ""
	case status >= 500:
		kind, hint = errs.Unavailable, ""
	}
	e := errs.New(kind, "%s answered %d to %.200q", a.base.Host, resp.StatusCode, resp.Request.URL.Path).WithHint("%s", hint)
	if kind == errs.RateLimited {
		e.RetryAfter = untilReset(resp.Header, time.Now())
	}
	return e
}

// isExhausted reports whether a refusal means that the budget is used up: GitHub
// says so with 403.
func isExhausted(resp *http.Response) bool {
	return resp.StatusCode == http.StatusForbidden &&
		(resp.Header.Get("X-RateLimit-Remaining") == "0" || resp.Header.Get("Retry-After") != "")
}

// untilReset is the pause that a refused answer asks for.
func untilReset(header http.Header, now time.Time) time.Duration {
	if pause := retryAfter(header.Get("Retry-After"), now); pause > 0 {
		return pause
	}
	at, err := strconv.ParseInt(header.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil {
		return 0
	}
	return min(max(time.Unix(at, 0).Sub(now), 0), maxRetryAfter)
}

// credential is who the registry knows us as; empty for nobody.
func (a *vendorAPI) credential(ctx context.Context) (user, password string, err error) {
	found, err := authn.Authorization(ctx, a.settings.authenticator())
	if err != nil {
		return "", "", a.explain(ctx, err)
	}
	if found.Username == "" && found.Auth != "" {
		plain, err := base64.StdEncoding.DecodeString(found.Auth)
		if err != nil {
			return "", "", errs.New(errs.Unauthorized, "the stored credential is not base64").WithHint("check auth of registry %s", a.settings.Name)
		}
		found.Username, found.Password, _ = strings.Cut(string(plain), ":")
	}
	return found.Username, found.Password, nil
}

// bearer is the configured token, else the registry's password, as a header;
// empty for nobody.
func (a *vendorAPI) bearer(ctx context.Context) (string, error) {
	token := a.settings.Listing.Token
	if token == "" {
		var err error
		if _, token, err = a.credential(ctx); err != nil || token == "" {
			return "", err
		}
	}
	return "Bearer " + token, nil
}

// vendorPage is how many entries vendors send at most.
const vendorPage = 100

// numbered asks for a page by its number.
func numbered(number, size int, sizeKey string) url.Values {
	return url.Values{"page": {strconv.Itoa(number)}, sizeKey: {strconv.Itoa(size)}}
}

// hasMore reports whether a page that was asked for by its number is not the
// last. Links are not followed, so it does not matter where they lead.
func hasMore(header http.Header, number, size, got int) bool {
	if link, err := nextLink(header); err == nil && link != "" || header.Get("X-Next-Page") != "" {
		return true
	}
	if total, err := strconv.Atoi(header.Get("X-Total-Count")); err == nil {
		return got > 0 && number*size < total
	}
	return header.Get("Link") == "" && header.Values("X-Next-Page") == nil && got >= size
}

// namespaced lists what is in namespaces, one after the other, by numbered pages.
type namespaced struct {
	namespaces []string
	read       func(ctx context.Context, namespace string, number int) (names []string, more bool, err error)
}

// page reads the page at a place: its number and namespace, as 3@team, so that a
// namespace that is added or taken away shifts no other.
func (l namespaced) page(ctx context.Context, place string) (page, error) {
	number, namespace := 1, l.namespaces[0]
	if place != "" {
		text, name, _ := strings.Cut(place, "@")
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return page{}, stale()
		}
		number, namespace = n, name
	}
	index := slices.Index(l.namespaces, namespace)
	if index < 0 {
		return page{}, stale()
	}
	names, more, err := l.read(ctx, namespace, number)
	if err != nil {
		return page{}, err
	}
	p := page{names: names}
	if len(names) > 0 {
		// A group and one in it may have the same repositories.
		p.marks = append([]string{namespace}, names...)
	}
	switch {
	case more:
		p.next = strconv.Itoa(number+1) + "@" + namespace
	case index+1 < len(l.namespaces):
		p.next = "1@" + l.namespaces[index+1]
	}
	return p, nil
}

// joined is the repository of a vendor's entry. Vendors keep the case people
// write, registries do not.
func joined(namespace, name string) string { return strings.ToLower(namespace + "/" + name) }
