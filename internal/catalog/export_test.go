package catalog

import (
	"context"
	"encoding/json"
	"os"

	stereoscope "github.com/anchore/stereoscope/pkg/image"
	"github.com/anchore/syft/syft"
	syftsbom "github.com/anchore/syft/syft/sbom"
	"github.com/anchore/syft/syft/source/stereoscopesource"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/catalog/overlay"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

// With returns a cataloger with other options that shares the licence scanner,
// which takes a second to build. Layers may unpack to free bytes whatever their
// ratio; 0 leaves that as it is.
func (c *Cataloger) With(o Options, free int64) *Cataloger {
	o.free = free
	return &Cataloger{options: o.withDefaults(), licenses: c.licenses, cache: opener(o), memory: newMemory(rememberedBytes)}
}

// Names returns the catalogers that run on an image: those that syft itself would
// run, and ours.
func (c *Cataloger) Names(ctx context.Context) (stock, ours any, err error) {
	names := func(config *syft.CreateSBOMConfig) (any, error) {
		src := stereoscopesource.New(&stereoscope.Image{}, stereoscopesource.ImageConfig{Reference: "any"})
		licenses, err := c.licenses()
		if err != nil {
			return nil, err
		}
		bill, err := createSBOM(withValues{ctx, licenses}, imageSource{src, &resolver{tree: emptyTree(), memory: c.memory}}, config)
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(bill.Descriptor.Configuration)
		if err != nil {
			return nil, err
		}
		var out struct{ Catalogers struct{ Used any } }
		err = json.Unmarshal(text, &out)
		return out.Catalogers.Used, err
	}
	if stock, err = names(settings(0)); err == nil {
		ours, err = names(c.remembering(settings(0)))
	}
	return stock, ours, err
}

func emptyTree() *overlay.Tree {
	t, _ := overlay.New(nil)
	return t
}

// Stock catalogues as syft itself does, by unpacking the layers into a directory:
// what ours is compared with.
func (c *Cataloger) Stock(ctx context.Context, img v1.Image, ref image.Reference) (sbom.Document, error) {
	licenses, err := c.licenses()
	if err != nil {
		return sbom.Document{}, err
	}
	ctx = withValues{ctx, licenses}
	guarded, err := guard(img, ref.Digest, c.options)
	if err != nil {
		return sbom.Document{}, err
	}
	dir, err := os.MkdirTemp(c.options.TempDir, "stock-")
	if err != nil {
		return sbom.Document{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	unpacked := stereoscope.New(img, nil, dir, metadata(guarded, ref)...)
	defer func() { _ = unpacked.Cleanup() }()
	if err := unpacked.Read(ctx); err != nil {
		return sbom.Document{}, err
	}
	bill, err := run(ctx, stereoscopesource.New(unpacked, stereoscopesource.ImageConfig{Reference: ref.String()}),
		func() *syft.CreateSBOMConfig { return settings(c.options.Parallelism) }, func(*syftsbom.SBOM) {})
	if err != nil {
		return sbom.Document{}, err
	}
	return c.document(bill)
}
