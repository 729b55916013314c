package registry

import (
	"context"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

const (
	// maxChildren bounds the manifests of an index, those of nested ones
	// included.
	maxChildren = 256
	// maxDepth is how deep indexes are followed; deeper ones are listed only.
	maxDepth = 2
	// parallelChildren is how many children are read at a time.
	parallelChildren = 4
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
		m.Children, err = r.children(ctx, doc, maxDepth, map[string]bool{string(m.Digest): true})
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
	return doc, doc.manifest(image.Digest(desc.Digest.String()), len(desc.Manifest), in), nil
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

// children reads the children of an index.
func (r *reader) children(ctx context.Context, doc document, depth int, seen map[string]bool) ([]scan.Manifest, error) {
	var entries []descriptor
	for _, d := range doc.Manifests {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			entries = append(entries, d)
		}
	}
	if len(seen)-1 > maxChildren {
		return nil, errs.New(errs.TooLarge, "the index has more than %d manifests", maxChildren)
	}
	docs := make([]document, len(entries))
	out := make([]scan.Manifest, len(entries))
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(parallelChildren)
	for i, d := range entries {
		group.Go(func() (err error) {
			docs[i], out[i], err = r.child(within, d)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return r.flatten(ctx, docs, out, depth, seen)
}

// flatten puts the children of nested indexes behind these.
func (r *reader) flatten(ctx context.Context, docs []document, children []scan.Manifest, depth int, seen map[string]bool) ([]scan.Manifest, error) {
	var out []scan.Manifest
	for i, m := range children {
		out = append(out, m)
		if m.Kind != image.KindIndex || depth <= 1 {
			continue
		}
		nested, err := r.children(ctx, docs[i], depth-1, seen)
		if err != nil {
			return nil, err
		}
		out = append(out, nested...)
	}
	return out, nil
}

// child reads one child of an index. What the index already says to be an
// attestation, or of an unknown media type, is not asked for.
func (r *reader) child(ctx context.Context, d descriptor) (document, scan.Manifest, error) {
	entry := listed(d)
	if entry.Kind == image.KindAttestation || !isKnownType(d.MediaType) {
		return document{}, entry, nil
	}
	doc, m, err := r.get(ctx, d.Digest, d)
	if err != nil {
		return document{}, entry, ofRegistry(err)
	}
	if m.Kind == image.KindImage {
		err = r.config(ctx, &m, *doc.Config)
	}
	return doc, m, ofRegistry(err)
}

// config reads the config blob of an image and fills in what it says.
func (r *reader) config(ctx context.Context, m *scan.Manifest, d descriptor) error {
	if err := r.checkConfigSize(d); err != nil {
		return err
	}
	blob, err := r.blob(ctx, d)
	if err != nil {
		return err
	}
	return describe(m, blob)
}

func (r *reader) checkConfigSize(d descriptor) error {
	if d.Size > r.settings.MaxManifestBytes {
		return errs.New(errs.TooLarge, "the config has %d bytes, the limit is %d", d.Size, r.settings.MaxManifestBytes)
	}
	return nil
}
