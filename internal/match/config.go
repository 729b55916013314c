package match

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anchore/grype/grype/distro"
	grypematch "github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/matcher"
	"github.com/anchore/grype/grype/matcher/dpkg"
	"github.com/anchore/grype/grype/matcher/golang"
	"github.com/anchore/grype/grype/matcher/java"
	"github.com/anchore/grype/grype/matcher/rpm"
	"github.com/anchore/grype/grype/matcher/stock"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/version"
	syft "github.com/anchore/syft/syft/pkg"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
)

// The name and version of the engine as they stand in a build. A test holds the
// version against go.mod.
const (
	engineName    = "grype"
	engineVersion = "v0.121.0"
)

// matcherConfig is what the grype CLI gives its matchers at its defaults: only
// packages of unknown ecosystems are searched by CPE, and nothing asks the
// network. A test compares it with the CLI's own description of its settings.
func matcherConfig() matcher.Config {
	return matcher.Config{
		Java: java.MatcherConfig{ExternalSearchConfig: java.ExternalSearchConfig{
			MavenBaseURL:   "https://search.maven.org/solrsearch/select",
			MavenRateLimit: 300 * time.Millisecond,
		}},
		Golang: golang.MatcherConfig{},
		Stock:  stock.MatcherConfig{UseCPEs: true},
		Dpkg:   dpkg.MatcherConfig{MissingEpochStrategy: version.MissingEpochStrategyZero},
		Rpm:    rpm.MatcherConfig{MissingEpochStrategy: version.MissingEpochStrategyAuto},
	}
}

// kernelHeaders are the ignore rules the grype CLI adds by default: packages
// made from the kernel's source that hold no kernel code.
func kernelHeaders() []grypematch.IgnoreRule {
	rule := func(t syft.Type, name, upstream string) grypematch.IgnoreRule {
		return grypematch.IgnoreRule{
			Package:   grypematch.IgnoreRulePackage{Name: name, UpstreamName: upstream, Type: string(t)},
			MatchType: grypematch.ExactIndirectMatch,
		}
	}
	return []grypematch.IgnoreRule{
		rule(syft.RpmPkg, "kernel-headers", "kernel"),
		rule(syft.DebPkg, "linux(-.*)?-headers-.*", "linux.*"),
		rule(syft.DebPkg, "linux-libc-dev", "linux"),
		rule(syft.DebPkg, "linux-kbuild-.*", "linux.*"),
	}
}

// ofKernel reports whether the rules of kernelHeaders may be about a package: all
// of them name its source. Each rule compiles patterns anew for each package.
func ofKernel(p pkg.Package) bool {
	return slices.ContainsFunc(p.Upstreams, func(u pkg.UpstreamPackage) bool {
		return strings.Contains(u.Name, "linux") || strings.Contains(u.Name, "kernel")
	})
}

// explicitlyIgnored reports whether grype's own list of false positives has
// packages of a type. It goes through all of its rules for each match. A test
// holds the types to grype's source.
func explicitlyIgnored(t syft.Type) bool {
	return t == syft.JavaPkg || t == syft.GoModulePkg || t == syft.GemPkg || t == syft.DebPkg
}

// configNumber grows with every change of what configName names; a test holds it
// to that. By it processes of two versions know which of them gives way.
const configNumber = 1

// configName names everything of ours that decides results besides the database
// and grype's version.
func configName() string {
	b, err := json.Marshal(struct {
		Matchers    matcher.Config
		Ignore      []grypematch.IgnoreRule
		Fingerprint int
	}{matcherConfig(), kernelHeaders(), inventory.FingerprintVersion})
	if err != nil {
		panic(err) // plain data; cannot fail
	}
	return strconv.Itoa(configNumber) + "-" + image.DigestOf(b).Short()
}

// fixChannels are those of the grype CLI: extended support counts when the
// image says it has it.
func fixChannels() []distro.FixChannel { return distro.DefaultFixChannels() }

// matcherIndex lists the matchers of each package type, and the one for types
// that have none of their own, as grype chooses them.
type matcherIndex struct {
	byType   map[syft.Type][]grypematch.Matcher
	fallback grypematch.Matcher
}

func newMatcherIndex() matcherIndex {
	index := matcherIndex{byType: map[syft.Type][]grypematch.Matcher{}}
	for _, m := range matcher.NewDefaultMatchers(matcherConfig()) {
		if m.Type() == grypematch.StockMatcher {
			index.fallback = m
			continue
		}
		for _, t := range m.PackageTypes() {
			index.byType[t] = append(index.byType[t], m)
		}
	}
	return index
}

// of returns the matchers of a type, never none.
func (x matcherIndex) of(t syft.Type) []grypematch.Matcher {
	if m := x.byType[t]; m != nil {
		return m
	}
	return []grypematch.Matcher{x.fallback}
}
