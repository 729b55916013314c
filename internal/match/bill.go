package match

import (
	"bytes"
	"slices"

	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/syft/syft/artifact"
	"github.com/anchore/syft/syft/format/syftjson"
	syft "github.com/anchore/syft/syft/pkg"
	syftsbom "github.com/anchore/syft/syft/sbom"
	"github.com/anchore/syft/syft/source"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// fromBill reads an SBOM that is in memory, as the grype CLI does with what it
// catalogued itself.
type fromBill struct{ bill *syftsbom.SBOM }

func (f fromBill) provide() (*contents, error) { return provideBill(f.bill) }

// withoutVersionless takes the packages away that the CLI has syft drop. Edges to
// packages that are not there mean nothing.
func (f fromBill) withoutVersionless() (*contents, error) {
	rest := *f.bill
	rest.Artifacts.Packages = syft.NewCollection()
	for p := range f.bill.Artifacts.Packages.Enumerate() {
		if !versionless(p.Version) {
			rest.Artifacts.Packages.Add(p)
		}
	}
	return provideBill(&rest)
}

// provideBill does what pkg.Provide does after cataloguing. Which distro that
// makes, and which packages are left out because a package of the distro owns
// them, is decided by rules that grype does not export: they are asked by means
// of a document that holds nothing else.
func provideBill(bill *syftsbom.SBOM) (*contents, error) {
	all := pkg.FromPackages(withoutFiles(bill), bill.Relationships, providerConfig().SynthesisConfig)
	context, left, err := askRules(bill, all)
	if err != nil {
		return nil, err
	}
	kept := make([]*pkg.Package, 0, len(all))
	for _, p := range all {
		if left[p.ID] {
			continue
		}
		if p.Distro == nil {
			p.Distro = context.Distro
		}
		kept = append(kept, p)
	}
	return &contents{judged: pkg.FromPtrs(kept), context: context, sbom: bill}, nil
}

// withoutFiles lists the packages of a bill. Where the bill says who owns whom,
// grype does not work that out from the files of packages, and they are left out:
// most of the work is in their number.
func withoutFiles(bill *syftsbom.SBOM) []syft.Package {
	packages := bill.Artifacts.Packages.Sorted()
	if !slices.ContainsFunc(bill.Relationships, func(r artifact.Relationship) bool {
		return r.Type == artifact.OwnershipByFileOverlapRelationship &&
			bill.Artifacts.Packages.Package(r.From.ID()) != nil && bill.Artifacts.Packages.Package(r.To.ID()) != nil
	}) {
		return packages
	}
	for i := range packages {
		switch m := packages[i].Metadata.(type) {
		case syft.DpkgDBEntry:
			m.Files = nil
			packages[i].Metadata = m
		case syft.RpmDBEntry:
			m.Files = nil
			packages[i].Metadata = m
		}
	}
	return packages
}

// askRules has grype read a document with the distro and with those packages
// that own another or are owned, by name, version and type. It returns the
// context grype makes of it, and the packages that it leaves out.
func askRules(bill *syftsbom.SBOM, all []*pkg.Package) (context pkg.Context, left map[pkg.ID]bool, err error) {
	question := syftsbom.SBOM{
		Artifacts:  syftsbom.Artifacts{Packages: syft.NewCollection(), LinuxDistribution: bill.Artifacts.LinuxDistribution},
		Source:     source.Description{ID: "image", Metadata: source.ImageMetadata{}},
		Descriptor: bill.Descriptor,
	}
	left = map[pkg.ID]bool{}
	for _, p := range all {
		for _, owner := range p.RelatedPackages[artifact.OwnershipByFileOverlapRelationship] {
			from, to := plain(owner), plain(p)
			question.Artifacts.Packages.Add(from, to)
			question.Relationships = append(question.Relationships, artifact.Relationship{From: from, To: to, Type: artifact.OwnershipByFileOverlapRelationship})
			left[p.ID] = true // until grype keeps it
		}
	}
	var document bytes.Buffer
	if err := syftjson.NewFormatEncoder().Encode(&document, question); err != nil {
		return pkg.Context{}, nil, errs.Wrap(errs.Internal, "match: write SBOM", err)
	}
	answer, err := provide(document.Bytes())
	if err != nil {
		return pkg.Context{}, nil, err
	}
	for _, p := range answer.judged {
		delete(left, p.ID)
	}
	answer.context.Source = &bill.Source
	return answer.context, left, nil
}

// plain is a package under its id, with nothing else than what the rules of
// ownership read.
func plain(p *pkg.Package) syft.Package {
	out := syft.Package{Name: p.Name, Version: p.Version, Type: p.Type}
	out.OverrideID(artifact.ID(p.ID))
	return out
}
