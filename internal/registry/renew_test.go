package registry_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// source is where credentials are looked up, as a cloud's keychain.
type source struct {
	mu       sync.Mutex
	password string // empty fails
	asked    []string
}

// Resolve tells the present password.
func (s *source) Resolve(of authn.Resource) (authn.Authenticator, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, of.RegistryStr())
	if s.password == "" {
		return nil, errors.New("very-secret reason")
	}
	return &authn.Basic{Username: user, Password: s.password}, nil
}

func (s *source) replace(password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.password = password
}

// wantPassword lets in whoever has the present password of s. status is the
// answer to others.
func (s *source) wantPassword(status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		s.mu.Lock()
		want := s.password
		s.mu.Unlock()
		_, got, ok := r.BasicAuth()
		if ok && got == want {
			return false
		}
		if r.URL.Path == "/v2/" || status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		w.WriteHeader(status)
		return true
	}
}

// withLayers stores an image of n layers and returns its digest.
func (f *fake) withLayers(n int) image.Digest {
	m := f.image("amd64")
	var layers []object
	for i := range n {
		content := fmt.Appendf(nil, "layer %d", i)
		layers = append(layers, entry(layerType, f.put("blobs", blob{"application/octet-stream", content}), len(content)))
	}
	m["layers"] = layers
	return f.tag(image.MediaTypeOCIManifest, m)
}

func open(t *testing.T, c *registry.Client, d image.Digest) []v1.Layer {
	t.Helper()
	img, err := c.Image(t.Context(), ref(t, "registry.example.com/shop/web@"+string(d)))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	return layers
}

func readLayer(l v1.Layer) error {
	content, err := l.Compressed()
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, content)
	return errors.Join(err, content.Close())
}

func TestACredentialReplacedDuringAPullIsUsed(t *testing.T) {
	for name, status := range map[string]int{"refused with 401": http.StatusUnauthorized, "refused with 403": http.StatusForbidden} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			s := &source{password: "first"}
			f.answer = s.wantPassword(status)
			d := f.withLayers(3)
			c := client(t, f.settings().WithKeychain(s))
			layers := open(t, c, d)
			if err := readLayer(layers[0]); err != nil {
				t.Fatal(err)
			}
			s.replace("second")
			for _, l := range layers[1:] {
				if err := readLayer(l); err != nil {
					t.Errorf("after the credential was replaced: %v", err)
				}
			}
			if len(s.asked) != 2 {
				t.Errorf("the source was asked %d times, want twice", len(s.asked))
			}
		})
	}
}

func TestASourceIsNotAskedPerRequest(t *testing.T) {
	f := newFake(t)
	s := &source{password: "good"}
	f.answer = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	c := client(t, f.settings().WithKeychain(s))
	for i := range 20 {
		_, err := c.Resolve(t.Context(), ref(t, fmt.Sprintf("registry.example.com/made/up%d:1", i)))
		if !errs.Is(err, errs.Unauthorized) {
			t.Fatalf("Resolve returned %v", err)
		}
	}
	if len(s.asked) > 2 {
		t.Errorf("20 requests had the source asked %d times", len(s.asked))
	}
	for _, host := range s.asked {
		if host != f.host() {
			t.Errorf("the source was asked for %s", host)
		}
	}
}

func TestASourceThatFails(t *testing.T) {
	f := newFake(t)
	s := &source{}
	f.answer = s.wantPassword(http.StatusUnauthorized)
	c := client(t, f.settings().WithKeychain(s))
	for range 5 {
		_, err := c.Resolve(t.Context(), ref(t, wanted))
		if !errs.Is(err, errs.Unauthorized) || errs.Hint(err) == "" {
			t.Errorf("Resolve returned %v of kind %s with hint %q", err, errs.KindOf(err), errs.Hint(err))
		}
		checkNoSecret(t, err)
	}
	if len(s.asked) != 1 {
		t.Errorf("the source was asked %d times within a moment", len(s.asked))
	}
}

// ticket is a token service whose tokens are good for some requests.
type ticket struct {
	mu      sync.Mutex
	uses    int // of a new token
	left    map[string]int
	given   int
	refusal func(http.ResponseWriter) // of a token that is used up
}

func (k *ticket) answer(realm string) func(http.ResponseWriter, *http.Request) bool {
	challenge := func(w http.ResponseWriter) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="test"`, realm))
		w.WriteHeader(http.StatusUnauthorized)
	}
	return func(w http.ResponseWriter, r *http.Request) bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		if r.URL.Path == "/token" {
			k.given++
			token := fmt.Sprintf("token-%d", k.given)
			k.left[token] = k.uses
			_, _ = fmt.Fprintf(w, `{"token":%q,"expires_in":1}`, token)
			return true
		}
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		left, known := k.left[token]
		switch {
		case !known:
			challenge(w)
			return true
		case left == 0 && k.refusal != nil:
			k.refusal(w)
			return true
		case left == 0:
			challenge(w)
			return true
		}
		k.left[token]--
		return false
	}
}

func TestATokenThatExpiresDuringAPullIsRenewed(t *testing.T) {
	tests := []struct {
		name    string
		uses    int
		refusal func(http.ResponseWriter)
	}{
		{"good for one request", 1, nil},
		{"good for three", 3, nil},
		{"refused without a challenge", 2, func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) }},
		{"refused as forbidden", 2, func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate and try again."}]}`)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			k := &ticket{uses: tt.uses, left: map[string]int{}, refusal: tt.refusal}
			f.answer = k.answer(f.URL + "/token")
			d := f.withLayers(6)
			for i, l := range open(t, client(t, f.settings()), d) {
				if err := readLayer(l); err != nil {
					t.Fatalf("layer %d: %v", i, err)
				}
			}
			if k.given < 2 {
				t.Errorf("%d tokens were given: none expired", k.given)
			}
		})
	}
}

func TestAListUsesACredentialThatWasReplaced(t *testing.T) {
	f := newFake(t)
	s := &source{password: "first"}
	f.answer = withDigests(f, s.wantPassword(http.StatusUnauthorized))
	d := f.withLayers(1)
	c := client(t, f.settings().WithKeychain(s))
	for _, password := range []string{"first", "second"} {
		s.replace(password)
		head, err := c.Head(t.Context(), ref(t, wanted))
		if err != nil || head.Digest != d {
			t.Errorf("with the %s password: %+v, %v", password, head, err)
		}
	}
}

func TestALayerIsAskedForAgainAfterAShortPause(t *testing.T) {
	f := newFake(t)
	d := f.withLayers(1)
	refused := false
	f.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if refused || !strings.HasSuffix(r.URL.Path, string(image.DigestOf([]byte("layer 0")))) {
			return false
		}
		refused = true
		return status(http.StatusTooManyRequests, "Retry-After", "1")(w, r)
	}
	if err := readLayers(t, client(t, f.settings()), d); err != nil || !refused {
		t.Errorf("reading returned %v", err)
	}
}
