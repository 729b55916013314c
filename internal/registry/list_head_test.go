package registry_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/reconcile"
)

func TestHeadWhereARegistryIsOdd(t *testing.T) {
	manifest := []byte(`{"schemaVersion":2}`)
	digest, other := image.DigestOf(manifest), image.DigestOf([]byte("other"))
	byDigest := "registry.example.com/shop/web@" + string(digest)
	get := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", image.MediaTypeOCIManifest+"; charset=utf-8")
		_, _ = w.Write(manifest)
	}
	read := reconcile.Head{Digest: digest, MediaType: image.MediaTypeOCIManifest, Size: int64(len(manifest))}
	tests := []struct {
		name    string
		ref     string
		answer  func(w http.ResponseWriter, method string)
		want    reconcile.Head
		kind    errs.Kind
		methods []string
	}{
		{"no HEAD", wanted, func(w http.ResponseWriter, method string) {
			if method == http.MethodHead {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			get(w)
		}, read, "", []string{"HEAD", "GET"}},
		{"no digest for a tag", wanted, func(w http.ResponseWriter, _ string) { get(w) }, read, "", []string{"HEAD", "GET"}},
		{"nonsense for a digest", wanted, func(w http.ResponseWriter, _ string) {
			w.Header().Set("Docker-Content-Digest", "sha256:../../x")
			get(w)
		}, read, "", []string{"HEAD", "GET"}},
		{"no digest for a digest", byDigest, func(w http.ResponseWriter, _ string) { get(w) }, read, "", []string{"HEAD"}},
		{"another digest", byDigest, func(w http.ResponseWriter, _ string) {
			w.Header().Set("Docker-Content-Digest", string(other))
		}, reconcile.Head{}, errs.Malformed, []string{"HEAD"}},
		{"another content", byDigest, func(w http.ResponseWriter, method string) {
			if method == http.MethodHead {
				w.WriteHeader(http.StatusNotImplemented)
				return
			}
			_, _ = w.Write([]byte("other"))
		}, reconcile.Head{}, errs.Malformed, []string{"HEAD", "GET"}},
		{"a manifest without end", wanted, func(w http.ResponseWriter, _ string) {
			_, _ = w.Write([]byte(strings.Repeat("x", 9<<20)))
		}, reconcile.Head{}, errs.TooLarge, []string{"HEAD", "GET"}},
		{"401", wanted, func(w http.ResponseWriter, _ string) { w.WriteHeader(401) }, reconcile.Head{}, errs.Unauthorized, []string{"HEAD"}},
		{"403", wanted, func(w http.ResponseWriter, _ string) { w.WriteHeader(403) }, reconcile.Head{}, errs.Forbidden, []string{"HEAD"}},
		{"404", wanted, func(w http.ResponseWriter, _ string) { w.WriteHeader(404) }, reconcile.Head{}, errs.NotFound, []string{"HEAD"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.answer = onManifests(func(w http.ResponseWriter, r *http.Request) bool { tt.answer(w, r.Method); return true })
			got, err := client(t, f.settings()).Head(t.Context(), ref(t, tt.ref))
			if errs.KindOf(err) != tt.kind {
				t.Fatalf("%v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			var methods []string
			for _, r := range f.requests() {
				methods = append(methods, r.Method)
				for _, mediaType := range []string{image.MediaTypeOCIIndex, image.MediaTypeDockerList, image.MediaTypeOCIManifest, image.MediaTypeDockerManifest} {
					if !strings.Contains(r.Header.Get("Accept"), mediaType) {
						t.Errorf("%s is not accepted", mediaType)
					}
				}
			}
			if !slices.Equal(methods, tt.methods) {
				t.Errorf("asked with %v, want %v", methods, tt.methods)
			}
		})
	}
}

// Head goes to configured hosts only, whatever a reference says.
func TestHeadOfAnotherHost(t *testing.T) {
	other := newStranger(t, write("x"))
	c := client(t, newFake(t).settings())
	for _, r := range []image.Reference{
		{Registry: other.host(), Repository: "a", Tag: "1"}, {Registry: "registry.example.com", Repository: "../a", Tag: "1"},
		{Registry: "registry.example.com", Repository: "a", Tag: "../../x"}, {Registry: "registry.example.com", Repository: "a", Digest: "sha256:x"},
		{Registry: "registry.example.com", Repository: "a"},
	} {
		if _, err := c.Head(t.Context(), r); !errs.Is(err, errs.Invalid) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if n := len(other.requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}
