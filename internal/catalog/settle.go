package catalog

import (
	"slices"

	"github.com/anchore/syft/syft/artifact"
	"github.com/anchore/syft/syft/pkg"
	syftsbom "github.com/anchore/syft/syft/sbom"
)

// Syft goes over all packages several times after its catalogers ran, which for
// a known image is most of the work. So it is handed stand-ins for the packages
// of ours, and what it would do with them is done here, in one go; a comparison
// with syft itself holds the two together.

// hand returns what syft is given in place of packages. Those that it would change
// or leave out by its rules of compliance it gets itself.
func (r *resolver) hand(packages []pkg.Package) []pkg.Package {
	if slices.ContainsFunc(packages, func(p pkg.Package) bool { return p.ID() == "" || isBlank(p.Name) || isBlank(p.Version) }) {
		return packages
	}
	r.mu.Lock()
	r.found = append(r.found, packages...)
	r.mu.Unlock()
	out := make([]pkg.Package, len(packages))
	for i, p := range packages {
		// What tells of a distribution's extended support is in versions.
		out[i] = pkg.Package{Name: p.Name, Version: p.Version, Type: p.Type, Language: pkg.UnknownLanguage, FoundBy: p.FoundBy}
		out[i].OverrideID(p.ID())
	}
	return out
}

// settle puts the packages back into a bill, with which of them own which others,
// and without those that others answer for.
func (r *resolver) settle(bill *syftsbom.SBOM) {
	r.mu.Lock()
	found := r.found
	r.found = nil
	r.mu.Unlock()
	stood := make(map[artifact.ID]bool, len(found))
	for i := range found {
		stood[found[i].ID()] = true
	}
	for p := range bill.Artifacts.Packages.Enumerate() {
		if !stood[p.ID()] {
			found = append(found, p)
		}
	}
	s := settling{resolver: r, packages: pkg.NewCollection(found...)}
	s.list(found)
	s.dropByNotes()
	edges := s.overlaps()
	s.dropOwned(edges)
	bill.Artifacts.Packages = s.packages
	bill.Relationships = slices.DeleteFunc(append(bill.Relationships, edges...), func(e artifact.Relationship) bool {
		return s.dropped[e.From.ID()] || s.dropped[e.To.ID()]
	})
}

// settling is the work on one bill.
type settling struct {
	resolver *resolver
	packages *pkg.Collection
	all      []pkg.Package   // each once, by their ids
	paths    map[string]bool // that packages were found at
	dropped  map[artifact.ID]bool
	lists    map[string][]pkg.Type // of which types are the packages that own a path
}

// list takes the packages out as the collection has merged them.
func (s *settling) list(found []pkg.Package) {
	ids := make([]artifact.ID, 0, len(found))
	seen := make(map[artifact.ID]bool, len(found))
	for i := range found {
		if id := found[i].ID(); !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	s.all = s.packages.Packages(ids)
	s.paths, s.dropped = map[string]bool{}, map[artifact.ID]bool{}
	for i := range s.all {
		for _, l := range s.all[i].Locations.ToUnorderedSlice() {
			s.paths[l.RealPath] = true
			s.paths[l.AccessPath] = true
		}
	}
}

func (s *settling) drop(id artifact.ID) {
	s.packages.Delete(id)
	s.dropped[id] = true
}

// dropByNotes drops what was recognised by the bytes of a program that has a note
// of what it is.
func (s *settling) dropByNotes() {
	for i := range s.all {
		if !hasNote(s.all[i]) {
			continue
		}
		for _, l := range s.all[i].Locations.ToUnorderedSlice() {
			if l.Annotations[pkg.EvidenceAnnotationKey] != pkg.PrimaryEvidenceAnnotation {
				continue
			}
			for _, other := range s.packages.PackagesByPath(l.RealPath) {
				if other.Type == pkg.BinaryPkg && !hasNote(other) {
					s.drop(other.ID())
				}
			}
		}
	}
}

func hasNote(p pkg.Package) bool {
	_, ok := p.Metadata.(pkg.ELFBinaryPackageNoteJSONPayload)
	return ok
}

// dropOwned drops the packages that another answers for.
func (s *settling) dropOwned(edges []artifact.Relationship) {
	for _, e := range edges {
		owner, owned := e.From.(pkg.Package), e.To.(pkg.Package)
		if s.dropped[owner.ID()] || s.dropped[owned.ID()] {
			continue
		}
		if id := answeredFor(owner, owned); id != "" {
			s.drop(id)
		}
	}
}

// ofSystems are the packages that answer for programs they own.
var ofSystems = []pkg.Type{pkg.AlpmPkg, pkg.ApkPkg, pkg.DebPkg, pkg.NixPkg, pkg.PortagePkg, pkg.RpmPkg, pkg.BitnamiPkg}

// answeredFor returns which of an owner and what it owns says nothing new; empty
// when both do.
func answeredFor(owner, owned pkg.Package) artifact.ID {
	if slices.Contains(ofSystems, owner.Type) {
		if owned.Type == pkg.BinaryPkg || isFromBytes(owned.Metadata) {
			return owned.ID()
		}
		return ""
	}
	// An installed Java answers for its programs.
	if owner.Type != pkg.BinaryPkg || owned.Type != pkg.BinaryPkg || owned.Metadata == nil {
		return ""
	}
	_, ownerIsJava := owner.Metadata.(pkg.JavaVMInstallation)
	_, ownedIsJava := owned.Metadata.(pkg.JavaVMInstallation)
	switch {
	case ownerIsJava && !ownedIsJava:
		return owned.ID()
	case ownedIsJava && !ownerIsJava:
		return owner.ID()
	}
	return ""
}

// isFromBytes reports whether a package was recognised in a program.
func isFromBytes(metadata any) bool {
	switch metadata.(type) {
	case pkg.ELFBinaryPackageNoteJSONPayload, pkg.BinarySignature, pkg.JavaVMInstallation:
		return true
	}
	return false
}

// actual is the file that a path leads to.
func (s *settling) actual(p string) (actual string, ok bool) {
	at, ok := s.resolver.tree.Find(p)
	if !ok {
		return "", false
	}
	f, ok := s.resolver.tree.File(at)
	if actual = s.resolver.tree.Path(at); !ok || actual == "/" || s.resolver.isDirectory(f) {
		return "", false
	}
	return actual, true
}
