package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/registry"
)

func TestListingIsRead(t *testing.T) {
	c, problems := load([]byte(minimal+`registries:
  - name: prod
    host: registry.gitlab.example
    reconcile:
      lister: gitlab
      api_url: https://gitlab.example
      namespaces: [team, tools/ci]
      token: ${GITLAB_TOKEN}
      repositories: [team/**, tools/ci/runner]
  - name: other
    host: other.example
`), "", environment("GITLAB_TOKEN", "glpat-x"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := registry.Listing{
		Lister: "gitlab", APIURL: "https://gitlab.example", Namespaces: []string{"team", "tools/ci"}, Token: "glpat-x",
		Repositories: []string{"team/**", "tools/ci/runner"},
	}
	settings := c.RegistrySettings()
	if diff := cmp.Diff(want, settings[0].Listing); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(registry.Listing{Lister: "catalog"}, settings[1].Listing); diff != "" {
		t.Error(diff)
	}
}

func TestListingsThatMakeNoSenseAreTold(t *testing.T) {
	_, problems := load([]byte(minimal+`registries:
  - name: a
    host: a.example
    reconcile:
      lister: catalogue
  - name: b
    host: b.example
    reconcile:
      lister: gitlab
      repositories: [Team/*]
  - name: c
    host: c.example
    reconcile:
      lister: harbor
      api_url: http://c.example
      token: secret
`), "", environment())
	var got []string
	for _, p := range problems {
		got = append(got, p.String())
	}
	want := []string{
		`line 6: registries[0].reconcile.lister: "catalogue" is none of catalog, harbor, gitlab, dockerhub, ghcr, ecr, none`,
		`line 9: registries[1].reconcile.api_url: empty; lister gitlab needs it`,
		`line 11: registries[1].reconcile.repositories: "Team/*" is neither a repository, without the host, nor a pattern with * or **`,
		`line 16: registries[2].reconcile.api_url: http:// sends the credential in the clear; use https://, or set plain_http`,
		`line 17: registries[2].reconcile.token: lister harbor has no use for it`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
