package match

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/syft/syft/artifact"
	"github.com/anchore/syft/syft/file"
	syft "github.com/anchore/syft/syft/pkg"
	syftsbom "github.com/anchore/syft/syft/sbom"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
	"github.com/tidewaiter/tidewaiter/internal/text"
)

// contents is an SBOM as grype sees it.
type contents struct {
	// judged are the packages that grype matches.
	judged  []pkg.Package
	context pkg.Context
	// sbom is the whole document, with what grype leaves out.
	sbom *syftsbom.SBOM
}

// TakeInventory reads from an SBOM what there is to match. Every package of the
// document is a member; those that grype leaves out before matching say why.
// The error is of kind Malformed when the document cannot be read. It needs no
// database and may run in a process that has none.
func TakeInventory(ctx context.Context, doc sbom.Document) (*inventory.Inventory, error) {
	return takeInventory(ctx, doc, &cpeNames{})
}

func takeInventory(ctx context.Context, doc sbom.Document, names *cpeNames) (*inventory.Inventory, error) {
	c, err := read(ctx, doc)
	if err != nil {
		return nil, err
	}
	return c.inventory(names), nil
}

// form is an SBOM as a document or in memory.
type form interface {
	// provide reads the packages with the settings of the grype CLI.
	provide() (*contents, error)
	// withoutVersionless does so as the CLI would have catalogued, without packages
	// that have no version.
	withoutVersionless() (*contents, error)
}

// formOf prefers what need not be decoded.
func formOf(doc sbom.Document) form {
	if bill, ok := doc.Value.(*syftsbom.SBOM); ok {
		return fromBill{bill}
	}
	return fromDocument(doc.JSON)
}

// read reads an SBOM with the settings of the grype CLI and removes what the CLI
// does not match. A panic in a decoder is an error of the document.
func read(ctx context.Context, doc sbom.Document) (c *contents, err error) {
	defer func() {
		if r := recover(); r != nil {
			c, err = nil, errs.Wrap(errs.Malformed, "match: read SBOM", fmt.Errorf("panic: %v at %s", r, debug.Stack()))
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, errs.Op("match: read SBOM", err)
	}
	from := formOf(doc)
	if c, err = from.provide(); err != nil {
		return nil, err
	}
	if c.versionlessOwns() {
		whole := c.sbom
		if c, err = from.withoutVersionless(); err != nil {
			return nil, err
		}
		c.sbom = whole
	}
	c.dropVersionless()
	c.addFromPURLs()
	return c, nil
}

// providerConfig are the settings the CLI gives the reading of packages.
func providerConfig() pkg.ProviderConfig {
	return pkg.ProviderConfig{SynthesisConfig: pkg.SynthesisConfig{
		Distro: pkg.DistroConfig{FixChannels: fixChannels()},
	}}
}

// fromDocument reads syft JSON.
type fromDocument []byte

func (f fromDocument) provide() (*contents, error) { return provide(f) }

func provide(document []byte) (*contents, error) {
	judged, context, s, err := pkg.ProvideFromReader(bytes.NewReader(document), providerConfig())
	if err != nil {
		return nil, errs.Wrap(errs.Malformed, "match: read SBOM", err)
	}
	return &contents{judged: judged, context: context, sbom: s}, nil
}

// versionless reports whether a package has no version to compare. The grype
// CLI drops such packages while it catalogues; syft by itself writes UNKNOWN.
func versionless(version string) bool {
	return version == "" || strings.EqualFold(version, "unknown")
}

func (c *contents) dropVersionless() {
	kept := c.judged[:0:0]
	for _, p := range c.judged {
		if !versionless(p.Version) {
			kept = append(kept, p)
		}
	}
	c.judged = kept
}

// versionlessOwns reports whether a package without a version may have decided
// about others: as an owner it makes grype leave packages out.
func (c *contents) versionlessOwns() bool {
	for _, r := range c.sbom.Relationships {
		if r.Type != artifact.OwnershipByFileOverlapRelationship {
			continue
		}
		switch p := r.From.(type) {
		case syft.Package:
			if versionless(p.Version) {
				return true
			}
		case *syft.Package:
			if versionless(p.Version) {
				return true
			}
		}
	}
	for p := range c.sbom.Artifacts.Packages.Enumerate() {
		if _, owns := p.Metadata.(pkg.FileOwner); owns && versionless(p.Version) {
			return true
		}
	}
	return false
}

func (f fromDocument) withoutVersionless() (*contents, error) {
	var fields map[string]json.RawMessage
	var artifacts []json.RawMessage
	if err := json.Unmarshal(f, &fields); err != nil {
		return nil, errs.Wrap(errs.Malformed, "match: read SBOM", err)
	}
	if err := json.Unmarshal(fields["artifacts"], &artifacts); err != nil {
		return nil, errs.Wrap(errs.Malformed, "match: read SBOM", err)
	}
	kept := make([]json.RawMessage, 0, len(artifacts))
	for _, a := range artifacts {
		var p struct{ Version string }
		if err := json.Unmarshal(a, &p); err == nil && !versionless(p.Version) {
			kept = append(kept, a)
		}
	}
	var err error
	if fields["artifacts"], err = json.Marshal(kept); err != nil {
		return nil, errs.Wrap(errs.Internal, "match: write SBOM", err)
	}
	filtered, err := json.Marshal(fields)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "match: write SBOM", err)
	}
	return provide(filtered)
}

// inventory turns the contents into distinct packages, members and occurrences.
func (c *contents) inventory(names *cpeNames) *inventory.Inventory {
	b := inventory.NewBuilder(fromDistro(c.context.Distro))
	judged := make(map[pkg.ID]pkg.Package, len(c.judged))
	for _, p := range c.judged {
		judged[p.ID] = p
	}
	handles := make(map[pkg.ID]int, len(c.judged))
	for _, p := range c.sbom.Artifacts.Packages.Sorted() {
		id := pkg.ID(p.ID())
		if kept, ok := judged[id]; ok {
			handles[id] = b.Add(names.fromGrype(kept), "", occurrence(p))
			continue
		}
		b.Add(names.fromGrype(c.excluded(p)), whyExcluded(p), occurrence(p))
	}
	for _, p := range c.judged {
		for _, owner := range p.RelatedPackages[artifact.OwnershipByFileOverlapRelationship] {
			if handle, ok := handles[owner.ID]; ok {
				b.Own(handle, handles[p.ID])
			}
		}
	}
	return b.Build()
}

// excluded gives a package that is not matched the form of those that are.
func (c *contents) excluded(p syft.Package) pkg.Package {
	out := pkg.New(p)
	out.Distro = c.context.Distro
	return out
}

func whyExcluded(p syft.Package) string {
	if !versionless(p.Version) {
		return inventory.ExcludedOwned
	}
	if m, ok := p.Metadata.(syft.GolangBinaryBuildinfoEntry); ok && m.MainModule == p.Name {
		return inventory.ExcludedMainModule
	}
	return inventory.ExcludedNoVersion
}

func occurrence(p syft.Package) inventory.Occurrence {
	o := inventory.Occurrence{ID: text.Clean(string(p.ID()), text.Line), Locations: locations(p.Locations)}
	for _, l := range p.Licenses.ToSlice() {
		o.Licenses = append(o.Licenses, text.Clean(l.Value, text.Line))
	}
	return o
}

func locations(set file.LocationSet) []inventory.Location {
	var out []inventory.Location
	for _, l := range set.ToSlice() {
		out = append(out, inventory.Location{
			Path:  text.Clean(l.RealPath, text.Path),
			Layer: text.Clean(l.FileSystemID, text.Line),
		})
	}
	return out
}
