package registry

import (
	"context"
	"encoding/base64"
	"net/url"
	"strconv"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// harborProjects is how many projects one page of names covers.
const harborProjects = 10

// harbor lists through Harbor's own interface (API v2.0): its catalog is for
// administrators only. Projects are asked one by one: the list of all
// repositories shows a robot account the public ones and nothing else, without a
// word.
type harbor struct{ *vendorAPI }

func newHarbor(c *connection) (lister, error) {
	a, err := newAPI(c, "the account of registry "+c.settings.Name+" needs the permission to list repositories; "+
		"a robot account may not see all projects, and sees those it was made for: name them under reconcile.namespaces")
	if err != nil {
		return nil, err
	}
	h := harbor{a}
	if projects := c.settings.Listing.Namespaces; len(projects) > 0 {
		return namespaced{projects, h.repositories}, nil
	}
	return h, nil
}

// page covers some projects with all of their repositories. A place is the number
// of the page of projects.
func (h harbor) page(ctx context.Context, place string) (page, error) {
	number := 1
	if place != "" {
		var err error
		if number, err = strconv.Atoi(place); err != nil || number < 1 {
			return page{}, stale()
		}
	}
	var projects []struct {
		Name string `json:"name"`
	}
	query := numbered(number, harborProjects, "page_size")
	query.Set("sort", "creation_time") // What is new comes last and shifts no page.
	query.Set("with_detail", "false")
	more, err := h.list(ctx, query, &projects, "api/v2.0/projects")
	if err != nil {
		return page{}, err
	}
	var p page
	if more(number, harborProjects, len(projects)) {
		p.next = strconv.Itoa(number + 1)
	}
	for _, project := range projects {
		p.marks = append(p.marks, project.Name)
		if err := h.project(ctx, project.Name, &p); err != nil {
			return page{}, err
		}
	}
	return p, nil
}

// project adds the repositories of one project. One that may not be seen does not
// hide the others.
func (h harbor) project(ctx context.Context, name string, p *page) error {
	if !isNamespace(name, false) {
		p.odd = append(p.odd, "project "+name)
		return nil
	}
	for number := 1; ; number++ {
		if number > maxPages {
			return errs.New(errs.TooLarge, "project %s has more than %d pages of repositories", name, maxPages)
		}
		names, more, err := h.repositories(ctx, name, number)
		switch errs.KindOf(err) {
		case errs.Forbidden:
			p.refused = append(p.refused, "project "+name)
			return nil
		case errs.NotFound:
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		if p.names = append(p.names, names...); !more {
			return nil
		}
	}
}

// repositories reads one page of the repositories of a project. Harbor gives
// their names with the project in front.
func (h harbor) repositories(ctx context.Context, project string, number int) (names []string, more bool, err error) {
	var repositories []struct {
		Name string `json:"name"`
	}
	query := numbered(number, vendorPage, "page_size")
	query.Set("sort", "creation_time")
	hasMore, err := h.list(ctx, query, &repositories, "api/v2.0/projects", url.PathEscape(project), "repositories")
	if err != nil {
		return nil, false, err
	}
	for _, r := range repositories {
		names = append(names, r.Name)
	}
	return names, hasMore(number, vendorPage, len(repositories)), nil
}

// list reads a page and returns what tells whether it is the last.
func (h harbor) list(ctx context.Context, query url.Values, into any, elements ...string) (func(number, size, got int) bool, error) {
	user, password, err := h.credential(ctx)
	if err != nil {
		return nil, err
	}
	authorization := ""
	if user != "" {
		authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	header, err := h.get(ctx, authorization, query, into, elements...)
	if err != nil {
		return nil, err
	}
	return func(number, size, got int) bool { return hasMore(header, number, size, got) }, nil
}
