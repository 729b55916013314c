package vulndb

import (
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"time"
)

// mirror serves a directory as a distribution and remembers what was asked.
type mirror struct {
	*httptest.Server
	dir string // what is below /v6

	mu       sync.Mutex
	requests []string // "path range"
	// answer, when set, takes the place of serving the file.
	answer func(w http.ResponseWriter, r *http.Request) (done bool)
}

func newMirror(t *testing.T) *mirror {
	m := &mirror{dir: t.TempDir()}
	m.Server = httptest.NewServer(m)
	t.Cleanup(m.Close)
	return m
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	m.requests = append(m.requests, strings.TrimSpace(path.Base(r.URL.Path)+" "+r.Header.Get("Range")))
	answer := m.answer
	m.mu.Unlock()
	if answer != nil && answer(w, r) {
		return
	}
	http.StripPrefix("/databases/v6", http.FileServer(http.Dir(m.dir))).ServeHTTP(w, r)
}

func (m *mirror) setAnswer(f func(w http.ResponseWriter, r *http.Request) (done bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answer = f
}

// publish puts a database of the date on the mirror and names it in latest.json.
func (m *mirror) publish(t *testing.T, built time.Time) BuildReport {
	t.Helper()
	report, err := Build(t.Context(), BuildOptions{Sample: true, Built: built, Out: m.dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// asked returns the requests since the last call.
func (m *mirror) asked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.requests
	m.requests = nil
	return r
}

func (m *mirror) library(t *testing.T) *Library {
	t.Helper()
	return openLibrary(t, Config{URL: m.URL + "/databases/"})
}

// unmark makes the current build of a library look like a real database: a
// sample gives way to anything.
func unmark(t *testing.T, lib *Library) {
	t.Helper()
	in, err := lib.Current()
	if err != nil {
		t.Fatal(err)
	}
	in.Sample = false
	if err := writeInstalled(in.Dir, in); err != nil {
		t.Fatal(err)
	}
}
