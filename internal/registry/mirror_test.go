package registry_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

const mirrorPassword = "the-token" // checkNoSecret looks for it

// atMirror is where the mirror has the repository.
const atMirror = "/v2/proxy/hub/shop/web/"

// mirrored are a registry and a mirror with the same content and other
// credentials.
type mirrored struct {
	origin, mirror *fake
	digest         image.Digest
	settings       registry.Settings
}

func withMirror(t *testing.T) *mirrored {
	t.Helper()
	m := &mirrored{origin: newFake(t), mirror: newFake(t)}
	m.digest = m.origin.withLayers(2)
	for path, b := range m.origin.content {
		m.mirror.content[atMirror+path] = b
	}
	m.origin.answer = withDigests(m.origin, wantBasic(pass))
	m.mirror.answer = wantLogin("mirror", mirrorPassword)
	m.settings = withPassword(m.origin.settings())
	m.settings.Mirrors = []registry.Mirror{{
		Host: m.mirror.host(), RepositoryPrefix: "proxy/hub", PlainHTTP: true,
		Auth: registry.Auth{Username: "mirror", Password: mirrorPassword},
	}}
	return m
}

func pass(http.ResponseWriter, *http.Request) bool { return false }

// withDigests answers HEAD as registries do, which the fake's plain content does
// not.
func withDigests(f *fake, next func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if next(w, r) {
			return true
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if b, ok := f.content[strings.TrimPrefix(r.URL.Path, "/v2/shop/web/")]; ok {
			w.Header().Set("Docker-Content-Digest", string(image.DigestOf(b.body)))
		}
		return false
	}
}

// wantLogin lets one user in and no other.
func wantLogin(user, password string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if u, p, _ := r.BasicAuth(); u == user && p == password {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

// gets lists what was read: not the pings, not the HEADs.
func (f *fake) gets() []string {
	var paths []string
	for _, r := range f.requests() {
		if r.Method == http.MethodGet && r.URL.Path != "/v2/" {
			paths = append(paths, r.URL.Path)
		}
	}
	return paths
}

func (m *mirrored) pull(t *testing.T, c *registry.Client) error {
	t.Helper()
	got, err := c.Resolve(t.Context(), ref(t, wanted))
	if err != nil {
		return err
	}
	if got.Digest != m.digest || got.Layers[1].Size == 0 {
		t.Errorf("resolved to %+v", got)
	}
	return readLayers(t, c, got.Digest)
}

// checkCredentials fails when one side got the credential of the other.
func (m *mirrored) checkCredentials(t *testing.T) {
	t.Helper()
	for host, f := range map[string]*fake{user: m.origin, "mirror": m.mirror} {
		for _, r := range f.requests() {
			if u, _, sent := r.BasicAuth(); sent && u != host {
				t.Errorf("%s %s was sent the credential of %s", r.Method, r.URL.Path, u)
			}
		}
	}
}

func TestContentComesFromTheMirror(t *testing.T) {
	m := withMirror(t)
	if err := m.pull(t, client(t, m.settings)); err != nil {
		t.Fatal(err)
	}
	if read := m.origin.gets(); len(read) != 0 {
		t.Errorf("the registry was asked for %q", read)
	}
	// The manifest twice, the config, two layers.
	if n := len(m.mirror.gets()); n != 5 {
		t.Errorf("the mirror was asked %d times: %q", n, m.mirror.gets())
	}
	m.checkCredentials(t)
}

func TestWhatIsAskedIsCounted(t *testing.T) {
	m := withMirror(t)
	counted := prometheus.NewRegistry()
	c, err := registry.New([]registry.Settings{m.settings}, registry.WithMetrics(registry.NewMetrics(counted)))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.pull(t, c); err != nil {
		t.Fatal(err)
	}
	families, err := counted.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			key := f.GetName()
			for _, l := range metric.GetLabel() {
				key += " " + l.GetValue()
			}
			got[key] = metric.GetCounter().GetValue()
		}
	}
	for key, want := range map[string]float64{
		"tidewaiter_registry_requests_total ok test mirror":           5, // the manifest twice, the config, two layers
		"tidewaiter_registry_requests_total ok test registry":         2, // HEADs
		"tidewaiter_registry_requests_total unauthorized test mirror": 1, // the ping
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	if bytes := got["tidewaiter_registry_received_bytes_total test mirror"]; bytes < float64(len("layer 0layer 1")) {
		t.Errorf("%v bytes came from the mirror", bytes)
	}
}

func TestAMirrorsFailuresAreTheRegistrysWork(t *testing.T) {
	lie := func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "sha256:") {
			return false
		}
		w.Header().Set("Content-Type", image.MediaTypeOCIManifest)
		_, _ = io.WriteString(w, `{"schemaVersion":2}`)
		return true
	}
	other := func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		// The right bytes as something else.
		w.Header().Set("Content-Type", image.MediaTypeOCIIndex)
		return false
	}
	tests := map[string]func(http.ResponseWriter, *http.Request) bool{
		"has nothing":         status(404),
		"wants another login": status(401),
		"forbids":             status(403),
		"fails":               status(500),
		"limits":              status(429, "Retry-After", "3600"),
		"asks for a pause":    status(503, "Retry-After", "30"),
		"lies":                lie,
		"names another type":  other,
		"sends to metadata": func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
			return true
		},
		"lacks the layers only": func(w http.ResponseWriter, r *http.Request) bool {
			return strings.Contains(r.URL.Path, "/blobs/") && status(404)(w, r)
		},
		"breaks off": func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "sha256:") {
				panic(http.ErrAbortHandler)
			}
			return false
		},
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			m := withMirror(t)
			served := m.mirror.answer
			m.mirror.answer = func(w http.ResponseWriter, r *http.Request) bool { return answer(w, r) || served(w, r) }
			if err := m.pull(t, client(t, m.settings)); err != nil {
				t.Error(err)
			}
			m.checkCredentials(t)
		})
	}
}

func TestAMirrorThatIsDown(t *testing.T) {
	m := withMirror(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	m.settings.Mirrors[0].Host = strings.TrimPrefix(gone.URL, "http://")
	if err := m.pull(t, client(t, m.settings)); err != nil {
		t.Error(err)
	}
}

func TestAMirrorThatFailedIsLeftAlone(t *testing.T) {
	m := withMirror(t)
	m.mirror.answer = status(500)
	c := client(t, m.settings)
	for range 2 {
		if err := m.pull(t, c); err != nil {
			t.Fatal(err)
		}
	}
	// One request with its repetitions after blips: no answer to the ping.
	if n := len(m.mirror.seen); n == 0 || n > 6 {
		t.Errorf("a mirror that fails was asked %d times", n)
	}
}

func TestAMirrorThatFailsWithinALayer(t *testing.T) {
	tests := []struct {
		name string
		send string // of "layer 0", then the connection breaks
		kind errs.Kind
	}{
		{"after right content", "lay", ""},
		{"before anything", "", ""},
		{"after other content", "LAY", errs.Unavailable},
		{"with other content as a whole", "LAYER 0", errs.Unavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := withMirror(t)
			served, of := m.mirror.answer, "/blobs/"+string(image.DigestOf([]byte("layer 0")))
			m.mirror.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, of) {
					return served(w, r)
				}
				w.Header().Set("Content-Length", "7")
				_, _ = io.WriteString(w, tt.send)
				w.(http.Flusher).Flush()
				if len(tt.send) < 7 {
					panic(http.ErrAbortHandler)
				}
				return true
			}
			c := client(t, m.settings)
			layers := open(t, c, m.digest)
			content, err := layers[0].Compressed()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(content)
			if errs.KindOf(err) != tt.kind || err == nil && string(got) != "layer 0" {
				t.Errorf("read %q, %v of kind %s", got, err, errs.KindOf(err))
			}
			if err := content.Close(); err != nil {
				t.Error(err)
			}
			// The next attempt does not meet the mirror.
			if err := readLayers(t, c, m.digest); err != nil {
				t.Errorf("the next attempt: %v", err)
			}
		})
	}
}

// A mirror that keeps no repositories apart must not make an image part of a
// repository that does not hold it.
func TestTheRegistrySaysWhatARepositoryHolds(t *testing.T) {
	m := withMirror(t)
	secret := m.mirror.image("amd64")
	elsewhere := m.mirror.tag(image.MediaTypeOCIManifest, secret)
	for path, b := range m.mirror.content {
		m.mirror.content[atMirror+strings.TrimPrefix(path, atMirror)] = b
	}
	c := client(t, m.settings)
	_, err := c.Resolve(t.Context(), ref(t, "registry.example.com/shop/web@"+string(elsewhere)))
	if !errs.Is(err, errs.NotFound) {
		t.Errorf("a digest that only the mirror has resolved with %v", err)
	}
	child := entry(image.MediaTypeOCIManifest, elsewhere, 1)
	child["platform"] = object{"os": "linux", "architecture": "amd64"}
	m.origin.tag(image.MediaTypeOCIIndex, index(child))
	got, err := c.Resolve(t.Context(), ref(t, wanted))
	if err != nil || len(got.Children) != 1 || len(got.Children[0].Layers) != 0 {
		t.Errorf("an index with such a child resolved to %+v, %v", got, err)
	}
	// Tags are the registry's, whatever the mirror says.
	m.origin.mu.Lock()
	delete(m.origin.content, "manifests/1.0")
	m.origin.mu.Unlock()
	if _, err := c.Resolve(t.Context(), ref(t, wanted)); !errs.Is(err, errs.NotFound) {
		t.Errorf("a tag that only the mirror has resolved with %v", err)
	}
}

func TestARegistryWithoutDigestsInItsAnswers(t *testing.T) {
	m := withMirror(t)
	m.origin.answer = wantBasic(pass)
	if err := m.pull(t, client(t, m.settings)); err != nil {
		t.Error(err)
	}
	m.origin.mu.Lock()
	m.origin.answer = wantBasic(func(w http.ResponseWriter, r *http.Request) bool {
		return r.Method == http.MethodHead && status(405)(w, r)
	})
	m.origin.mu.Unlock()
	if err := m.pull(t, client(t, m.settings)); err != nil {
		t.Errorf("without HEAD: %v", err)
	}
}
