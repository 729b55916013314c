package registry_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

func TestDockerHub(t *testing.T) {
	v := newVendor(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/auth/token" {
			send(w, map[string]string{"access_token": "jwt"})
			return
		}
		namespace := strings.Split(r.URL.Path, "/")[3]
		doc := map[string]any{"count": 3, "next": nil, "previous": nil, "results": entries("name", namespace+strconv.Itoa(number(r)))}
		if number(r) == 1 && namespace == "team" {
			doc["next"] = "https://evil.example/v2/namespaces/team/repositories?page=2"
		}
		send(w, doc)
	})
	s := v.settings("dockerhub", "team", "other")
	s.Listing.Token = "dckr_pat"
	same(t, "names", []string{"team/team1", "team/team2", "other/other1"}, listed(t, s))
	same(t, "requests", []string{
		"POST /v2/auth/token",
		"GET /v2/namespaces/team/repositories?page=1&page_size=100",
		"GET /v2/namespaces/team/repositories?page=2&page_size=100",
		"GET /v2/namespaces/other/repositories?page=1&page_size=100",
	}, v.seen())
	if want := `{"identifier":"ci","secret":"dckr_pat"}`; v.bodies[0] != want || v.heads[0].Get("Authorization") != "" {
		t.Errorf("logged in with %s and authorization %q", v.bodies[0], v.heads[0].Get("Authorization"))
	}
	for _, h := range v.heads[1:] {
		if h.Get("Authorization") != "Bearer jwt" {
			t.Errorf("authorization is %q", h.Get("Authorization"))
		}
	}
}

func TestDockerHubWithoutALogin(t *testing.T) {
	v := newVendor(t, func(w http.ResponseWriter, _ *http.Request) {
		send(w, map[string]any{"results": entries("name", "app")})
	})
	s := v.settings("dockerhub", "team")
	s.Auth = registry.Auth{}
	same(t, "names", []string{"team/app"}, listed(t, s))
	v.wantAuthorization(t, "")
}

func TestDockerHubThatRefusesTheLogin(t *testing.T) {
	v := newVendor(t, refuse(401, `{"detail":"Incorrect authentication credentials s3cret:with-colon"}`))
	_, err := walk(t, repositories(client(t, v.settings("dockerhub", "team"))))
	if !errs.Is(err, errs.Unauthorized) || !strings.Contains(errs.Hint(err), "reconcile.token") || strings.Contains(err.Error(), password) {
		t.Errorf("%v, hint %q", err, errs.Hint(err))
	}
	if n := len(v.seen()); n != 1 {
		t.Errorf("tried %d times", n)
	}
}
