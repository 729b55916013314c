package catalog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
	"github.com/tidewaiter/tidewaiter/internal/sandbox"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

// asWorker makes the test program a worker process.
const asWorker = "catalog-worker"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == asWorker {
		peer, err := sandbox.Join()
		if err == nil {
			err = catalog.Work(peer, countPackages)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// countPackages stands for the inventory that another room takes.
func countPackages(_ context.Context, doc sbom.Document) (*inventory.Inventory, error) {
	b := inventory.NewBuilder(nil)
	b.Add(inventory.Package{Type: "test", Name: fmt.Sprint(doc.Packages)}, "", inventory.Occurrence{})
	return b.Build(), nil
}

// yard is a cataloger with worker processes.
type yard struct {
	*catalog.Cataloger
	temp, cache string
}

func newYard(t testing.TB, change func(o *catalog.Options, s *sandbox.Options)) yard {
	t.Helper()
	y := yard{temp: t.TempDir(), cache: t.TempDir()}
	o := catalog.Options{TempDir: y.temp, CacheDir: y.cache}
	s := sandbox.Options{
		Args: []string{asWorker}, Count: 1, Memory: 1 << 30,
		Private: []sandbox.Room{{Parent: y.temp, Bytes: 1 << 30}, {Parent: y.cache, Bytes: 8 << 30}}, Readable: []string{y.cache},
	}
	if change != nil {
		change(&o, &s)
	}
	o.Workers = sandbox.New(s)
	t.Cleanup(o.Workers.Close)
	y.Cataloger = catalog.New(o)
	return y
}

// referTo names an image as the service does.
func referTo(t testing.TB, img v1.Image) image.Reference {
	t.Helper()
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return image.Reference{Registry: "registry.example", Repository: "team/app", Tag: "1", Digest: image.Digest(digest.String())}
}

func TestAWorkerFindsWhatWeFind(t *testing.T) {
	y := newYard(t, nil)
	contents := map[string]sampleimage.Content{
		"debian": sampleimage.VulnerableContent(), "nothing": {},
		"alpine": {Distro: sampleimage.Alpine("3.18.4"), NPM: []sampleimage.Package{{Name: "left", Version: "1.0.0"}, {Name: "nameless"}}},
	}
	for name, content := range contents {
		img, err := sampleimage.Build(content)
		if err != nil {
			t.Fatal(err)
		}
		ref := referTo(t, img)
		want, err := cataloger(t).Catalog(t.Context(), img, ref)
		if err != nil {
			t.Fatal(err)
		}
		for _, state := range []string{"cold", "warm"} {
			got, err := y.Catalog(t.Context(), img, ref)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, state, err)
			}
			inv, ok := got.Value.(*inventory.Inventory)
			if !ok || len(inv.Packages) != 1 || inv.Packages[0].Name != fmt.Sprint(want.Packages) {
				t.Errorf("%s, %s: the inventory is %+v", name, state, got.Value)
			}
			want.Value, got.Value = nil, nil
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s (-here +in a worker):\n%s", name, state, diff)
			}
		}
	}
	if left := under(t, y.temp); len(left) != 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}

// under lists the files below a directory, without the locks of directories.
func under(t testing.TB, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != ".lock" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestAWorkerConvertsWhatWeConvert(t *testing.T) {
	y := newYard(t, nil)
	img, err := sampleimage.Build(sampleimage.VulnerableContent())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := cataloger(t).Catalog(t.Context(), img, referTo(t, img))
	if err != nil {
		t.Fatal(err)
	}
	want, err := cataloger(t).Convert(t.Context(), doc.JSON)
	if err != nil {
		t.Fatal(err)
	}
	got, err := y.Convert(t.Context(), doc.JSON)
	if err != nil {
		t.Fatal(err)
	}
	want.Value, got.Value = nil, nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-here +in a worker):\n%s", diff)
	}
	if _, err := y.Convert(t.Context(), []byte("{}")); !errs.Is(err, errs.Invalid) || errs.Hint(err) == "" {
		t.Errorf("got %v (%s), want kind invalid and a hint", err, errs.Hint(err))
	}
}

func TestWhatIsNotKeptIsFetchedAgain(t *testing.T) {
	y := newYard(t, nil)
	img, err := sampleimage.Build(sampleimage.VulnerableContent())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := y.Catalog(t.Context(), img, referTo(t, img)); err != nil {
		t.Fatal(err)
	}
	// Evicted between two images.
	for _, file := range under(t, y.cache) {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := y.Catalog(t.Context(), img, referTo(t, img)); err != nil {
		t.Error(err)
	}
}

// brokenOff is an image whose layers end early.
type brokenOff struct {
	v1.Image
	err error
}

func (b brokenOff) Layers() ([]v1.Layer, error) {
	all, err := b.Image.Layers()
	for i := range all {
		all[i] = brokenLayer{all[i], b.err}
	}
	return all, err
}

type brokenLayer struct {
	v1.Layer
	err error
}

func (l brokenLayer) Compressed() (io.ReadCloser, error) {
	whole, err := l.Layer.Compressed()
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(whole)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(io.MultiReader(bytes.NewReader(content[:len(content)/2]), losing{l.err})), nil
}

type losing struct{ err error }

func (l losing) Read([]byte) (int, error) { return 0, l.err }

func TestARegistryThatFailsIsNotTheWorkersFault(t *testing.T) {
	y := newYard(t, nil)
	img, err := sampleimage.Build(sampleimage.VulnerableContent())
	if err != nil {
		t.Fatal(err)
	}
	lost := errs.New(errs.Unavailable, "the registry is gone").WithHint("wait")
	if _, err := y.Catalog(t.Context(), brokenOff{img, lost}, referTo(t, img)); !errs.Is(err, errs.Unavailable) || !errors.Is(err, lost) || errs.Hint(err) != "wait" {
		t.Errorf("got %v, want the registry's own error", err)
	}
	if _, err := y.Catalog(t.Context(), img, referTo(t, img)); err != nil {
		t.Error(err)
	}
}
