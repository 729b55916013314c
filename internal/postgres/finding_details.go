package postgres

import (
	"context"
	"encoding/json"
	"slices"
	"sort"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// describeFindings fills in what a page of findings shows: matches, images and
// places. It reads each kind of detail once for the whole page.
func describeFindings(ctx context.Context, at snapshot, in foundScope, found []findingRow) ([]report.Finding, error) {
	out := make([]report.Finding, 0, len(found))
	if len(found) == 0 {
		return out, nil
	}
	matches, err := readMatches(ctx, at, found)
	if err != nil {
		return nil, err
	}
	if in.whole {
		if in.images, err = liveImages(ctx, at, in.repositoryID, inventoriesOf(found)); err != nil {
			return nil, err
		}
	}
	var places places
	if !in.whole {
		if places, err = readPlaces(ctx, at, in.images, found); err != nil {
			return nil, err
		}
	}
	for _, r := range found {
		f := r.report(matches)
		r.addImages(&f, in.images)
		places.add(&f, r, in.images)
		out = append(out, f)
	}
	return out, nil
}

func inventoriesOf(found []findingRow) []int64 {
	var out []int64
	for _, r := range found {
		out = append(out, r.Inventories...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// matchRow is a stored match with the record and the package it is about.
type matchRow struct {
	ID               int64
	Name             string
	Namespace        string
	Aliases          []byte
	FixState         string
	FixVersions      []string
	FixAvailable     []byte
	SuggestedVersion string
	MatchType        string
	Matcher          string
	Confidence       float64
	Details          []byte
	Advisories       []byte
	Severity         string
	CVSSScore        float64
	Epss             *float64
	EpssPercentile   *float64
	DataSource       string
	Description      string
	Purl             string
	Language         string
}

func readMatches(ctx context.Context, at snapshot, found []findingRow) (map[int64]matchOf, error) {
	const query = `
		SELECT m.id, u.name, u.namespace, COALESCE(r.aliases, '[]') AS aliases, m.fix_state, m.fix_versions, m.fix_available,
		       m.suggested_version, m.match_type, m.matcher, round(m.confidence::numeric, 6)::float8 AS confidence, m.details, m.advisories,
		       COALESCE(r.severity, 'unknown') AS severity, COALESCE(r.cvss_score, 0) AS cvss_score,
		       u.epss, u.epss_percentile, u.data_source, u.description, p.purl, p.language
		  FROM package_match m
		  JOIN vulnerability u ON u.id = m.vulnerability_id
		  JOIN package p ON p.id = m.package_id
		  LEFT JOIN vulnerability_rating r ON r.vulnerability_id = u.id
		       AND r.opened_build <= @build AND (r.closed_build IS NULL OR r.closed_build > @build)
		 WHERE m.id = ANY (@ids)`
	var ids []int64
	for _, r := range found {
		ids = append(ids, r.Matches...)
	}
	slices.Sort(ids)
	stored, err := rows[matchRow](ctx, at, query, pgx.NamedArgs{"ids": slices.Compact(ids), "build": at.buildID})
	if err != nil {
		return nil, err
	}
	out := make(map[int64]matchOf, len(stored))
	for _, m := range stored {
		if out[m.ID], err = m.report(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// matchOf is a match ready to be shown, and what a finding takes from it.
type matchOf struct {
	report.Match
	row matchRow
}

func (m matchRow) report() (matchOf, error) {
	out := matchOf{row: m, Match: report.Match{
		Severity: vuln.Severity(m.Severity), DataSource: m.DataSource, PURL: m.Purl,
		Match: vuln.Match{
			Ref:              vuln.Ref{ID: m.Name, Namespace: m.Namespace},
			Fix:              vuln.Fix{State: vuln.FixState(m.FixState), Versions: append([]string{}, m.FixVersions...)},
			SuggestedVersion: m.SuggestedVersion, MatchType: m.MatchType, Matcher: m.Matcher, Confidence: m.Confidence,
			Details: json.RawMessage(m.Details),
		},
	}}
	for _, part := range []struct {
		stored []byte
		into   any
	}{{m.Aliases, &out.Aliases}, {m.FixAvailable, &out.Fix.Available}, {m.Advisories, &out.Advisories}} {
		if err := json.Unmarshal(part.stored, part.into); err != nil {
			return out, errs.Wrap(errs.Internal, "postgres: decode match", err)
		}
	}
	return out, nil
}

// report makes the finding out of its matches. Each match is shown once per
// verdict on it.
func (r findingRow) report(matches map[int64]matchOf) report.Finding {
	f := report.Finding{
		Vulnerability: r.Vulnerability, Aliases: []string{}, FixedVersions: []string{}, Locations: []report.Location{},
		Package:  report.Package{Type: r.Type, Name: r.Name, Version: r.Version},
		Severity: severityOf(r.SeverityRank), KnownExploited: r.KnownExploited, EPSS: r.Epss, Risk: r.Risk,
		FixState: vuln.FixStateUnknown, Ignored: true, Matches: []report.Match{},
	}
	type verdict struct {
		match   int64
		ignored string
	}
	seen := map[verdict]bool{}
	for i, id := range r.Matches {
		if r.Ignored[i] == "" {
			f.Ignored = false
		}
		v := verdict{id, r.Ignored[i]}
		if seen[v] {
			continue
		}
		seen[v] = true
		m := matches[id]
		m.Match.Match.Ignored = v.ignored
		f.Matches = append(f.Matches, m.Match)
		takeMatch(&f, m)
		if f.Reason == "" {
			f.Reason = v.ignored
		}
	}
	if !f.Ignored {
		f.Reason = ""
	}
	sort.Strings(f.Aliases)
	return f
}

// takeMatch gives a finding the best a match knows: the fix that helps most, the
// surest kind of match, the highest scores.
func takeMatch(f *report.Finding, m matchOf) {
	for _, name := range m.IDs() {
		if name != f.Vulnerability && !slices.Contains(f.Aliases, name) {
			f.Aliases = append(f.Aliases, name)
		}
	}
	if m.Fix.State.Rank() > f.FixState.Rank() {
		f.FixState = m.Fix.State
	}
	for _, version := range m.Fix.Versions {
		if !slices.Contains(f.FixedVersions, version) {
			f.FixedVersions = append(f.FixedVersions, version)
		}
	}
	if f.SuggestedVersion == "" {
		f.SuggestedVersion = m.SuggestedVersion
	}
	if m.Confidence > f.Confidence || f.MatchType == "" {
		f.MatchType, f.Confidence = m.MatchType, m.Confidence
	}
	f.CVSS = max(f.CVSS, m.row.CVSSScore)
	if p := m.row.EpssPercentile; p != nil && (f.EPSSPercentile == nil || *p > *f.EPSSPercentile) {
		f.EPSSPercentile = p
	}
	if f.Package.PURL == "" {
		f.Package.PURL, f.Package.Language = m.PURL, m.row.Language
	}
	if f.Description == "" || m.ID == f.Vulnerability {
		f.Description, f.DataSource = m.row.Description, m.DataSource
	}
}

// addImages lists the images that have the finding: where any instance counts,
// or any at all when it is ignored everywhere.
func (r findingRow) addImages(f *report.Finding, images []scopeImage) {
	f.Images = []report.FindingImage{}
	for _, i := range images {
		if !r.in(i.InventoryID, f.Ignored) {
			continue
		}
		if f.ImagesTotal++; len(f.Images) < report.MaxFindingImages {
			f.Images = append(f.Images, i.report())
		}
	}
}

func (r findingRow) in(inventoryID int64, ignoredToo bool) bool {
	for i, id := range r.Inventories {
		if id == inventoryID && (ignoredToo || r.Ignored[i] == "") {
			return true
		}
	}
	return false
}
