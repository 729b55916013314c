package registry_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// fake is a registry that serves what a test puts into it, however wrong.
type fake struct {
	*httptest.Server
	// answer takes a request before the content does; nil and false let it pass.
	answer func(w http.ResponseWriter, r *http.Request) bool

	mu      sync.Mutex
	content map[string]blob // by path behind /v2/shop/web/
	seen    []*http.Request
}

type blob struct {
	mediaType string
	body      []byte
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{content: map[string]blob{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) host() string { return strings.TrimPrefix(f.URL, "http://") }

// settings reach the fake without a credential.
func (f *fake) settings() registry.Settings {
	return registry.Settings{Name: "test", Host: "registry.example.com", Endpoint: f.host(), PlainHTTP: true}
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.seen = append(f.seen, r)
	answer := f.answer
	b, ok := f.content[strings.TrimPrefix(r.URL.Path, "/v2/shop/web/")]
	f.mu.Unlock()
	switch {
	case answer != nil && answer(w, r):
	case r.URL.Path == "/v2/":
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", b.mediaType)
		_, _ = w.Write(b.body)
	}
}

// set changes what takes requests before the content does.
func (f *fake) set(answer func(http.ResponseWriter, *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// requests lists what was asked for, without the ping.
func (f *fake) requests() []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*http.Request
	for _, r := range f.seen {
		if r.URL.Path != "/v2/" {
			out = append(out, r)
		}
	}
	return out
}

// put stores content and returns its digest.
func (f *fake) put(kind string, b blob) image.Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := image.DigestOf(b.body)
	f.content[kind+"/"+string(d)] = b
	return d
}

// tag stores a manifest by digest and under the tag 1.0.
func (f *fake) tag(mediaType string, manifest any) image.Digest {
	body, err := json.Marshal(manifest)
	if err != nil {
		panic(err)
	}
	b := blob{mediaType, body}
	d := f.put("manifests", b)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.content["manifests/1.0"] = b
	return d
}

type object map[string]any

// entry describes stored content.
func entry(mediaType string, d image.Digest, size int) object {
	return object{"mediaType": mediaType, "digest": d, "size": size}
}

const layerType = "application/vnd.oci.image.layer.v1.tar+gzip"

// image stores an image of one layer and returns its manifest.
func (f *fake) image(arch string) object {
	layer := f.put("blobs", blob{"application/octet-stream", []byte("layer of " + arch)})
	config := fmt.Appendf(nil, `{"os":"linux","architecture":%q,"rootfs":{"type":"layers","diff_ids":["sha256:%064d"]},"history":[{"created_by":"ENV A=B","empty_layer":true},{"created_by":"COPY . /"}]}`, arch, 1)
	d := f.put("blobs", blob{"application/octet-stream", config})
	return object{
		"schemaVersion": 2, "mediaType": image.MediaTypeOCIManifest,
		"config": entry(image.MediaTypeOCIConfig, d, len(config)),
		"layers": []object{entry(layerType, layer, len("layer of "+arch))},
	}
}

// child stores a manifest and returns its entry for an index.
func (f *fake) child(mediaType string, manifest any) object {
	body, err := json.Marshal(manifest)
	if err != nil {
		panic(err)
	}
	return entry(mediaType, f.put("manifests", blob{mediaType, body}), len(body))
}

func index(children ...object) object {
	return object{"schemaVersion": 2, "mediaType": image.MediaTypeOCIIndex, "manifests": children}
}
