package catalog

import (
	"bytes"
	"fmt"

	"github.com/anchore/syft/syft/artifact"
	"github.com/anchore/syft/syft/format/syftjson"
	"github.com/anchore/syft/syft/linux"
	"github.com/anchore/syft/syft/pkg"
	syftsbom "github.com/anchore/syft/syft/sbom"
	"github.com/anchore/syft/syft/source"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
	"github.com/tidewaiter/tidewaiter/internal/text"
)

// document writes a bill as it is stored.
func (c *Cataloger) document(bill *syftsbom.SBOM) (sbom.Document, error) {
	count := bill.Artifacts.Packages.PackageCount()
	if count > c.options.MaxPackages {
		return sbom.Document{}, errs.New(errs.TooLarge, "%d packages, the limit is %d", count, c.options.MaxPackages)
	}
	trim(bill)
	out := limitedBuffer{limit: c.options.MaxDocumentBytes}
	if err := syftjson.NewFormatEncoder().Encode(&out, *bill); err != nil {
		return sbom.Document{}, errs.Op("write document", err)
	}
	return sbom.Document{
		JSON:        out.Bytes(),
		Value:       bill,
		Tool:        text.Clean(bill.Descriptor.Name, text.Line),
		ToolVersion: text.Clean(bill.Descriptor.Version, text.Version),
		Packages:    count,
		Distro:      text.Clean(distro(bill.Artifacts.LinuxDistribution), text.Line),
		OS:          text.Clean(operatingSystem(bill.Source), text.Line),
	}, nil
}

// operatingSystem is the one an image's document names; empty for documents of
// anything else.
func operatingSystem(s source.Description) string {
	if m, ok := s.Metadata.(source.ImageMetadata); ok {
		return m.OS
	}
	return ""
}

// trim takes the per-file section away, and the edges to files with it.
func trim(bill *syftsbom.SBOM) {
	bill.Descriptor.Configuration = nil
	bill.Artifacts = syftsbom.Artifacts{
		Packages:          bill.Artifacts.Packages,
		LinuxDistribution: bill.Artifacts.LinuxDistribution,
	}
	present := map[artifact.ID]bool{}
	for p := range bill.Artifacts.Packages.Enumerate() {
		present[p.ID()] = true
	}
	isPackage := func(end artifact.Identifiable) bool {
		switch end.(type) {
		case pkg.Package, *pkg.Package:
			return present[end.ID()]
		}
		return false
	}
	edges := make([]artifact.Relationship, 0, len(bill.Relationships))
	for _, r := range bill.Relationships {
		if isPackage(r.From) && isPackage(r.To) {
			edges = append(edges, r)
		}
	}
	bill.Relationships = edges
}

// distro is the distribution as os-release names it, "debian 12".
func distro(r *linux.Release) string {
	switch {
	case r == nil:
		return ""
	case r.VersionID != "":
		return r.ID + " " + r.VersionID
	case r.VersionCodename != "":
		return r.ID + " " + r.VersionCodename
	}
	return r.ID
}

// limitedBuffer is a buffer that refuses to grow beyond a limit.
type limitedBuffer struct {
	bytes.Buffer
	limit int
}

// Write appends p, or returns an error of kind TooLarge.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.limit {
		return 0, errs.New(errs.TooLarge, "the document is larger than %s", size(int64(b.limit)))
	}
	return b.Buffer.Write(p)
}

// size writes a number of bytes for people.
func size(n int64) string {
	for _, unit := range []struct {
		name string
		of   int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= unit.of {
			return fmt.Sprintf("%.4g %s", float64(n)/float64(unit.of), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
