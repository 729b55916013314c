package registry_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

func TestListingProblems(t *testing.T) {
	tests := []struct {
		name    string
		host    string
		listing registry.Listing
		want    []string // field: part of the text
	}{
		{"nothing", "registry.example.com", registry.Listing{}, nil},
		{"unknown", "registry.example.com", registry.Listing{Lister: "quay"}, []string{`lister: "quay" is none of catalog, harbor, gitlab`}},
		{"catalog takes nothing", "registry.example.com", registry.Listing{APIURL: "https://x.example", Namespaces: []string{"a"}, Token: "t"},
			[]string{"api_url: lister catalog has no use for it", "namespaces: lister catalog has no use for it", "token: lister catalog has no use for it"}},
		{"harbor", "registry.example.com", registry.Listing{Lister: "harbor"}, nil},
		{"harbor with a nested project", "registry.example.com", registry.Listing{Lister: "harbor", Namespaces: []string{"a/b"}}, []string{`namespaces: "a/b" is not a name`}},
		{"gitlab.com", "registry.gitlab.com", registry.Listing{Lister: "gitlab", Namespaces: []string{"group/sub"}}, nil},
		{"gitlab elsewhere", "registry.example.com", registry.Listing{Lister: "gitlab"}, []string{"api_url: empty; lister gitlab needs it"}},
		{"docker hub", "docker.io", registry.Listing{Lister: "dockerhub", Namespaces: []string{"library"}}, nil},
		{"docker hub without a namespace", "docker.io", registry.Listing{Lister: "dockerhub"}, []string{"namespaces: empty; lister dockerhub needs it"}},
		{"ghcr", "ghcr.io", registry.Listing{Lister: "ghcr", Namespaces: []string{"Octocat"}, Token: "t"}, nil},
		{"ghcr elsewhere", "containers.example.com", registry.Listing{Lister: "ghcr", Namespaces: []string{"x"}}, []string{"api_url: empty"}},
		{"ecr", ecrHost, registry.Listing{Lister: "ecr"}, nil},
		{"ecr elsewhere", "public.ecr.aws", registry.Listing{Lister: "ecr"}, []string{"lister: ecr needs a host of the form"}},
		{"addresses", "registry.example.com", registry.Listing{Lister: "harbor", APIURL: "ftp://x"}, []string{"api_url: not an https:// or http:// address"}},
		{"an address with a password", "registry.example.com", registry.Listing{Lister: "harbor", APIURL: "https://u:secret@x.example"}, []string{"api_url: not an https:// or http:// address"}},
		{"an address with a query", "registry.example.com", registry.Listing{Lister: "harbor", APIURL: "https://x.example?token=secret"}, []string{"api_url: not an"}},
		{"namespaces that are paths", "docker.io", registry.Listing{Lister: "dockerhub", Namespaces: []string{"..", "a b", ""}},
			[]string{`namespaces: ".." is not`, `namespaces: "a b" is not`, `namespaces: "" is not`}},
		{"repositories", "registry.example.com", registry.Listing{Repositories: []string{"a/b", "a/*", "**", "a-*/c", "**/web"}}, nil},
		{"repositories that are none", "registry.example.com", registry.Listing{Repositories: []string{"A/*", "", "/a", "a/[b]", "../a"}},
			[]string{`repositories: "A/*" is neither`, `repositories: "" is neither`, `repositories: "/a" is neither`, `repositories: "a/[b]" is`, `repositories: "../a" is`}},
		{"a pattern without a list", "registry.example.com", registry.Listing{Lister: "none", Repositories: []string{"a/*", "b"}}, []string{`repositories: "a/*" chooses from a list`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, err := range tt.listing.Problems(tt.host) {
				got = append(got, errs.Field(err)+": "+err.Error())
			}
			if len(got) != len(tt.want) {
				t.Fatalf("problems are %q", got)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(got[i], want) || strings.Contains(got[i], "secret") {
					t.Errorf("got %q, want %q", got[i], want)
				}
			}
			_, err := registry.New([]registry.Settings{{Name: "test", Host: tt.host, Listing: tt.listing}})
			if (err != nil) != (len(tt.want) > 0) || err != nil && !errs.Is(err, errs.Invalid) {
				t.Errorf("New returned %v", err)
			}
		})
	}
}

// A credential does not travel in the clear because a second address is typed
// without TLS.
func TestAnInterfaceWithoutTLS(t *testing.T) {
	s := registry.Settings{Host: "registry.example.com", Listing: registry.Listing{Lister: "harbor", APIURL: "http://harbor.example.com"}}
	if _, err := registry.New([]registry.Settings{s}); !errs.Is(err, errs.Invalid) {
		t.Errorf("New returned %v", err)
	}
	s.PlainHTTP = true
	if _, err := registry.New([]registry.Settings{s}); err != nil {
		t.Error(err)
	}
}

func TestListers(t *testing.T) {
	if want := []string{"catalog", "harbor", "gitlab", "dockerhub", "ghcr", "ecr", "none"}; !slices.Equal(registry.Listers(), want) {
		t.Errorf("listers are %v", registry.Listers())
	}
}
