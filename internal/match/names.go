package match

import (
	"slices"
	"strings"

	"github.com/anchore/grype/grype/db/v6/name"
	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/search"
	"github.com/anchore/grype/grype/vulnerability"
	"github.com/anchore/syft/syft/cpe"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
)

// Names says under which names a database may hold advisories that concern the
// package: lower-case, sorted, each once. A package whose names no change
// mentions is judged as before (see Engine.Compare).
//
// The matchers themselves are asked: they run over a database without records,
// and what they search for is noted. That follows every way of grype's to spell
// a name. Nil means that it cannot be said, and the package must be judged again
// after every change.
func Names(p inventory.Package) []string {
	return newMatcherIndex().namesOf(p)
}

// namesOf is Names with matchers that are at hand.
func (x matcherIndex) namesOf(p inventory.Package) (names []string) {
	defer func() {
		if recover() != nil {
			names = nil // as judging it would fail
		}
	}()
	subject, err := toGrype(p)
	if err != nil {
		return nil
	}
	asked := &searches{found: map[string]bool{}}
	for _, m := range x.of(subject.Type) {
		if _, _, err := m.Match(asked, subject); err != nil || asked.unnamed {
			return nil
		}
	}
	// What matchers look for only after they found something (AlmaLinux's own
	// records, after Red Hat's) is under these names as well.
	asked.add(subject.Name)
	if subject.Distro != nil && ofDistribution(subject.Type) {
		asked.addDistros([]distro.Distro{*subject.Distro})
	}
	for _, u := range subject.Upstreams {
		asked.add(u.Name)
	}
	return asked.names()
}

// searches is a vulnerability provider without records. It notes what is
// searched.
type searches struct {
	found map[string]bool
	// unnamed is set by a search that goes neither by name nor by CPE.
	unnamed bool
}

var _ vulnerability.Provider = (*searches)(nil)

func (s *searches) add(name string) {
	if name != "" {
		s.found[folded(name)] = true
	}
}

func (s *searches) names() []string {
	out := make([]string, 0, len(s.found))
	for n := range s.found {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// folded is a name as names are compared. The database compares without regard
// to the case of ASCII letters; to fold more makes two names one, which costs a
// judgement and misses none.
func folded(name string) string { return strings.ToLower(name) }

// ofDistro is the name that stands for whatever a distro's packages are compared
// with. No package is called so: it would need a type of its own.
func ofDistro(name string) string { return "distro:" + folded(name) }

// PackageSearchNames are grype's own (vulnerability.Provider).
func (s *searches) PackageSearchNames(p pkg.Package) []string { return name.PackageNames(p) }

// FindVulnerabilities notes the search and finds nothing
// (vulnerability.Provider).
func (s *searches) FindVulnerabilities(criteria ...vulnerability.Criteria) ([]vulnerability.Vulnerability, error) {
	for _, set := range search.CriteriaIterator(criteria) {
		if !s.note(set) {
			s.unnamed = true
		}
	}
	return nil, nil
}

// note reads one set of criteria; it reports whether the search is limited to a
// name.
func (s *searches) note(criteria []vulnerability.Criteria) (named bool) {
	var spelt string
	var typed *search.EcosystemCriteria
	for _, c := range criteria {
		switch c := c.(type) {
		case *search.PackageNameCriteria:
			// A search without a name finds everything.
			spelt, named = c.PackageName, c.PackageName != ""
		case *search.EcosystemCriteria:
			typed = c
		case *search.CPECriteria:
			// A search for any product is refused by grype.
			if p := c.CPE.Attributes.Product; p != cpe.Any {
				s.add(p)
			}
			named = true
		case *search.DistroCriteria:
			s.addDistros(c.Distros)
		}
	}
	s.add(spelt)
	if typed != nil && typed.PackageType != "" {
		s.add(name.Normalize(spelt, typed.PackageType))
	}
	return named
}

func (s *searches) addDistros(distros []distro.Distro) {
	for _, d := range distros {
		if d.Name() != "" {
			s.found[ofDistro(d.Name())] = true
		}
	}
}

// VulnerabilityMetadata knows nothing (vulnerability.Provider).
func (s *searches) VulnerabilityMetadata(vulnerability.Reference) (*vulnerability.Metadata, error) {
	return nil, nil
}

// Close does nothing (vulnerability.Provider).
func (s *searches) Close() error { return nil }
