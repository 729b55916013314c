package match

import (
	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/syft/syft/cpe"
	syft "github.com/anchore/syft/syft/pkg"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/text"
)

// subject is the id of every package handed to a matcher. Matchers write it
// into what they suppress on others, where it is recognised again.
const subject = pkg.ID("subject")

// ofDistribution says whether a distribution maintains packages of the type.
// Their matchers read the whole distro; those of other packages at most its
// type, through the platform of a CPE.
func ofDistribution(t syft.Type) bool {
	switch t {
	case syft.DebPkg, syft.RpmPkg, syft.ApkPkg, syft.AlpmPkg, syft.PortagePkg:
		return true
	}
	return false
}

// fromGrype takes what matchers read of a package and leaves the rest: ids,
// locations, licences and everything in the metadata that decides nothing.
func (n *cpeNames) fromGrype(p pkg.Package) inventory.Package {
	out := inventory.Package{
		Type:     text.Clean(string(p.Type), text.Line),
		Name:     text.Clean(p.Name, text.Name),
		Version:  text.Clean(p.Version, text.Version),
		Language: text.Clean(string(p.Language), text.Line),
		PURL:     text.Clean(p.PURL, text.PURL),
		CPEs:     n.list(p.CPEs),
	}
	if p.Distro != nil {
		out.Distro = &inventory.Distro{Type: text.Clean(string(p.Distro.Type), text.Line)}
		if ofDistribution(p.Type) {
			out.Distro = fromDistro(p.Distro)
		}
	}
	for _, u := range p.Upstreams {
		out.Upstreams = append(out.Upstreams, inventory.Upstream{Name: text.Clean(u.Name, text.Name), Version: text.Clean(u.Version, text.Version)})
	}
	fromMetadata(p.Metadata, &out)
	return out
}

// fromMetadata copies what matchers read of the metadata. They look for these
// very types: what grype holds by pointer, such as Java metadata made up from a
// purl, they do not see.
func fromMetadata(metadata any, out *inventory.Package) {
	switch m := metadata.(type) {
	case pkg.RpmMetadata:
		out.RPM = &inventory.RPM{Epoch: m.Epoch, Arch: text.Clean(m.Arch, text.Line)}
		if m.ModularityLabel != nil {
			label := text.Clean(*m.ModularityLabel, text.Line)
			out.RPM.Modularity = &label
		}
	case pkg.ApkMetadata:
		out.APK = &inventory.APK{Arch: text.Clean(m.Arch, text.Line)}
	case pkg.JavaMetadata:
		out.Java = &inventory.Java{
			GroupID:      text.Clean(m.PomGroupID, text.Name),
			ArtifactID:   text.Clean(m.PomArtifactID, text.Name),
			ManifestName: text.Clean(m.ManifestName, text.Name),
		}
	case pkg.JavaVMInstallationMetadata:
		out.JVM = &inventory.JVM{
			JavaRuntimeVersion: text.Clean(m.Release.JavaRuntimeVersion, text.Version),
			JavaVersion:        text.Clean(m.Release.JavaVersion, text.Version),
			FullVersion:        text.Clean(m.Release.FullVersion, text.Version),
			SemanticVersion:    text.Clean(m.Release.SemanticVersion, text.Version),
		}
	case pkg.GolangBinMetadata:
		out.Go = &inventory.Go{MainModule: text.Clean(m.MainModule, text.Name), Symbols: fromSymbols(m.Symbols)}
	}
}

func fromSymbols(symbols map[string][]string) map[string][]string {
	if len(symbols) == 0 {
		return nil
	}
	out := make(map[string][]string, len(symbols))
	for path, names := range symbols {
		out[text.Clean(path, text.Name)] = text.CleanAll(names, text.Name)
	}
	return out
}

func fromDistro(d *distro.Distro) *inventory.Distro {
	if d == nil {
		return nil
	}
	return &inventory.Distro{
		Type:       text.Clean(string(d.Type), text.Line),
		Version:    text.Clean(d.Version, text.Version),
		Codename:   text.Clean(d.Codename, text.Line),
		Channels:   text.CleanAll(d.Channels, text.Line),
		IDLike:     text.CleanAll(d.IDLike, text.Line),
		SupportEnd: d.SupportEnd,
	}
}

// toGrype builds the package that matchers judge. The error is of kind Internal
// when p holds what fromGrype never writes.
func toGrype(p inventory.Package) (pkg.Package, error) {
	cpes, err := toCPEs(p)
	if err != nil {
		return pkg.Package{}, err
	}
	out := pkg.Package{
		ID:       subject,
		Type:     syft.Type(p.Type),
		Name:     p.Name,
		Version:  p.Version,
		Language: syft.Language(p.Language),
		PURL:     p.PURL,
		Distro:   toDistro(p.Distro),
		CPEs:     cpes,
		Metadata: toMetadata(p),
	}
	for _, u := range p.Upstreams {
		out.Upstreams = append(out.Upstreams, pkg.UpstreamPackage{Name: u.Name, Version: u.Version})
	}
	return out, nil
}

func toCPEs(p inventory.Package) ([]cpe.CPE, error) {
	var out []cpe.CPE
	for _, s := range p.CPEs {
		c, err := cpe.New(s, "")
		if err != nil {
			return nil, errs.Wrap(errs.Internal, "match: stored CPE of "+p.Type+" "+p.Name, err)
		}
		out = append(out, c)
	}
	return out, nil
}

func toMetadata(p inventory.Package) any {
	switch {
	case p.RPM != nil:
		return pkg.RpmMetadata{Epoch: p.RPM.Epoch, ModularityLabel: p.RPM.Modularity, Arch: p.RPM.Arch}
	case p.APK != nil:
		return pkg.ApkMetadata{Arch: p.APK.Arch}
	case p.Java != nil:
		return pkg.JavaMetadata{PomGroupID: p.Java.GroupID, PomArtifactID: p.Java.ArtifactID, ManifestName: p.Java.ManifestName}
	case p.JVM != nil:
		return pkg.JavaVMInstallationMetadata{Release: pkg.JavaVMReleaseMetadata(*p.JVM)}
	case p.Go != nil:
		return pkg.GolangBinMetadata{MainModule: p.Go.MainModule, Symbols: p.Go.Symbols}
	}
	return nil
}

// toDistro rebuilds a distro through grype's constructor, which takes the
// version apart. The constructor writes into the list it is given.
func toDistro(d *inventory.Distro) *distro.Distro {
	if d == nil {
		return nil
	}
	out := distro.New(distro.Type(d.Type), d.Version, d.Codename, append([]string(nil), d.IDLike...)...)
	out.Channels = d.Channels
	out.SupportEnd = d.SupportEnd
	return out
}
