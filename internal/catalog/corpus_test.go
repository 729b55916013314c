//go:build parity

// Our reading of layers against stock syft's over a corpus of real images:
// `make parity SHARED=DIR`.
package catalog_test

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/klauspost/compress/gzip"

	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// corpus returns the images of SHARED/data/images by name.
func corpus(t testing.TB) map[string]v1.Image {
	t.Helper()
	shared := os.Getenv("TIDEWAITER_SHARED")
	if shared == "" {
		t.Fatal("TIDEWAITER_SHARED is not set: run make parity SHARED=DIR")
	}
	path, err := layout.FromPath(filepath.Join(shared, "data", "images"))
	if err != nil {
		t.Fatal(err)
	}
	index, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]v1.Image{}
	for _, d := range manifest.Manifests {
		img, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		out[d.Annotations["org.opencontainers.image.ref.name"]] = img
	}
	return out
}

func TestParityWithStock(t *testing.T) {
	for name, img := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			c := newCounted(t)
			sameAsStock(t, c.Cataloger, img, named(t, img, name))
			if n := c.value(t, "tidewaiter_layers_total", "read_again"); n != 0 {
				t.Errorf("%d layers were read twice: see what else is to be kept in layers/keep.go", n)
			}
		})
	}
}

func named(t testing.TB, img v1.Image, name string) image.Reference {
	t.Helper()
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return image.Reference{Registry: "corpus.example", Repository: name, Tag: "1", Digest: image.Digest(digest.String())}
}

// BenchmarkCorpus measures a cold and a warm catalogue of each image, beside the
// stock one and the least there is to do: fetch and unpack the layers one after
// the other, take both digests and go over the headers.
func BenchmarkCorpus(b *testing.B) {
	for name, img := range corpus(b) {
		ref := named(b, img, name)
		b.Run(name+"/limit", func(b *testing.B) {
			for b.Loop() {
				readOnly(b, img)
			}
		})
		b.Run(name+"/stock", func(b *testing.B) {
			c := cataloger(b).With(catalog.Options{TempDir: b.TempDir()}, 0)
			for b.Loop() {
				if _, err := c.Stock(b.Context(), img, ref); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/cold", func(b *testing.B) {
			for b.Loop() {
				c := cataloger(b).With(catalog.Options{TempDir: b.TempDir()}, 0) // knows nothing
				if _, err := c.Catalog(b.Context(), img, ref); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/warm", func(b *testing.B) {
			c := cataloger(b).With(catalog.Options{TempDir: b.TempDir(), CacheDir: b.TempDir()}, 0)
			if _, err := c.Catalog(b.Context(), img, ref); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := c.Catalog(b.Context(), img, ref); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func readOnly(b *testing.B, img v1.Image) {
	all, err := img.Layers()
	if err != nil {
		b.Fatal(err)
	}
	for _, l := range all {
		blob, err := l.Compressed() // checks the blob's digest
		if err != nil {
			b.Fatal(err)
		}
		compressed := sha256.New()
		unpacked, err := gzip.NewReader(bufio.NewReaderSize(io.TeeReader(blob, compressed), 256<<10))
		if err != nil {
			b.Fatal(err)
		}
		sum := sha256.New()
		t := tar.NewReader(io.TeeReader(unpacked, sum))
		for err == nil {
			_, err = t.Next()
		}
		if !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
		_ = blob.Close()
	}
}

// BenchmarkThinLayer measures images that stand on known layers and add a thin
// one of their own.
func BenchmarkThinLayer(b *testing.B) {
	base := corpus(b)["micro-01"]
	for name, make := range map[string]func(n int) []item{
		"npm": func(n int) []item {
			return []item{npm(fmt.Sprintf("srv/app-%d/node_modules/left-pad", n), "left-pad"), npm(fmt.Sprintf("srv/app-%d", n), fmt.Sprint("app-", n))}
		},
		"python": func(n int) []item {
			at := fmt.Sprintf("usr/local/lib/python3.11/site-packages/app_%d-1.0.%d.dist-info/", n, n)
			return []item{
				text(at+"METADATA", fmt.Sprintf("Metadata-Version: 2.1\nName: app_%d\nVersion: 1.0.%d\nLicense: MIT\n", n, n)),
				text(at+"RECORD", "app.py,sha256=abc,10\n"),
			}
		},
		"source": func(n int) []item { return []item{text("srv/app.py", fmt.Sprint("print(", n, ")"))} },
	} {
		b.Run(name, func(b *testing.B) {
			c := cataloger(b).With(catalog.Options{TempDir: b.TempDir(), CacheDir: b.TempDir()}, 0)
			if _, err := c.Catalog(b.Context(), base, named(b, base, "micro-01")); err != nil {
				b.Fatal(err)
			}
			n := 0
			for b.Loop() {
				n++
				img, err := mutate.AppendLayers(base, layer(b, tarOf(b, make(n))))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := c.Catalog(b.Context(), img, named(b, img, "derived")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
