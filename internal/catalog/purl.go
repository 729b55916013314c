package catalog

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/anchore/packageurl-go"
	"github.com/anchore/syft/syft/linux"
	"github.com/anchore/syft/syft/pkg"
	syftsbom "github.com/anchore/syft/syft/sbom"
)

// settleQualifiers moves what package URLs say of source packages and of the
// distribution to where syft's own documents have it. Grype reads those
// qualifiers in documents of other formats only, and what Convert returns is one
// of syft's.
//
// A syft document has one distribution. Where none is named and the package URLs
// name several, it is the one most of them name.
func settleQualifiers(bill *syftsbom.SBOM) {
	settled := pkg.NewCollection()
	votes := map[string]int{}
	for p := range bill.Artifacts.Packages.Enumerate() {
		if url, err := packageurl.FromString(p.PURL); p.PURL != "" && err == nil {
			qualifiers := url.Qualifiers.Map()
			settleUpstream(&p, qualifiers[pkg.PURLQualifierUpstream])
			if d := qualifiers[pkg.PURLQualifierDistro]; d != "" {
				votes[d]++
			}
		}
		// The id stays, so that relationships still hold.
		settled.Add(p)
	}
	bill.Artifacts.Packages = settled
	if bill.Artifacts.LinuxDistribution == nil && len(votes) > 0 {
		winner := slices.MaxFunc(slices.Sorted(maps.Keys(votes)), func(a, b string) int { return cmp.Compare(votes[a], votes[b]) })
		bill.Artifacts.LinuxDistribution = release(winner)
	}
}

// settleUpstream records the source package in the package's metadata, unless
// it has one there.
func settleUpstream(p *pkg.Package, upstream string) {
	if upstream == "" {
		return
	}
	name, version, _ := strings.Cut(upstream, "@")
	switch p.Type {
	case pkg.DebPkg:
		m, ok := p.Metadata.(pkg.DpkgDBEntry)
		if (ok || p.Metadata == nil) && m.Source == "" && name != p.Name {
			m.Source, m.SourceVersion = name, version
			p.Metadata = m
		}
	case pkg.ApkPkg:
		m, ok := p.Metadata.(pkg.ApkDBEntry)
		if (ok || p.Metadata == nil) && m.OriginPackage == "" && name != p.Name {
			m.OriginPackage = name
			p.Metadata = m
		}
	case pkg.RpmPkg:
		m, ok := p.Metadata.(pkg.RpmDBEntry)
		if (ok || p.Metadata == nil) && m.SourceRpm == "" {
			m.SourceRpm = upstream
			p.Metadata = m
		}
	}
}

// release reads the distro qualifier of a package URL: a name, a separator and a
// version or codename.
func release(distro string) *linux.Release {
	const leap = "opensuse-leap" // the one name with a separator in it
	name, version := distro, ""
	from := 0
	if strings.HasPrefix(distro, leap) {
		from = len(leap)
	}
	if i := strings.IndexAny(distro[from:], "-:@"); i >= 0 {
		name, version = distro[:from+i], distro[from+i+1:]
	}
	r := &linux.Release{ID: name, IDLike: []string{name}, VersionID: version}
	if version != "" && !strings.ContainsAny(version, "0123456789") {
		r.VersionID, r.VersionCodename = "", version
	}
	return r
}
