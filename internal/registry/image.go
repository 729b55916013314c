package registry

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// Image opens the image behind ref, which must name a digest. Layers are fetched
// as they are read, under ctx, which must outlive the image's use, and are
// checked against their digests. However long that takes, each is asked for with
// a login that counts. Errors have the kinds of Resolve, and Unsupported when the
// digest is not an image's or a layer is kept outside the registry; so do those
// of reading.
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
		return nil, errs.Op(op, conn.confirm(ctx, err))
	}
	return img, nil
}

func (r *reader) image(ctx context.Context, ref image.Reference) (v1.Image, error) {
	id, err := identifier(ref)
	if err != nil {
		return nil, err
	}
	desc, err := r.fetch(ctx, id)
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
	core := &pulledCore{ctx: ctx, reader: r, manifest: desc.Manifest, doc: doc}
	img, err := partial.CompressedToImage(core)
	if err != nil {
		return nil, r.settings.explain(ctx, err)
	}
	return &pulledImage{img, core}, nil
}

// pulledCore is what an image is made of: a manifest, and blobs that are fetched
// when they are wanted.
type pulledCore struct {
	ctx      context.Context // of the whole use of the image
	reader   *reader
	manifest []byte
	doc      document

	mu     sync.Mutex
	config []byte
}

// RawManifest returns the manifest's bytes.
func (c *pulledCore) RawManifest() ([]byte, error) { return c.manifest, nil }

// MediaType returns the manifest's media type.
func (c *pulledCore) MediaType() (types.MediaType, error) {
	return types.MediaType(c.doc.MediaType), nil
}

// RawConfigFile returns the config's bytes.
func (c *pulledCore) RawConfigFile() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.config != nil {
		return c.config, nil
	}
	config, err := c.reader.configBlob(c.ctx, *c.doc.Config)
	if err == nil {
		c.config = config
	}
	return config, err
}

// LayerByDigest returns a layer.
func (c *pulledCore) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, d := range slices.Concat(c.doc.Layers, []descriptor{*c.doc.Config}) {
		if d.Digest == h.String() {
			return &pulledLayer{core: c, digest: h, of: d}, nil
		}
	}
	return nil, errs.New(errs.NotFound, "the image has no layer %s", h)
}

// pulledLayer is a layer as it is stored.
type pulledLayer struct {
	core   *pulledCore
	digest v1.Hash
	of     descriptor
}

// Digest returns the layer's digest.
func (l *pulledLayer) Digest() (v1.Hash, error) { return l.digest, nil }

// Size returns the size that the manifest says.
func (l *pulledLayer) Size() (int64, error) { return l.of.Size, nil }

// MediaType returns the media type that the manifest says.
func (l *pulledLayer) MediaType() (types.MediaType, error) {
	return types.MediaType(l.of.MediaType), nil
}

// DiffID returns the digest of the layer's tar that the config says.
func (l *pulledLayer) DiffID() (v1.Hash, error) {
	config, err := partial.ConfigFile(l.core)
	if err != nil {
		return v1.Hash{}, l.core.reader.settings.explain(l.core.ctx, err)
	}
	listed, layers := config.RootFS.DiffIDs, l.core.doc.Layers
	i := slices.IndexFunc(layers, func(d descriptor) bool { return d.Digest == l.of.Digest })
	if i < 0 || len(listed) != len(layers) {
		return v1.Hash{}, errs.New(errs.Malformed, "the config lists %d layers, the manifest %d", len(listed), len(layers))
	}
	return listed[i], nil
}

// Compressed opens the layer.
func (l *pulledLayer) Compressed() (io.ReadCloser, error) {
	return l.core.reader.layer(l.core.ctx, l.of)
}

// pulledImage gives the errors of unpacking kinds.
type pulledImage struct {
	v1.Image
	core *pulledCore
}

// ConfigFile returns the config.
func (p *pulledImage) ConfigFile() (*v1.ConfigFile, error) {
	config, err := p.Image.ConfigFile()
	return config, p.core.reader.settings.explain(p.core.ctx, err)
}

// Layers returns the layers, base first.
func (p *pulledImage) Layers() ([]v1.Layer, error) {
	layers, err := p.Image.Layers()
	if err != nil {
		return nil, p.core.reader.settings.explain(p.core.ctx, err)
	}
	out := make([]v1.Layer, len(layers))
	for i, l := range layers {
		out[i] = &unpackedLayer{l, p.core}
	}
	return out, nil
}

type unpackedLayer struct {
	v1.Layer
	core *pulledCore
}

// Uncompressed opens the layer's tar.
func (l *unpackedLayer) Uncompressed() (io.ReadCloser, error) {
	content, err := l.Layer.Uncompressed()
	if err != nil {
		return nil, l.core.reader.settings.explain(l.core.ctx, err)
	}
	return &unpackedContent{content, l.core}, nil
}

type unpackedContent struct {
	io.ReadCloser
	core *pulledCore
}

// Read reads on.
func (c *unpackedContent) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, c.core.reader.settings.explain(c.core.ctx, err)
}
