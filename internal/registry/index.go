package registry

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

const (
	// maxChildren bounds the manifests of an index, those of nested ones
	// included.
	maxChildren = 256
	// maxDepth is how deep indexes are followed.
	maxDepth = 4
	// parallelChildren is how many children are read at a time.
	parallelChildren = 4
	// familyManifests is how many manifests of the greatest size the children of an
	// index may take together. They are all held at once.
	familyManifests = 4
)

// family reads what an index lists, and what the indexes among it list.
type family struct {
	*reader
	listed int
	// read are the digests that were asked for.
	read map[string]bool
	// left is what the manifests may take together.
	left atomic.Int64
}

// family returns the descendants of an index, each digest once. What an index
// passes by gives way to another entry for the same digest: entries are not part
// of what they point to, and anybody can write one that hides an image.
func (r *reader) family(ctx context.Context, root image.Digest, doc document) ([]scan.Manifest, error) {
	f := &family{reader: r, read: map[string]bool{string(root): true}}
	f.left.Store(familyManifests * r.settings.MaxManifestBytes)
	all, err := f.children(ctx, doc, maxDepth)
	if err != nil {
		return nil, err
	}
	at := map[image.Digest]int{}
	var out []scan.Manifest
	for _, m := range all {
		switch i, known := at[m.Digest]; {
		case !known:
			at[m.Digest] = len(out)
			out = append(out, m)
		case out[i].Unread != nil && m.Unread == nil:
			out[i] = m
		}
	}
	return out, nil
}

// children reads the children of an index that were not read yet.
func (f *family) children(ctx context.Context, doc document, depth int) ([]scan.Manifest, error) {
	entries := f.entries(doc)
	if f.listed += len(entries); f.listed > maxChildren {
		return nil, errs.New(errs.TooLarge, "the index has more than %d manifests", maxChildren)
	}
	docs := make([]document, len(entries))
	out := make([]scan.Manifest, len(entries))
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(parallelChildren)
	for i, d := range entries {
		group.Go(func() (err error) {
			docs[i], out[i], err = f.child(within, d)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return f.flatten(ctx, docs, out, depth)
}

// entries are those of an index that nobody read, each digest once.
func (f *family) entries(doc document) []descriptor {
	var out []descriptor
	at := map[string]int{}
	for _, d := range doc.Manifests {
		i, twice := at[d.Digest]
		switch {
		case f.read[d.Digest]:
		case !twice:
			at[d.Digest] = len(out)
			out = append(out, d)
		case out[i].passedBy() && !d.passedBy():
			out[i] = d
		}
	}
	for _, d := range out {
		if !d.passedBy() {
			f.read[d.Digest] = true
		}
	}
	return out
}

// flatten puts the children of nested indexes behind these. An index that is
// nested too deep is as good as unread.
func (f *family) flatten(ctx context.Context, docs []document, children []scan.Manifest, depth int) ([]scan.Manifest, error) {
	var out []scan.Manifest
	for i, m := range children {
		if m.Kind == image.KindIndex && m.Unread == nil && depth <= 1 {
			m.Unread = errs.New(errs.TooLarge, "registry: the index is nested more than %d deep", maxDepth)
		}
		out = append(out, m)
		if m.Kind != image.KindIndex || m.Unread != nil {
			continue
		}
		nested, err := f.children(ctx, docs[i], depth-1)
		if err != nil {
			return nil, err
		}
		out = append(out, nested...)
	}
	return out, nil
}

// child reads one child of an index. What is the registry's fault stops
// everything, what is the child's own is told of it.
func (f *family) child(ctx context.Context, d descriptor) (document, scan.Manifest, error) {
	if d.passedBy() {
		return document{}, listed(d, errs.New(errs.Unsupported, "registry: %s is not asked for", d.Digest)), nil
	}
	doc, m, err := f.get(ctx, d.Digest, d)
	if err == nil && f.left.Add(-m.Size) < 0 {
		err = errs.New(errs.TooLarge, "the manifests of the index take more than %d bytes together", familyManifests*f.settings.MaxManifestBytes)
	}
	if err != nil {
		return document{}, listed(d, errs.Op("registry: read "+d.Digest, err)), ofRegistry(err)
	}
	if m.Kind == image.KindImage {
		err = f.config(ctx, &m, *doc.Config)
	}
	return doc, m, ofRegistry(err)
}
