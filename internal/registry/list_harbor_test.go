package registry_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

func TestHarborByProject(t *testing.T) {
	projects := []string{}
	for i := range 12 {
		projects = append(projects, fmt.Sprintf("p%02d", i))
	}
	v := newVendor(t, func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case path == "/api/v2.0/projects":
			w.Header().Set("X-Total-Count", "12")
			from := (number(r) - 1) * 10
			send(w, entries("name", projects[from:min(from+10, 12)]...))
		case path == "/api/v2.0/projects/p03/repositories":
			w.WriteHeader(http.StatusForbidden)
		case path == "/api/v2.0/projects/p04/repositories":
			w.WriteHeader(http.StatusNotFound)
		case path == "/api/v2.0/projects/p11/repositories" && number(r) == 1:
			w.Header().Set("X-Total-Count", "101")
			send(w, entries("name", "p11/first", "p11/deep/er"))
		case path == "/api/v2.0/projects/p11/repositories":
			w.Header().Set("X-Total-Count", "101")
			send(w, entries("name", "p11/last"))
		case strings.HasSuffix(path, "/repositories"):
			send(w, entries("name", strings.TrimSuffix(strings.TrimPrefix(path, "/api/v2.0/projects/"), "/repositories")+"/app"))
		}
	})
	c, told := telling(t, v.settings("harbor"))
	got := pages(t, repositories(c))
	same(t, "first page", []string{"p00/app", "p01/app", "p02/app", "p05/app", "p06/app", "p07/app", "p08/app", "p09/app"}, got[0])
	same(t, "second page", []string{"p10/app", "p11/first", "p11/deep/er", "p11/last"}, got[1])
	same(t, "first and last requests", []string{
		"GET /api/v2.0/projects?page=1&page_size=10&sort=creation_time&with_detail=false",
		"GET /api/v2.0/projects/p11/repositories?page=2&page_size=100&sort=creation_time",
	}, []string{v.seen()[0], v.seen()[len(v.seen())-1]})
	v.wantAuthorization(t, authorization())
	want := []registry.Skipped{{Registry: "test", Reason: "the credential may not list them", Count: 1, Examples: []string{"project p03"}}}
	if diff := cmp.Diff(want, *told); diff != "" {
		t.Error(diff)
	}
}

func TestHarborNamesOfProjectsAreNotTrusted(t *testing.T) {
	v := newVendor(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v2.0/projects" {
			send(w, entries("name", "../../v2", "ok", "a/b", "?x"))
			return
		}
		send(w, entries("name", "ok/app"))
	})
	c, told := telling(t, v.settings("harbor"))
	if got := pages(t, repositories(c)); len(got) != 1 || len(got[0]) != 1 || got[0][0] != "ok/app" {
		t.Errorf("pages %v", got)
	}
	if len(*told) != 1 || (*told)[0].Count != 3 {
		t.Errorf("told %+v", *told)
	}
	same(t, "requests", []string{
		"GET /api/v2.0/projects?page=1&page_size=10&sort=creation_time&with_detail=false",
		"GET /api/v2.0/projects/ok/repositories?page=1&page_size=100&sort=creation_time",
	}, v.seen())
}

func TestHarborConfiguredProjects(t *testing.T) {
	v := newVendor(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/closed/") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Link", `</api/v2.0/projects/team/repositories?page=1>; rel="prev"`)
		send(w, entries("name", "team/app"))
	})
	s := v.settings("harbor", "team", "closed")
	s.Auth.Username = "robot$list"
	got, err := walk(t, repositories(client(t, s)))
	same(t, "first page", []string{"team/app"}, got[0])
	if !errs.Is(err, errs.Forbidden) || !strings.Contains(errs.Hint(err), "robot account") {
		t.Errorf("a project that is closed: %v, hint %q", err, errs.Hint(err))
	}
}

// Without an address the interface is at the registry, behind the same door.
func TestHarborAtTheRegistry(t *testing.T) {
	f := newFake(t)
	f.answer = func(w http.ResponseWriter, r *http.Request) bool {
		send(w, entries("name", "team/app"))
		return true
	}
	s := withPassword(f.settings())
	s.Listing = registry.Listing{Lister: "harbor", Namespaces: []string{"team"}}
	same(t, "names", []string{"team/app"}, listed(t, s))
}

// A registry that does not look at which page is asked for is noticed also where
// no page has a name.
func TestHarborThatIgnoresThePage(t *testing.T) {
	v := newVendor(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v2.0/projects" {
			send(w, entries("name"))
			return
		}
		w.Header().Set("X-Total-Count", "100000")
		send(w, entries("name", "a", "b"))
	})
	if _, err := walk(t, repositories(client(t, v.settings("harbor")))); !errs.Is(err, errs.Malformed) {
		t.Errorf("%v", err)
	}
}
