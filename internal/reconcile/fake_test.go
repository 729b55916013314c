package reconcile_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// fake is a registry that lists and answers HEAD, and counts what it is asked.
// Nothing can be pulled from it.
type fake struct {
	server   *httptest.Server
	pageSize int

	mu    sync.Mutex
	tags  map[string]map[string]image.Digest // by repository and tag
	alone map[string][]image.Digest          // manifests without a tag
	// refuse answers in place of the registry when it returns a status.
	refuse func(w http.ResponseWriter, r *http.Request) bool

	logins, pages, heads, gets int
	listed                     map[string]int // pages of tags, by repository
}

func newFake(t testing.TB, pageSize int) *fake {
	t.Helper()
	f := &fake{pageSize: pageSize, tags: map[string]map[string]image.Digest{}, alone: map[string][]image.Digest{}, listed: map[string]int{}}
	f.server = httptest.NewServer(f)
	t.Cleanup(f.server.Close)
	return f
}

func (f *fake) host() string { return strings.TrimPrefix(f.server.URL, "http://") }

// push makes a tag point to an image of that name.
func (f *fake) push(repository, tag, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tags[repository] == nil {
		f.tags[repository] = map[string]image.Digest{}
	}
	f.tags[repository][tag] = digestOf(name)
}

func (f *fake) drop(repository, tag string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.tags[repository], tag)
}

// fill pushes different images under tags of repositories, spread evenly.
func (f *fake) fill(repositories, tags int) {
	for n := range tags {
		repository := fmt.Sprintf("team%d/app%04d", n%repositories%10, n%repositories)
		tag := fmt.Sprintf("v%d", n/repositories)
		f.push(repository, tag, repository+tag)
	}
}

func digestOf(name string) image.Digest { return image.DigestOf([]byte(name)) }

// asked is how often each kind of question came.
type asked struct{ Pages, Lists, Heads, Gets int }

// counted returns what was asked since the last call.
func (f *fake) counted() asked {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := asked{Pages: f.pages, Heads: f.heads, Gets: f.gets}
	for _, n := range f.listed {
		out.Lists += n
	}
	f.pages, f.heads, f.gets, f.listed = 0, 0, 0, map[string]int{}
	return out
}

// refusing sets what answers in place of the registry.
func (f *fake) refusing(refuse func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = refuse
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	repository, isTags := strings.CutSuffix(path, "/tags/list")
	switch {
	case path == "":
		f.logins++
		return
	case f.count(r, path, repository, isTags) && f.refuse != nil && f.refuse(w, r):
	case path == "_catalog":
		f.list(w, r, "repositories", sortedKeys(f.tags))
	case isTags && f.tags[repository] == nil:
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"errors":[{"code":"NAME_UNKNOWN"}]}`))
	case isTags:
		f.list(w, r, "tags", sortedKeys(f.tags[repository]))
	default:
		f.manifest(w, path)
	}
}

func (f *fake) count(r *http.Request, path, repository string, isTags bool) bool {
	switch {
	case path == "_catalog":
		f.pages++
	case isTags:
		f.listed[repository]++
	case r.Method == http.MethodHead:
		f.heads++
	default:
		f.gets++
	}
	return true
}

func (f *fake) list(w http.ResponseWriter, r *http.Request, key string, names []string) {
	from, _ := slices.BinarySearch(names, r.URL.Query().Get("last")+"\x00")
	names = names[from:]
	size := f.pageSize
	if n, err := strconv.Atoi(r.URL.Query().Get("n")); err == nil {
		size = min(size, n)
	}
	if len(names) > size {
		names = names[:size]
		w.Header().Set("Link", fmt.Sprintf(`<%s?n=%d&last=%s>; rel="next"`, r.URL.Path, size, url.QueryEscape(names[size-1])))
	}
	_ = json.NewEncoder(w).Encode(map[string][]string{key: names})
}

func (f *fake) manifest(w http.ResponseWriter, path string) {
	repository, id, _ := strings.Cut(path, "/manifests/")
	digest := f.tags[repository][id]
	if there := image.Digest(id); slices.Contains(f.alone[repository], there) {
		digest = there
	}
	for _, d := range f.tags[repository] {
		if string(d) == id {
			digest = d
		}
	}
	if digest == "" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", image.MediaTypeOCIManifest)
	w.Header().Set("Docker-Content-Digest", string(digest))
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
