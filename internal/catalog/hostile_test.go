package catalog_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

// pack writes a tar of the headers, each with its size in content.
func pack(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		h.Mode = 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(w, zeros{}, h.Size); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// layer is a layer of the tar; its diffID is true.
func layer(t testing.TB, content []byte) v1.Layer {
	t.Helper()
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// of puts the layers over a small Debian.
func of(t *testing.T, layers ...v1.Layer) v1.Image {
	t.Helper()
	base := build(t, sampleimage.Content{Distro: sampleimage.Debian12(), Deb: []sampleimage.Deb{{Name: "zlib1g", Version: "1:1.2.13.dfsg-1"}}})
	img, err := mutate.AppendLayers(base, layers...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// changed is a layer whose content is not what it says of itself.
type changed struct {
	v1.Layer
	content []byte
	err     error
}

func (c changed) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader(c.content), failing{c.err})), nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

func TestHostileImages(t *testing.T) {
	honest := pack(t, tar.Header{Name: "a", Size: 3000})
	many := make([]tar.Header, 60)
	for i := range many {
		many[i] = tar.Header{Name: fmt.Sprint("f", i)}
	}
	limits := catalog.Options{MaxUncompressedBytes: 4 << 20, MaxEntries: 100}
	tests := []struct {
		name   string
		layers []v1.Layer
		kind   errs.Kind
		says   string
	}{
		{"entry named ..", []v1.Layer{layer(t, pack(t, tar.Header{Name: ".."}))}, "", ""},
		{"entry that climbs out", []v1.Layer{layer(t, pack(t, tar.Header{Name: "../../../etc/passwd", Size: 1}))}, "", ""},
		{"absolute entry", []v1.Layer{layer(t, pack(t, tar.Header{Name: "/etc/passwd", Size: 1}))}, "", ""},
		{"whiteout of nothing", []v1.Layer{layer(t, pack(t, tar.Header{Name: ".wh."}))}, "", ""},
		{"whiteout of the root", []v1.Layer{layer(t, pack(t, tar.Header{Name: ".wh.."}))}, "", ""},
		{"whiteout above the root", []v1.Layer{layer(t, pack(t, tar.Header{Name: ".wh..."}))}, "", ""},
		{"opaque root", []v1.Layer{layer(t, pack(t, tar.Header{Name: ".wh..wh..opq"}))}, "", ""},
		{"escapes in a name", []v1.Layer{layer(t, pack(t, tar.Header{Name: "x\x1b[31m\u202e"}))}, "", ""},
		{"link to itself", []v1.Layer{layer(t, pack(t, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "l"}))}, "", ""},
		{"links in a circle", []v1.Layer{layer(t, pack(t, tar.Header{Name: "usr", Typeflag: tar.TypeSymlink, Linkname: "var"}, tar.Header{Name: "var", Typeflag: tar.TypeSymlink, Linkname: "usr"}))}, "", ""},
		{"no tar", []v1.Layer{layer(t, bytes.Repeat([]byte("no tar"), 1000))}, errs.Malformed, ""},
		{"empty blob", []v1.Layer{layer(t, nil)}, "", ""},
		{"tar that ends in a file", []v1.Layer{layer(t, honest[:2000])}, errs.Malformed, ""},
		{"other content than the diffID", []v1.Layer{changed{layer(t, honest), pack(t, tar.Header{Name: "b", Size: 3000}), nil}}, errs.Malformed, "content of layer is sha256:"},
		{"more content than the diffID", []v1.Layer{changed{layer(t, honest), append(bytes.Clone(honest), 0), nil}}, errs.Malformed, "content of layer is sha256:"},
		{"bomb", []v1.Layer{layer(t, pack(t, tar.Header{Name: "zeros", Size: 8 << 20}))}, errs.TooLarge, "the layers unpack to more than 4 MiB"},
		{"bomb over several layers", []v1.Layer{layer(t, pack(t, tar.Header{Name: "a", Size: 3 << 20})), layer(t, pack(t, tar.Header{Name: "b", Size: 3 << 20}))}, errs.TooLarge, "the layers unpack to more than 4 MiB"},
		{"too many files", []v1.Layer{layer(t, pack(t, many...)), layer(t, pack(t, many...))}, errs.TooLarge, "the layers hold more than 100 files"},
		{"registry that fails", []v1.Layer{changed{layer(t, honest), honest[:600], errs.New(errs.RateLimited, "slow down")}}, errs.RateLimited, "slow down"},
		{"reader that fails", []v1.Layer{changed{layer(t, honest), honest[:600], errors.New("flate: corrupt input")}}, errs.Malformed, "flate: corrupt input"},
		{"reader that panics", []v1.Layer{panicking{layer(t, honest)}}, errs.Malformed, "on purpose"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, temp := with(t, limits)
			img := of(t, tt.layers...)
			_, err := c.Catalog(t.Context(), img, reference(t, img))
			if errs.KindOf(err) != tt.kind {
				t.Errorf("Catalog returned %v of kind %s", err, errs.KindOf(err))
			}
			if err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Catalog returned %v", err)
			}
			if err != nil && strings.Contains(err.Error(), temp) {
				t.Errorf("the error names a path of this machine: %v", err)
			}
			checkEmpty(t, temp)
		})
	}
}

type panicking struct{ v1.Layer }

func (panicking) Compressed() (io.ReadCloser, error) { panic("on purpose") }

func TestRatioIsBounded(t *testing.T) {
	img := of(t, layer(t, pack(t, tar.Header{Name: "zeros", Size: 4 << 20})))
	for name, tt := range map[string]struct {
		ratio, free int64
		kind        errs.Kind
	}{
		"beyond":           {100, 1 << 20, errs.Bomb},
		"within":           {5000, 1 << 20, ""},
		"within the first": {100, 8 << 20, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := cataloger(t).With(catalog.Options{MaxRatio: tt.ratio}, tt.free)
			if _, err := c.Catalog(t.Context(), img, reference(t, img)); errs.KindOf(err) != tt.kind {
				t.Errorf("Catalog returned %v", err)
			}
		})
	}
}

func TestHostileNamesComeThrough(t *testing.T) {
	name := "a\x00b\n\x1b[31m\u202e<script>"
	manifest, err := json.Marshal(map[string]string{"name": name, "version": "1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	doc := catalogue(t, build(t, sampleimage.Content{Files: map[string]string{"/usr/lib/node_modules/a/package.json": string(manifest)}}))
	if diff := cmp.Diff([]string{"npm " + name + " 1.0.0"}, packages(t, doc)); diff != "" {
		t.Error(diff)
	}
}

func TestImagesThatContradictThemselves(t *testing.T) {
	img := build(t, sampleimage.VulnerableContent())
	honest := reference(t, img)
	wrong := honest
	wrong.Digest = image.DigestOf([]byte("another"))
	tests := []struct {
		name string
		img  v1.Image
		ref  image.Reference
		kind errs.Kind
	}{
		{"another digest", img, wrong, errs.Malformed},
		{"another config", otherConfig{img}, honest, errs.Malformed},
		{"a layer less in the config", fewerDiffIDs{img}, image.Reference{Repository: "archive"}, errs.Malformed},
		{"encrypted layer", encrypted(t), image.Reference{Repository: "archive"}, errs.Unsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, temp := with(t, catalog.Options{})
			if _, err := c.Catalog(t.Context(), tt.img, tt.ref); errs.KindOf(err) != tt.kind {
				t.Errorf("Catalog returned %v of kind %s", err, errs.KindOf(err))
			}
			checkEmpty(t, temp)
		})
	}
}

type otherConfig struct{ v1.Image }

func (otherConfig) RawConfigFile() ([]byte, error) { return []byte("{}"), nil }

type fewerDiffIDs struct{ v1.Image }

func (f fewerDiffIDs) ConfigFile() (*v1.ConfigFile, error) {
	config, err := f.Image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.RootFS.DiffIDs = config.RootFS.DiffIDs[1:]
	return config, nil
}

func encrypted(t *testing.T) v1.Image {
	t.Helper()
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(pack(t))), nil },
		tarball.WithMediaType("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestLimitsOfTheDocument(t *testing.T) {
	img := build(t, sampleimage.VulnerableContent())
	for name, o := range map[string]catalog.Options{"packages": {MaxPackages: 5}, "bytes": {MaxDocumentBytes: 1000}} {
		t.Run(name, func(t *testing.T) {
			c, temp := with(t, o)
			if _, err := c.Catalog(t.Context(), img, reference(t, img)); !errs.Is(err, errs.TooLarge) {
				t.Errorf("Catalog returned %v", err)
			}
			checkEmpty(t, temp)
		})
	}
}

func TestCanceledWhileReading(t *testing.T) {
	c, temp := with(t, catalog.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	img := of(t, canceling{layer(t, pack(t, tar.Header{Name: "a", Size: 1 << 20})), cancel})
	if _, err := c.Catalog(ctx, img, reference(t, img)); !errs.Is(err, errs.Canceled) {
		t.Errorf("Catalog returned %v", err)
	}
	checkEmpty(t, temp)
}

// canceling ends the work when it is read.
type canceling struct {
	v1.Layer
	cancel func()
}

func (c canceling) Compressed() (io.ReadCloser, error) {
	c.cancel()
	return c.Layer.Compressed()
}

func TestNoRoomForLayers(t *testing.T) {
	c := cataloger(t).With(catalog.Options{TempDir: "/no/such/directory"}, 0)
	img := build(t, sampleimage.VulnerableContent())
	if _, err := c.Catalog(t.Context(), img, reference(t, img)); !errs.Is(err, errs.Unavailable) {
		t.Errorf("Catalog returned %v", err)
	}
}
