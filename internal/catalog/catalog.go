// Package catalog writes down what is inside an image: it runs syft over an
// image's layers and keeps the result as a syft JSON document.
//
// It is responsible for cataloguing exactly as the grype command line does, for
// the limits that protect this machine from an image, and for reading and
// writing other SBOM formats. It is the only package that imports syft's
// catalogers and stereoscope. It must not fetch anything by itself (it is handed
// an image) and must not look for vulnerabilities.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/anchore/syft/syft"

	"github.com/tidewaiter/tidewaiter/internal/catalog/layers"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/sandbox"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// The syft that is linked in, held to go.mod by a test.
const syftVersion = "1.55.0"

// settingsVersion counts changes of what is catalogued and how it is written;
// stored documents of another number are made anew.
const settingsVersion = "1"

// Options bound the work on one image. Zero values take the defaults.
type Options struct {
	// TempDir is where layers are unpacked to while an image is catalogued; empty
	// means the system's. Needs room for the uncompressed image.
	TempDir string
	// CacheDir keeps layers that were read, for other images and processes. Empty
	// keeps nothing beyond an image.
	CacheDir string
	// CacheBytes bounds what CacheDir takes; 0 means no bound.
	CacheBytes int64
	// KeepFree is how much of the disk of TempDir or CacheDir stays free, whatever
	// is read; 0 means none.
	KeepFree int64
	// Parallelism is how many catalogers run at once; 0 is syft's own default.
	Parallelism int
	// MaxUncompressedBytes bounds the unpacked layers together; 32 GiB.
	MaxUncompressedBytes int64
	// MaxRatio bounds how often a layer may unpack to its compressed size, beyond
	// the first GiB; 200.
	MaxRatio int64
	// MaxEntries bounds the files of all layers together; 2,000,000.
	MaxEntries int64
	// MaxPackages bounds the packages of an image; 200,000.
	MaxPackages int
	// MaxDocumentBytes bounds the finished document; 256 MiB.
	MaxDocumentBytes int
	// MaxTime bounds the reading of an image or document; 0 means no bound.
	MaxTime time.Duration
	// Metrics count; nil counts nothing.
	Metrics *Metrics
	// Workers are processes that run Work; images are read and documents converted
	// in one of them. Without them this process does it itself.
	Workers *sandbox.Pool
	// free is what a layer may unpack to whatever its ratio; 1 GiB.
	free int64
}

func (o Options) withDefaults() Options {
	setDefault(&o.MaxUncompressedBytes, 32<<30)
	setDefault(&o.MaxRatio, 200)
	setDefault(&o.MaxEntries, 2_000_000)
	setDefault(&o.MaxPackages, 200_000)
	setDefault(&o.MaxDocumentBytes, 256<<20)
	setDefault(&o.free, 1<<30)
	return o
}

func setDefault[T int | int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Cataloger catalogues images. It is safe for concurrent use.
type Cataloger struct {
	options Options
	// licenses returns a context with the licence scanner, built once. Syft takes
	// it in no other way.
	licenses func() (context.Context, error)
	// cache opens CacheDir, once it could be opened.
	cache func() (*layers.Store, error)
	// memory holds what catalogers found in other images.
	memory *memory
}

// rememberedBytes bounds, roughly, what memory takes.
const rememberedBytes = 64 << 20

// New makes a cataloger and removes what killed ones left in TempDir. The
// licence scanner, which takes a second or more to build, is built by the first
// image or by Warm.
func New(o Options) *Cataloger {
	layers.SweepTemporary(o.TempDir)
	return &Cataloger{options: o.withDefaults(), cache: opener(o), memory: newMemory(rememberedBytes), licenses: sync.OnceValues(func() (context.Context, error) {
		ctx, err := syft.SetContextLicenseScanner(context.Background(), settings(0).Licenses)
		return ctx, errs.Wrap(errs.Internal, "catalog: build licence scanner", err)
	})}
}

// opener opens the cache when it is first wanted, and tries again after a
// failure: a disk may come back.
func opener(o Options) func() (*layers.Store, error) {
	var mu sync.Mutex
	var store *layers.Store
	return func() (*layers.Store, error) {
		mu.Lock()
		defer mu.Unlock()
		if store != nil {
			return store, nil
		}
		opened, err := layers.Open(layers.Settings{Dir: o.CacheDir, MaxBytes: o.CacheBytes, KeepFree: o.KeepFree})
		if err == nil {
			store = opened
		}
		return opened, err
	}
}

// Warm builds what the first image would otherwise wait for, or begins to start
// the worker processes.
func (c *Cataloger) Warm() error {
	if c.options.Workers != nil {
		c.options.Workers.Warm()
		return nil
	}
	_, err := c.licenses()
	return err
}

// Version names the tool and the settings, as "syft-1.55.0/1". Documents made
// under another version are not comparable.
func (c *Cataloger) Version() string { return "syft-" + syftVersion + "/" + settingsVersion }

// Catalog reads every layer of img and returns its SBOM. ref names the image in
// the document; when it has a digest, img's manifest and config are checked
// against it. Layers are checked against the config's diffIDs. Those that their
// owner keeps outside of the registry are left out, which the document's Unseen
// says. Without a CacheDir nothing stays on disk.
//
// Errors are Malformed when the content contradicts itself or cannot be read,
// TooLarge when a limit of Options is exceeded, Bomb when that of the ratio is,
// Unsupported for layers of an unknown kind, Timeout or Canceled when ctx ends, and otherwise of the kind
// that reading the layers gave.
func (c *Cataloger) Catalog(ctx context.Context, img v1.Image, ref image.Reference) (doc sbom.Document, err error) {
	defer recoverInto(&err)
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	guarded, err := guard(img, ref.Digest, c.options)
	if err == nil {
		err = guarded.leaveOut()
	}
	switch {
	case err != nil:
	case c.options.Workers != nil && guarded.manifest != nil:
		doc, err = c.sendOut(ctx, guarded, ref)
	default:
		doc, err = c.here(ctx, guarded, ref)
	}
	if err != nil {
		return sbom.Document{}, errs.Op("catalog: "+ref.String(), err)
	}
	doc.Unseen = guarded.unseen()
	return doc, nil
}

// bounded is ctx for as long as the reading of an image may take.
func (c *Cataloger) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := c.options.MaxTime
	if limit <= 0 {
		return ctx, func() {}
	}
	over := &errs.Error{Kind: errs.Timeout, Op: fmt.Sprintf("needs more than %s to be read", limit), Err: scan.ErrOutOfTime}
	return context.WithTimeoutCause(ctx, limit, over.WithHint("raise limits.image_time to scan it"))
}

// here catalogues an image in this process.
func (c *Cataloger) here(ctx context.Context, img *guardedImage, ref image.Reference) (sbom.Document, error) {
	store, done, err := c.store()
	if err != nil {
		return sbom.Document{}, err
	}
	defer done()
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	read, err := readLayers(reading, stop, store, img)
	defer c.letGo(store, read)
	if err != nil {
		return sbom.Document{}, img.explain(ctx, err)
	}
	return c.catalogued(ctx, img, ref, read)
}

// catalogued writes the SBOM of an image whose layers were read.
func (c *Cataloger) catalogued(ctx context.Context, img *guardedImage, ref image.Reference, read []*layers.Layer) (doc sbom.Document, err error) {
	defer recoverInto(&err)
	licenses, err := c.licenses()
	if err != nil {
		return sbom.Document{}, err
	}
	ctx = withValues{ctx, licenses}
	bill, err := c.over(ctx, img, ref, read)
	if err == nil {
		err = img.failed()
	}
	if err == nil {
		doc, err = c.document(bill)
	}
	if err != nil {
		return sbom.Document{}, img.explain(ctx, err)
	}
	return doc, nil
}

// recoverInto turns a panic, which hostile content can cause in any parser,
// into an error that says where it happened.
func recoverInto(err *error) {
	if p := recover(); p != nil {
		*err = errs.Wrap(errs.Malformed, "catalog: panic in "+panicSite(), &panicError{p})
	}
}

// panicError is what a parser panicked with.
type panicError struct{ value any }

// Error writes the value.
func (p *panicError) Error() string { return fmt.Sprint(p.value) }

func panicked(err error) bool {
	var p *panicError
	return errors.As(err, &p)
}

// panicSite names the function that panicked.
func panicSite() string {
	frames := runtime.CallersFrames(callers())
	for panicked := false; ; {
		f, more := frames.Next()
		if panicked && !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf("%s (%s:%d)", f.Function, filepath.Base(f.File), f.Line)
		}
		panicked = panicked || f.Function == "runtime.gopanic"
		if !more {
			return "an unknown place"
		}
	}
}

func callers() []uintptr {
	pcs := make([]uintptr, 64)
	return pcs[:runtime.Callers(1, pcs)]
}

// withValues is a context with the values of a second one.
type withValues struct {
	context.Context
	values context.Context
}

// Value looks in the first context, then in the second.
func (c withValues) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.values.Value(key)
}
