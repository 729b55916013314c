package catalog

import (
	"log/slog"

	stereoscope "github.com/anchore/stereoscope/pkg/image"
	"github.com/anchore/syft/syft/file"
	"github.com/anchore/syft/syft/source"
	"github.com/anchore/syft/syft/source/stereoscopesource"

	"github.com/tidewaiter/tidewaiter/internal/catalog/layers"
	"github.com/tidewaiter/tidewaiter/internal/catalog/overlay"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// imageSource is an image for syft: what it says of itself is syft's own to word,
// its files are ours.
type imageSource struct {
	source.Source
	resolver *resolver
}

// FileResolver returns what answers for the image's files.
func (s imageSource) FileResolver(scope source.Scope) (file.Resolver, error) {
	if scope != source.SquashedScope {
		return nil, errs.New(errs.Internal, "an image is catalogued as containers see it, not in scope %s", scope)
	}
	return s.resolver, nil
}

// assemble puts layers that were read over each other.
func (c *Cataloger) assemble(img *guardedImage, ref image.Reference, read []*layers.Layer) (imageSource, error) {
	described := &stereoscope.Image{}
	if err := img.describe(described); err != nil {
		return imageSource{}, err
	}
	r := &resolver{layers: read, budget: img.budget, memory: c.memory}
	for i, l := range read {
		m := stereoscope.LayerMetadata{Index: uint(i), Digest: img.layers[i].listed.String(), MediaType: img.layers[i].mediaType}
		for _, e := range l.Entries {
			m.Size += e.Size
		}
		described.Metadata.Size += m.Size
		described.Layers = append(described.Layers, &stereoscope.Layer{Metadata: m})
		r.names = append(r.names, m.Digest)
	}
	for _, add := range metadata(img, ref) {
		if err := add(described); err != nil {
			return imageSource{}, errs.Wrap(errs.Malformed, "describe image", err)
		}
	}
	tree, leftOut := overlay.New(read)
	if leftOut > 0 {
		slog.Debug("entries that mean nothing left out", "image", ref.String(), "entries", leftOut)
	}
	r.tree = tree
	return imageSource{stereoscopesource.New(described, stereoscopesource.ImageConfig{Reference: ref.String()}), r}, nil
}
