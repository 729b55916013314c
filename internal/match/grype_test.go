package match

import (
	"fmt"
	"sort"
	"testing"

	"github.com/anchore/grype/grype"
	v6 "github.com/anchore/grype/grype/db/v6"
	grypematch "github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/matcher"
	"github.com/anchore/grype/grype/vulnerability"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
)

// line is a match as parity compares it.
type line struct {
	Package string // the package's id in the SBOM
	Type    string
	Name    string
	Version string
	ID      string
	Space   string
	How     string
	Fix     string
	Ignored bool
}

func sortLines(lines []line) []line {
	sort.Slice(lines, func(i, j int) bool { return fmt.Sprint(lines[i]) < fmt.Sprint(lines[j]) })
	return lines
}

// grypeLines are the matches of grype's own VulnerabilityMatcher over the
// packages that the CLI would match.
func grypeLines(t testing.TB, provider vulnerability.Provider, c *contents) []line {
	t.Helper()
	m := grype.VulnerabilityMatcher{
		VulnerabilityProvider:      provider,
		Matchers:                   matcher.NewDefaultMatchers(matcherConfig()),
		IgnoreRules:                kernelHeaders(),
		IncludeMatcherSuppressions: true,
	}
	matches, ignored, err := m.FindMatches(c.judged, c.context)
	if err != nil {
		t.Fatal(err)
	}
	var lines []line
	for _, m := range matches.Sorted() {
		lines = append(lines, grypeLine(m, false))
	}
	for _, m := range ignored {
		lines = append(lines, grypeLine(m.Match, true))
	}
	return sortLines(lines)
}

func grypeLine(m grypematch.Match, ignored bool) line {
	versions := append([]string{}, m.Vulnerability.Fix.Versions...)
	sort.Strings(versions)
	return line{
		Package: string(m.Package.ID), Type: string(m.Package.Type), Name: m.Package.Name, Version: m.Package.Version,
		ID: m.Vulnerability.ID, Space: m.Vulnerability.Namespace, How: string(m.Details[0].Type),
		Fix: fmt.Sprint(m.Vulnerability.Fix.State, versions), Ignored: ignored,
	}
}

// ourLines are our verdicts for every package of the SBOM.
func ourLines(inv *inventory.Inventory, judgements []inventory.Judgement) []line {
	byMember := map[int][]inventory.Verdict{}
	for _, v := range inv.Apply(judgements) {
		byMember[v.Member] = append(byMember[v.Member], v)
	}
	var lines []line
	for _, o := range inv.Occurrences {
		p := inv.Packages[inv.Members[o.Member].Package]
		for _, v := range byMember[o.Member] {
			versions := append([]string{}, v.Match.Fix.Versions...)
			sort.Strings(versions)
			lines = append(lines, line{
				Package: o.ID, Type: p.Type, Name: p.Name, Version: p.Version,
				ID: v.Match.ID, Space: v.Match.Namespace, How: v.Match.MatchType,
				Fix: fmt.Sprint(v.Match.Fix.State, versions), Ignored: v.Ignored != "",
			})
		}
	}
	return sortLines(lines)
}

// plainProvider opens a database as grype does, without our memory.
func plainProvider(t testing.TB, in vulndb.Installed) vulnerability.Provider {
	t.Helper()
	plain, err := v6.NewReader(v6.Config{DBDirPath: in.Dir})
	if err != nil {
		t.Fatal(err)
	}
	provider := v6.NewVulnerabilityProvider(plain)
	t.Cleanup(func() { _ = provider.Close() })
	return provider
}
