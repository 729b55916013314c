package registry

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// gitlabProjects is how many projects one page of names covers.
const gitlabProjects = 20

// gitlab lists through GitLab's own interface (REST API v4, "Container registry
// API"): its registry offers no catalog to users.
type gitlab struct{ *vendorAPI }

func newGitLab(c *connection) (lister, error) {
	a, err := newAPI(c, "reconcile.token of registry "+c.settings.Name+" must be an access token with the scope read_api "+
		"of somebody who may read the container registry")
	if err != nil {
		return nil, err
	}
	g := gitlab{a}
	if groups := c.settings.Listing.Namespaces; len(groups) > 0 {
		return namespaced{groups, g.namespace}, nil
	}
	return g, nil
}

type gitlabRepository struct {
	Path string `json:"path"`
}

// page covers some of the projects that the token's owner is a member of, with
// all of their repositories. A place is the id of the last project. All that are
// visible are not asked for: on gitlab.com that is every public one.
func (g gitlab) page(ctx context.Context, place string) (page, error) {
	query := url.Values{
		"membership": {"true"}, "order_by": {"id"}, "sort": {"asc"}, "per_page": {strconv.Itoa(gitlabProjects)},
	}
	if place != "" {
		if id, err := strconv.ParseInt(place, 10, 64); err != nil || id < 0 {
			return page{}, stale()
		}
		query.Set("id_after", place)
	}
	var projects []struct {
		ID    int64  `json:"id"`
		Path  string `json:"path_with_namespace"`
		Level string `json:"container_registry_access_level"`
	}
	if _, err := g.list(ctx, query, &projects, "api/v4/projects"); err != nil {
		return page{}, err
	}
	var p page
	for _, project := range projects {
		p.marks = append(p.marks, project.Path)
		if project.Level == "disabled" {
			continue
		}
		if err := g.project(ctx, project.ID, project.Path, &p); err != nil {
			return page{}, err
		}
	}
	if len(projects) == gitlabProjects {
		p.next = strconv.FormatInt(projects[len(projects)-1].ID, 10)
	}
	return p, nil
}

// project adds the repositories of one project. One that may not be seen does not
// hide the others.
func (g gitlab) project(ctx context.Context, id int64, path string, p *page) error {
	for number := 1; ; number++ {
		if number > maxPages {
			return errs.New(errs.TooLarge, "project %d has more than %d pages of repositories", id, maxPages)
		}
		names, more, err := g.repositories(ctx, number, "projects", strconv.FormatInt(id, 10))
		switch errs.KindOf(err) {
		case errs.Forbidden:
			p.refused = append(p.refused, "project "+path)
			return nil
		case errs.NotFound:
			return nil // deleted meanwhile, or without a registry
		}
		if err != nil {
			return err
		}
		if p.names = append(p.names, names...); !more {
			return nil
		}
	}
}

// namespace reads one page of the repositories of a group and the groups in it,
// or of a project: what is configured may be the path of either.
func (g gitlab) namespace(ctx context.Context, path string, number int) (names []string, more bool, err error) {
	names, more, err = g.repositories(ctx, number, "groups", url.PathEscape(path))
	if errs.Is(err, errs.NotFound) {
		names, more, err = g.repositories(ctx, number, "projects", url.PathEscape(path))
	}
	if errs.Is(err, errs.NotFound) {
		err = errs.New(errs.NotFound, "%s shows no group or project %s", g.base.Host, path).WithHint("%s", g.hint)
	}
	return names, more, err
}

func (g gitlab) repositories(ctx context.Context, number int, kind, id string) (names []string, more bool, err error) {
	var repositories []gitlabRepository
	header, err := g.list(ctx, numbered(number, vendorPage, "per_page"), &repositories, "api/v4", kind, id, "registry/repositories")
	if err != nil {
		return nil, false, err
	}
	for _, r := range repositories {
		names = append(names, r.Path)
	}
	return names, hasMore(header, number, vendorPage, len(repositories)), nil
}

func (g gitlab) list(ctx context.Context, query url.Values, into any, elements ...string) (http.Header, error) {
	authorization, err := g.bearer(ctx)
	if err != nil {
		return nil, err
	}
	return g.get(ctx, authorization, query, into, elements...)
}
