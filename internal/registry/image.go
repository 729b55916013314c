package registry

import (
	"context"
	"errors"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// Image opens the image behind ref, which must name a digest. Layers are fetched
// as they are read, under ctx, which must outlive the image's use, and are
// checked against their digests. Errors have the kinds of Resolve, and
// Unsupported when the digest is not an image's; so do those of reading.
func (c *Client) Image(ctx context.Context, ref image.Reference) (v1.Image, error) {
	op := "registry: open " + ref.String()
	conn, err := c.at(ref)
	if err == nil && ref.Digest == "" {
		err = errs.New(errs.Invalid, "no digest is named")
	}
	if err != nil {
		return nil, errs.Op(op, err)
	}
	img, err := (&reader{connection: conn, repository: ref.Repository}).image(ctx, ref)
	if err != nil {
		conn.forget(ref.Repository)
		return nil, errs.Op(op, err)
	}
	return img, nil
}

func (r *reader) image(ctx context.Context, ref image.Reference) (v1.Image, error) {
	id, err := identifier(ref)
	if err != nil {
		return nil, err
	}
	// The library reads layers under the context it was asked for the manifest
	// with, so that one must not end with the answer.
	lasting, cancel := context.WithCancelCause(ctx)
	patience := time.AfterFunc(r.settings.RequestTimeout, func() { cancel(r.tooSlow()) })
	defer patience.Stop()
	desc, err := r.fetch(lasting, id)
	if err != nil {
		return nil, err
	}
	doc, m, err := read(desc, descriptor{})
	if err != nil {
		return nil, err
	}
	if m.Kind != image.KindImage {
		return nil, errs.New(errs.Unsupported, "it is not an image but of kind %s", m.Kind)
	}
	if err := r.checkConfigSize(*doc.Config); err != nil {
		return nil, err
	}
	img, err := desc.Image()
	if err != nil {
		return nil, r.settings.explain(ctx, err)
	}
	return &pulledImage{Image: img, ctx: ctx, settings: r.settings}, nil
}

// blob reads a small blob as a whole.
func (r *reader) blob(ctx context.Context, d descriptor) ([]byte, error) {
	puller, err := r.puller(r.repository)
	if err != nil {
		return nil, err
	}
	asking, cancel := r.withTimeout(ctx)
	defer cancel()
	layer, err := puller.Layer(asking, r.registry.Repo(r.repository).Digest(d.Digest))
	if err != nil {
		return nil, r.settings.explain(asking, err)
	}
	content, err := layer.Compressed()
	if err != nil {
		return nil, r.settings.explain(asking, err)
	}
	defer func() { _ = content.Close() }()
	// One byte more than there should be, so that the library's check of the
	// digest sees the end of the content.
	out, err := io.ReadAll(io.LimitReader(content, d.Size+1))
	if err != nil {
		return nil, r.settings.explain(asking, err)
	}
	if int64(len(out)) != d.Size {
		return nil, errs.New(errs.Malformed, "blob %s is not of the size %d that the manifest says", d.Digest, d.Size)
	}
	return out, nil
}

// pulledImage gives the errors of reading an image their kinds.
type pulledImage struct {
	v1.Image
	ctx      context.Context // the library keeps it, too
	settings Settings
}

// RawConfigFile returns the config's bytes.
func (p *pulledImage) RawConfigFile() ([]byte, error) {
	raw, err := p.Image.RawConfigFile()
	return raw, p.settings.explain(p.ctx, err)
}

// ConfigFile returns the config.
func (p *pulledImage) ConfigFile() (*v1.ConfigFile, error) {
	config, err := p.Image.ConfigFile()
	return config, p.settings.explain(p.ctx, err)
}

// Layers returns the layers, base first.
func (p *pulledImage) Layers() ([]v1.Layer, error) {
	layers, err := p.Image.Layers()
	if err != nil {
		return nil, p.settings.explain(p.ctx, err)
	}
	out := make([]v1.Layer, len(layers))
	for i, l := range layers {
		out[i] = &pulledLayer{l, p}
	}
	return out, nil
}

type pulledLayer struct {
	v1.Layer
	image *pulledImage
}

// Compressed opens the layer as it is stored.
func (l *pulledLayer) Compressed() (io.ReadCloser, error) { return l.explained(l.Layer.Compressed()) }

// Uncompressed opens the layer's tar.
func (l *pulledLayer) Uncompressed() (io.ReadCloser, error) {
	return l.explained(l.Layer.Uncompressed())
}

func (l *pulledLayer) explained(rc io.ReadCloser, err error) (io.ReadCloser, error) {
	if err != nil {
		return nil, l.image.settings.explain(l.image.ctx, err)
	}
	return &pulledContent{rc, l.image}, nil
}

type pulledContent struct {
	io.ReadCloser
	image *pulledImage
}

// Read reads on.
func (c *pulledContent) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, c.image.settings.explain(c.image.ctx, err)
}
