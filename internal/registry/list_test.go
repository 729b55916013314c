package registry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/localregistry"
	"github.com/tidewaiter/tidewaiter/internal/reconcile"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

var _ reconcile.Registry = (*registry.Client)(nil)

// serveList starts a real registry whose lists have pages of three names.
func serveList(t *testing.T) string {
	t.Helper()
	r, err := localregistry.Start(t.Context(), localregistry.Config{Username: user, Password: password, PageSize: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = r.Close(ctx)
	})
	return r.Host()
}

// list is one of the two lists of a client.
type list func(ctx context.Context, cursor string) (names []string, next string, err error)

func repositories(c *registry.Client) list {
	return func(ctx context.Context, cursor string) ([]string, string, error) {
		return c.Repositories(ctx, "test", cursor)
	}
}

func tags(c *registry.Client, repository string) list {
	return func(ctx context.Context, cursor string) ([]string, string, error) {
		return c.Tags(ctx, "test", repository, cursor)
	}
}

// pages reads a list to its end.
func pages(t *testing.T, l list) [][]string {
	t.Helper()
	out, err := walk(t, l)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// walk reads a list to its end or first error.
func walk(t *testing.T, l list) (out [][]string, err error) {
	t.Helper()
	for cursor := ""; ; {
		names, next, err := l(t.Context(), cursor)
		if err != nil {
			return out, err
		}
		out = append(out, names)
		if next == "" {
			return out, nil
		}
		cursor = next
	}
}

func TestListsOfARealRegistry(t *testing.T) {
	host := serveList(t)
	img := vulnerable(t, v1.Platform{OS: "linux", Architecture: "amd64"})
	var want []string
	for i := range 7 {
		want = append(want, fmt.Sprintf("team%d/app", i))
		push(t, host+"/"+want[i]+":1.0", img)
	}
	for i := range 4 {
		push(t, fmt.Sprintf("%s/team0/app:1.%d", host, i), img)
	}
	c := client(t, local(host))
	if diff := cmp.Diff([][]string{want[:3], want[3:6], want[6:]}, pages(t, repositories(c))); diff != "" {
		t.Errorf("repositories: %s", diff)
	}
	if diff := cmp.Diff([][]string{{"1.0", "1.1", "1.2"}, {"1.3"}}, pages(t, tags(c, "team0/app"))); diff != "" {
		t.Errorf("tags: %s", diff)
	}
	if _, _, err := c.Tags(t.Context(), "test", "team0/other", ""); !errs.Is(err, errs.NotFound) {
		t.Errorf("tags of a repository that is not there: %v", err)
	}
	if _, _, err := c.Repositories(t.Context(), "elsewhere", ""); !errs.Is(err, errs.NotFound) {
		t.Errorf("a registry that is not configured: %v", err)
	}
}

// A list goes on in another process, which has only the cursor.
func TestAListGoesOnElsewhere(t *testing.T) {
	host := serveList(t)
	img := vulnerable(t, v1.Platform{OS: "linux", Architecture: "amd64"})
	for i := range 5 {
		push(t, fmt.Sprintf("%s/app%d:1.0", host, i), img)
	}
	_, next, err := client(t, local(host)).Repositories(t.Context(), "test", "")
	if err != nil || next == "" {
		t.Fatalf("first page: next %q, %v", next, err)
	}
	names, next, err := client(t, local(host)).Repositories(t.Context(), "test", next)
	if err != nil || next != "" || !slices.Equal(names, []string{"app3", "app4"}) {
		t.Errorf("second page: %v, next %q, %v", names, next, err)
	}
}

func TestHeadOfARealRegistry(t *testing.T) {
	host := serve(t)
	img := vulnerable(t, v1.Platform{OS: "linux", Architecture: "amd64"})
	digest := push(t, host+"/shop/web:1.0", img)
	size, err := img.Size()
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, local(host))
	want := reconcile.Head{Digest: digest, MediaType: image.MediaTypeOCIManifest, Size: size}
	for _, by := range []string{wanted, "registry.example.com/shop/web@" + string(digest)} {
		got, err := c.Head(t.Context(), ref(t, by))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", by, diff)
		}
	}
	for _, gone := range []string{"registry.example.com/shop/web:2.0", "registry.example.com/shop/other:1.0", "registry.example.com/shop/web@" + string(image.DigestOf(nil))} {
		if _, err := c.Head(t.Context(), ref(t, gone)); !errs.Is(err, errs.NotFound) {
			t.Errorf("%s: %v", gone, err)
		}
	}
	both, err := sampleimage.Index(true, img)
	if err != nil {
		t.Fatal(err)
	}
	index := pushIndex(t, host+"/shop/web:all", both)
	if got, err := c.Head(t.Context(), ref(t, "registry.example.com/shop/web:all")); err != nil || got.Digest != index || got.MediaType != image.MediaTypeOCIIndex {
		t.Errorf("of an index: %+v, %v", got, err)
	}
}

func TestACredentialThatIsRefused(t *testing.T) {
	s := local(serveList(t))
	s.Auth.Password = "wrong"
	c := client(t, s)
	if _, _, err := c.Repositories(t.Context(), "test", ""); !errs.Is(err, errs.Unauthorized) {
		t.Errorf("Repositories: %v", err)
	}
	if _, _, err := c.Tags(t.Context(), "test", "shop/web", ""); !errs.Is(err, errs.Unauthorized) {
		t.Errorf("Tags: %v", err)
	}
	if _, err := c.Head(t.Context(), ref(t, wanted)); !errs.Is(err, errs.Unauthorized) {
		t.Errorf("Head: %v", err)
	}
}

// Comparing a registry costs a request per page and per tag, whatever else it
// has in common with a pull.
func TestListsCostNoMoreThanTheirPages(t *testing.T) {
	f := newFake(t)
	d := f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	f.answer = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Docker-Content-Digest", string(d))
		if strings.HasSuffix(r.URL.Path, "/tags/list") {
			_, _ = w.Write([]byte(`{"name":"shop/web","tags":["1.0"]}`))
			return true
		}
		return false
	}
	c := client(t, f.settings())
	const repositories = 50
	for i := range repositories {
		if _, _, err := c.Tags(t.Context(), "test", fmt.Sprintf("shop/web%d", i), ""); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Head(t.Context(), ref(t, wanted)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(f.requests()); n != 2*repositories {
		t.Errorf("%d requests, want %d", n, 2*repositories)
	}
	if n := len(f.seen) - len(f.requests()); n > 2 {
		t.Errorf("%d pings", n)
	}
}

func TestConfiguredRepositories(t *testing.T) {
	f := newFake(t)
	f.answer = serveNames("/v2/_catalog", "repositories", "shop/web", "shop/web/cache", "team/app", "x")
	tests := []struct {
		name         string
		repositories []string
		want         []string
		asked        int
	}{
		{"names are not listed", []string{"a", "b/c"}, []string{"a", "b/c"}, 0},
		{"a pattern chooses", []string{"shop/*"}, []string{"shop/web"}, 1},
		{"a pattern over segments chooses", []string{"shop/**"}, []string{"shop/web", "shop/web/cache"}, 1},
		{"names come first, once", []string{"*", "new", "x"}, []string{"new", "x"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f.forget()
			s := f.settings()
			s.Listing.Repositories = tt.repositories
			if diff := cmp.Diff([][]string{tt.want}, pages(t, repositories(client(t, s)))); diff != "" {
				t.Error(diff)
			}
			if n := len(f.requests()); n != tt.asked {
				t.Errorf("%d requests, want %d", n, tt.asked)
			}
		})
	}
}

// Without a lister there is nothing to say, which is not an error: what is known
// from webhooks is compared all the same.
func TestListerNone(t *testing.T) {
	f := newFake(t)
	s := f.settings()
	s.Listing.Lister = "none"
	if got := pages(t, repositories(client(t, s))); len(got) != 1 || len(got[0]) != 0 {
		t.Errorf("pages are %v", got)
	}
	if n := len(f.seen); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// serveNames answers one path with one page of names.
func serveNames(path, key string, names ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path {
			return false
		}
		_ = json.NewEncoder(w).Encode(map[string][]string{key: names})
		return true
	}
}

// forget drops the requests seen so far.
func (f *fake) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = nil
}

// telling makes a client and returns what it tells of names it leaves out.
func telling(t *testing.T, s registry.Settings) (*registry.Client, *[]registry.Skipped) {
	t.Helper()
	var told []registry.Skipped
	c, err := registry.New([]registry.Settings{s}, registry.WithSkipped(func(_ context.Context, s registry.Skipped) { told = append(told, s) }))
	if err != nil {
		t.Fatal(err)
	}
	return c, &told
}
