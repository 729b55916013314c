package registry

import (
	"context"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// Resolve reads the manifest behind ref: by its digest when it has one, else by
// its tag. Children of an index come in its order, each digest once; those of a
// nested index follow it. A child that is missing or damaged is listed with what
// the index says of it: reading it as an image gives the reason. A manifest of a
// kind nobody knows, as Docker's first schema, has kind unknown.
//
// Errors: Invalid for a host that is not configured, NotFound, Unauthorized,
// Forbidden, RateLimited (with RetryAfter), Unavailable, Timeout, TooLarge,
// Malformed.
func (c *Client) Resolve(ctx context.Context, ref image.Reference) (scan.Manifest, error) {
	op := "registry: resolve " + ref.String()
	conn, err := c.at(ref)
	if err != nil {
		return scan.Manifest{}, errs.Op(op, err)
	}
	r := &reader{connection: conn, repository: ref.Repository}
	m, err := r.root(ctx, ref)
	if err != nil {
		conn.forget(ref.Repository)
		return scan.Manifest{}, errs.Op(op, conn.confirm(ctx, err))
	}
	return m, nil
}

// confirm asks whether the registry is there before it is believed that something
// is not. It returns why not, else err.
func (c *connection) confirm(ctx context.Context, err error) error {
	if !errs.Is(err, errs.NotFound) {
		return err
	}
	if away := c.away(ctx); away != nil {
		return away
	}
	return err
}

// away says why the registry is not there; nil when it is. A proxy whose registry
// is down answers 404 to everything, and a login that was kept does not notice.
func (c *connection) away(ctx context.Context) error {
	asking, cancel := c.withTimeout(ctx)
	defer cancel()
	_, err := transport.Ping(asking, c.registry, c.asker.via)
	return c.settings.explain(asking, err)
}

// reader reads manifests of one repository.
type reader struct {
	*connection
	repository string
}

func (r *reader) root(ctx context.Context, ref image.Reference) (scan.Manifest, error) {
	id, err := identifier(ref)
	if err != nil {
		return scan.Manifest{}, err
	}
	doc, m, err := r.get(ctx, id, descriptor{})
	if err != nil {
		return scan.Manifest{}, err
	}
	switch m.Kind {
	case image.KindIndex:
		m.Children, err = r.family(ctx, m.Digest, doc)
	case image.KindImage:
		err = ofRegistry(r.config(ctx, &m, *doc.Config))
	}
	return m, err
}

// ofRegistry drops errors that are the fault of one image: they are told when
// that image is read. What is the registry's fault stops everything.
func ofRegistry(err error) error {
	switch errs.KindOf(err) {
	case errs.NotFound, errs.Malformed, errs.TooLarge, errs.Unsupported:
		return nil
	}
	return err
}

func identifier(ref image.Reference) (string, error) {
	switch {
	case ref.Digest != "":
		d, err := image.ParseDigest(string(ref.Digest))
		return string(d), err
	case image.IsTag(ref.Tag):
		return ref.Tag, nil
	}
	return "", errs.New(errs.Invalid, "%.200q is not a tag", ref.Tag)
}

// get reads one manifest by tag or digest. in is its entry in the index above.
func (r *reader) get(ctx context.Context, id string, in descriptor) (document, scan.Manifest, error) {
	desc, err := r.fetch(ctx, id)
	if err != nil {
		return document{}, scan.Manifest{}, err
	}
	return read(desc, in)
}

func read(desc *remote.Descriptor, in descriptor) (document, scan.Manifest, error) {
	doc, err := parseManifest(desc.Manifest, string(desc.MediaType))
	if err != nil {
		return document{}, scan.Manifest{}, err
	}
	digest := image.Digest(desc.Digest.String())
	if image.IsSchema1Type(string(desc.MediaType)) {
		// The library believes what the registry says of these: their digest leaves
		// the signatures out. Believed, it could be that of another image.
		digest = image.DigestOf(desc.Manifest)
	}
	if in.Digest != "" && strings.HasPrefix(in.Digest, "sha256:") && in.Digest != string(digest) {
		return document{}, scan.Manifest{}, errs.New(errs.Malformed, "the manifest is %s and should be %s", digest, in.Digest)
	}
	return doc, doc.manifest(digest, len(desc.Manifest), in), nil
}

// fetch reads a manifest. Whether the repository has it, and where a tag points,
// the registry itself says; the content may come from a mirror.
func (r *reader) fetch(ctx context.Context, id string) (*remote.Descriptor, error) {
	if !anyUsable(r.mirrors) {
		return r.manifest(ctx, r.repository, id)
	}
	digest, err := r.present(ctx, id)
	if err != nil {
		return nil, err
	}
	if digest == "" {
		return r.manifest(ctx, r.repository, id)
	}
	for _, m := range r.mirrors {
		desc, err := m.manifest(ctx, r.repository, digest)
		if err == nil || ctx.Err() != nil {
			return desc, err
		}
	}
	return r.manifest(ctx, r.repository, digest)
}

// present returns the digest behind a tag or digest of the repository; empty
// when the registry does not tell without the manifest.
func (r *reader) present(ctx context.Context, id string) (string, error) {
	asking, cancel := r.withTimeout(ctx)
	defer cancel()
	head, ok, err := r.head(asking, r.repository, id)
	if err != nil || !ok {
		return "", r.settings.explain(asking, err)
	}
	if strings.Contains(id, ":") && id != string(head.Digest) {
		return "", errs.New(errs.Malformed, "asked for %s, %s answered with %s", id, r.settings.Endpoint, head.Digest)
	}
	return string(head.Digest), nil
}

// manifest asks the registry for a manifest. The library checks it against the
// digest it was asked for by.
func (c *connection) manifest(ctx context.Context, repository, id string) (desc *remote.Descriptor, err error) {
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	place := c.registry.Repo(repository)
	var ref name.Reference = place.Tag(id)
	if strings.Contains(id, ":") {
		ref = place.Digest(id)
	}
	err = c.withLogin(ctx, repository, func(p *remote.Puller) (err error) {
		desc, err = p.Get(ctx, ref)
		return err
	})
	return desc, err
}

// config reads the config blob of an image and fills in what it says.
func (r *reader) config(ctx context.Context, m *scan.Manifest, d descriptor) error {
	if err := r.checkConfigSize(d); err != nil {
		return err
	}
	blob, err := r.configBlob(ctx, d)
	if err != nil {
		return err
	}
	return describe(m, blob)
}

func (r *reader) configBlob(ctx context.Context, d descriptor) ([]byte, error) {
	content, err := r.blob(ctx, d)
	if err == nil && objects(content) > maxObjects {
		err = tooManyObjects("config")
	}
	return content, err
}

func (r *reader) checkConfigSize(d descriptor) error {
	if d.Size > r.settings.MaxManifestBytes {
		return errs.New(errs.TooLarge, "the config has %d bytes, the limit is %d", d.Size, r.settings.MaxManifestBytes)
	}
	return nil
}
