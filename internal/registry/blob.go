package registry

import (
	"context"
	"errors"
	"io"
	"net/url"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// blob reads a small blob as a whole.
func (r *reader) blob(ctx context.Context, d descriptor) ([]byte, error) {
	for _, m := range r.mirrors {
		content, err := m.smallBlob(ctx, r.repository, d)
		if err == nil || ctx.Err() != nil {
			return content, err
		}
	}
	return r.smallBlob(ctx, r.repository, d)
}

// layer opens a layer once the registry's limit of pulls lets it.
func (r *reader) layer(ctx context.Context, d descriptor) (io.ReadCloser, error) {
	done, err := r.guard.line.pull(ctx)
	if err != nil {
		return nil, r.settings.explain(ctx, err)
	}
	content, err := r.openLayer(ctx, d)
	if err != nil {
		done()
		return nil, err
	}
	return &pulling{content, done}, nil
}

func (r *reader) openLayer(ctx context.Context, d descriptor) (io.ReadCloser, error) {
	own := func() (io.ReadCloser, error) { return r.ownLayer(ctx, d) }
	for _, m := range r.mirrors {
		content, err := m.layer(ctx, r.repository, d, own)
		if err == nil || ctx.Err() != nil {
			return content, err
		}
	}
	return own()
}

// layerTries is how often a layer is asked for while the registry wants pauses
// that are short enough to wait out: the layers before it need not be fetched
// again.
const layerTries = 3

// ownLayer opens a layer at the registry itself.
func (r *reader) ownLayer(ctx context.Context, d descriptor) (content io.ReadCloser, err error) {
	for range layerTries {
		content, err = r.openBlob(ctx, r.repository, d)
		if pause := errs.RetryAfter(err); pause == 0 || pause > maxInLine {
			break
		}
	}
	if errs.Is(err, errs.NotFound) && len(d.URLs) > 0 {
		return nil, keptElsewhere(d.URLs[0])
	}
	return content, err
}

// keptElsewhere refuses a layer that its manifest says to be at an address of
// its own (OCI image-spec, descriptor.md, "urls").
func keptElsewhere(address string) error {
	host := "an address that cannot be read"
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		host = printable(u.Host, 200)
	}
	return errs.New(errs.Unsupported, "the image keeps content outside its registry, at %s; that is not fetched", host)
}

// smallBlob reads a blob as a whole, in the time of a small request.
func (c *connection) smallBlob(ctx context.Context, repository string, d descriptor) ([]byte, error) {
	asking, cancel := c.withTimeout(ctx)
	defer cancel()
	content, err := c.openBlob(asking, repository, d)
	if err != nil {
		return nil, err
	}
	defer func() { _ = content.Close() }()
	return io.ReadAll(content)
}

// openBlob opens a blob. The library checks the content against the digest.
func (c *connection) openBlob(ctx context.Context, repository string, d descriptor) (io.ReadCloser, error) {
	var content io.ReadCloser
	err := c.withLogin(ctx, repository, func(p *remote.Puller) error {
		layer, err := p.Layer(ctx, c.registry.Repo(repository).Digest(d.Digest))
		if err != nil {
			return err
		}
		content, err = layer.Compressed()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &blobContent{ReadCloser: content, ctx: ctx, settings: c.settings, of: d, left: d.Size}, nil
}

// blobContent is a blob of the size its manifest says, with errors that have
// kinds.
type blobContent struct {
	io.ReadCloser
	ctx      context.Context
	settings Settings
	of       descriptor
	left     int64
}

// Read reads on.
func (c *blobContent) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.left -= int64(n)
	ended := errors.Is(err, io.EOF)
	switch {
	case c.left < 0, ended && c.left > 0:
		return 0, errs.New(errs.Malformed, "blob %s is not of the size %d that the manifest says", c.of.Digest, c.of.Size)
	case err == nil || ended:
		return n, err
	}
	return n, c.settings.explain(c.ctx, err)
}

// pulling is a layer that counts as a pull until it was read or closed.
type pulling struct {
	io.ReadCloser
	done func()
}

// Read reads on.
func (p *pulling) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	if err != nil {
		p.done()
	}
	return n, err
}

// Close ends the pull.
func (p *pulling) Close() error {
	defer p.done()
	return p.ReadCloser.Close()
}
