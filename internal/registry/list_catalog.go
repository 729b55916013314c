package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// pageSize is how many names are asked for at a time. Registries may send fewer.
const pageSize = 1000

// catalogLister lists repositories as the registry's own /v2/_catalog does.
type catalogLister struct{ *connection }

func (l catalogLister) page(ctx context.Context, place string) (page, error) {
	const scope = "registry:catalog:*"
	asking, cancel := l.withTimeout(ctx)
	defer cancel()
	p, err := l.names(asking, listAddress{"/v2/_catalog", scope, "repositories"}, place)
	var answer *transport.Error
	if errors.As(err, &answer) {
		if refused := l.noCatalog(asking, answer, scope); refused != nil {
			return page{}, cmp.Or(l.away(ctx), refused)
		}
	}
	return p, l.settings.explain(asking, err)
}

// noCatalog tells a registry that offers no list from one that does not know us.
// It returns nil when it is something else.
func (l catalogLister) noCatalog(ctx context.Context, answer *transport.Error, scope string) error {
	// Else the token service answered.
	byCatalog := answer.Request == nil || strings.HasSuffix(answer.Request.URL.Path, "/_catalog")
	offers := false // a list, or something else is wrong
	switch answer.StatusCode {
	case http.StatusUnauthorized:
		offers = !byCatalog || l.isStranger(ctx, scope)
	case http.StatusForbidden:
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		offers = !byCatalog
	default:
		offers = !slices.ContainsFunc(answer.Errors, func(d transport.Diagnostic) bool { return d.Code == transport.UnsupportedErrorCode })
	}
	if offers {
		return nil
	}
	return errs.New(errs.Unsupported, "%s offers no list of its repositories to this credential: asked for /v2/_catalog, it answered %d%s", l.settings.Endpoint, answer.StatusCode, diagnosis(answer)).
		WithHint("set reconcile.lister of registry %s to what kind of registry it is, or name what to look at under reconcile.repositories", l.settings.Name)
}

// isStranger reports whether the registry refuses the credential altogether.
func (l catalogLister) isStranger(ctx context.Context, scope string) bool {
	resp, err := l.asker.ask(ctx, http.MethodGet, scope, url.URL{Path: "/v2/"}, http.Header{})
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusUnauthorized
}

// tagLister lists the tags of a repository.
type tagLister struct {
	*connection
	repository string
}

func (l tagLister) page(ctx context.Context, place string) (page, error) {
	asking, cancel := l.withTimeout(ctx)
	defer cancel()
	p, err := l.names(asking, listAddress{"/v2/" + l.repository + "/tags/list", pullScope(l.repository), "tags"}, place)
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return page{}, errs.New(errs.NotFound, "%s has no repository %s", l.settings.Endpoint, l.repository)
	}
	return p, l.settings.explain(asking, err)
}

func pullScope(repository string) string { return "repository:" + repository + ":pull" }

// listAddress is where a list is, and under which key its names stand.
type listAddress struct{ path, scope, key string }

// A place within a list of the distribution API is one of these with a query or a
// name behind it.
const (
	byLink = "link:" // the query of the link that the registry gave
	byLast = "last:" // the last name; the registry gives no links
)

// names reads one page (OCI distribution-spec, "Listing Tags"; the catalog of the
// Docker registry API is alike).
func (c *connection) names(ctx context.Context, at listAddress, place string) (page, error) {
	query, err := queryOf(place)
	if err != nil {
		return page{}, err
	}
	p, err := c.namesAt(ctx, at, place, query)
	var answer *transport.Error
	if place == "" && errors.As(err, &answer) && answer.StatusCode == http.StatusBadRequest {
		// The registry finds the page too large: its own size then.
		return c.namesAt(ctx, at, byLink, "")
	}
	return p, err
}

func queryOf(place string) (string, error) {
	if query, ok := strings.CutPrefix(place, byLink); ok {
		return query, nil
	}
	query := url.Values{"n": {strconv.Itoa(pageSize)}}
	if place == "" {
		return query.Encode(), nil
	}
	last, ok := strings.CutPrefix(place, byLast)
	if !ok {
		return "", stale()
	}
	query.Set("last", last)
	return query.Encode(), nil
}

func (c *connection) namesAt(ctx context.Context, at listAddress, place, query string) (page, error) {
	var doc map[string]json.RawMessage
	header, err := c.asker.read(ctx, at.scope, url.URL{Path: at.path, RawQuery: query}, &doc)
	if err != nil {
		return page{}, err
	}
	var p page
	list, ok := doc[at.key]
	if !ok {
		return page{}, errs.New(errs.Malformed, "%s answered without a list of %s", c.settings.Endpoint, at.key)
	}
	if err := json.Unmarshal(list, &p.names); err != nil {
		return page{}, errs.New(errs.Malformed, "%s answered with something else than a list of %s", c.settings.Endpoint, at.key)
	}
	link, err := nextLink(header)
	switch {
	case err != nil:
		return page{}, err
	case link != "":
		query, err := c.sameList(link, at.path)
		p.next = byLink + query
		return p, err
	case !strings.HasPrefix(place, byLink) && len(p.names) == pageSize:
		// Neither a link nor a short page: there may be more, for who asks.
		p.next = byLast + p.names[len(p.names)-1]
	}
	return p, nil
}

// sameList takes the query from a link to the next page. Nothing else of it is
// used, but a link that means another host or list cannot be followed and must
// not pass for the end.
func (c *connection) sameList(link, path string) (query string, err error) {
	base := url.URL{Scheme: c.registry.Scheme(), Host: c.registry.RegistryStr(), Path: path}
	to, err := base.Parse(link)
	if err != nil {
		return "", errs.New(errs.Malformed, "the link to the next page cannot be read")
	}
	if !c.isOwn(to.Host) {
		return "", errs.New(errs.Malformed, "the list goes on at another host, %.200q; that is not followed", to.Host).
			WithHint("if it is the same registry, name that host under aliases of registry %s", c.settings.Name)
	}
	if !strings.HasSuffix(to.Path, strings.TrimPrefix(path, "/v2")) || to.RawQuery == "" {
		return "", errs.New(errs.Malformed, "the list goes on at %.200q, which is another list", to.Path)
	}
	return to.RawQuery, nil
}

// isOwn reports whether a host is one by which the registry is configured.
func (c *connection) isOwn(host string) bool {
	own := append([]string{c.settings.Host, c.settings.Endpoint, c.registry.RegistryStr()}, c.settings.Aliases...)
	return slices.ContainsFunc(own, func(o string) bool { return image.CanonicalHost(o) == image.CanonicalHost(host) })
}
