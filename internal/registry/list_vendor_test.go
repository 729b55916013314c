package registry_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// vendor is a server with a vendor's interface. It notes what it is asked, as
// "GET /path?query [authorization]".
type vendor struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []string
	bodies []string
	heads  []http.Header
}

func newVendor(t *testing.T, answer http.HandlerFunc) *vendor {
	t.Helper()
	v := &vendor{}
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		line := r.Method + " " + r.URL.EscapedPath()
		if r.URL.RawQuery != "" {
			line += "?" + r.URL.RawQuery
		}
		v.mu.Lock()
		v.asked = append(v.asked, line)
		v.bodies = append(v.bodies, string(body))
		v.heads = append(v.heads, r.Header.Clone())
		v.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(v.Close)
	return v
}

// seen returns the requests so far.
func (v *vendor) seen() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked
}

// settings are those of a registry that is listed by the vendor's interface. The
// registry itself is nowhere: nothing may ask it.
func (v *vendor) settings(lister string, namespaces ...string) registry.Settings {
	return registry.Settings{
		Name: "test", Host: "registry.example.com", Endpoint: "127.0.0.1:1", PlainHTTP: true,
		Auth:    registry.Auth{Username: user, Password: password},
		Listing: registry.Listing{Lister: lister, APIURL: v.URL, Namespaces: namespaces},
	}
}

func (v *vendor) wantAuthorization(t *testing.T, want string) {
	t.Helper()
	for i, h := range v.heads {
		if got := h.Get("Authorization"); got != want {
			t.Errorf("%s had authorization %q, want %q", v.asked[i], got, want)
		}
	}
}

// entries makes the entries of a list as vendors write them.
func entries(key string, names ...string) []map[string]any {
	out := []map[string]any{}
	for i, n := range names {
		out = append(out, map[string]any{"id": i + 1, key: n, "description": "x", "created_at": "2026-11-23T12:00:00Z"})
	}
	return out
}

func send(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

func number(r *http.Request) int {
	n, _ := strconv.Atoi(r.URL.Query().Get("page"))
	return n
}

func listed(t *testing.T, s registry.Settings) []string {
	t.Helper()
	var out []string
	for _, names := range pages(t, repositories(client(t, s))) {
		out = append(out, names...)
	}
	return out
}

func same(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestVendorsStatusesBecomeKinds(t *testing.T) {
	reset := strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
	tests := []struct {
		name   string
		answer http.HandlerFunc
		kind   errs.Kind
		least  time.Duration // of the pause
	}{
		{"401", refuse(401, ""), errs.Unauthorized, 0},
		{"403", refuse(403, ""), errs.Forbidden, 0},
		{"403 of a limit", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", reset)
			w.WriteHeader(403)
		}, errs.RateLimited, 59 * time.Minute},
		{"403 of a second limit", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "61")
			w.WriteHeader(403)
		}, errs.RateLimited, 61 * time.Second},
		{"429", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "62")
			w.WriteHeader(429)
		}, errs.RateLimited, 62 * time.Second},
		{"503", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "63")
			w.WriteHeader(503)
		}, errs.Unavailable, 63 * time.Second},
		{"500", refuse(500, ""), errs.Unavailable, 0},
		{"504", refuse(504, ""), errs.Timeout, 0},
		{"418", refuse(418, ""), errs.Malformed, 0},
		{"a page for people", write("<html>sign in</html>"), errs.Malformed, 0},
		{"another document", write(`{"message":"hello"}`), errs.Malformed, 0},
		{"a large document", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`[{"name":"` + strings.Repeat("a", 17<<20)))
		}, errs.TooLarge, 0},
		{"a redirect elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
		}, errs.Forbidden, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newVendor(t, tt.answer).settings("ghcr", "team")
			s.Listing.Token = "ghp_secret"
			_, err := walk(t, repositories(client(t, s)))
			if errs.KindOf(err) != tt.kind || errs.RetryAfter(err) < tt.least {
				t.Errorf("%v: kind %s, retry after %s", err, errs.KindOf(err), errs.RetryAfter(err))
			}
			if strings.Contains(err.Error()+errs.Hint(err), "ghp_secret") {
				t.Errorf("the token is told: %v", err)
			}
		})
	}
}

// Vendors' pages are asked for by number, so no answer can make circles; one that
// never ends is ended.
func TestVendorsListsWithoutEnd(t *testing.T) {
	tests := []struct {
		lister string
		answer func(w http.ResponseWriter, page int) any
		most   int
	}{
		{"harbor", func(w http.ResponseWriter, _ int) any {
			w.Header().Set("X-Total-Count", "999999999")
			return entries("name", "team/same")
		}, 3},
		{"gitlab", func(w http.ResponseWriter, page int) any {
			w.Header().Set("X-Next-Page", strconv.Itoa(page+1))
			return entries("path")
		}, 210},
		{"dockerhub", func(http.ResponseWriter, int) any {
			return map[string]any{"next": "x", "results": entries("name", "same")}
		}, 3},
		{"ghcr", func(w http.ResponseWriter, page int) any {
			w.Header().Set("Link", `</x>; rel="next"`)
			return entries("name", fmt.Sprintf("p%d", page%7))
		}, 40},
	}
	for _, tt := range tests {
		t.Run(tt.lister, func(t *testing.T) {
			v := newVendor(t, func(w http.ResponseWriter, r *http.Request) { send(w, tt.answer(w, number(r))) })
			s := v.settings(tt.lister, "team")
			s.Auth = registry.Auth{}
			if _, err := walk(t, repositories(client(t, s))); !errs.Is(err, errs.Malformed) {
				t.Errorf("%v", err)
			}
			if n := len(v.seen()); n > tt.most {
				t.Errorf("%d requests, at most %d wanted", n, tt.most)
			}
		})
	}
}

// Many projects without an image are no sign of a list without end, and a group
// may hold nothing but another that is listed too.
func TestVendorsListsThatLookLikeCircles(t *testing.T) {
	const projects = 5000
	v := newVendor(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v4/projects" {
			send(w, entries("path"))
			return
		}
		after, _ := strconv.Atoi(r.URL.Query().Get("id_after"))
		page := []map[string]any{}
		for id := after + 1; id <= min(after+20, projects); id++ {
			page = append(page, map[string]any{"id": id, "path_with_namespace": fmt.Sprintf("p%d", id)})
		}
		send(w, page)
	})
	if got := listed(t, v.settings("gitlab")); len(got) != 0 {
		t.Errorf("names are %v", got)
	}
	group := newVendor(t, func(w http.ResponseWriter, _ *http.Request) { send(w, entries("path", "team/sub/app")) })
	same(t, "names", []string{"team/sub/app", "team/sub/app"}, listed(t, group.settings("gitlab", "team", "team/sub")))
}

// A cursor names the namespace it is in, so that the configuration may change.
func TestACursorInANamespace(t *testing.T) {
	v := newVendor(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Total-Count", "1")
		send(w, entries("name", strings.Split(r.URL.Path, "/")[4]+"/app"))
	})
	_, next, err := client(t, v.settings("harbor", "a", "b", "c")).Repositories(t.Context(), "test", "")
	if err != nil {
		t.Fatal(err)
	}
	names, _, err := client(t, v.settings("harbor", "new", "a", "b", "c")).Repositories(t.Context(), "test", next)
	if err != nil || len(names) != 1 || names[0] != "b/app" {
		t.Errorf("after another was added: %v, %v", names, err)
	}
	names, _, err = client(t, v.settings("harbor", "a", "c")).Repositories(t.Context(), "test", next)
	if err != nil || len(names) != 1 || names[0] != "a/app" {
		t.Errorf("after it was taken away: %v, %v", names, err)
	}
}
