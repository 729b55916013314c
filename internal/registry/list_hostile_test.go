package registry_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

const catalogPath = "/v2/_catalog"

// onCatalog answers requests for the catalog only.
func onCatalog(answer http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == catalogPath {
			answer(w, r)
		}
		return r.URL.Path == catalogPath
	}
}

func write(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
}

func refuse(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func TestARegistryWithoutACatalogSaysWhatToDo(t *testing.T) {
	tests := []struct {
		name   string
		answer http.HandlerFunc
		kind   errs.Kind
		hint   string
	}{
		{"401 for the catalog only", refuse(401, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`), errs.Unsupported, "reconcile.lister"},
		{"403", refuse(403, `{"errors":[{"code":"DENIED"}]}`), errs.Unsupported, "reconcile.repositories"},
		{"404", refuse(404, "<html>"), errs.Unsupported, "reconcile.lister"},
		{"405", refuse(405, `{"errors":[{"code":"UNSUPPORTED"}]}`), errs.Unsupported, "reconcile.lister"},
		{"400 that means it", refuse(400, `{"errors":[{"code":"UNSUPPORTED"}]}`), errs.Unsupported, "reconcile.lister"},
		{"500", refuse(500, ""), errs.Unavailable, ""},
		{"a page for people", write("<html>log in</html>"), errs.Malformed, ""},
		{"another document", write(`{"errors":[]}`), errs.Malformed, ""},
		{"no list", write(`{"repositories":"all"}`), errs.Malformed, ""},
		{"no names", write(`{"repositories":[1,2]}`), errs.Malformed, ""},
		{"an array", write(`[]`), errs.Malformed, ""},
		{"null for none", write(`{"repositories":null}`), "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.answer = onCatalog(tt.answer)
			_, _, err := client(t, f.settings()).Repositories(t.Context(), "test", "")
			if errs.KindOf(err) != tt.kind || !strings.Contains(errs.Hint(err), tt.hint) {
				t.Errorf("%v: kind %s, hint %q", err, errs.KindOf(err), errs.Hint(err))
			}
		})
	}
}

func TestListsThatAskToComeBackLater(t *testing.T) {
	for name, status := range map[string]struct {
		code int
		kind errs.Kind
	}{"429": {429, errs.RateLimited}, "503": {503, errs.Unavailable}} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/v2/" {
					return false
				}
				w.Header().Set("Retry-After", "7000")
				w.WriteHeader(status.code)
				return true
			}
			for what, ask := range map[string]func(*registry.Client) error{
				"Repositories": func(c *registry.Client) error { _, _, err := c.Repositories(t.Context(), "test", ""); return err },
				"Tags":         func(c *registry.Client) error { _, _, err := c.Tags(t.Context(), "test", "shop/web", ""); return err },
				"Head":         func(c *registry.Client) error { _, err := c.Head(t.Context(), ref(t, wanted)); return err },
			} {
				if err := ask(client(t, f.settings())); errs.KindOf(err) != status.kind || errs.RetryAfter(err) != 7000*time.Second {
					t.Errorf("%s: %v: kind %s, retry after %s", what, err, errs.KindOf(err), errs.RetryAfter(err))
				}
			}
		})
	}
}

func TestPaging(t *testing.T) {
	thousand := make([]string, 1000)
	for i := range thousand {
		thousand[i] = fmt.Sprintf("r%04d", i)
	}
	tests := []struct {
		name    string
		answer  func(w http.ResponseWriter, query url.Values) []string
		want    []int // names by page
		queries []string
	}{
		{"one page", func(http.ResponseWriter, url.Values) []string { return []string{"a"} }, []int{1}, []string{"n=1000"}},
		{"a relative link", func(w http.ResponseWriter, q url.Values) []string {
			if q.Get("last") == "" {
				w.Header().Set("Link", `</v2/_catalog?last=a&n=1>; rel="next"`)
				return []string{"a"}
			}
			return []string{"b"}
		}, []int{1, 1}, []string{"n=1000", "last=a&n=1"}},
		{"an absolute link to another name of the registry, among others", func(w http.ResponseWriter, q url.Values) []string {
			if q.Get("next_page") == "" {
				w.Header().Add("Link", `<https://elsewhere.example/>; rel="help"`)
				w.Header().Add("Link", `</v2/_catalog?page=1>; title="a, b"; rel=prev, <https://registry.example.com/v2/_catalog?next_page=gAAA%3D>; rel="last next"`)
				return []string{"a"}
			}
			return []string{"b"}
		}, []int{1, 1}, []string{"n=1000", "next_page=gAAA%3D"}},
		{"full pages without links", func(_ http.ResponseWriter, q url.Values) []string {
			if q.Get("last") == "" {
				return thousand
			}
			return []string{"z"}
		}, []int{1000, 1}, []string{"n=1000", "last=r0999&n=1000"}},
		{"all at once", func(http.ResponseWriter, url.Values) []string { return append(thousand, "z") }, []int{1001}, []string{"n=1000"}},
		{"the last page is full but was linked to", func(w http.ResponseWriter, q url.Values) []string {
			if q.Get("last") == "" {
				w.Header().Set("Link", `</v2/_catalog?last=a&n=1000>; rel="next"`)
				return []string{"a"}
			}
			return thousand
		}, []int{1, 1000}, []string{"n=1000", "last=a&n=1000"}},
		{"the page is too large for the registry", func(w http.ResponseWriter, q url.Values) []string {
			if q.Get("n") == "1000" {
				w.WriteHeader(http.StatusBadRequest)
			}
			return []string{"a"}
		}, []int{1}, []string{"n=1000", ""}},
		{"an empty page with more behind it", func(w http.ResponseWriter, q url.Values) []string {
			if q.Get("t") == "" {
				w.Header().Set("Link", `</v2/_catalog?t=1>; rel="next"`)
				return nil
			}
			return []string{"a"}
		}, []int{0, 1}, []string{"n=1000", "t=1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.answer = onCatalog(func(w http.ResponseWriter, r *http.Request) {
				names := tt.answer(w, r.URL.Query())
				_ = json.NewEncoder(w).Encode(map[string][]string{"repositories": names})
			})
			var got []int
			for _, names := range pages(t, repositories(client(t, f.settings()))) {
				got = append(got, len(names))
			}
			var queries []string
			for _, r := range f.requests() {
				queries = append(queries, r.URL.RawQuery)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("names by page: %s", diff)
			}
			if diff := cmp.Diff(tt.queries, queries); diff != "" {
				t.Errorf("queries: %s", diff)
			}
		})
	}
}

func TestListsThatLeadAstray(t *testing.T) {
	other := newStranger(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"repositories":["stolen"]}`)) })
	tests := []struct {
		name   string
		link   string
		kind   errs.Kind
		reason string
	}{
		{"another host", "<" + other.URL + `/v2/_catalog?last=a>; rel="next"`, errs.Malformed, "another host"},
		{"another host without a scheme", `<//` + other.host() + `/v2/_catalog?last=a>; rel="next"`, errs.Malformed, "another host"},
		{"another port", `<http://registry.example.com:8443/v2/_catalog?last=a>; rel="next"`, errs.Malformed, "another host"},
		{"the metadata service", `<http://169.254.169.254/v2/_catalog?last=a>; rel="next"`, errs.Malformed, "another host"},
		{"another list", `</v2/shop/web/tags/list?last=a>; rel="next"`, errs.Malformed, "another list"},
		{"an upload", `</v2/shop/web/blobs/uploads/?mount=x>; rel="next"`, errs.Malformed, "another list"},
		{"no query", `</v2/_catalog>; rel="next"`, errs.Malformed, "another list"},
		{"no link", `nonsense`, errs.Malformed, "Link header"},
		{"an open link", `</v2/_catalog?x`, errs.Malformed, "Link header"},
		{"no address", `<http://[::1>; rel="next"`, errs.Malformed, "link"},
		{"a long link", `</v2/_catalog?last=` + strings.Repeat("a", 9000) + `>; rel="next"`, errs.Malformed, "bytes"},
		{"itself", `</v2/_catalog?n=1000>; rel="next"`, errs.Malformed, "circles"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.answer = onCatalog(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Link", tt.link)
				_, _ = w.Write([]byte(`{"repositories":["a"]}`))
			})
			_, err := walk(t, repositories(client(t, withPassword(f.settings()))))
			if !errs.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("%v", err)
			}
			if n := len(f.requests()); n > 2 {
				t.Errorf("%d requests", n)
			}
		})
	}
	if n := len(other.requests()); n != 0 {
		t.Errorf("the other host was asked %d times", n)
	}
}

// A redirect of a list keeps the rules of guard: nothing is sent to an address
// that is not public, and no credential anywhere.
func TestAListThatIsRedirected(t *testing.T) {
	other := newStranger(t, write(`{"repositories":["stolen"]}`))
	f := newFake(t)
	f.answer = wantBasic(onCatalog(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/v2/_catalog", http.StatusTemporaryRedirect)
	}))
	_, _, err := client(t, withPassword(f.settings())).Repositories(t.Context(), "test", "")
	if !errs.Is(err, errs.Forbidden) || len(other.requests()) != 0 {
		t.Errorf("%v, %d requests elsewhere", err, len(other.requests()))
	}
}

// Circles of any length are noticed, and lists that never end are ended.
func TestListsWithoutEnd(t *testing.T) {
	names := func(format string) func(int) []string {
		return func(i int) []string { return []string{fmt.Sprintf(format, i)} }
	}
	tests := []struct {
		name   string
		circle int // pages after which the links repeat; 0 for never
		names  func(page int) []string
		kind   errs.Kind
		most   int // requests
	}{
		{"a circle of one page", 1, names("r%d"), errs.Malformed, 3},
		{"a circle of two pages", 2, names("r%d"), errs.Malformed, 8},
		{"a circle of 37 pages", 37, names("r%d"), errs.Malformed, 130},
		{"a circle of empty pages", 5, func(int) []string { return nil }, errs.Malformed, 20},
		{"empty pages for ever", 0, func(int) []string { return nil }, errs.Malformed, 210},
		{"the same names under new links", 0, func(int) []string { return []string{"a", "b"} }, errs.Malformed, 3},
		{"new names for ever", 0, names("r%d"), errs.TooLarge, 10_001},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.answer = onCatalog(func(w http.ResponseWriter, r *http.Request) {
				page, _ := strconv.Atoi(r.URL.Query().Get("page"))
				next := page + 1
				if tt.circle > 0 {
					next %= tt.circle
				}
				w.Header().Set("Link", fmt.Sprintf(`</v2/_catalog?page=%d>; rel="next"`, next))
				_ = json.NewEncoder(w).Encode(map[string][]string{"repositories": tt.names(page)})
			})
			_, err := walk(t, repositories(client(t, f.settings())))
			if !errs.Is(err, tt.kind) {
				t.Errorf("%v", err)
			}
			if n := len(f.requests()); n > tt.most {
				t.Errorf("%d requests, at most %d wanted", n, tt.most)
			}
		})
	}
}

func TestALargePageIsRefused(t *testing.T) {
	f := newFake(t)
	f.answer = onCatalog(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"repositories":["`))
		chunk := strings.Repeat("a", 1<<20)
		for range 20 {
			if _, err := w.Write([]byte(chunk)); err != nil {
				return
			}
		}
	})
	if _, _, err := client(t, f.settings()).Repositories(t.Context(), "test", ""); !errs.Is(err, errs.TooLarge) {
		t.Errorf("%v", err)
	}
}

// Names that cannot be ones never come out, and never vanish without a word.
func TestNamesThatCannotBeOnes(t *testing.T) {
	long := strings.Repeat("a", 300)
	f := newFake(t)
	f.answer = func(w http.ResponseWriter, r *http.Request) bool {
		return serveNames(catalogPath, "repositories", "ok", "../etc", "Upper", "a//b", "", "ok", "a\x1b[31m", "a b", long, "fine/too")(w, r) ||
			serveNames("/v2/ok/tags/list", "tags", "1.0", "-x", "a/../b", "sha256:abc", "latest", "1.0")(w, r)
	}
	c, told := telling(t, f.settings())
	if diff := cmp.Diff([][]string{{"ok", "fine/too"}}, pages(t, repositories(c))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{{"1.0", "latest"}}, pages(t, tags(c, "ok"))); diff != "" {
		t.Error(diff)
	}
	const reason = "not a name the distribution specification allows"
	want := []registry.Skipped{
		{Registry: "test", Reason: reason, Count: 7, Examples: []string{"../etc", "Upper", "a//b", "", "a [31m"}},
		{Registry: "test", Repository: "ok", Reason: reason, Count: 3, Examples: []string{"-x", "a/../b", "sha256:abc"}},
	}
	if diff := cmp.Diff(want, *told); diff != "" {
		t.Error(diff)
	}
}

// A cursor of another time begins again: a registry may be configured anew in the
// middle of a comparison.
func TestCursorsThatAreNone(t *testing.T) {
	f := newFake(t)
	f.answer = serveNames(catalogPath, "repositories", "a")
	c := client(t, f.settings())
	for _, cursor := range []string{
		"x", "catalog", "catalog 1 0 0", "catalog 1 0 0 ", "catalog 1 0 0 nothing", "catalog 0 0 0 link:n=1", "catalog -1 0 0 link:n=1",
		"catalog 1 x 0 link:n=1", "catalog 1 0 zz link:n=1", "harbor 1 0 0 2", "tags 1 0 0 link:n=1", " 1 0 0 link:n=1",
	} {
		f.forget()
		names, next, err := c.Repositories(t.Context(), "test", cursor)
		if err != nil || next != "" || !slices.Equal(names, []string{"a"}) {
			t.Errorf("%q: %v, next %q, %v", cursor, names, next, err)
		}
		if asked := f.requests(); len(asked) != 1 || asked[0].URL.RawQuery != "n=1000" {
			t.Errorf("%q: %d requests, the first for %q", cursor, len(asked), asked[0].URL.RawQuery)
		}
	}
	f.forget()
	if _, _, err := c.Tags(t.Context(), "test", "../_catalog", ""); !errs.Is(err, errs.Invalid) || len(f.requests()) != 0 {
		t.Errorf("a repository that is none: %v, %d requests", err, len(f.requests()))
	}
}
