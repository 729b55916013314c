package postgres

import (
	"context"
	"encoding/json"
	"slices"
	"sort"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// namedMatch is a match whose record goes by a name, its own or an alias.
type namedMatch struct {
	ID              int64
	PackageID       int64
	VulnerabilityID int64
	Canonical       string
	IDs             []string
}

func matchesNamed(ctx context.Context, at snapshot, names []string) ([]namedMatch, error) {
	const query = `
		SELECT id, package_id, vulnerability_id, canonical, ids FROM package_match
		 WHERE ids && @names::text[] AND opened_build <= @build AND (closed_build IS NULL OR closed_build > @build)`
	return rows[namedMatch](ctx, at, query, pgx.NamedArgs{"names": names, "build": at.buildID})
}

// spelling returns which of the names is used, the first when none is.
func spelling(names []string, matches []namedMatch, records []vuln.Vulnerability) string {
	for _, name := range names {
		if slices.ContainsFunc(matches, func(m namedMatch) bool { return slices.Contains(m.IDs, name) }) ||
			slices.ContainsFunc(records, func(r vuln.Vulnerability) bool { return r.ID == name }) {
			return name
		}
	}
	return names[0]
}

// holding searches for images in which one of the matches counts.
func holding(matches []namedMatch) holders {
	const query = `
		SELECT v.inventory_id, p.type, p.name, p.version, p.language, p.purl,
		       (array_agg(v.fix_state ORDER BY array_position(ARRAY['fixed', 'not-fixed', 'wont-fix', 'unknown'], v.fix_state)))[1] AS fix_state,
		       COALESCE(max(NULLIF(v.suggested_version, '')), '') AS suggested_version
		  FROM package_verdicts(@inventories::bigint[], @packages::bigint[], @build) v JOIN package p ON p.id = v.package_id
		 WHERE v.match_id = ANY (@matches) AND v.ignored = ''
		 GROUP BY v.inventory_id, p.id
		 ORDER BY v.inventory_id, p.type, p.name, p.version, p.purl`
	type row struct {
		InventoryID      int64
		Type             string
		Name             string
		Version          string
		Language         string
		Purl             string
		FixState         string
		SuggestedVersion string
	}
	h := holders{judgedOnly: true}
	ids := make([]int64, len(matches))
	for i, m := range matches {
		ids[i] = m.ID
		h.packages = append(h.packages, m.PackageID)
	}
	slices.Sort(h.packages)
	h.packages = slices.Compact(h.packages)
	h.tell = func(ctx context.Context, at snapshot, inventories []int64) (map[int64][]report.HitPackage, error) {
		packages, err := withTwins(ctx, at, h.packages)
		if err != nil {
			return nil, err
		}
		found, err := rows[row](ctx, at, query, pgx.NamedArgs{"inventories": inventories, "packages": packages, "matches": ids, "build": at.buildID})
		out := map[int64][]report.HitPackage{}
		for _, r := range found {
			out[r.InventoryID] = append(out[r.InventoryID], report.HitPackage{
				FixState: vuln.FixState(r.FixState), SuggestedVersion: r.SuggestedVersion,
				Package: report.Package{Type: r.Type, Name: r.Name, Version: r.Version, Language: r.Language, PURL: r.Purl},
			})
		}
		return out, err
	}
	return h
}

// withTwins adds the packages of the same type, name and version: what one of
// them suppresses counts for the others in its image.
func withTwins(ctx context.Context, at snapshot, packages []int64) ([]int64, error) {
	const query = `
		SELECT DISTINCT q.id FROM package p
		  JOIN package q ON q.name = p.name AND q.type = p.type AND q.version = p.version
		 WHERE p.id = ANY ($1)`
	found, err := at.Query(ctx, query, packages)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, pgx.RowTo[int64])
}

// VulnerabilityImages lists the images behind live tags in which a
// vulnerability counts, under any of its names. A limited reader is told of a
// vulnerability as Vulnerability tells it.
func (s *Store) VulnerabilityImages(ctx context.Context, access report.Access, id string, p report.Page) (report.VulnerabilityImages, error) {
	const known = `SELECT EXISTS (SELECT 1 FROM vulnerability WHERE name = ANY ($1))`
	var out report.VulnerabilityImages
	names := report.VulnerabilityNames(id)
	err := s.read(ctx, "find images of vulnerability", func(at snapshot) (err error) {
		out.Build = at.build
		if out.UnjudgedImages, err = unjudgedImages(ctx, at, access); err != nil {
			return err
		}
		out.Complete = out.UnjudgedImages == 0
		matches, err := matchesNamed(ctx, at, names)
		if err != nil {
			return err
		}
		if err := mayKnow(ctx, at, access, matches); err != nil {
			return err
		}
		heardOf := len(matches) > 0
		if !heardOf {
			if err := at.QueryRow(ctx, known, names).Scan(&heardOf); err != nil {
				return err
			}
		}
		if !heardOf {
			return unknownVulnerability(id)
		}
		out.List, err = hits(ctx, at, access, holding(matches), "vulnerability/"+spelling(names, matches, nil), p)
		return err
	})
	return out, err
}

// unjudgedImages counts the images behind live tags, as far as the reader sees,
// of which the build cannot say whether they have a vulnerability: they are not
// catalogued, not wholly, or hold packages it has no data for.
func unjudgedImages(ctx context.Context, at snapshot, access report.Access) (n int, err error) {
	const query = `
		SELECT count(*)
		  FROM manifest m
		  LEFT JOIN inventory_summary s ON s.inventory_id = m.inventory_id
		  JOIN repository_manifest rm ON rm.manifest_id = m.id
		  JOIN repository r ON r.id = rm.repository_id
		  JOIN registry g ON g.id = r.registry_id
		 WHERE (s.inventory_id IS NULL OR s.no_data <> '{}' OR m.partial <> '') AND ` + standing + ` AND ` + visible
	err = at.QueryRow(ctx, query, pgx.NamedArgs{"prefixes": prefixes(access)}).Scan(&n)
	return n, err
}

// Vulnerability tells what is known under a name: the records that match a
// stored package. A limited reader is told of those in images it sees.
func (s *Store) Vulnerability(ctx context.Context, access report.Access, id string) (report.Vulnerability, error) {
	const repositories = `
		SELECT count(DISTINCT f.repository_id) FROM repository_finding f
		  JOIN repository r ON r.id = f.repository_id
		  JOIN registry g ON g.id = r.registry_id
		 WHERE f.vulnerability = ANY (@names) AND f.closed_at IS NULL AND ` + visible
	names := report.VulnerabilityNames(id)
	out := report.Vulnerability{Aliases: []string{}, Severity: vuln.SeverityUnknown, Records: []vuln.Vulnerability{}}
	err := s.read(ctx, "read vulnerability", func(at snapshot) error {
		out.Build = at.build
		matches, err := matchesNamed(ctx, at, names)
		if err != nil {
			return err
		}
		if err := mayKnow(ctx, at, access, matches); err != nil {
			return err
		}
		records, err := readRecords(ctx, at, names, matches)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return unknownVulnerability(id)
		}
		out.ID = spelling(names, matches, records)
		describeVulnerability(&out, records, matches)
		return at.QueryRow(ctx, repositories, pgx.NamedArgs{"names": canonicals(matches), "prefixes": prefixes(access)}).Scan(&out.Repositories)
	})
	return out, err
}

func unknownVulnerability(id string) error {
	return errs.New(errs.NotFound, "no stored package matches a vulnerability %.100q: it is unknown to what has been scanned", id).
		WithHint("only vulnerabilities of scanned images are kept; check the spelling, or that the images were scanned")
}

// mayKnow returns NotFound when a limited reader sees no image with a package
// that the vulnerability is about: what others have is not told.
func mayKnow(ctx context.Context, at snapshot, access report.Access, matches []namedMatch) error {
	if !access.Limited() {
		return nil
	}
	inventories, err := holdingInventories(ctx, at, holding(matches))
	if err != nil {
		return err
	}
	seen, err := liveHolders(ctx, at, access, inventories, false, hitKey{}, 1)
	if err == nil && len(seen) == 0 {
		return errs.New(errs.NotFound, "no image you may see has a package with this vulnerability")
	}
	return err
}

func canonicals(matches []namedMatch) []string {
	out := []string{}
	for _, m := range matches {
		out = append(out, m.Canonical)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

type recordRow struct {
	Name           string
	Namespace      string
	Description    string
	DataSource     string
	Urls           []string
	Cwes           []string
	Epss           *float64
	EpssPercentile *float64
	EpssDate       *time.Time
	Risk           float64
	Severity       string
	Cvss           []byte
	Kev            []byte
	Aliases        []byte
}

// readRecords reads the records of the names: those called so, and those whose
// matches go by one.
func readRecords(ctx context.Context, at snapshot, names []string, matches []namedMatch) ([]vuln.Vulnerability, error) {
	const query = `
		SELECT u.name, u.namespace, u.description, u.data_source, u.urls, u.cwes, u.epss, u.epss_percentile,
		       u.epss_date::timestamptz AS epss_date, u.risk, r.severity, r.cvss, r.kev, r.aliases
		  FROM vulnerability u
		  JOIN vulnerability_rating r ON r.vulnerability_id = u.id
		       AND r.opened_build <= @build AND (r.closed_build IS NULL OR r.closed_build > @build)
		 WHERE u.name = ANY (@names) OR u.id = ANY (@ids)
		 ORDER BY u.name, u.namespace
		 LIMIT 1000`
	ids := make([]int64, len(matches))
	for i, m := range matches {
		ids[i] = m.VulnerabilityID
	}
	slices.Sort(ids)
	found, err := rows[recordRow](ctx, at, query, pgx.NamedArgs{"names": names, "ids": slices.Compact(ids), "build": at.buildID})
	if err != nil {
		return nil, err
	}
	out := make([]vuln.Vulnerability, len(found))
	for i, r := range found {
		if out[i], err = r.report(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r recordRow) report() (vuln.Vulnerability, error) {
	v := vuln.Vulnerability{
		Ref: vuln.Ref{ID: r.Name, Namespace: r.Namespace}, Severity: vuln.Severity(r.Severity), Description: r.Description,
		DataSource: r.DataSource, URLs: r.Urls, CWEs: r.Cwes, Risk: r.Risk,
	}
	if r.Epss != nil {
		v.EPSS = &vuln.EPSS{Score: *r.Epss}
		if r.EpssPercentile != nil {
			v.EPSS.Percentile = *r.EpssPercentile
		}
		if r.EpssDate != nil {
			v.EPSS.Date = r.EpssDate.UTC().Format(time.DateOnly)
		}
	}
	for _, part := range []struct {
		stored []byte
		into   any
	}{{r.Cvss, &v.CVSS}, {r.Kev, &v.KEV}, {r.Aliases, &v.Aliases}} {
		if err := json.Unmarshal(part.stored, part.into); err != nil {
			return v, errs.Wrap(errs.Internal, "postgres: decode record", err)
		}
	}
	return v, nil
}

// describeVulnerability takes the worst of the records and all other names.
func describeVulnerability(v *report.Vulnerability, records []vuln.Vulnerability, matches []namedMatch) {
	names := map[string]bool{}
	for _, m := range matches {
		for _, id := range m.IDs {
			names[id] = true
		}
	}
	for _, r := range records {
		names[r.ID] = true
		for _, a := range r.Aliases {
			names[a.ID] = true
		}
		if r.Severity.Rank() > v.Severity.Rank() {
			v.Severity = r.Severity
		}
		v.KnownExploited = v.KnownExploited || len(r.KEV) > 0
	}
	delete(names, v.ID)
	for name := range names {
		v.Aliases = append(v.Aliases, name)
	}
	sort.Strings(v.Aliases)
	v.Records = records
}
