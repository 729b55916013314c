package match

import (
	"errors"
	"testing"

	grypematch "github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/vulnerability"
	"github.com/anchore/syft/syft/artifact"
	syft "github.com/anchore/syft/syft/pkg"
	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// scripted is a matcher that gives a fixed answer.
type scripted func(pkg.Package) ([]grypematch.Match, []grypematch.IgnoreFilter, error)

func (scripted) PackageTypes() []syft.Type    { return []syft.Type{syft.DebPkg} }
func (scripted) Type() grypematch.MatcherType { return grypematch.DpkgMatcher }
func (m scripted) Match(_ vulnerability.Provider, p pkg.Package) ([]grypematch.Match, []grypematch.IgnoreFilter, error) {
	return m(p)
}

// judgeBy judges one Debian package with a scripted matcher.
func judgeBy(t *testing.T, p inventory.Package, m scripted) (inventory.Judgement, error) {
	t.Helper()
	s := pin(t, sampleEngine(t))
	s.matchers = matcherIndex{byType: map[syft.Type][]grypematch.Matcher{syft.DebPkg: {m}}}
	p.Type = string(syft.DebPkg)
	out, err := s.Judge(t.Context(), []inventory.Package{p})
	if err != nil {
		return inventory.Judgement{}, err
	}
	return out[0], nil
}

func found(p pkg.Package, id string, how grypematch.Type) grypematch.Match {
	return grypematch.Match{
		Package: p,
		Vulnerability: vulnerability.Vulnerability{
			Reference: vulnerability.Reference{ID: id, Namespace: "debian:distro:debian:12"},
			Metadata:  &vulnerability.Metadata{ID: id, Namespace: "debian:distro:debian:12", Severity: "High"},
			Fix:       vulnerability.Fix{State: vulnerability.FixStateFixed, Versions: []string{"9", "2"}},
		},
		Details: grypematch.Details{{Type: how, Matcher: grypematch.DpkgMatcher, Confidence: 1, SearchedBy: map[string]string{"name": "<a&b>"}, Found: map[string]string{}}},
	}
}

func TestKernelHeadersAreIgnored(t *testing.T) {
	for _, tt := range []struct {
		name, pkg, upstream string
		how                 grypematch.Type
		want                string
	}{
		{"headers through the kernel", "linux-libc-dev", "linux", grypematch.ExactIndirectMatch, reasonKernelHeaders},
		{"versioned headers", "linux-headers-6.1.0-13-amd64", "linux", grypematch.ExactIndirectMatch, reasonKernelHeaders},
		{"headers themselves", "linux-libc-dev", "linux", grypematch.ExactDirectMatch, ""},
		{"the kernel", "linux-image-6.1.0-13-amd64", "linux", grypematch.ExactIndirectMatch, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j, err := judgeBy(t, inventory.Package{Name: tt.pkg, Version: "1", Upstreams: []inventory.Upstream{{Name: tt.upstream}}},
				func(p pkg.Package) ([]grypematch.Match, []grypematch.IgnoreFilter, error) {
					return []grypematch.Match{found(p, "CVE-1", tt.how)}, nil, nil
				})
			if err != nil {
				t.Fatal(err)
			}
			if len(j.Matches) != 1 || j.Matches[0].Ignored != tt.want {
				t.Errorf("matches %+v, want one ignored because of %q", j.Matches, tt.want)
			}
		})
	}
}

func TestMatchIsRecorded(t *testing.T) {
	j, err := judgeBy(t, inventory.Package{Name: "a", Version: "1"}, func(p pkg.Package) ([]grypematch.Match, []grypematch.IgnoreFilter, error) {
		m := found(p, "CVE-1", grypematch.ExactDirectMatch)
		m.Vulnerability.RelatedVulnerabilities = []vulnerability.Reference{{ID: "GHSA-1", Namespace: "github:language:go"}}
		m.Vulnerability.Advisories = []vulnerability.Advisory{{ID: "DSA-1", Link: "https://example.org/DSA-1"}}
		weaker := found(p, "CVE-1", grypematch.CPEMatch)
		weaker.Details[0].Confidence = 0.9
		return []grypematch.Match{weaker, m}, nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []vuln.Match{{
		Ref:     vuln.Ref{ID: "CVE-1", Namespace: "debian:distro:debian:12"},
		Aliases: []vuln.Ref{{ID: "GHSA-1", Namespace: "github:language:go"}},
		Fix:     vuln.Fix{State: vuln.FixStateFixed, Versions: []string{"2", "9"}}, SuggestedVersion: "2",
		MatchType: "exact-direct-match", Matcher: "dpkg-matcher", Confidence: 1,
		Details: []byte(`[{"type":"exact-direct-match","matcher":"dpkg-matcher","searchedBy":{"name":"<a&b>"},"found":{},"fix":{"suggestedVersion":"2"}},` +
			`{"type":"cpe-match","matcher":"dpkg-matcher","searchedBy":{"name":"<a&b>"},"found":{},"fix":{"suggestedVersion":"2"}}]`),
		Advisories: []vuln.Advisory{{ID: "DSA-1", Link: "https://example.org/DSA-1"}},
	}}
	if diff := cmp.Diff(want, j.Matches); diff != "" {
		t.Errorf("matches (-want +got):\n%s\n%s", diff, j.Matches[0].Details)
	}
}

func TestIgnores(t *testing.T) {
	owned := func(id, reason string) grypematch.IgnoreRelatedPackage {
		return grypematch.IgnoreRelatedPackage{VulnerabilityID: id, Reason: reason, RelationshipType: artifact.OwnershipByFileOverlapRelationship, RelatedPackageID: subject}
	}
	same := func(p pkg.Package, id string) grypematch.IgnoreRule {
		return grypematch.IgnoreRule{Vulnerability: id, IncludeAliases: true, Reason: "unaffected",
			Package: grypematch.IgnoreRulePackage{Type: string(p.Type), Name: p.Name, Version: p.Version}}
	}
	otherOwner, contains, unnamed := owned("CVE-1", "x"), owned("CVE-1", "x"), owned("", "x")
	otherOwner.RelatedPackageID = "another"
	contains.RelationshipType = artifact.ContainsRelationship
	for _, tt := range []struct {
		name    string
		pkg     string
		filters func(pkg.Package) []grypematch.IgnoreFilter
		want    []vuln.Ignore
		fails   bool
	}{
		{"the first reason stands", "a", func(pkg.Package) []grypematch.IgnoreFilter {
			return []grypematch.IgnoreFilter{owned("CVE-2", "fixed"), owned("CVE-1", "first"), owned("CVE-1", "second")}
		}, []vuln.Ignore{{Vulnerability: "CVE-1", Kind: vuln.IgnoreOwned, Reason: "first"}, {Vulnerability: "CVE-2", Kind: vuln.IgnoreOwned, Reason: "fixed"}}, false},
		{"by name", "a", func(p pkg.Package) []grypematch.IgnoreFilter {
			return []grypematch.IgnoreFilter{same(p, "CVE-1"), owned("CVE-1", "fixed")}
		}, []vuln.Ignore{{Vulnerability: "CVE-1", Kind: vuln.IgnoreOwned, Reason: "fixed"}, {Vulnerability: "CVE-1", Kind: vuln.IgnoreSame, Reason: "unaffected"}}, false},
		{"a name that is no pattern of itself", "libstdc++6", func(p pkg.Package) []grypematch.IgnoreFilter {
			return []grypematch.IgnoreFilter{same(p, "CVE-1")}
		}, nil, false},
		{"another owner", "a", func(pkg.Package) []grypematch.IgnoreFilter { return []grypematch.IgnoreFilter{otherOwner} }, nil, true},
		{"another relationship", "a", func(pkg.Package) []grypematch.IgnoreFilter { return []grypematch.IgnoreFilter{contains} }, nil, true},
		{"no vulnerability", "a", func(pkg.Package) []grypematch.IgnoreFilter { return []grypematch.IgnoreFilter{unnamed} }, nil, true},
		{"by namespace", "a", func(p pkg.Package) []grypematch.IgnoreFilter {
			rule := same(p, "CVE-1")
			rule.Namespace = "nvd:cpe"
			return []grypematch.IgnoreFilter{rule}
		}, nil, true},
		{"without aliases", "a", func(p pkg.Package) []grypematch.IgnoreFilter {
			rule := same(p, "CVE-1")
			rule.IncludeAliases = false
			return []grypematch.IgnoreFilter{rule}
		}, nil, true},
		{"by location", "a", func(p pkg.Package) []grypematch.IgnoreFilter {
			rule := same(p, "CVE-1")
			rule.Package.Location = "/usr/**"
			return []grypematch.IgnoreFilter{rule}
		}, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j, err := judgeBy(t, inventory.Package{Name: tt.pkg, Version: "1"}, func(p pkg.Package) ([]grypematch.Match, []grypematch.IgnoreFilter, error) {
				return nil, tt.filters(p), nil
			})
			if tt.fails != errs.Is(err, errs.Internal) || !tt.fails && err != nil {
				t.Fatalf("error %v, want one: %v", err, tt.fails)
			}
			if diff := cmp.Diff(tt.want, j.Ignores); diff != "" {
				t.Errorf("ignores (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMatcherFailures(t *testing.T) {
	p := inventory.Package{Name: "a", Version: "1"}
	if _, err := judgeBy(t, p, func(pkg.Package) ([]grypematch.Match, []grypematch.IgnoreFilter, error) { panic("boom") }); !errs.Is(err, errs.Malformed) {
		t.Errorf("a panic: %v", err)
	}
	fatal := func(pkg.Package) ([]grypematch.Match, []grypematch.IgnoreFilter, error) {
		return nil, nil, grypematch.NewFatalError(grypematch.DpkgMatcher, errors.New("no"))
	}
	if _, err := judgeBy(t, p, fatal); !errs.Is(err, errs.Internal) {
		t.Errorf("a fatal error: %v", err)
	}
	// As in grype, a package that a matcher cannot read keeps what was found.
	j, err := judgeBy(t, p, func(p pkg.Package) ([]grypematch.Match, []grypematch.IgnoreFilter, error) {
		return []grypematch.Match{found(p, "CVE-1", grypematch.ExactDirectMatch)}, nil, errors.New("odd version")
	})
	if err != nil || len(j.Matches) != 1 {
		t.Errorf("another error: %v, %d matches", err, len(j.Matches))
	}
}
