package catalog

import (
	"context"

	stereoscope "github.com/anchore/stereoscope/pkg/image"
	"github.com/anchore/syft/syft"
	"github.com/anchore/syft/syft/cataloging"
	"github.com/anchore/syft/syft/pkg"
	syftsbom "github.com/anchore/syft/syft/sbom"
	"github.com/anchore/syft/syft/source"
	"github.com/anchore/syft/syft/source/stereoscopesource"

	// Syft reads rpm's sqlite databases through whatever driver is there. It must
	// be grype's: registering two panics.
	_ "github.com/glebarez/go-sqlite"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// catalog unpacks the image, runs syft over it and takes everything away again.
func (c *Cataloger) catalog(ctx context.Context, img *guardedImage, ref image.Reference) (*syftsbom.SBOM, error) {
	dir, err := newWorkDir(c.options.TempDir)
	if err != nil {
		return nil, err
	}
	defer dir.remove()
	unpacked := stereoscope.New(img, nil, dir.path, metadata(img, ref)...)
	// Without a directory generator this closes the layers' files and no more.
	defer func() { _ = unpacked.Cleanup() }()
	if err := unpacked.Read(ctx); err != nil {
		return nil, errs.Wrap(errs.Malformed, "unpack layers", err)
	}
	src := stereoscopesource.New(unpacked, stereoscopesource.ImageConfig{Reference: ref.String()})
	return c.run(ctx, src)
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
func (c *Cataloger) run(ctx context.Context, src source.Source) (*syftsbom.SBOM, error) {
	bill, err := createSBOM(ctx, src, settings(c.options.Parallelism))
	if err != nil {
		return nil, err
	}
	without := versionless(bill)
	if !anyOwner(without) {
		return bill, nil
	}
	if bill, err = createSBOM(ctx, src, dropping(settings(c.options.Parallelism))); err != nil {
		return nil, err
	}
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
