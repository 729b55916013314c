package registry

import (
	"context"
	"net/url"
	"sync"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// ghcr lists the container packages of organisations and users (GitHub REST API,
// "Packages"): GitHub's registry offers no catalog of them.
type ghcr struct {
	*vendorAPI

	mu    sync.Mutex
	users map[string]bool // namespaces that are no organisation
}

func newGHCR(c *connection) (lister, error) {
	a, err := newAPI(c, "reconcile.token of registry "+c.settings.Name+" must be a classic personal access token with the scope "+
		"read:packages, authorised for the organisation where that uses single sign-on")
	if err != nil {
		return nil, err
	}
	g := &ghcr{vendorAPI: a, users: map[string]bool{}}
	return namespaced{c.settings.Listing.Namespaces, g.packages}, nil
}

// packages reads one page of the packages of an organisation or, when there is
// none of that name, of a user.
func (g *ghcr) packages(ctx context.Context, owner string, number int) (names []string, more bool, err error) {
	if !g.isUser(owner) {
		names, more, err = g.owned(ctx, "orgs", owner, number)
		if !errs.Is(err, errs.NotFound) {
			return names, more, err
		}
	}
	names, more, err = g.owned(ctx, "users", owner, number)
	if errs.Is(err, errs.NotFound) {
		return nil, false, errs.New(errs.NotFound, "%s shows no packages of an organisation or user %s", g.base.Host, owner).WithHint("%s", g.hint)
	}
	if err == nil {
		g.noteUser(owner)
	}
	return names, more, err
}

func (g *ghcr) owned(ctx context.Context, kind, owner string, number int) (names []string, more bool, err error) {
	authorization, err := g.bearer(ctx)
	if err != nil {
		return nil, false, err
	}
	query := numbered(number, vendorPage, "per_page")
	query.Set("package_type", "container")
	var packages []struct {
		Name string `json:"name"`
	}
	header, err := g.get(ctx, authorization, query, &packages, kind, url.PathEscape(owner), "packages")
	if err != nil {
		return nil, false, err
	}
	for _, p := range packages {
		names = append(names, joined(owner, p.Name))
	}
	// A page that is not full may have others behind it: only the link tells.
	next, err := nextLink(header)
	return names, next != "", err
}

func (g *ghcr) isUser(owner string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.users[owner]
}

func (g *ghcr) noteUser(owner string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.users[owner] = true
}
