package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

const wanted = "registry.example.com/shop/web:1.0"

func status(code int, header ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		return true
	}
}

// onManifests answers requests for manifests only.
func onManifests(answer func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/manifests/") && answer(w, r)
	}
}

func TestStatusesBecomeKinds(t *testing.T) {
	tests := []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request) bool
		kind   errs.Kind
		pause  time.Duration
		asked  int // requests for a manifest
	}{
		{"401 without a challenge", status(401), errs.Unauthorized, 0, 1},
		{"401 for the manifest only", onManifests(status(401)), errs.Unauthorized, 0, 1},
		{"403", onManifests(status(403)), errs.Forbidden, 0, 1},
		{"404", onManifests(status(404)), errs.NotFound, 0, 1},
		{"404 of the registry itself", status(404), errs.Unavailable, 0, 0},
		{"429 in seconds", onManifests(status(429, "Retry-After", "17")), errs.RateLimited, 17 * time.Second, 1},
		{"429 of the registry itself", status(429, "Retry-After", "17"), errs.RateLimited, 17 * time.Second, 0},
		{"429 without a time", onManifests(status(429)), errs.RateLimited, 0, 1},
		{"429 with nonsense", onManifests(status(429, "Retry-After", "soon")), errs.RateLimited, 0, 1},
		{"429 for years", onManifests(status(429, "Retry-After", "999999999999")), errs.RateLimited, 24 * time.Hour, 1},
		{"429 until the past", onManifests(status(429, "Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT")), errs.RateLimited, 0, 1},
		{"500 again and again", onManifests(status(500)), errs.Unavailable, 0, 3},
		{"503 with a time", onManifests(status(503, "Retry-After", "5")), errs.Unavailable, 5 * time.Second, 1},
		{"504", onManifests(status(504)), errs.Timeout, 0, 3},
		{"418", onManifests(status(418)), errs.Malformed, 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
			f.answer = tt.answer
			_, err := client(t, f.settings()).Resolve(t.Context(), ref(t, wanted))
			if errs.KindOf(err) != tt.kind || errs.RetryAfter(err) != tt.pause {
				t.Errorf("Resolve returned %v: kind %s, retry after %s", err, errs.KindOf(err), errs.RetryAfter(err))
			}
			if n := len(f.requests()); n != tt.asked {
				t.Errorf("asked %d times, want %d", n, tt.asked)
			}
		})
	}
}

// A proxy whose registry is away answers 404 to everything. A login from before
// must not make that an image that is gone, nor a registry that has no list.
func TestARegistryThatIsAwayHasLostNothing(t *testing.T) {
	alone, m := newFake(t), withMirror(t)
	mirrored := m.origin
	for name, s := range map[string]struct {
		fake     *fake
		settings registry.Settings
	}{"alone": {alone, alone.settings()}, "with a mirror": {mirrored, m.settings}} {
		t.Run(name, func(t *testing.T) {
			digest := s.fake.tag(image.MediaTypeOCIManifest, s.fake.image("amd64"))
			for _, target := range []string{wanted, "registry.example.com/shop/web@" + string(digest)} {
				c, answer := client(t, s.settings), s.fake.answer
				if _, err := c.Resolve(t.Context(), ref(t, target)); err != nil {
					t.Fatal(err)
				}
				s.fake.set(status(404))
				if _, err := c.Resolve(t.Context(), ref(t, target)); !errs.Is(err, errs.Unavailable) {
					t.Errorf("Resolve of %s returned %v", target, err)
				}
				s.fake.set(answer)
			}
			c := client(t, s.settings)
			if _, _, err := c.Tags(t.Context(), "test", "shop/none", ""); !errs.Is(err, errs.NotFound) {
				t.Fatalf("Tags of nothing returned %v", err)
			}
			s.fake.set(status(404))
			if _, _, err := c.Tags(t.Context(), "test", "shop/none", ""); !errs.Is(err, errs.Unavailable) {
				t.Errorf("Tags returned %v", err)
			}
			if _, _, err := c.Repositories(t.Context(), "test", ""); !errs.Is(err, errs.Unavailable) {
				t.Errorf("Repositories returned %v", err)
			}
		})
	}
}

func TestABlipIsBridged(t *testing.T) {
	f := newFake(t)
	want := f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	failed := false
	f.answer = onManifests(func(w http.ResponseWriter, _ *http.Request) bool {
		if failed {
			return false
		}
		failed = true
		w.WriteHeader(502)
		return true
	})
	got, err := client(t, f.settings()).Resolve(t.Context(), ref(t, wanted))
	if err != nil || got.Digest != want {
		t.Errorf("Resolve returned %s, %v", got.Digest, err)
	}
}

func TestAFailureIsForgotten(t *testing.T) {
	f := newFake(t)
	f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	f.answer = status(401)
	c := client(t, f.settings())
	if _, err := c.Resolve(t.Context(), ref(t, wanted)); !errs.Is(err, errs.Unauthorized) {
		t.Fatalf("Resolve returned %v", err)
	}
	f.mu.Lock()
	f.answer = nil
	f.mu.Unlock()
	if _, err := c.Resolve(t.Context(), ref(t, wanted)); err != nil {
		t.Errorf("after the registry was mended: %v", err)
	}
}

func TestSlowRegistry(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()
		return true
	}
	halfway := func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "{")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"no ping": hang, "no manifest": onManifests(hang), "half a manifest": onManifests(halfway),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.answer = answer
			s := f.settings()
			s.RequestTimeout = 200 * time.Millisecond
			_, err := client(t, s).Resolve(t.Context(), ref(t, wanted))
			if !errs.Is(err, errs.Timeout) {
				t.Errorf("Resolve returned %v of kind %s", err, errs.KindOf(err))
			}
		})
	}
}

func TestALayerThatStalls(t *testing.T) {
	f := newFake(t)
	d := f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	f.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if b := f.content[strings.TrimPrefix(r.URL.Path, "/v2/shop/web/")]; string(b.body) != "layer of amd64" {
			return false
		}
		w.Header().Set("Content-Length", "14")
		_, _ = io.WriteString(w, "layer")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}
	s := f.settings()
	s.RequestTimeout = 200 * time.Millisecond
	if err := readLayers(t, client(t, s), d); !errs.Is(err, errs.Timeout) {
		t.Errorf("reading returned %v of kind %s", err, errs.KindOf(err))
	}
}

// readLayers reads the stored bytes of every layer.
func readLayers(t *testing.T, c *registry.Client, d image.Digest) error {
	t.Helper()
	img, err := c.Image(t.Context(), ref(t, "registry.example.com/shop/web@"+string(d)))
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		rc, err := l.Compressed()
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, rc); err != nil {
			return err
		}
		if err := rc.Close(); err != nil {
			return err
		}
	}
	return nil
}

func TestContentThatContradictsItself(t *testing.T) {
	both := func(f *fake) object {
		m := f.image("amd64")
		m["manifests"] = []object{entry(image.MediaTypeOCIManifest, image.DigestOf(nil), 1)}
		return m
	}
	with := func(key string, value any) func(*fake) object {
		return func(f *fake) object {
			m := f.image("amd64")
			m[key] = value
			return m
		}
	}
	tests := []struct {
		name      string
		mediaType string
		manifest  func(*fake) object
		kind      errs.Kind
	}{
		{"served as something else", image.MediaTypeDockerManifest, (*fake).imageAMD64, errs.Malformed},
		{"layers and manifests", image.MediaTypeOCIManifest, both, errs.Malformed},
		{"no config", image.MediaTypeOCIManifest, with("config", nil), errs.Malformed},
		{"a digest that is none", image.MediaTypeOCIManifest, with("layers", []object{{"digest": "sha256:../../etc", "size": 1}}), errs.Malformed},
		{"a negative size", image.MediaTypeOCIManifest, with("layers", []object{{"digest": image.DigestOf(nil), "size": -1}}), errs.Malformed},
		{"sizes beyond all numbers", image.MediaTypeOCIManifest, with("layers", []object{{"digest": image.DigestOf(nil), "size": int64(1) << 62}, {"digest": image.DigestOf(nil), "size": int64(1) << 62}}), errs.Malformed},
		{"layers of the wrong type", image.MediaTypeOCIManifest, with("layers", "many"), errs.Malformed},
		{"too large", image.MediaTypeOCIManifest, with("annotations", object{"a": strings.Repeat("a", 1<<20)}), errs.TooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.tag(tt.mediaType, tt.manifest(f))
			s := f.settings()
			s.MaxManifestBytes = 64 << 10
			_, err := client(t, s).Resolve(t.Context(), ref(t, wanted))
			if errs.KindOf(err) != tt.kind {
				t.Errorf("Resolve returned %v of kind %s", err, errs.KindOf(err))
			}
		})
	}
}

func (f *fake) imageAMD64() object { return f.image("amd64") }

func TestDigestIsVerified(t *testing.T) {
	f := newFake(t)
	d := f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	other := newFake(t)
	other.tag(image.MediaTypeOCIManifest, other.image("arm64"))
	f.content["manifests/"+string(d)] = other.content["manifests/1.0"]
	_, err := client(t, f.settings()).Resolve(t.Context(), ref(t, "registry.example.com/shop/web@"+string(d)))
	if !errs.Is(err, errs.Malformed) {
		t.Errorf("Resolve returned %v", err)
	}
}

func TestBlobsAreVerified(t *testing.T) {
	for name, replace := range map[string]string{"other content": "layer of arm64", "cut short": "layer", "grown": "layer of amd64 and more"} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			d := f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
			for path, b := range f.content {
				if string(b.body) == "layer of amd64" {
					f.content[path] = blob{b.mediaType, []byte(replace)}
				}
			}
			if err := readLayers(t, client(t, f.settings()), d); !errs.Is(err, errs.Malformed) {
				t.Errorf("reading returned %v of kind %s", err, errs.KindOf(err))
			}
		})
	}
}

func TestMissingBlob(t *testing.T) {
	f := newFake(t)
	d := f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	for path, b := range f.content {
		if string(b.body) == "layer of amd64" {
			delete(f.content, path)
		}
	}
	if err := readLayers(t, client(t, f.settings()), d); !errs.Is(err, errs.NotFound) {
		t.Errorf("reading returned %v of kind %s", err, errs.KindOf(err))
	}
}

func TestIndexOfEverything(t *testing.T) {
	f := newFake(t)
	amd64 := f.child(image.MediaTypeOCIManifest, f.image("amd64"))
	amd64["platform"] = object{"os": "linux", "architecture": "amd64"}
	amd64["artifactType"] = image.MediaTypeOCIConfig
	arm64 := f.child(image.MediaTypeOCIManifest, f.image("arm64"))
	attestation := entry(image.MediaTypeOCIManifest, image.DigestOf([]byte("never asked for")), 1)
	attestation["annotations"] = object{"vnd.docker.reference.type": "attestation-manifest"}
	missing := entry(image.MediaTypeOCIManifest, image.DigestOf([]byte("missing")), 2)
	missing["platform"] = object{"os": "linux", "architecture": "s390x"}
	broken := f.child(image.MediaTypeOCIManifest, object{"mediaType": image.MediaTypeOCIManifest})
	brokenConfig := f.image("ppc64le")
	brokenConfig["layers"] = []object{}
	strange := entry("application/vnd.example+json", image.DigestOf([]byte("strange")), 3)
	nested := f.child(image.MediaTypeOCIIndex, index(amd64, arm64))
	f.tag(image.MediaTypeOCIIndex, index(amd64, amd64, attestation, missing, broken, f.child(image.MediaTypeOCIManifest, brokenConfig), strange, nested))

	got, err := client(t, f.settings()).Resolve(t.Context(), ref(t, wanted))
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		Kind     image.Kind
		Platform string
		Resolved bool // the layers are known
	}
	var lines []line
	for _, m := range got.Children {
		lines = append(lines, line{m.Kind, m.Platform.String(), len(m.Layers) > 0 && m.Layers[0].DiffID != "" && m.Layers[0].CreatedBy == "COPY . /"})
	}
	want := []line{
		{image.KindImage, "linux/amd64", true}, // listed twice
		{image.KindAttestation, "", false},
		{image.KindImage, "linux/s390x", false}, // missing
		{image.KindImage, "", false},            // broken manifest
		{image.KindImage, "linux/ppc64le", false},
		{image.KindUnknown, "", false},
		{image.KindIndex, "", false},           // nested
		{image.KindImage, "linux/arm64", true}, // its second child, the first being known
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
}

func TestIndexesAreFollowedSoDeep(t *testing.T) {
	f := newFake(t)
	deep := func(levels int) object {
		entry := f.child(image.MediaTypeOCIManifest, f.image("riscv64"))
		for range levels - 1 {
			entry = f.child(image.MediaTypeOCIIndex, index(entry))
		}
		return index(entry)
	}
	for levels, followed := range map[int]bool{1: true, 4: true, 5: false, 50: false} {
		f.tag(image.MediaTypeOCIIndex, deep(levels))
		got, err := client(t, f.settings()).Resolve(t.Context(), ref(t, wanted))
		if err != nil {
			t.Fatal(err)
		}
		last := got.Children[len(got.Children)-1]
		if followed != (len(got.Runnable()) == 1) || followed != (last.Unread == nil) || !followed && !errs.Is(last.Unread, errs.TooLarge) {
			t.Errorf("%d levels: %d images, the last child is a %s, unread: %v", levels, len(got.Runnable()), last.Kind, last.Unread)
		}
	}
}

func TestNoEntryHidesAnImage(t *testing.T) {
	f := newFake(t)
	img := f.child(image.MediaTypeOCIManifest, f.image("amd64"))
	hidden := func(change object) object {
		out := object{"mediaType": img["mediaType"], "digest": img["digest"], "size": img["size"]}
		for k, v := range change {
			out[k] = v
		}
		return out
	}
	attestation := object{"vnd.docker.reference.type": "attestation-manifest"}
	nowhere := object{"os": "unknown", "architecture": "unknown"}
	for name, entries := range map[string][]object{
		"as an attestation for a platform":  {hidden(object{"annotations": attestation, "platform": object{"os": "linux", "architecture": "amd64"}})},
		"as an attestation for no platform": {hidden(object{"annotations": attestation})},
		"as a chart":                        {hidden(object{"artifactType": "application/vnd.cncf.helm.config.v1+json"})},
		"behind an attestation":             {hidden(object{"annotations": attestation, "platform": nowhere}), img},
		"behind an unknown type":            {hidden(object{"mediaType": "application/vnd.example+json"}), img},
		"inside of a nested index":          {hidden(object{"annotations": attestation, "platform": nowhere}), f.child(image.MediaTypeOCIIndex, index(img))},
	} {
		t.Run(name, func(t *testing.T) {
			f.tag(image.MediaTypeOCIIndex, index(entries...))
			got, err := client(t, f.settings()).Resolve(t.Context(), ref(t, wanted))
			if err != nil {
				t.Fatal(err)
			}
			if images := got.Runnable(); len(images) != 1 || len(images[0].Layers) != 1 || images[0].Unread != nil {
				t.Errorf("the images are %+v", images)
			}
		})
	}
}

func TestChildrenTooLargeTogether(t *testing.T) {
	f := newFake(t)
	settings := f.settings()
	settings.MaxManifestBytes = 4000
	var children []object
	for i := range 10 {
		img := f.image(fmt.Sprint("arch", i))
		img["annotations"] = object{"padding": strings.Repeat("x", 3000)}
		children = append(children, f.child(image.MediaTypeOCIManifest, img))
	}
	f.tag(image.MediaTypeOCIIndex, index(children...))
	got, err := client(t, settings).Resolve(t.Context(), ref(t, wanted))
	if err != nil {
		t.Fatal(err)
	}
	unread := 0
	for _, m := range got.Children {
		if errs.Is(m.Unread, errs.TooLarge) {
			unread++
		}
	}
	if len(got.Children) != 10 || unread < 5 {
		t.Errorf("%d children, %d of them unread", len(got.Children), unread)
	}
}

func TestManifestsAndConfigsOfManyObjects(t *testing.T) {
	f := newFake(t)
	img := f.image("amd64")
	img["annotations"] = []object{}
	many := strings.TrimSuffix(strings.Repeat("{},", 60_000), ",")
	body := []byte(`{"schemaVersion":2,"layers":[` + many + `]}`)
	f.tag(image.MediaTypeOCIManifest, json.RawMessage(body))
	if _, err := client(t, f.settings()).Resolve(t.Context(), ref(t, wanted)); !errs.Is(err, errs.TooLarge) {
		t.Errorf("a manifest of many objects: %v", err)
	}
	img = f.image("amd64")
	config := []byte(`{"history":[` + many + `]}`)
	img["config"] = entry(image.MediaTypeOCIConfig, f.put("blobs", blob{"application/octet-stream", config}), len(config))
	d := f.tag(image.MediaTypeOCIManifest, img)
	c := client(t, f.settings())
	if _, err := c.Resolve(t.Context(), ref(t, wanted)); err != nil {
		t.Errorf("a config is the image's fault: %v", err)
	}
	opened, err := c.Image(t.Context(), ref(t, "registry.example.com/shop/web@"+string(d)))
	if err == nil {
		_, err = opened.ConfigFile()
	}
	if !errs.Is(err, errs.TooLarge) {
		t.Errorf("a config of many objects: %v", err)
	}
}

func TestIndexOfTooMany(t *testing.T) {
	f := newFake(t)
	var many []object
	for i := range 300 {
		many = append(many, entry("application/vnd.example+json", image.DigestOf([]byte{byte(i), byte(i >> 8)}), 1))
	}
	f.tag(image.MediaTypeOCIIndex, index(many...))
	if _, err := client(t, f.settings()).Resolve(t.Context(), ref(t, wanted)); !errs.Is(err, errs.TooLarge) {
		t.Errorf("Resolve returned %v", err)
	}
}

// The digest of a signed manifest leaves its signatures out, and the registry says
// what it is. It is not believed: digests are the same in every registry.
func TestFirstSchemaHasTheDigestOfItsBytes(t *testing.T) {
	const signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	f := newFake(t)
	digest := f.tag(signed, object{"schemaVersion": 1, "name": "shop/web", "fsLayers": []object{}})
	victim := image.DigestOf([]byte("another image"))
	f.set(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Docker-Content-Digest", string(victim))
		return false
	})
	got, err := client(t, f.settings()).Resolve(t.Context(), ref(t, wanted))
	if err != nil || got.Kind != image.KindSchema1 || got.MediaType != signed || got.Digest != digest {
		t.Errorf("Resolve returned %+v, %v", got, err)
	}
}

func TestMediaTypeOnlyInTheBody(t *testing.T) {
	f := newFake(t)
	f.tag("application/json; charset=utf-8", f.image("amd64"))
	got, err := client(t, f.settings()).Resolve(t.Context(), ref(t, wanted))
	if err != nil || got.Kind != image.KindImage {
		t.Errorf("Resolve returned %+v, %v", got, err)
	}
}

func TestHugeConfigIsNotRead(t *testing.T) {
	f := newFake(t)
	m := f.image("amd64")
	m["config"].(object)["size"] = 1 << 30
	d := f.tag(image.MediaTypeOCIManifest, m)
	c := client(t, f.settings())
	got, err := c.Resolve(t.Context(), ref(t, wanted))
	if err != nil || got.Kind != image.KindImage || got.Layers[0].DiffID != "" {
		t.Errorf("Resolve returned %+v, %v", got, err)
	}
	if _, err := c.Image(t.Context(), ref(t, "registry.example.com/shop/web@"+string(d))); !errs.Is(err, errs.TooLarge) {
		t.Errorf("Image returned %v", err)
	}
	for _, r := range f.requests() {
		if strings.Contains(r.URL.Path, "/blobs/") {
			t.Errorf("asked for %s", r.URL.Path)
		}
	}
}

func TestReferencesThatWouldEscape(t *testing.T) {
	f := newFake(t)
	f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	c := client(t, f.settings())
	for _, r := range []image.Reference{
		{Registry: "registry.example.com", Repository: "../../admin", Tag: "1.0"},
		{Registry: "registry.example.com", Repository: "shop/web?x=y", Tag: "1.0"},
		{Registry: "registry.example.com", Repository: "shop/web", Tag: "../1.0"},
		{Registry: "registry.example.com", Repository: "shop/web", Digest: "sha256:../x"},
		{Registry: "registry.example.com", Repository: "shop/web"},
		{Registry: "169.254.169.254", Repository: "shop/web", Tag: "1.0"},
		{Registry: f.host(), Repository: "shop/web", Tag: "1.0"},
	} {
		if _, err := c.Resolve(t.Context(), r); !errs.Is(err, errs.Invalid) {
			t.Errorf("Resolve(%s) returned %v", r, err)
		}
	}
	if n := len(f.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestCanceled(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.answer = onManifests(func(_ http.ResponseWriter, r *http.Request) bool {
		cancel()
		<-r.Context().Done()
		return true
	})
	_, err := client(t, f.settings()).Resolve(ctx, ref(t, wanted))
	if !errors.Is(err, context.Canceled) || !errs.Is(err, errs.Canceled) {
		t.Errorf("Resolve returned %v", err)
	}
}

func TestNobodyListens(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	f := registry.Settings{Host: "registry.example.com", Endpoint: strings.TrimPrefix(s.URL, "http://"), PlainHTTP: true}
	_, err := client(t, f).Resolve(t.Context(), ref(t, wanted))
	if !errs.Is(err, errs.Unavailable) {
		t.Errorf("Resolve returned %v", err)
	}
}

var _ scan.Registry = (*registry.Client)(nil)
