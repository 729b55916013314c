package vulndb

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
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

func TestUpdate(t *testing.T) {
	m := newMirror(t)
	lib := m.library(t)
	steps := []struct {
		name    string
		built   time.Time // published before the step; zero for nothing new
		changed bool
		want    time.Time
		asks    int // requests
	}{
		{"first", sampleDate, true, sampleDate, 2},
		{"no change", time.Time{}, false, sampleDate, 1},
		{"newer", sampleDate.Add(time.Hour), true, sampleDate.Add(time.Hour), 2},
		{"older", sampleDate.Add(-time.Hour), false, sampleDate.Add(time.Hour), 1},
		{"newer again", sampleDate.Add(2 * time.Hour), true, sampleDate.Add(2 * time.Hour), 2},
	}
	for _, s := range steps {
		if !s.built.IsZero() {
			m.publish(t, s.built)
		}
		in, changed, err := lib.Update(t.Context(), nil)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if changed != s.changed || !in.Built.Equal(s.want) {
			t.Errorf("%s: changed %v to %v, want %v to %v", s.name, changed, in.Built, s.changed, s.want)
		}
		if got := m.asked(); len(got) != s.asks {
			t.Errorf("%s: asked for %v, want %d requests", s.name, got, s.asks)
		}
		if current, err := lib.Current(); err != nil || current.Checksum != in.Checksum {
			t.Errorf("%s: current is %+v (%v)", s.name, current, err)
		}
		unmark(t, lib)
		wantClean(t, lib)
	}
}

func TestUpdateReplacesASample(t *testing.T) {
	m := newMirror(t)
	lib := m.library(t)
	if _, err := lib.InstallSample(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	older := m.publish(t, sampleDate.AddDate(-1, 0, 0))
	in, changed, err := lib.Update(t.Context(), nil)
	if err != nil || !changed || in.Checksum != older.Checksum {
		t.Fatalf("update gave %+v, %v, %v", in, changed, err)
	}
	if in.Source != m.URL+"/databases/v6/"+path.Base(older.Archive) {
		t.Errorf("source %q", in.Source)
	}
	// The mirror itself serves a sample: it is not fetched again and again.
	m.asked()
	if _, changed, err := lib.Update(t.Context(), nil); err != nil || changed || len(m.asked()) != 1 {
		t.Errorf("a second update: changed %v, %v", changed, err)
	}
}

// TestUpdateReusesABuild: what was imported by hand is not fetched again.
func TestUpdateReusesABuild(t *testing.T) {
	m := newMirror(t)
	lib := m.library(t)
	newer := m.publish(t, sampleDate.Add(time.Hour))
	if _, err := lib.Import(t.Context(), newer.Archive, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := lib.InstallSample(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	in, changed, err := lib.Update(t.Context(), nil)
	if err != nil || !changed || in.Checksum != newer.Checksum {
		t.Fatalf("update gave %+v, %v, %v", in, changed, err)
	}
	if got := m.asked(); len(got) != 1 {
		t.Errorf("asked for %v", got)
	}
}

func TestUpdateFailures(t *testing.T) {
	status := func(code int, header ...string) func(*mirror, http.ResponseWriter, *http.Request) bool {
		return func(_ *mirror, w http.ResponseWriter, r *http.Request) bool {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			return true
		}
	}
	forArchive := func(f func(*mirror, http.ResponseWriter, *http.Request) bool) func(*mirror, http.ResponseWriter, *http.Request) bool {
		return func(m *mirror, w http.ResponseWriter, r *http.Request) bool {
			return path.Base(r.URL.Path) != "latest.json" && f(m, w, r)
		}
	}
	latest := func(change func(map[string]any)) func(*mirror, http.ResponseWriter, *http.Request) bool {
		return func(m *mirror, w http.ResponseWriter, r *http.Request) bool {
			if path.Base(r.URL.Path) != "latest.json" {
				return false
			}
			raw, _ := os.ReadFile(filepath.Join(m.dir, "latest.json"))
			var doc map[string]any
			_ = json.Unmarshal(raw, &doc)
			change(doc)
			_ = json.NewEncoder(w).Encode(doc)
			return true
		}
	}
	text := func(s string) func(*mirror, http.ResponseWriter, *http.Request) bool {
		return func(_ *mirror, w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.WriteString(w, s)
			return true
		}
	}
	tests := []struct {
		name   string
		answer func(*mirror, http.ResponseWriter, *http.Request) bool
		kind   errs.Kind
		word   string
	}{
		{"nothing there", status(404), errs.NotFound, "v6/latest.json"},
		{"archive not there", forArchive(status(404)), errs.NotFound, "404"},
		{"credential wanted", status(401), errs.Unauthorized, "--vulndb-url"},
		{"refused", status(403), errs.Forbidden, "import"},
		{"too often", status(429, "Retry-After", "7"), errs.RateLimited, "429"},
		{"out of order", status(503), errs.Unavailable, "mirror"},
		{"archive out of order", forArchive(status(500)), errs.Unavailable, "import"},
		{"a login page", text("<html>log in</html>"), errs.Malformed, "latest.json"},
		{"an empty document", text("{}"), errs.Malformed, "empty"},
		{"a document without end", text(strings.Repeat(" ", 2<<20)), errs.TooLarge, "larger"},
		{"another schema", latest(func(d map[string]any) { d["schemaVersion"] = "v7.0.0" }), errs.Unsupported, "v6"},
		{"no checksum", latest(func(d map[string]any) { delete(d, "checksum") }), errs.Malformed, "checksum"},
		{"a weak checksum", latest(func(d map[string]any) { d["checksum"] = "md5:d41d8cd98f00b204e9800998ecf8427e" }), errs.Malformed, "sha256"},
		{"a path above", latest(func(d map[string]any) { d["path"] = "../../secret.tar.zst" }), errs.Malformed, "outside"},
		{"no path", latest(func(d map[string]any) { d["path"] = "" }), errs.Malformed, "outside"},
		{"wrong checksum", latest(func(d map[string]any) { d["checksum"] = "sha256:" + strings.Repeat("0", 64) }), errs.Malformed, "checksum"},
		{"another file in place of the archive", forArchive(text("not an archive")), errs.Malformed, "checksum"},
		{"the connection breaks", forArchive(func(m *mirror, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(make([]byte, 1000))
			panic(http.ErrAbortHandler)
		}), errs.Unavailable, "network"},
		{"larger than allowed", forArchive(func(m *mirror, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", "99999999999")
			w.WriteHeader(200)
			return true
		}), errs.TooLarge, "99999999999"},
		{"redirected in circles", func(_ *mirror, w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
			return true
		}, errs.Unavailable, "redirects"},
	}
	m := newMirror(t)
	m.publish(t, sampleDate.Add(time.Hour))
	lib := openLibrary(t, Config{URL: m.URL + "/databases/", MaxBytes: 1 << 30})
	before, err := lib.InstallSample(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m.setAnswer(func(w http.ResponseWriter, r *http.Request) bool { return tt.answer(m, w, r) })
			_, changed, err := lib.Update(t.Context(), nil)
			wantKind(t, err, tt.kind, tt.word)
			if changed {
				t.Error("a failed update says it changed something")
			}
			wantUsable(t, lib, before)
		})
	}
	m.setAnswer(nil)
	if _, changed, err := lib.Update(t.Context(), nil); err != nil || !changed {
		t.Errorf("the update after all failures: changed %v, %v", changed, err)
	}
	wantClean(t, lib)
}

func TestRetryAfterIsKept(t *testing.T) {
	m := newMirror(t)
	m.setAnswer(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(429)
		return true
	})
	_, _, err := m.library(t).Update(t.Context(), nil)
	if got := errs.RetryAfter(err); got != 7*time.Second {
		t.Errorf("retry after %v, want 7s", got)
	}
}

// TestResume breaks a download in the middle; the next one fetches the rest.
func TestResume(t *testing.T) {
	m := newMirror(t)
	report := m.publish(t, sampleDate)
	archive, err := os.ReadFile(report.Archive)
	if err != nil {
		t.Fatal(err)
	}
	cut := len(archive) / 2
	broken := func(w http.ResponseWriter, r *http.Request) bool {
		if path.Base(r.URL.Path) == "latest.json" {
			return false
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(archive)))
		_, _ = w.Write(archive[:cut])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	tests := []struct {
		name   string
		damage func(t *testing.T, part string)
		want   []string // ranges of the second attempt's requests for the archive
	}{
		{"goes on", func(*testing.T, string) {}, []string{"bytes=" + strconv.Itoa(cut) + "-"}},
		{"the part is damaged", func(t *testing.T, part string) {
			if err := os.WriteFile(part, make([]byte, cut), 0o644); err != nil {
				t.Fatal(err)
			}
		}, []string{"bytes=" + strconv.Itoa(cut) + "-", ""}},
		{"the part is too long", func(t *testing.T, part string) {
			if err := os.WriteFile(part, make([]byte, len(archive)+10), 0o644); err != nil {
				t.Fatal(err)
			}
		}, []string{"bytes=" + strconv.Itoa(len(archive)+10) + "-", ""}},
		{"the part is whole", func(t *testing.T, part string) {
			if err := os.WriteFile(part, archive, 0o644); err != nil {
				t.Fatal(err)
			}
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lib := m.library(t)
			m.setAnswer(broken)
			_, _, err := lib.Update(t.Context(), nil)
			wantKind(t, err, errs.Unavailable, "network")
			parts, err := filepath.Glob(lib.path(downloadsDir, "*"+partSuffix))
			if err != nil || len(parts) != 1 {
				t.Fatalf("parts %v (%v)", parts, err)
			}
			tt.damage(t, parts[0])
			m.setAnswer(nil)
			m.asked()
			in, changed, err := lib.Update(t.Context(), nil)
			if err != nil || !changed || in.Checksum != report.Checksum {
				t.Fatalf("update gave %+v, %v, %v", in, changed, err)
			}
			var ranges []string
			for _, r := range m.asked()[1:] {
				_, rng, _ := strings.Cut(r, " ")
				ranges = append(ranges, rng)
			}
			if strings.Join(ranges, "|") != strings.Join(tt.want, "|") {
				t.Errorf("ranges %q, want %q", ranges, tt.want)
			}
			wantClean(t, lib)
		})
	}
}

// TestSlowServer waits on both requests for a server that never answers.
func TestSlowServer(t *testing.T) {
	for _, slow := range []string{"latest.json", ".tar.zst"} {
		t.Run(slow, func(t *testing.T) {
			m := newMirror(t)
			m.publish(t, sampleDate)
			stuck, release := make(chan struct{}, 10), make(chan struct{})
			m.setAnswer(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, slow) {
					return false
				}
				stuck <- struct{}{}
				<-release
				return true
			})
			defer close(release)

			lib := m.library(t)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-stuck
				cancel()
			}()
			_, _, err := lib.Update(ctx, nil)
			wantKind(t, err, errs.Canceled, "canceled")

			lib = openLibrary(t, Config{URL: m.URL + "/databases", CheckTimeout: 200 * time.Millisecond, DownloadTimeout: 200 * time.Millisecond})
			_, _, err = lib.Update(t.Context(), nil)
			wantKind(t, err, errs.Timeout, "slow")
		})
	}
}

func TestUnreachable(t *testing.T) {
	m := newMirror(t)
	m.Close()
	_, _, err := m.library(t).Update(t.Context(), nil)
	wantKind(t, err, errs.Unavailable, "tidewaiter vulndb import")
	wantKind(t, err, errs.Unavailable, "HTTPS_PROXY")
	wantKind(t, err, errs.Unavailable, "--vulndb-url")
}

// TestConcurrentUpdates: of several processes one downloads.
func TestConcurrentUpdates(t *testing.T) {
	m := newMirror(t)
	m.publish(t, sampleDate)
	dir := t.TempDir()
	var wg sync.WaitGroup
	var mu sync.Mutex
	changes := 0
	for range 4 {
		lib := openLibrary(t, Config{Dir: dir, URL: m.URL + "/databases"})
		wg.Go(func() {
			_, changed, err := lib.Update(t.Context(), nil)
			if err != nil {
				t.Error(err)
			}
			if changed {
				mu.Lock()
				changes++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	archives := 0
	for _, r := range m.asked() {
		if strings.Contains(r, ".tar.zst") {
			archives++
		}
	}
	if changes != 1 || archives != 1 {
		t.Errorf("%d processes changed the library with %d downloads, want one with one", changes, archives)
	}
}

func TestWaitingForALockEnds(t *testing.T) {
	m := newMirror(t)
	m.publish(t, sampleDate)
	lib := m.library(t)
	release, err := lib.lock(t.Context(), updateLockFile)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, _, err = lib.Update(ctx, nil)
	wantKind(t, err, errs.Timeout, "another process")
}

func TestSecretsStayHidden(t *testing.T) {
	m := newMirror(t)
	m.setAnswer(func(w http.ResponseWriter, r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		if user != "reader" || password != "hunter2" || r.URL.Query().Get("sig") != "s3cret" {
			w.WriteHeader(401)
			return true
		}
		return false
	})
	m.publish(t, sampleDate)
	address := strings.Replace(m.URL, "http://", "http://reader:hunter2@", 1) + "/databases/v6/latest.json?sig=s3cret"
	lib := openLibrary(t, Config{URL: address})
	in, _, err := lib.Update(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	_, _, err = lib.Update(t.Context(), nil)
	wantKind(t, err, errs.Unavailable, "127.0.0.1")
	for _, shown := range []string{in.Source, lib.Source(), err.Error(), errs.Hint(err)} {
		for _, secret := range []string{"hunter2", "s3cret", "reader"} {
			if strings.Contains(shown, secret) {
				t.Errorf("%q shows %q", shown, secret)
			}
		}
	}
}

func TestCertificateAuthority(t *testing.T) {
	m := newMirror(t)
	m.publish(t, sampleDate)
	secure := httptest.NewTLSServer(m)
	defer secure.Close()
	_, _, err := openLibrary(t, Config{URL: secure.URL + "/databases"}).Update(t.Context(), nil)
	wantKind(t, err, errs.Unavailable, "--vulndb-ca-file")

	ca := save(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}))
	lib := openLibrary(t, Config{URL: secure.URL + "/databases", CAFile: ca})
	if _, changed, err := lib.Update(t.Context(), nil); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}

	m.publish(t, sampleDate.Add(time.Hour))
	m.setAnswer(func(w http.ResponseWriter, r *http.Request) bool {
		if r.TLS == nil {
			return false
		}
		http.Redirect(w, r, m.URL+r.URL.Path, http.StatusFound)
		return true
	})
	_, _, err = lib.Update(t.Context(), nil)
	wantKind(t, err, errs.Unavailable, "redirected from https to http")
}

// TestProxy asks for a host that exists only behind the proxy.
func TestProxy(t *testing.T) {
	m := newMirror(t)
	m.publish(t, sampleDate)
	t.Setenv("HTTP_PROXY", m.URL)
	t.Setenv("NO_PROXY", "")
	lib := openLibrary(t, Config{URL: "http://mirror.invalid/databases"})
	in, changed, err := lib.Update(t.Context(), nil)
	if err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if !strings.HasPrefix(in.Source, "http://mirror.invalid/databases/v6/") {
		t.Errorf("source %q", in.Source)
	}
}

func TestLatestURL(t *testing.T) {
	tests := []struct{ url, want string }{
		{DefaultURL, "https://grype.anchore.io/databases/v6/latest.json"},
		{"https://m.example/databases/", "https://m.example/databases/v6/latest.json"},
		{"http://m.example", "http://m.example/v6/latest.json"},
		{"https://m.example/db/v6/latest.json?token=a%2Fb", "https://m.example/db/v6/latest.json?token=a%2Fb"},
	}
	for _, tt := range tests {
		t.Run(tt.url, func(t *testing.T) {
			u, err := latestURL(tt.url)
			if err != nil || u.String() != tt.want {
				t.Errorf("got %v (%v), want %s", u, err, tt.want)
			}
		})
	}
}

func TestUpdateReportsProgress(t *testing.T) {
	m := newMirror(t)
	report := m.publish(t, sampleDate)
	info, err := os.Stat(report.Archive)
	if err != nil {
		t.Fatal(err)
	}
	last := map[string][2]int64{}
	var order []string
	_, _, err = m.library(t).Update(t.Context(), func(stage string, done, total int64) {
		if _, seen := last[stage]; !seen {
			order = append(order, stage)
		}
		last[stage] = [2]int64{done, total}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, " "); got != "checking downloading unpacking indexing" {
		t.Errorf("stages %q", got)
	}
	if want := [2]int64{info.Size(), info.Size()}; last["downloading"] != want || last["unpacking"] != want {
		t.Errorf("ended at %v, want %v", last, want)
	}
}
