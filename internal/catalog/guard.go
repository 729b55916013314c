package catalog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"sync"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// guardedImage is an image whose manifest and config were checked and whose
// layers are checked and counted as they are read.
type guardedImage struct {
	v1.Image
	manifest []byte // nil when the image was named without a digest
	layers   []v1.Layer
	budget   *budget
}

// Layers returns the guarded layers.
func (g *guardedImage) Layers() ([]v1.Layer, error) { return g.layers, nil }

// guard checks what is known before any layer is read. A digest ties manifest,
// config and, through the diffIDs, every layer's content together.
func guard(ctx context.Context, img v1.Image, digest image.Digest, o Options) (*guardedImage, error) {
	g := &guardedImage{Image: img, budget: &budget{options: o, bytes: o.MaxUncompressedBytes, entries: o.MaxEntries}}
	sizes, err := g.checkManifest(digest)
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, readError("read config", err)
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, readError("read layers", err)
	}
	if len(layers) != len(config.RootFS.DiffIDs) {
		return nil, errs.New(errs.Malformed, "the config lists %d layers, the manifest %d", len(config.RootFS.DiffIDs), len(layers))
	}
	for i, l := range layers {
		if err := checkMediaType(i, l); err != nil {
			return nil, err
		}
		guarded := &guardedLayer{Layer: l, ctx: ctx, number: i, diffID: config.RootFS.DiffIDs[i], budget: g.budget}
		if sizes != nil {
			guarded.compressed = sizes[i]
		}
		g.layers = append(g.layers, guarded)
	}
	return g, nil
}

// checkManifest compares manifest and config with the digest and returns the
// compressed sizes of the layers. It does nothing without a digest: an image
// from an archive has no manifest, and computing one would compress every layer.
func (g *guardedImage) checkManifest(digest image.Digest) ([]int64, error) {
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
	sizes := make([]int64, len(manifest.Layers))
	for i, l := range manifest.Layers {
		sizes[i] = l.Size
	}
	return sizes, nil
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
	return compareSum(what, hasher, algorithm)
}

func compareSum(what string, got hash.Hash, want v1.Hash) error {
	if sum := (v1.Hash{Algorithm: want.Algorithm, Hex: hexOf(got)}); sum != want {
		return errs.New(errs.Malformed, "%s is %s and should be %s", what, sum, want)
	}
	return nil
}

// guardedLayer is a layer that is checked as it is read.
type guardedLayer struct {
	v1.Layer
	ctx        context.Context // layers are read without one
	number     int
	diffID     v1.Hash
	compressed int64 // 0 when unknown
	budget     *budget
}

// Uncompressed returns the layer's tar. Reading it fails with the first limit
// exceeded, when ctx ends, and at its end when the content is not what the
// config says.
func (l *guardedLayer) Uncompressed() (io.ReadCloser, error) {
	if l.diffID.Algorithm != "sha256" {
		return nil, l.budget.fail(errs.New(errs.Unsupported, "layer %d: diffID of algorithm %.20q", l.number, l.diffID.Algorithm))
	}
	content, err := l.Layer.Uncompressed()
	if err != nil {
		return nil, l.budget.fail(readError("open layer", err))
	}
	return &layerReader{ReadCloser: content, layer: l, sum: sha256.New()}, nil
}

// layerReader reads one layer.
type layerReader struct {
	io.ReadCloser
	layer   *guardedLayer
	sum     hash.Hash
	read    int64
	entries tarCounter
}

// Read reads on, keeping count.
func (r *layerReader) Read(p []byte) (int, error) {
	if err := r.layer.ctx.Err(); err != nil {
		return 0, r.layer.budget.fail(err)
	}
	n, err := r.ReadCloser.Read(p)
	r.sum.Write(p[:n])
	r.read += int64(n)
	if limitErr := r.account(p[:n]); limitErr != nil {
		return 0, r.layer.budget.fail(limitErr)
	}
	switch {
	case errors.Is(err, io.EOF):
		if sumErr := compareSum("content of layer", r.sum, r.layer.diffID); sumErr != nil {
			return n, r.layer.budget.fail(sumErr)
		}
	case err != nil:
		return n, r.layer.budget.fail(readError("read layer", err))
	}
	return n, err
}

// Close ends the reading, of the content and of the count.
func (r *layerReader) Close() error {
	r.entries.stop()
	return r.ReadCloser.Close()
}

func (r *layerReader) account(p []byte) error {
	o := r.layer.budget.options
	if c := r.layer.compressed; c > 0 && r.read > o.free && r.read/o.MaxRatio > c {
		return errs.New(errs.TooLarge, "layer %d of %s unpacks to more than %d times its size", r.layer.number, size(c), o.MaxRatio)
	}
	return r.layer.budget.spend(int64(len(p)), r.entries.count(p))
}

// budget is what the layers of an image may use together. Layers are read at
// the same time.
type budget struct {
	options Options

	mu      sync.Mutex
	bytes   int64
	entries int64
	// cause is the first thing that went wrong while reading. The libraries in
	// between do not all pass errors on.
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

// explain finds the reason behind a failure: the end of ctx, what went wrong
// while reading layers, this machine's disk, or else the content itself.
func (g *guardedImage) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
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
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return errs.Op(op, err)
	}
	return errs.Wrap(errs.Malformed, op, err)
}

func diskError(op string, err error) error {
	return errs.New(errs.Unavailable, "%s: %v", op, err).WithHint("check room and permissions of the temporary directory")
}
