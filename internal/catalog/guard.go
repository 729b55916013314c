package catalog

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"sync"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter/internal/catalog/layers"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// guardedImage is an image whose manifest and config were checked and whose
// layers are checked and counted as they are read.
type guardedImage struct {
	v1.Image
	manifest []byte // nil when the image was named without a digest
	layers   []*guardedLayer
	missing  []int // those of layers that are left out
	budget   *budget
}

// guard checks what is known before any layer is read. A digest ties manifest,
// config and, through the diffIDs, every layer's content together.
func guard(img v1.Image, digest image.Digest, o Options) (*guardedImage, error) {
	g := &guardedImage{Image: img, budget: &budget{options: o, bytes: o.MaxUncompressedBytes, entries: o.MaxEntries}}
	blobs, err := g.checkManifest(digest)
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, readError("read config", err)
	}
	all, err := img.Layers()
	if err != nil {
		return nil, readError("read layers", err)
	}
	if len(all) != len(config.RootFS.DiffIDs) || blobs != nil && len(blobs) != len(all) {
		return nil, errs.New(errs.Malformed, "the config lists %d layers, the manifest %d", len(config.RootFS.DiffIDs), len(all))
	}
	for i, l := range all {
		guarded := &guardedLayer{Layer: l, number: i, diffID: config.RootFS.DiffIDs[i], listed: config.RootFS.DiffIDs[i], budget: g.budget}
		if guarded.mediaType, err = checkMediaType(i, l); err != nil {
			return nil, err
		}
		if guarded.diffID.Algorithm != "sha256" {
			return nil, errs.New(errs.Unsupported, "layer %d: diffID of algorithm %.20q", i, guarded.diffID.Algorithm)
		}
		if blobs != nil {
			guarded.blob, guarded.compressed = blobs[i].Digest.String(), blobs[i].Size
		}
		g.layers = append(g.layers, guarded)
	}
	return g, nil
}

// again is the image with nothing of its budget spent.
func (g *guardedImage) again() *guardedImage {
	o := g.budget.options
	c := &guardedImage{Image: g.Image, manifest: g.manifest, missing: g.missing, budget: &budget{options: o, bytes: o.MaxUncompressedBytes, entries: o.MaxEntries}}
	for _, l := range g.layers {
		fresh := *l
		fresh.budget = c.budget
		c.layers = append(c.layers, &fresh)
	}
	return c
}

// checkManifest compares manifest and config with the digest and returns the
// blobs of the layers. It does nothing without a digest: an image
// from an archive has no manifest, and computing one would compress every layer.
func (g *guardedImage) checkManifest(digest image.Digest) ([]v1.Descriptor, error) {
	if digest == "" {
		return nil, nil
	}
	raw, err := g.RawManifest()
	if err != nil {
		return nil, readError("read manifest", err)
	}
	if err := compare("manifest", raw, string(digest)); err != nil {
		return nil, err
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, errs.Wrap(errs.Malformed, "parse manifest", err)
	}
	config, err := g.RawConfigFile()
	if err != nil {
		return nil, readError("read config", err)
	}
	if err := compare("config", config, manifest.Config.Digest.String()); err != nil {
		return nil, err
	}
	g.manifest = raw
	return append([]v1.Descriptor{}, manifest.Layers...), nil
}

func compare(what string, content []byte, want string) error {
	algorithm, err := v1.NewHash(want)
	if err != nil {
		return errs.Wrap(errs.Malformed, what+" digest", err)
	}
	hasher, err := v1.Hasher(algorithm.Algorithm)
	if err != nil {
		return errs.Wrap(errs.Unsupported, what+" digest", err)
	}
	hasher.Write(content)
	if got := (v1.Hash{Algorithm: algorithm.Algorithm, Hex: hex.EncodeToString(hasher.Sum(nil))}); got != algorithm {
		return errs.New(errs.Malformed, "%s is %s and should be %s", what, got, algorithm)
	}
	return nil
}

// guardedLayer is a layer and what the manifest and the config say of it.
type guardedLayer struct {
	v1.Layer
	number     int
	diffID     v1.Hash
	listed     v1.Hash // in the config; diffID is another when the layer is left out
	mediaType  types.MediaType
	blob       string // its digest; empty when unknown
	compressed int64  // its size; 0 when unknown
	budget     *budget
}

// key names the layer among those that were read before.
func (l *guardedLayer) key() layers.Key { return layers.Key{Blob: l.blob, DiffID: l.diffID.String()} }

// open opens the layer's tar. Layers of an archive have no blob of their own, and
// making one would compress them.
func (l *guardedLayer) open() (io.ReadCloser, error) {
	if l.blob == "" {
		content, err := l.Uncompressed()
		return content, readError("open layer", err)
	}
	blob, err := l.Compressed()
	if err != nil {
		return nil, readError("open layer", err)
	}
	content, err := layers.Decompress(blob)
	return content, readError("open layer", err)
}

// spending is what one layer takes from the budget of its image.
type spending struct {
	layer *guardedLayer
	read  int64
}

// Read takes bytes.
func (s *spending) Read(n int64) error {
	s.read += n
	o, c := s.layer.budget.options, s.layer.compressed
	if c > 0 && s.read > o.free && s.read/o.MaxRatio > c {
		return errs.New(errs.Bomb, "layer %d of %s unpacks to more than %d times its size", s.layer.number, size(c), o.MaxRatio)
	}
	return s.layer.budget.spend(n, 0)
}

// Entry takes entries.
func (s *spending) Entry(weight int64) error { return s.layer.budget.spend(0, weight) }

// budget is what the layers of an image may use together. Layers are read at
// the same time.
type budget struct {
	options Options

	mu      sync.Mutex
	bytes   int64
	entries int64
	// cause is the first thing that went wrong while content was read again. The
	// libraries in between do not all pass errors on.
	cause error
}

func (b *budget) spend(bytes, entries int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes -= bytes
	b.entries -= entries
	if b.bytes < 0 {
		return errs.New(errs.TooLarge, "the layers unpack to more than %s", size(b.options.MaxUncompressedBytes))
	}
	if b.entries < 0 {
		return errs.New(errs.TooLarge, "the layers hold more than %d files", b.options.MaxEntries)
	}
	return nil
}

// fail remembers the first failure.
func (b *budget) fail(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cause == nil {
		b.cause = err
	}
	return err
}

// failed returns what went wrong while content was read again, which catalogers
// do not pass on: an image is not said to hold less than it does.
func (g *guardedImage) failed() error {
	g.budget.mu.Lock()
	defer g.budget.mu.Unlock()
	return g.budget.cause
}

// explain finds the reason behind a failure: the end of ctx, what went wrong
// while reading layers, this machine's disk, or else the content itself.
func (g *guardedImage) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	g.budget.mu.Lock()
	defer g.budget.mu.Unlock()
	if g.budget.cause != nil {
		return g.budget.cause
	}
	var errno syscall.Errno
	if errors.As(err, &errno) || errors.Is(err, fs.ErrPermission) {
		return diskError("write layers", err)
	}
	return err
}

// readError keeps the kind a source of content gave its error; an error
// without one is the content's fault.
func readError(op string, err error) error {
	var known *errs.Error
	if err == nil {
		return nil
	}
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return errs.Op(op, err)
	}
	return errs.Wrap(errs.Malformed, op, err)
}

func diskError(op string, err error) error {
	return errs.New(errs.Unavailable, "%s: %v", op, err).WithHint("check room and permissions of the temporary directory")
}
