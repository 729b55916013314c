package catalog

import (
	"context"

	stereoscope "github.com/anchore/stereoscope/pkg/image"
	"github.com/anchore/syft/syft"
	"github.com/anchore/syft/syft/cataloging"
	"github.com/anchore/syft/syft/pkg"
	syftsbom "github.com/anchore/syft/syft/sbom"
	"github.com/anchore/syft/syft/source"

	// Syft reads rpm's sqlite databases through whatever driver is there. It must
	// be grype's: registering two panics.
	_ "github.com/glebarez/go-sqlite"

	"golang.org/x/sync/errgroup"

	"github.com/tidewaiter/tidewaiter/internal/catalog/layers"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// over runs syft over layers that were read.
func (c *Cataloger) over(ctx context.Context, img *guardedImage, ref image.Reference, read []*layers.Layer) (*syftsbom.SBOM, error) {
	src, err := c.assemble(img, ref, read)
	if err != nil {
		return nil, err
	}
	bill, err := run(ctx, src, func() *syft.CreateSBOMConfig { return c.remembering(settings(c.options.Parallelism)) }, src.resolver.settle)
	if err == nil && img.failed() == nil {
		c.memory.keep(src.resolver.learned)
	}
	return bill, err
}

// store returns where layers are kept: the cache, or without one a directory that
// done removes.
func (c *Cataloger) store() (store *layers.Store, done func(), err error) {
	if c.options.CacheDir != "" {
		store, err := c.cache()
		return store, func() {}, err
	}
	store, err = layers.OpenTemporary(c.options.TempDir, c.options.KeepFree)
	if err != nil {
		return nil, nil, err
	}
	return store, store.Close, nil
}

// Room makes sure that reading does not fill up the disks of CacheDir and TempDir,
// at the cost of kept layers. The error is of kind Unavailable.
func (c *Cataloger) Room() error {
	if c.options.CacheDir != "" {
		store, err := c.cache()
		if err != nil {
			return err
		}
		if err := store.Room(); err != nil {
			return err
		}
	}
	return layers.CheckRoom(c.options.TempDir, c.options.KeepFree)
}

// parallelLayers is how many layers of an image are read at a time: one is
// fetched while another is unpacked.
const parallelLayers = 3

// readLayers returns the layers of an image, base first. Those that could not be
// read are nil. A failure stops the others. ctx has to live as long as the layers
// are used: what was not kept is read again within it.
func readLayers(ctx context.Context, stop context.CancelCauseFunc, store *layers.Store, img *guardedImage) ([]*layers.Layer, error) {
	read := make([]*layers.Layer, len(img.layers))
	var group errgroup.Group
	group.SetLimit(parallelLayers)
	for i, l := range img.layers {
		group.Go(func() (err error) {
			defer func() {
				if err != nil {
					stop(err)
				}
			}()
			defer recoverInto(&err)
			if read[i], err = store.Layer(ctx, l.key(), l.open, &spending{layer: l}); err == nil {
				scan.TrackerOf(ctx).LayerDone(i)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		// The first failure, not those of the others that it stopped.
		return read, context.Cause(ctx)
	}
	return read, nil
}

// letGo closes layers and counts what they took.
func (c *Cataloger) letGo(store *layers.Store, read []*layers.Layer) {
	c.options.Metrics.count(read)
	if c.options.CacheDir != "" {
		c.options.Metrics.size(store)
	}
	closeLayers(read)
}

func closeLayers(read []*layers.Layer) {
	for _, l := range read {
		if l != nil {
			_ = l.Close()
		}
	}
}

// describe fills in what the config says of the image.
func (g *guardedImage) describe(out *stereoscope.Image) error {
	id, err := g.ConfigName()
	if err != nil {
		return readError("read config", err)
	}
	config, err := g.ConfigFile()
	if err != nil {
		return readError("read config", err)
	}
	raw, err := g.RawConfigFile()
	if err != nil {
		return readError("read config", err)
	}
	mediaType, err := g.MediaType()
	if err != nil {
		return readError("read manifest", err)
	}
	out.Metadata = stereoscope.Metadata{
		ID: id.String(), Config: *config, MediaType: mediaType, RawConfig: raw,
		OS: config.OS, Architecture: config.Architecture, Variant: config.Variant,
	}
	return nil
}

// metadata completes what stereoscope reads from the config by what only we
// know of where the image comes from.
func metadata(img *guardedImage, ref image.Reference) []stereoscope.AdditionalMetadata {
	var out []stereoscope.AdditionalMetadata
	if img.manifest != nil {
		out = append(out, stereoscope.WithManifest(img.manifest), stereoscope.WithManifestDigest(string(ref.Digest)),
			stereoscope.WithRepoDigests(ref.Name()+"@"+string(ref.Digest)))
	}
	if ref.Tag != "" {
		out = append(out, stereoscope.WithTags(ref.Name()+":"+ref.Tag))
	}
	return out
}

// run catalogues the source as grype would and keeps the packages without a
// version besides.
//
// Grype has syft drop such packages before syft works out which package owns
// which. As long as no versionless package takes part in that as an owner,
// keeping them changes nothing for the others. When one does (no package
// manager writes such a record), the others are taken from a second run that
// drops them.
func run(ctx context.Context, src source.Source, settings func() *syft.CreateSBOMConfig, settle func(*syftsbom.SBOM)) (*syftsbom.SBOM, error) {
	bill, err := createSBOM(ctx, src, settings())
	if err != nil {
		return nil, err
	}
	settle(bill)
	without := versionless(bill)
	if !anyOwner(without) {
		return bill, nil
	}
	if bill, err = createSBOM(ctx, src, dropping(settings())); err != nil {
		return nil, err
	}
	settle(bill)
	bill.Artifacts.Packages.Add(without...)
	return bill, nil
}

func createSBOM(ctx context.Context, src source.Source, config *syft.CreateSBOMConfig) (*syftsbom.SBOM, error) {
	bill, err := syft.CreateSBOM(ctx, src, config)
	if err != nil {
		return nil, errs.Wrap(errs.Malformed, "run catalogers", err)
	}
	// Syft returns what it has so far when the context ends.
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return bill, nil
}

func versionless(bill *syftsbom.SBOM) []pkg.Package {
	var out []pkg.Package
	for p := range bill.Artifacts.Packages.Enumerate() {
		if p.Version == cataloging.UnknownStubValue {
			out = append(out, p)
		}
	}
	return out
}

// anyOwner reports whether one of the packages can displace others: by owning
// files, or as an ELF package note, which displaces what was only recognised by
// its bytes.
func anyOwner(packages []pkg.Package) bool {
	for _, p := range packages {
		if _, ok := p.Metadata.(pkg.FileOwner); ok {
			return true
		}
		if _, ok := p.Metadata.(pkg.ELFBinaryPackageNoteJSONPayload); ok {
			return true
		}
	}
	return false
}
