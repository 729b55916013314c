package catalog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// asWorker makes the test program a worker process, asEvil one that is in the
// hands of an image.
const (
	asWorker = "catalog-worker"
	asEvil   = "evil-worker"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == asWorker {
		peer, err := sandbox.Join()
		if err == nil {
			err = catalog.Work(peer, countPackages)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if len(os.Args) > 2 && os.Args[1] == asEvil {
		catalog.BeEvil(os.Args[2])
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
		if errors.Is(err, fs.ErrNotExist) { // of a worker that is going
			return nil
		}
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

// slowLayers is an image whose layers begin as no gzip does and then take their
// time.
type slowLayers struct{ v1.Image }

func (s slowLayers) Layers() ([]v1.Layer, error) {
	all, err := s.Image.Layers()
	for i := range all {
		all[i] = slowLayer{all[i]}
	}
	return all, err
}

type slowLayer struct{ v1.Layer }

func (slowLayer) Compressed() (io.ReadCloser, error) {
	r, w := io.Pipe()
	go func() {
		for b := []byte("\x1f\x8bno gzip"); ; b = make([]byte, 64) {
			if _, err := w.Write(b); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return r, nil
}

func TestALayerThatCannotBeUnpackedIsNotFetchedToItsEnd(t *testing.T) {
	y := newYard(t, func(o *catalog.Options, _ *sandbox.Options) { o.MaxTime = 30 * time.Second })
	img, err := sampleimage.Build(sampleimage.VulnerableContent())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := y.Catalog(t.Context(), slowLayers{img}, referTo(t, img)); !errs.Is(err, errs.Malformed) {
		t.Errorf("got %v, want kind malformed", err)
	}
	if _, err := y.Catalog(t.Context(), img, referTo(t, img)); err != nil {
		t.Error(err)
	}
}

// Whatever a worker says, this process gets an error of its own, keeps nothing of
// it and goes on.
func TestAnEvilWorkerHurtsNobody(t *testing.T) {
	t.Parallel()
	img, err := sampleimage.Build(sampleimage.VulnerableContent())
	if err != nil {
		t.Fatal(err)
	}
	for how := range catalog.Evils() {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			y := newYard(t, func(_ *catalog.Options, s *sandbox.Options) { s.Args = []string{asEvil, how} })
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			if _, err := y.Catalog(ctx, img, referTo(t, img)); !errs.Is(err, errs.Malformed) || strings.Contains(err.Error(), "believed") {
				t.Errorf("got %v, want kind malformed", err)
			}
			if kept := under(t, y.cache); len(kept) != 0 {
				t.Errorf("kept: %v", kept)
			}
			if left := under(t, y.temp); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
			if how == "leaves garbage" {
				// An honest one on the same cache.
				honest := newYard(t, func(o *catalog.Options, s *sandbox.Options) {
					o.CacheDir, s.Private[1].Parent, s.Readable = y.cache, y.cache, []string{y.cache}
				})
				if _, err := honest.Catalog(ctx, img, referTo(t, img)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What a worker says of an error is bounded, and cannot make it one that has the
// scan tried for ever or the credential doubted.
func TestWhatAWorkerSaysOfErrors(t *testing.T) {
	for kind, want := range map[errs.Kind]errs.Kind{
		errs.TooLarge: errs.TooLarge, errs.Bomb: errs.Bomb, errs.Unauthorized: errs.Malformed, errs.NotFound: errs.Malformed, "made up": errs.Malformed,
	} {
		got := catalog.FailureError(kind, strings.Repeat("x\x00\xff", 100_000))
		if errs.KindOf(got) != want || len(got.Error()) > 3000 || strings.ContainsRune(got.Error(), 0) {
			t.Errorf("%s became %s with %d bytes", kind, errs.KindOf(got), len(got.Error()))
		}
	}
}

func TestAnImageHasItsTime(t *testing.T) {
	y := newYard(t, func(o *catalog.Options, _ *sandbox.Options) { o.MaxTime = time.Millisecond })
	img, err := sampleimage.Build(sampleimage.VulnerableContent())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*catalog.Cataloger{y.Cataloger, cataloger(t).With(catalog.Options{TempDir: t.TempDir(), MaxTime: time.Nanosecond}, 0)} {
		_, err = c.Catalog(t.Context(), img, referTo(t, img))
		if !errs.Is(err, errs.Timeout) || !strings.Contains(err.Error(), "needs more than 1") || !strings.Contains(errs.Hint(err), "limits.image_time") {
			t.Errorf("got %v (%s), want kind timeout and what to do", err, errs.Hint(err))
		}
	}
}

func TestAnImageHasItsMemory(t *testing.T) {
	y := newYard(t, func(_ *catalog.Options, s *sandbox.Options) { s.Memory = 1 << 20 })
	img, err := sampleimage.Build(sampleimage.VulnerableContent())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := y.Catalog(t.Context(), img, referTo(t, img)); !errs.Is(err, errs.TooLarge) || !strings.Contains(err.Error(), "needs more than 1 MiB of memory") {
		t.Errorf("got %v, want kind too_large and how much", err)
	}
}

func TestWithoutACacheNothingStays(t *testing.T) {
	y := newYard(t, func(o *catalog.Options, s *sandbox.Options) {
		o.CacheDir, s.Readable, s.Private[1].Parent = "", nil, o.TempDir
	})
	img, err := sampleimage.Build(sampleimage.VulnerableContent())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := y.Catalog(t.Context(), img, referTo(t, img)); err != nil {
			t.Fatal(err)
		}
	}
	if left := append(under(t, y.temp), under(t, y.cache)...); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
