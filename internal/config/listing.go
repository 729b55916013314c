package config

import (
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// checkListing asks the registry room, which knows the listers.
func (r Registry) checkListing(ps *Problems, path string) {
	l := r.listing()
	for _, err := range l.Problems(r.Host) {
		ps.add(path+"."+errs.Field(err), "%s", err)
	}
	if strings.HasPrefix(l.APIURL, "http:") && !r.PlainHTTP {
		ps.add(path+".api_url", "http:// sends the credential in the clear; use https://, or set plain_http")
	}
}

// listing is how the registry's repositories are found.
func (r Registry) listing() registry.Listing {
	return registry.Listing{
		Lister: r.Reconcile.Lister, Repositories: r.Reconcile.Repositories,
		APIURL: r.Reconcile.APIURL.Reveal(), Namespaces: r.Reconcile.Namespaces, Token: r.Reconcile.Token.Reveal(),
	}
}
