package registry

import (
	"context"
	"slices"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// Repositories returns one page of the repositories of a registry, by its
// configured name, in the registry's order. The cursor is empty for the first
// page, else the next of the page before; next is empty at the end. A cursor of
// another configuration begins again. A page may be empty though others follow.
// Names that are configured without a wildcard come first and are not asked for.
// Names that cannot be ones are left out and told as WithSkipped says; across pages
// a name may come twice.
//
// Errors: NotFound for a registry or a namespace that does not exist, Unsupported
// when the registry offers no list (the hint says what to configure),
// Unauthorized, Forbidden, RateLimited (with RetryAfter), Unavailable, Timeout,
// TooLarge, Invalid for a cursor the vendor does not know any more, and Malformed
// for a list that leads to another host or in circles.
func (c *Client) Repositories(ctx context.Context, registry, cursor string) (names []string, next string, err error) {
	op := "registry: list repositories of " + registry
	conn, err := c.named(registry)
	if err != nil {
		return nil, "", errs.Op(op, err)
	}
	p, err := conn.listing.page(ctx, cursor)
	if err != nil {
		return nil, "", errs.Op(op, err)
	}
	about := Skipped{Registry: registry}
	c.tell(ctx, about, "the credential may not list them", p.refused)
	c.tell(ctx, about, "not a name that can be asked for", p.odd)
	return c.only(ctx, about, p.names, image.IsRepository), p.next, nil
}

// Tags returns one page of the tags of a repository of a registry, by its
// configured name, as Repositories does. A repository without a tag gives none,
// or NotFound at registries that then forget it. Other errors are those of
// Repositories.
func (c *Client) Tags(ctx context.Context, registry, repository, cursor string) (tags []string, next string, err error) {
	op := "registry: list tags of " + registry + "/" + repository
	conn, err := c.named(registry)
	if err == nil && !image.IsRepository(repository) {
		err = errs.New(errs.Invalid, "%.300q is not a repository", repository)
	}
	if err != nil {
		return nil, "", errs.Op(op, err)
	}
	p, err := follow(ctx, "tags", tagLister{conn, repository}, cursor)
	if err != nil {
		return nil, "", errs.Op(op, conn.confirm(ctx, err))
	}
	return c.only(ctx, Skipped{Registry: registry, Repository: repository}, p.names, image.IsTag), p.next, nil
}

// Skipped is what a list left out.
type Skipped struct {
	Registry string
	// Repository is the one whose tags were listed; empty for a list of
	// repositories.
	Repository string
	// Reason says why, in words.
	Reason string
	// Count is how many entries.
	Count int
	// Examples are the first of them, safe to print.
	Examples []string
}

// WithSkipped has tell told of what lists leave out, page by page.
func WithSkipped(tell func(context.Context, Skipped)) Option {
	return func(c *Client) { c.skipped = tell }
}

const maxExamples = 5

func (c *Client) tell(ctx context.Context, about Skipped, reason string, left []string) {
	if len(left) == 0 || c.skipped == nil {
		return
	}
	about.Reason, about.Count = reason, len(left)
	for _, s := range left[:min(len(left), maxExamples)] {
		about.Examples = append(about.Examples, printable(s, 100))
	}
	c.skipped(ctx, about)
}

// only keeps the names that are good, each once.
func (c *Client) only(ctx context.Context, about Skipped, names []string, good func(string) bool) []string {
	var kept, bad []string
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		switch {
		case !good(name):
			bad = append(bad, name)
		case !seen[name]:
			seen[name] = true
			kept = append(kept, name)
		}
	}
	c.tell(ctx, about, "not a name the distribution specification allows", bad)
	return kept
}

// named finds a registry by what the configuration calls it.
func (c *Client) named(registry string) (*connection, error) {
	for _, conn := range c.byHost {
		if conn.settings.Name == registry {
			return conn, nil
		}
	}
	return nil, errs.New(errs.NotFound, "there is no registry %.80q in the configuration", registry)
}

// page is a part of a list as the registry sends it, unchecked.
type page struct {
	names   []string
	next    string   // place of the next page, empty at the end
	marks   []string // what tells it from other pages; nil when its names do
	refused []string // parts that exist and may not be seen
	odd     []string // parts whose name cannot be asked for
}

// lister knows one way to list names. A place is the lister's own, empty for the
// beginning; it comes back from the database, so one it cannot have given is a
// staleCursor.
type lister interface {
	page(ctx context.Context, place string) (page, error)
}

// listing is how the repositories of one registry are found.
type listing struct {
	name      string // of the lister
	lister    lister // nil where nothing needs to be asked
	plain     []string
	wildcards []scan.Glob
}

// newListing makes what the settings describe; it connects to nothing.
func newListing(c *connection) (*listing, error) {
	l := c.settings.Listing
	if problems := l.Problems(c.settings.Host); len(problems) > 0 {
		return nil, errs.Op("reconcile."+errs.Field(problems[0]), problems[0])
	}
	out := &listing{name: l.lister()}
	for _, r := range l.Repositories {
		if isWildcard(r) {
			out.wildcards = append(out.wildcards, scan.NewGlob(r))
		} else {
			out.plain = append(out.plain, r)
		}
	}
	if len(out.plain) > 0 && len(out.wildcards) == 0 {
		return out, nil
	}
	var err error
	out.lister, err = vendorOf(out.name).make(c)
	return out, err
}

// page reads the page at a cursor: configured names first.
func (l *listing) page(ctx context.Context, cursor string) (page, error) {
	var p page
	if l.lister != nil {
		var err error
		if p, err = follow(ctx, l.name, l.lister, cursor); err != nil {
			return page{}, err
		}
		p.names = slices.DeleteFunc(p.names, func(name string) bool {
			return slices.Contains(l.plain, name) || !l.wanted(name)
		})
	}
	if cursor == "" || l.lister == nil {
		p.names = slices.Concat(l.plain, p.names)
	}
	return p, nil
}

// wanted reports whether a wildcard allows a name that was listed. What cannot be
// a name passes: that it came is told further up.
func (l *listing) wanted(name string) bool {
	return len(l.wildcards) == 0 || !image.IsRepository(name) ||
		slices.ContainsFunc(l.wildcards, func(g scan.Glob) bool { return g.Match(name) })
}
