package registry_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestGitLabProjectsOfATokensOwner(t *testing.T) {
	const size = 20
	v := newVendor(t, func(w http.ResponseWriter, r *http.Request) {
		after, _ := strconv.Atoi(r.URL.Query().Get("id_after"))
		switch {
		case r.URL.Path == "/api/v4/projects":
			projects := []map[string]any{}
			for id := after + 1; id <= 22 && len(projects) < size; id++ {
				level := "enabled"
				if id == 2 {
					level = "disabled"
				}
				projects = append(projects, map[string]any{"id": id, "path_with_namespace": fmt.Sprintf("Group/P%d", id), "container_registry_access_level": level})
			}
			send(w, projects)
		case strings.Contains(r.URL.Path, "/21/"):
			w.WriteHeader(http.StatusForbidden)
		case strings.Contains(r.URL.Path, "/22/") && number(r) == 1:
			w.Header().Set("X-Next-Page", "2")
			send(w, entries("path", "group/p22", "group/p22/cache"))
		case strings.Contains(r.URL.Path, "/22/"):
			w.Header().Set("X-Next-Page", "")
			send(w, entries("path", "group/p22/debug"))
		default:
			send(w, entries("path"))
		}
	})
	s := v.settings("gitlab")
	s.Listing.Token = "glpat-x"
	c, told := telling(t, s)
	got := pages(t, repositories(c))
	if len(got) != 2 || len(got[0]) != 0 || len(*told) != 1 || (*told)[0].Count != 1 {
		t.Errorf("pages %v, told %+v", got, *told)
	}
	same(t, "second page", []string{"group/p22", "group/p22/cache", "group/p22/debug"}, got[1])
	asked := v.seen()
	same(t, "some requests", []string{
		"GET /api/v4/projects?membership=true&order_by=id&per_page=20&sort=asc",
		"GET /api/v4/projects/1/registry/repositories?page=1&per_page=100",
		"GET /api/v4/projects/3/registry/repositories?page=1&per_page=100",
		"GET /api/v4/projects?id_after=20&membership=true&order_by=id&per_page=20&sort=asc",
	}, []string{asked[0], asked[1], asked[2], asked[20]})
	v.wantAuthorization(t, "Bearer glpat-x")
}

func TestGitLabGroupsAndProjects(t *testing.T) {
	v := newVendor(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.EscapedPath() + "#" + r.URL.Query().Get("page") {
		case "/api/v4/groups/team%2Fsub/registry/repositories#1":
			w.Header().Set("Link", `<https://gitlab.internal/api/v4/groups/7/registry/repositories?page=2>; rel="next"`)
			send(w, entries("path", "team/sub/app"))
		case "/api/v4/groups/team%2Fsub/registry/repositories#2":
			w.Header().Set("Link", `<https://gitlab.internal/api/v4/groups/7/registry/repositories?page=1>; rel="first"`)
			send(w, entries("path", "team/sub/deep/app"))
		case "/api/v4/projects/solo%2Fproject/registry/repositories#1":
			send(w, entries("path", "solo/project"))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	same(t, "names", []string{"team/sub/app", "team/sub/deep/app", "solo/project"}, listed(t, v.settings("gitlab", "team/sub", "solo/project")))
	v.wantAuthorization(t, "Bearer "+password) // without a token of its own
	_, err := walk(t, repositories(client(t, v.settings("gitlab", "nobody"))))
	if !errs.Is(err, errs.NotFound) || !strings.Contains(errs.Hint(err), "read_api") {
		t.Errorf("a group that is not there: %v, hint %q", err, errs.Hint(err))
	}
}
