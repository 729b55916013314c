package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// How much of a group is told.
const (
	newsFindings = 10
	newsPlaces   = 5
	newsVersions = 5
	newsText     = 300 // bytes of a description
)

// DescribeNews says of a waiting group what its counts do not: of a scan the image
// and the worst findings, else how far the vulnerability reaches now. ok is false
// when a rule that chooses tags has none left in it.
func (s *Store) DescribeNews(ctx context.Context, rule report.NewsRule, w report.WaitingNews) (g report.NewsGroup, ok bool, err error) {
	g, ok = w.Group, true
	err = s.read(ctx, "describe news", func(at snapshot) error {
		if w.ScanID != 0 {
			image, err := newsImage(ctx, at, rule.Name, w)
			g.Image = &image
			return err
		}
		v := *w.Group.Vulnerability
		if err := describeNewsOf(ctx, at, &v); err != nil {
			return err
		}
		g.Vulnerability = &v
		if w.Group.Counts.Kinds["closed"] == w.Events {
			g.Reach, err = closedReach(ctx, at, rule.Name, w)
			return err
		}
		g.Reach, ok, err = newsReach(ctx, at, rule, w, &v)
		return err
	})
	return g, ok, err
}

// Sample reports whether the database in force is the sample.
func (s *Store) Sample(ctx context.Context) (sample bool, err error) {
	const query = `SELECT COALESCE(bool_or(sample), false) FROM vuln_build WHERE state = 'active'`
	err = s.pool.QueryRow(ctx, query).Scan(&sample)
	return sample, wrap("look for the sample", err)
}

// ofGroup is the condition of the waiting rows of a group.
const ofGroup = `p.rule = @rule AND p.id >= lower(@rows::int8multirange) AND p.id < upper(@rows::int8multirange) AND @rows::int8multirange @> p.id`

func newsImage(ctx context.Context, at snapshot, rule string, w report.WaitingNews) (report.NewsImage, error) {
	const about = `
		SELECT g.host || '/' || r.name, s.tag, COALESCE(m.digest, s.digest)
		  FROM scan s JOIN repository r ON r.id = s.repository_id JOIN registry g ON g.id = r.registry_id
		  LEFT JOIN manifest m ON m.id = s.manifest_id WHERE s.id = $1`
	// One row per finding, which opened and escalated may both be about.
	const worst = `
		SELECT * FROM (
			SELECT DISTINCT ON (p.package_type, p.package_name, p.vulnerability)
			       p.package_type, p.package_name, p.vulnerability, p.kind, p.severity_rank AS rank, p.fixable, p.known_exploited
			  FROM notification_pending p WHERE ` + ofGroup + `
			 ORDER BY p.package_type, p.package_name, p.vulnerability, p.event_id DESC) f
		 ORDER BY known_exploited DESC, rank DESC, fixable DESC, vulnerability, package_name, package_type LIMIT @limit`
	out := report.NewsImage{ScanID: w.ScanID, Findings: []report.NewsFinding{}, Truncated: w.Group.Counts.Findings > newsFindings}
	err := at.QueryRow(ctx, about, w.ScanID).Scan(&out.Repository, &out.Tag, &out.Digest)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return out, err
	}
	found, err := rows[newsFindingRow](ctx, at, worst, pgx.NamedArgs{"rule": rule, "rows": w.Rows, "limit": newsFindings})
	if err != nil {
		return out, err
	}
	versions, err := newsVersionsOf(ctx, at, w.ScanID, found)
	for _, f := range found {
		version := versions[[3]string{f.PackageType, f.PackageName, f.Vulnerability}]
		out.Findings = append(out.Findings, report.NewsFinding{
			Vulnerability: f.Vulnerability, PackageType: f.PackageType, Package: f.PackageName, Version: version[0], FixVersion: version[1],
			Severity: string(severityOf(f.Rank)), Event: f.Kind, Fixable: f.Fixable, KnownExploited: f.KnownExploited,
		})
	}
	return out, err
}

type newsFindingRow struct {
	PackageType    string
	PackageName    string
	Vulnerability  string
	Kind           string
	Rank           int
	Fixable        bool
	KnownExploited bool
}

// newsVersionsOf finds the installed and the fixed version of findings in the image
// of a scan, by type, name and vulnerability.
func newsVersionsOf(ctx context.Context, at snapshot, scanID int64, of []newsFindingRow) (map[[3]string][2]string, error) {
	const query = `
		WITH inv AS (
			SELECT m.inventory_id AS id FROM scan s JOIN manifest m ON m.id = s.manifest_id WHERE s.id = @scan AND m.inventory_id IS NOT NULL
			UNION
			SELECT m.inventory_id FROM scan s JOIN manifest_child c ON c.parent_id = s.manifest_id JOIN manifest m ON m.id = c.child_id
			 WHERE s.id = @scan AND m.inventory_id IS NOT NULL
		), wanted AS (
			SELECT * FROM unnest(@types::text[], @names::text[], @vulnerabilities::text[]) AS w (type, name, vulnerability)
		), pkg AS MATERIALIZED (
			SELECT DISTINCT p.id FROM inv JOIN inventory_package ip ON ip.inventory_id = inv.id JOIN package p ON p.id = ip.package_id
			 WHERE (p.type, p.name) IN (SELECT type, name FROM wanted)
		)
		SELECT p.type, p.name, v.canonical, min(p.version), COALESCE(max(v.suggested_version), '')
		  FROM package_verdicts(ARRAY(SELECT id FROM inv), ARRAY(SELECT id FROM pkg), @build) v
		  JOIN package p ON p.id = v.package_id
		  JOIN wanted w ON w.type = p.type AND w.name = p.name AND w.vulnerability = v.canonical
		 WHERE v.ignored = ''
		 GROUP BY p.type, p.name, v.canonical`
	out := map[[3]string][2]string{}
	var types, names, vulnerabilities []string
	for _, f := range of {
		types, names, vulnerabilities = append(types, f.PackageType), append(names, f.PackageName), append(vulnerabilities, f.Vulnerability)
	}
	found, err := at.Query(ctx, query, pgx.NamedArgs{"scan": scanID, "build": at.buildID, "types": types, "names": names, "vulnerabilities": vulnerabilities})
	if err != nil {
		return nil, err
	}
	var key [3]string
	var version [2]string
	_, err = pgx.ForEachRow(found, []any{&key[0], &key[1], &key[2], &version[0], &version[1]}, func() error {
		out[key] = version
		return nil
	})
	return out, err
}

// describeNewsOf adds what its records say.
func describeNewsOf(ctx context.Context, at snapshot, v *report.NewsVulnerability) error {
	const query = `
		SELECT COALESCE((array_agg(description ORDER BY description = '', id))[1], ''),
		       COALESCE((array_agg(data_source ORDER BY data_source NOT LIKE 'https://%', id))[1], ''), max(epss)
		  FROM vulnerability WHERE name = $1`
	if err := at.QueryRow(ctx, query, v.ID).Scan(&v.Description, &v.Advisory, &v.EPSS); err != nil {
		return err
	}
	if !strings.HasPrefix(v.Advisory, "https://") {
		v.Advisory = ""
	}
	v.Description = shorten(strings.Join(strings.Fields(v.Description), " "), newsText)
	return nil
}

// shorten cuts a text at a limit of bytes, between runes, and marks that it did.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return strings.TrimSpace(s[:cut]) + " …"
}

// closedReach names the repositories that a finding left.
func closedReach(ctx context.Context, at snapshot, rule string, w report.WaitingNews) (*report.NewsReach, error) {
	const query = `
		SELECT DISTINCT g.host || '/' || r.name AS repository FROM notification_pending p
		  JOIN repository r ON r.id = p.repository_id JOIN registry g ON g.id = r.registry_id
		 WHERE ` + ofGroup + ` ORDER BY 1 LIMIT @limit`
	found, err := at.Query(ctx, query, pgx.NamedArgs{"rule": rule, "rows": w.Rows, "limit": newsPlaces})
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(found, pgx.RowTo[string])
	reach := &report.NewsReach{Repositories: w.Group.Counts.Repositories, Truncated: w.Group.Counts.Repositories > len(names), Examples: []report.NewsPlace{}}
	for _, name := range names {
		reach.Examples = append(reach.Examples, report.NewsPlace{Repository: name})
	}
	return reach, err
}
