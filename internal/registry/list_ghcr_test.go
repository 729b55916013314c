package registry_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestGHCR(t *testing.T) {
	v := newVendor(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/orgs/Team/"):
			if number(r) == 1 {
				w.Header().Set("Link", `<https://api.github.com/organizations/1/packages?package_type=container&page=2>; rel="next"`)
				send(w, entries("name", "App", "deep/er"))
				return
			}
			send(w, entries("name", "last"))
		case strings.HasPrefix(r.URL.Path, "/users/octocat/"):
			if number(r) == 1 {
				w.Header().Set("Link", `<https://api.github.com/user/1/packages?page=2>; rel="next"`)
			}
			send(w, entries("name", "own"+strconv.Itoa(number(r))))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	s := v.settings("ghcr", "Team", "octocat")
	s.Listing.Token = "ghp_x"
	same(t, "names", []string{"team/app", "team/deep/er", "team/last", "octocat/own1", "octocat/own2"}, listed(t, s))
	same(t, "requests", []string{
		"GET /orgs/Team/packages?package_type=container&page=1&per_page=100",
		"GET /orgs/Team/packages?package_type=container&page=2&per_page=100",
		"GET /orgs/octocat/packages?package_type=container&page=1&per_page=100",
		"GET /users/octocat/packages?package_type=container&page=1&per_page=100",
		"GET /users/octocat/packages?package_type=container&page=2&per_page=100",
	}, v.seen())
	v.wantAuthorization(t, "Bearer ghp_x")
	_, err := walk(t, repositories(client(t, v.settings("ghcr", "nobody"))))
	if !errs.Is(err, errs.NotFound) || !strings.Contains(errs.Hint(err), "read:packages") {
		t.Errorf("an owner that is not there: %v, hint %q", err, errs.Hint(err))
	}
}
