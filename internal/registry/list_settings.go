package registry

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// Listing says how the repositories of a registry are found.
type Listing struct {
	// Lister is a name Listers returns; empty means catalog.
	Lister string
	// APIURL is where the vendor's interface is, as https://gitlab.example; empty
	// means the vendor's own address, or the registry itself.
	APIURL string
	// Namespaces are the vendor's projects, groups, organisations or users to look
	// into.
	Namespaces []string
	// Token is for the vendor's interface; empty means the registry's credential.
	Token string
	// Repositories are names, or patterns with * and **. Where all are names
	// nothing is asked for; patterns choose from what is listed.
	Repositories []string
}

// The listers.
const (
	listCatalog   = "catalog"
	listHarbor    = "harbor"
	listGitLab    = "gitlab"
	listDockerHub = "dockerhub"
	listGHCR      = "ghcr"
	listECR       = "ecr"
	listNone      = "none"
)

// need says whether something is to be configured.
type need int

const (
	unused need = iota
	optional
	required
)

// vendor is one way to list repositories: what it needs and how it is made.
type vendor struct {
	name       string
	api        need
	namespaces need
	token      need
	// home is the address of the vendor's interface for a registry at a host;
	// empty when that does not tell.
	home func(host string) string
	make func(*connection) (lister, error)
}

// vendors is the table of listers; one that is new is a file and a line here.
func vendors() []vendor {
	return []vendor{
		{name: listCatalog, make: func(c *connection) (lister, error) { return catalogLister{c}, nil }},
		{name: listHarbor, api: optional, namespaces: optional, make: newHarbor},
		{name: listGitLab, api: required, namespaces: optional, token: optional, home: homeOf("registry.gitlab.com", "https://gitlab.com"), make: newGitLab},
		{name: listDockerHub, api: optional, namespaces: required, token: optional, home: always("https://hub.docker.com"), make: newDockerHub},
		{name: listGHCR, api: required, namespaces: required, token: optional, home: homeOf("ghcr.io", "https://api.github.com"), make: newGHCR},
		{name: listECR, api: optional, home: ecrHome, make: newECR},
		{name: listNone, make: func(*connection) (lister, error) { return nil, nil }},
	}
}

func always(address string) func(string) string { return func(string) string { return address } }

func homeOf(host, address string) func(string) string {
	return func(h string) string {
		if h == host {
			return address
		}
		return ""
	}
}

// Listers returns the names a Listing may use.
func Listers() []string {
	var names []string
	for _, v := range vendors() {
		names = append(names, v.name)
	}
	return names
}

func vendorOf(name string) vendor {
	for _, v := range vendors() {
		if v.name == name {
			return v
		}
	}
	return vendor{}
}

func (l Listing) lister() string { return cmp.Or(l.Lister, listCatalog) }

// Problems says what is wrong with a listing for a registry at a host. The errors
// are of kind Invalid and name the field as the configuration calls it.
func (l Listing) Problems(host string) []error {
	v := vendorOf(l.lister())
	if v.name == "" {
		return []error{errs.New(errs.Invalid, "%.40q is none of %s", l.Lister, strings.Join(Listers(), ", ")).WithField("lister")}
	}
	var problems []error
	add := func(field, format string, args ...any) {
		problems = append(problems, errs.New(errs.Invalid, format, args...).WithField(field))
	}
	v.check(l, host, add)
	for _, r := range l.Repositories {
		switch {
		case !isPattern(r):
			add("repositories", "%.300q is neither a repository, without the host, nor a pattern with * or **", r)
		case isWildcard(r) && v.name == listNone:
			add("repositories", "%q chooses from a list, and lister none asks for none", r)
		}
	}
	for _, n := range l.Namespaces {
		if !isNamespace(n, v.name == listGitLab) {
			add("namespaces", "%.200q is not a name", n)
		}
	}
	return problems
}

// check compares what is configured with what the lister needs.
func (v vendor) check(l Listing, host string, add func(field, format string, args ...any)) {
	for _, f := range []struct {
		field string
		need  need
		given bool
	}{
		{"api_url", v.api, l.APIURL != ""},
		{"namespaces", v.namespaces, len(l.Namespaces) > 0},
		{"token", v.token, l.Token != ""},
	} {
		switch {
		case f.need == unused && f.given:
			add(f.field, "lister %s has no use for it", v.name)
		case f.need == required && !f.given && (f.field != "api_url" || v.address(host) == ""):
			add(f.field, "empty; lister %s needs it", v.name)
		}
	}
	if l.APIURL != "" && !isAddress(l.APIURL) {
		add("api_url", "not an https:// or http:// address, or one with a user, query or fragment")
	}
	if v.name == listECR && ecrHost(host) == nil {
		add("lister", "ecr needs a host of the form 123456789012.dkr.ecr.REGION.amazonaws.com, this is %q", host)
	}
}

func (v vendor) address(host string) string {
	if v.home == nil {
		return ""
	}
	return v.home(host)
}

func isAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") &&
		u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

var namespaceSegment = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$`)

// isNamespace reports whether s can be a project, group, organisation or user;
// GitLab's groups may be nested.
func isNamespace(s string, nested bool) bool {
	segments := strings.Split(s, "/")
	bad := func(segment string) bool { return !namespaceSegment.MatchString(segment) }
	return (nested || len(segments) == 1) && !slices.ContainsFunc(segments, bad)
}

func isWildcard(s string) bool { return strings.Contains(s, "*") }

// isPattern reports whether s is a repository, or would be one with letters in
// place of its wildcards.
func isPattern(s string) bool { return image.IsRepository(strings.ReplaceAll(s, "*", "a")) }
