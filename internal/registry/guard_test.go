package registry_test

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// stranger is a server that notes what it is asked.
type stranger struct {
	*httptest.Server
	mu   sync.Mutex
	seen []*http.Request
}

func newStranger(t *testing.T, answer http.HandlerFunc) *stranger {
	t.Helper()
	s := &stranger{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r)
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// named is the server's host under another name, one that is no address.
func (s *stranger) named() string { return strings.Replace(s.host(), "127.0.0.1", "localhost", 1) }

func (s *stranger) host() string { return strings.TrimPrefix(s.URL, "http://") }

func (s *stranger) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

const basic = "Basic " // of user and password

func authorization() string {
	return basic + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// wantBasic lets nobody in without the password.
func wantBasic(next func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != authorization() {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return next(w, r)
	}
}

func withPassword(s registry.Settings) registry.Settings {
	s.Auth = registry.Auth{Username: user, Password: password}
	return s
}

func TestRedirects(t *testing.T) {
	f := newFake(t)
	d := f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	storage := newStranger(t, func(w http.ResponseWriter, r *http.Request) {
		b := f.content[strings.TrimPrefix(r.URL.Path, "/")]
		_, _ = w.Write(b.body)
	})
	var to string
	f.answer = wantBasic(func(w http.ResponseWriter, r *http.Request) bool {
		path := strings.TrimPrefix(r.URL.Path, "/v2/shop/web/")
		if !strings.HasPrefix(path, "blobs/") {
			return false
		}
		http.Redirect(w, r, "http://"+to+"/"+path+"?signature=very-secret", http.StatusTemporaryRedirect)
		return true
	})
	tests := []struct {
		name    string
		to      string
		trusted []string
		kind    errs.Kind
		asked   int
	}{
		{"to a private address", storage.host(), nil, errs.Forbidden, 0},
		{"to a name of a private address", storage.named(), nil, errs.Forbidden, 0},
		{"to a trusted address", storage.host(), []string{storage.host()}, "", 2},
		{"to a trusted name", storage.named(), []string{storage.named()}, "", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			storage.mu.Lock()
			storage.seen = nil
			storage.mu.Unlock()
			to = tt.to
			s := withPassword(f.settings())
			s.TrustedHosts = tt.trusted
			c := client(t, s)
			err := readLayers(t, c, d)
			if err == nil {
				_, err = c.Resolve(t.Context(), ref(t, wanted))
			}
			if errs.KindOf(err) != tt.kind {
				t.Errorf("reading returned %v of kind %s", err, errs.KindOf(err))
			}
			checkNoSecret(t, err)
			if n := len(storage.requests()); n != tt.asked {
				t.Errorf("%d requests reached the storage, want %d", n, tt.asked)
			}
			for _, r := range storage.requests() {
				for _, h := range []string{"Authorization", "Cookie", "Referer"} {
					if v := r.Header.Get(h); v != "" {
						t.Errorf("the storage was sent %s %q", h, v)
					}
				}
			}
		})
	}
}

func TestRedirectedAnswersAreReadAsAsked(t *testing.T) {
	f := newFake(t)
	d := f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	tests := []struct {
		name   string
		answer http.HandlerFunc
		of     string
		kind   errs.Kind
	}{
		{"manifest that is too large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 100_000)) }, "/manifests/", errs.TooLarge},
		{"manifest that is missing", http.NotFound, "/manifests/", errs.NotFound},
		{"layer that is missing", http.NotFound, "/blobs/", errs.NotFound},
		{"storage that fails", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "/blobs/", errs.Unavailable},
		{"storage that refuses", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, "/blobs/", errs.Forbidden},
		{"circle", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) }, "/blobs/", errs.Unavailable},
		{"redirect to nowhere", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://%")
			w.WriteHeader(http.StatusFound)
		}, "/blobs/", errs.Unavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			storage := newStranger(t, tt.answer)
			f.mu.Lock()
			f.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, tt.of) {
					return false
				}
				http.Redirect(w, r, storage.URL+"/elsewhere", http.StatusFound)
				return true
			}
			f.mu.Unlock()
			s := f.settings()
			s.TrustedHosts = []string{storage.host()}
			s.MaxManifestBytes = 50_000
			if err := readLayers(t, client(t, s), d); errs.KindOf(err) != tt.kind {
				t.Errorf("reading returned %v of kind %s", err, errs.KindOf(err))
			}
		})
	}
}

func checkNoSecret(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	text := err.Error() + errs.Hint(err)
	for _, secret := range []string{password, "very-secret", base64.StdEncoding.EncodeToString([]byte(user + ":" + password)), "the-token"} {
		if strings.Contains(text, secret) {
			t.Errorf("the error tells a secret: %s", text)
		}
	}
}

// tokens is a token service that wants the password.
func tokens(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != authorization() {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	_, _ = fmt.Fprint(w, `{"token":"the-token","expires_in":300}`)
}

// wantToken lets nobody in without the token, and says where to get one.
func wantToken(realm string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			tokens(w, r)
			return true
		}
		if r.Header.Get("Authorization") != "Bearer the-token" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="test"`, realm))
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	}
}

func TestTokenServices(t *testing.T) {
	f := newFake(t)
	f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	other := newStranger(t, tokens)
	tests := []struct {
		name    string
		realm   string
		trusted []string
		kind    errs.Kind
		asked   int
	}{
		{"of the registry itself", f.URL + "/token", nil, "", 0},
		{"elsewhere without TLS", "http://" + other.named() + "/token", nil, errs.Unauthorized, 0},
		{"elsewhere with TLS at a private address", "https://" + other.named() + "/token", nil, errs.Forbidden, 0},
		{"elsewhere but trusted", "http://" + other.named() + "/token", []string{other.named()}, "", 1},
		{"with a login in its address", "http://a:b@" + other.named() + "/token", []string{other.named()}, errs.Unauthorized, 0},
		{"at the metadata service", "http://169.254.169.254/latest", nil, errs.Forbidden, 0},
		{"not an address", "::", nil, "", -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			other.mu.Lock()
			other.seen = nil
			other.mu.Unlock()
			f.mu.Lock()
			f.answer = wantToken(tt.realm)
			f.mu.Unlock()
			s := withPassword(f.settings())
			s.TrustedHosts = tt.trusted
			_, err := client(t, s).Resolve(t.Context(), ref(t, wanted))
			checkNoSecret(t, err)
			switch {
			case tt.asked < 0 && err == nil:
				t.Error("Resolve succeeded")
			case tt.asked >= 0 && errs.KindOf(err) != tt.kind:
				t.Errorf("Resolve returned %v of kind %s", err, errs.KindOf(err))
			}
			if n := len(other.requests()); n != max(tt.asked, 0) {
				t.Errorf("%d requests reached the other server", n)
			}
		})
	}
}

func TestWrongPasswordAtTheTokenService(t *testing.T) {
	f := newFake(t)
	f.answer = wantToken(f.URL + "/token")
	s := withPassword(f.settings())
	s.Auth.Password = "guess"
	_, err := client(t, s).Resolve(t.Context(), ref(t, wanted))
	if !errs.Is(err, errs.Unauthorized) || errs.Hint(err) != "check auth of registry test" {
		t.Errorf("Resolve returned %v of kind %s with hint %q", err, errs.KindOf(err), errs.Hint(err))
	}
}

func TestTokenThatIsNone(t *testing.T) {
	f := newFake(t)
	f.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			_, _ = fmt.Fprint(w, `{"tokn":"the-token"}`)
			return true
		}
		return wantToken(f.URL+"/token")(w, r)
	}
	_, err := client(t, withPassword(f.settings())).Resolve(t.Context(), ref(t, wanted))
	if !errs.Is(err, errs.Malformed) {
		t.Errorf("Resolve returned %v of kind %s", err, errs.KindOf(err))
	}
	checkNoSecret(t, err)
}

func TestForeignLayersAreNotFetched(t *testing.T) {
	f := newFake(t)
	other := newStranger(t, func(http.ResponseWriter, *http.Request) {})
	m := f.image("amd64")
	layer := entry("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", image.DigestOf([]byte("foreign")), 7)
	layer["urls"] = []string{"http://" + other.named() + "/layer?token=x", "http://169.254.169.254/latest"}
	m["layers"] = []object{layer}
	d := f.tag(image.MediaTypeOCIManifest, m)
	err := readLayers(t, client(t, withPassword(f.settings())), d)
	if err == nil {
		t.Error("a layer outside the registry was read")
	}
	checkNoSecret(t, err)
	if n := len(other.requests()); n != 0 {
		t.Errorf("%d requests reached the address an image named", n)
	}
}

func TestTLS(t *testing.T) {
	f := newFake(t)
	f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	secure := httptest.NewUnstartedServer(f)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	s := registry.Settings{Name: "test", Host: "registry.example.com", Endpoint: strings.TrimPrefix(secure.URL, "https://")}
	_, err := client(t, s).Resolve(t.Context(), ref(t, wanted))
	if !errs.Is(err, errs.Unavailable) || errs.Hint(err) != "name its CA under ca_file of registry test" {
		t.Errorf("without its CA: %v with hint %q", err, errs.Hint(err))
	}
	s.CAFile = ca
	if _, err := client(t, s).Resolve(t.Context(), ref(t, wanted)); err != nil {
		t.Errorf("with its CA: %v", err)
	}
	s.PlainHTTP = true
	if _, err := client(t, s).Resolve(t.Context(), ref(t, wanted)); err == nil {
		t.Error("a TLS server was read over plain HTTP")
	}
}

func TestUserAgent(t *testing.T) {
	f := newFake(t)
	f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	if _, err := client(t, f.settings()).Resolve(t.Context(), ref(t, wanted)); err != nil {
		t.Fatal(err)
	}
	for _, r := range f.requests() {
		if ua := r.Header.Get("User-Agent"); ua != "tidewaiter" {
			t.Errorf("%s was asked as %q", r.URL.Path, ua)
		}
	}
}
