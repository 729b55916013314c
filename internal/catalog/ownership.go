package catalog

import (
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/anchore/syft/syft/artifact"
	"github.com/anchore/syft/syft/pkg"
)

// ownedFiles is what an edge of ownership says, in syft's own words.
type ownedFiles struct {
	Files []string `json:"files"`
}

// nobodys are files that belong to no package although some list them: a database
// would own all that it lists, and copyright files are shared.
var nobodys = []string{
	pkg.ApkDBGlob, pkg.DpkgDBGlob, pkg.RpmDBGlob, "**/rpm/{Packages,Packages.db,rpmdb.sqlite}", "/usr/share/doc/**/copyright",
}

// overlaps returns an edge for each two packages of which one owns a file that
// the other was found in.
func (s *settling) overlaps() []artifact.Relationship {
	owned := s.ownedFiles()
	var edges []artifact.Relationship
	for i := range s.all {
		owner := &s.all[i]
		if s.dropped[owner.ID()] {
			continue
		}
		through := map[artifact.ID][]string{}
		for _, p := range owned[i] {
			s.through(through, owner, p, owned)
		}
		for _, id := range sortedIDs(through) {
			files := through[id]
			slices.Sort(files)
			for _, other := range s.packages.Packages([]artifact.ID{id}) {
				edges = append(edges, artifact.Relationship{
					From: *owner, To: other, Type: artifact.OwnershipByFileOverlapRelationship, Data: ownedFiles{slices.Compact(files)},
				})
			}
		}
	}
	return edges
}

func sortedIDs(through map[artifact.ID][]string) []artifact.ID {
	ids := make([]artifact.ID, 0, len(through))
	for id := range through {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// ownedFiles lists what each package says it owns.
func (s *settling) ownedFiles() [][]string {
	out := make([][]string, len(s.all))
	for i := range s.all {
		if owner, ok := s.all[i].Metadata.(pkg.FileOwner); ok && !s.dropped[s.all[i].ID()] {
			out[i] = owner.OwnedFiles()
		}
	}
	return out
}

// through notes the packages that were found in a file, which is also looked for
// where links lead.
func (s *settling) through(into map[artifact.ID][]string, owner *pkg.Package, p string, owned [][]string) {
	if p == "" {
		return
	}
	if s.paths[p] {
		s.throughPath(into, owner, p)
	}
	actual, ok := s.actual(p)
	if !ok || actual == p || !s.paths[actual] {
		return
	}
	// Not by a link when another package of the kind lists the file itself.
	if !s.listed(owner.Type, actual, owned) {
		s.throughPath(into, owner, actual)
	}
}

func (s *settling) throughPath(into map[artifact.ID][]string, owner *pkg.Package, p string) {
	for _, glob := range nobodys {
		if ok, _ := doublestar.Match(glob, p); ok {
			return
		}
	}
	for _, other := range s.packages.PackagesByPath(p) {
		if other.ID() != owner.ID() {
			into[other.ID()] = append(into[other.ID()], p)
		}
	}
}

// listed reports whether a package of a type says it owns a path.
func (s *settling) listed(t pkg.Type, p string, owned [][]string) bool {
	if s.lists == nil {
		s.lists = map[string][]pkg.Type{}
		for i, files := range owned {
			for _, f := range files {
				if s.paths[f] {
					s.lists[f] = append(s.lists[f], s.all[i].Type)
				}
			}
		}
	}
	return slices.Contains(s.lists[p], t)
}

func isBlank(s string) bool { return strings.TrimSpace(s) == "" }
