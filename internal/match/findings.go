package match

import (
	"cmp"
	"slices"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// findingKey is what a finding is about: one vulnerability in one version of a
// package.
type findingKey struct{ typ, name, version, vulnerability string }

// Findings groups the matches of an image into findings, each with the matches
// unchanged: by package and the canonical name of the vulnerability, worst
// first.
func (r Result) Findings() []report.Finding {
	g := grouping{result: r, described: map[vuln.Ref]vuln.Vulnerability{}, findings: map[findingKey]*report.Finding{}, members: map[findingKey]map[int]bool{}}
	for _, v := range r.Vulnerabilities {
		g.described[v.Ref] = v
	}
	for _, v := range r.Inventory.Apply(r.Judgements) {
		g.add(v)
	}
	out := make([]report.Finding, 0, len(g.findings))
	for key, f := range g.findings {
		g.finish(key, f)
		out = append(out, *f)
	}
	slices.SortFunc(out, worstFirst)
	return out
}

type grouping struct {
	result    Result
	described map[vuln.Ref]vuln.Vulnerability
	findings  map[findingKey]*report.Finding
	members   map[findingKey]map[int]bool
}

func (g *grouping) add(v inventory.Verdict) {
	p := g.result.Inventory.Packages[g.result.Inventory.Members[v.Member].Package]
	key := findingKey{p.Type, p.Name, p.Version, v.Match.Canonical()}
	f := g.findings[key]
	if f == nil {
		f = &report.Finding{
			Vulnerability: key.vulnerability, Severity: vuln.SeverityUnknown, FixState: v.Match.Fix.State, Ignored: true,
			Package: report.Package{Type: p.Type, Name: p.Name, Version: p.Version, Language: p.Language, PURL: p.PURL},
			Aliases: []string{}, FixedVersions: []string{}, Locations: []report.Location{}, Matches: []report.Match{},
		}
		g.findings[key], g.members[key] = f, map[int]bool{}
	}
	g.members[key][v.Member] = true
	g.rate(f, v.Match)
	g.fix(f, v.Match)
	g.list(f, v, p.PURL)
}

// rate takes the worst of what is said of the records.
func (g *grouping) rate(f *report.Finding, m vuln.Match) {
	d, ok := g.described[m.Ref]
	if !ok {
		return
	}
	if d.Severity.Rank() > f.Severity.Rank() {
		f.Severity = d.Severity
	}
	f.CVSS = max(f.CVSS, d.MaxCVSS())
	f.Risk = max(f.Risk, d.Risk)
	f.KnownExploited = f.KnownExploited || len(d.KEV) > 0
	if d.EPSS != nil && (f.EPSS == nil || d.EPSS.Score > *f.EPSS) {
		f.EPSS, f.EPSSPercentile = &d.EPSS.Score, &d.EPSS.Percentile
	}
	if f.Description == "" || m.ID == f.Vulnerability && d.Description != "" {
		f.Description = d.Description
	}
	if f.DataSource == "" || m.ID == f.Vulnerability && d.DataSource != "" {
		f.DataSource = d.DataSource
	}
}

// fix keeps the best fix of the matches.
func (g *grouping) fix(f *report.Finding, m vuln.Match) {
	if m.Fix.State.Rank() > f.FixState.Rank() {
		f.FixState = m.Fix.State
	}
	if f.SuggestedVersion == "" {
		f.SuggestedVersion = m.SuggestedVersion
	}
	for _, v := range m.Fix.Versions {
		if !slices.Contains(f.FixedVersions, v) {
			f.FixedVersions = append(f.FixedVersions, v)
		}
	}
}

// list adds the match itself. Instances of the same package give the same
// match; it stands once, and twice when only some of them are ignored.
func (g *grouping) list(f *report.Finding, v inventory.Verdict, purl string) {
	m := v.Match
	m.Ignored = v.Ignored
	for _, id := range m.IDs() {
		if id != f.Vulnerability && !slices.Contains(f.Aliases, id) {
			f.Aliases = append(f.Aliases, id)
		}
	}
	if v.Ignored == "" {
		f.Ignored, f.Reason = false, ""
	} else if f.Ignored {
		f.Reason = v.Ignored
	}
	if f.MatchType == "" || strength(m.MatchType) < strength(f.MatchType) {
		f.MatchType = m.MatchType
	}
	f.Confidence = max(f.Confidence, m.Confidence)
	listed := slices.ContainsFunc(f.Matches, func(o report.Match) bool {
		return o.Ref == m.Ref && o.Ignored == m.Ignored && o.PURL == purl && string(o.Details) == string(m.Details)
	})
	if !listed {
		d := g.described[m.Ref]
		f.Matches = append(f.Matches, report.Match{Match: m, Severity: cmp.Or(d.Severity, vuln.SeverityUnknown), DataSource: d.DataSource, PURL: purl})
	}
}

// strength orders match types, strongest first.
func strength(matchType string) int {
	return slices.Index([]string{"exact-direct-match", "exact-indirect-match", "cpe-match", matchType}, matchType)
}

// finish adds what needs all matches: order and locations.
func (g *grouping) finish(key findingKey, f *report.Finding) {
	f.FixState = cmp.Or(f.FixState, vuln.FixStateUnknown)
	slices.Sort(f.Aliases)
	slices.Sort(f.FixedVersions)
	slices.SortFunc(f.Matches, func(a, b report.Match) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Ignored, b.Ignored), cmp.Compare(a.PURL, b.PURL))
	})
	m := g.result.Manifest
	f.Images, f.ImagesTotal = []report.FindingImage{{Digest: m.Digest, Platform: m.Platform.String()}}, 1
	for _, o := range g.result.Inventory.Occurrences {
		if !g.members[key][o.Member] {
			continue
		}
		for _, l := range o.Locations {
			f.LocationsTotal++
			if len(f.Locations) < report.MaxLocations {
				f.Locations = append(f.Locations, g.result.location(l))
			}
		}
	}
}

// location names the layer a package came with, and the instruction behind it.
func (r Result) location(l inventory.Location) report.Location {
	out := report.Location{Path: l.Path, Image: r.Manifest.Digest, DiffID: l.Layer}
	for n, layer := range r.Manifest.Layers {
		if layer.DiffID == image.Digest(l.Layer) && l.Layer != "" {
			out.LayerIndex, out.LayerDigest, out.CreatedBy = &n, layer.Digest, layer.CreatedBy
			break
		}
	}
	return out
}

// worstFirst is the order "risk" of findings: what is known to be exploited,
// then by risk and severity.
func worstFirst(a, b report.Finding) int {
	if a.KnownExploited != b.KnownExploited {
		if a.KnownExploited {
			return -1
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(b.Risk, a.Risk), cmp.Compare(b.Severity.Rank(), a.Severity.Rank()),
		cmp.Compare(a.Package.Name, b.Package.Name), cmp.Compare(a.Package.Version, b.Package.Version),
		cmp.Compare(a.Package.Type, b.Package.Type), cmp.Compare(a.Vulnerability, b.Vulnerability))
}

// countKey is what counts are of; versions of a package count once.
type countKey struct{ typ, name, vulnerability string }

// Count counts findings as answers do: distinct package type, package name and
// vulnerability, the worst of them; ignored only where all are.
func Count(findings []report.Finding) report.Counts {
	merged := map[countKey]report.Finding{}
	for _, f := range findings {
		key := countKey{f.Package.Type, f.Package.Name, f.Vulnerability}
		old, ok := merged[key]
		if !ok {
			merged[key] = f
			continue
		}
		if f.Severity.Rank() > old.Severity.Rank() {
			old.Severity = f.Severity
		}
		if f.FixState.Rank() > old.FixState.Rank() {
			old.FixState = f.FixState
		}
		old.KnownExploited = old.KnownExploited || f.KnownExploited
		old.Ignored = old.Ignored && f.Ignored
		merged[key] = old
	}
	var c report.Counts
	ignored := 0
	for _, f := range merged {
		if f.Ignored {
			ignored++
			continue
		}
		count(&c, f)
	}
	c.Ignored = &ignored
	return c
}

func count(c *report.Counts, f report.Finding) {
	c.Total++
	switch f.Severity {
	case vuln.SeverityCritical:
		c.Critical++
	case vuln.SeverityHigh:
		c.High++
	case vuln.SeverityMedium:
		c.Medium++
	case vuln.SeverityLow:
		c.Low++
	case vuln.SeverityNegligible:
		c.Negligible++
	default:
		c.Unknown++
	}
	if f.FixState == vuln.FixStateFixed {
		c.Fixable++
	}
	if f.KnownExploited {
		c.KnownExploited++
	}
}
