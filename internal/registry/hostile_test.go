package registry_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// Whoever pushes an image, and whoever runs a registry or its stores, may name
// any address. None of them gets a request, and nobody else the credential.
func TestWhatAnImageOrRegistryNamesIsNotAsked(t *testing.T) {
	// hidden are places an attacker would like to reach; the first records.
	hidden := func(s *stranger) []string {
		return []string{s.named(), s.host(), "169.254.169.254", "[::1]:" + strings.Split(s.host(), ":")[1], "metadata.google.internal", "[fd00:ec2::254]"}
	}
	blobs := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/blobs/") }
	redirecting := func(which func(*http.Request) bool) func(*fake, string) {
		return func(f *fake, place string) {
			f.answer = wantBasic(func(w http.ResponseWriter, r *http.Request) bool {
				if !which(r) {
					return false
				}
				http.Redirect(w, r, "http://"+place+r.URL.Path+"?x=1", http.StatusTemporaryRedirect)
				return true
			})
		}
	}
	tests := map[string]func(f *fake, place string){
		"layers with addresses": func(f *fake, place string) {
			m := f.image("amd64")
			for _, l := range m["layers"].([]object) {
				l["digest"] = image.DigestOf([]byte("elsewhere"))
				l["urls"] = []string{"http://" + place + "/layer", "https://" + place + "/layer"}
			}
			f.tag(image.MediaTypeOCIManifest, m)
		},
		"a config with an address": func(f *fake, place string) {
			m := f.image("amd64")
			config := m["config"].(object)
			config["digest"], config["urls"] = image.DigestOf([]byte("elsewhere")), []string{"http://" + place + "/config"}
			f.tag(image.MediaTypeOCIManifest, m)
		},
		"children with addresses": func(f *fake, place string) {
			child := entry(image.MediaTypeOCIManifest, image.DigestOf([]byte("elsewhere")), 9)
			child["urls"] = []string{"http://" + place + "/manifest"}
			f.tag(image.MediaTypeOCIIndex, index(child))
		},
		"a subject and annotations with addresses": func(f *fake, place string) {
			m := f.image("amd64")
			m["annotations"] = object{"org.opencontainers.image.url": "http://" + place, "org.opencontainers.image.source": "http://" + place}
			m["layers"].([]object)[0]["annotations"] = object{"containerd.io/distribution.source." + place: "secret/repository"}
			f.tag(image.MediaTypeOCIManifest, m)
		},
		"redirects of everything": redirecting(func(r *http.Request) bool { return r.URL.Path != "/v2/" }),
		"redirects of blobs":      redirecting(blobs),
		"a redirect of the ping":  redirecting(func(r *http.Request) bool { return r.URL.Path == "/v2/" }),
		"a redirect to itself and on": func(f *fake, place string) {
			f.answer = wantBasic(func(w http.ResponseWriter, r *http.Request) bool {
				to := "http://" + place + "/on"
				if !r.URL.Query().Has("x") {
					to = r.URL.Path + "?x=1"
				}
				if blobs(r) {
					http.Redirect(w, r, to, http.StatusFound)
				}
				return blobs(r)
			})
		},
		"a token service":             func(f *fake, place string) { f.answer = wantToken("https://" + place + "/token") },
		"a token service without TLS": func(f *fake, place string) { f.answer = wantToken("http://" + place + "/token") },
		"a token service that redirects": func(f *fake, place string) {
			next := wantToken(f.URL + "/token")
			f.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/token" {
					return next(w, r)
				}
				http.Redirect(w, r, "http://"+place+"/token", http.StatusTemporaryRedirect)
				return true
			}
		},
		"a challenge for a scope elsewhere": func(f *fake, place string) {
			f.answer = func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Basic realm="http://%s", Bearer realm="http://%s/token",service="x",scope="repository:other/secret:pull"`, place, place))
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			recorder := newStranger(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", `Basic realm="give it to me"`)
				w.WriteHeader(http.StatusUnauthorized)
			})
			for _, place := range hidden(recorder) {
				f := newFake(t)
				f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
				prepare(f, place)
				c := client(t, withPassword(f.settings()))
				if got, err := c.Resolve(t.Context(), ref(t, wanted)); err == nil {
					_ = pullAll(t, c, got.Digest)
				} else {
					checkNoSecret(t, err)
				}
			}
			for _, r := range recorder.requests() {
				t.Errorf("the recorder was asked for %s %s with %q", r.Method, r.URL, r.Header.Get("Authorization"))
			}
		})
	}
}

// pullAll reads whatever an image lets itself be read of.
func pullAll(t *testing.T, c *registry.Client, d image.Digest) error {
	t.Helper()
	img, err := c.Image(t.Context(), ref(t, "registry.example.com/shop/web@"+string(d)))
	if err != nil {
		return err
	}
	_, _ = img.RawConfigFile()
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		if err := readLayer(l); err != nil {
			checkNoSecret(t, err)
		}
	}
	return nil
}

// A store may ask for a login of its own: it gets none, and neither does the
// place it names.
func TestAStoreThatAsksForALogin(t *testing.T) {
	f := newFake(t)
	d := f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	thief := newStranger(t, tokens)
	store := newStranger(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="x"`, thief.host()))
		w.WriteHeader(http.StatusUnauthorized)
	})
	f.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, store.URL+"/blob", http.StatusFound)
			return true
		}
		return wantToken(f.URL+"/token")(w, r)
	}
	s := withPassword(f.settings())
	s.TrustedHosts = []string{store.host()}
	if err := readLayers(t, client(t, s), d); err == nil {
		t.Error("the layer was read")
	}
	if n := len(thief.requests()); n != 0 {
		t.Errorf("%d requests reached the place a store named", n)
	}
	for _, r := range store.requests() {
		if sent := r.Header.Get("Authorization"); sent != "" {
			t.Errorf("the store was sent %q", sent)
		}
	}
}
