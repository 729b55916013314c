package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// Findings lists the findings of an image or of a repository's live tags, worst
// first, with what the scope as a whole amounts to.
func (s *Store) Findings(ctx context.Context, access report.Access, scope report.FindingScope, filter report.FindingFilter, p report.Page) (report.FindingPage, error) {
	var out report.FindingPage
	key := findingKey{}
	after, err := report.DecodeCursor(cursorName(filter.Sort), p.Cursor, key.parts()...)
	if err != nil {
		return out, err
	}
	err = s.read(ctx, "list findings", func(at snapshot) error {
		now := at.buildID
		at, in, past, err := scopeAt(ctx, at, access, scope)
		if err != nil {
			return err
		}
		out.Build, out.AsOf = at.build, past
		out.State, out.Assessment = in.state, in.assessment
		found, err := findingRows(ctx, at, in.inventories, filter, after, key, p.Size()+1)
		if err != nil {
			return err
		}
		var last string
		if len(found) > p.Size() {
			found = found[:p.Size()]
			last = found[len(found)-1].cursor(filter.Sort)
		}
		if out.Items, err = describeFindings(ctx, at, in, found); at.buildID != now {
			today(out.Items)
		}
		out.NextCursor = last
		return err
	})
	return out, err
}

func cursorName(sort report.Sort) string { return "findings/" + string(sort) }

// findingKey is where a finding stands in the order: two numbers that depend on
// the order, smaller first, then its names.
type findingKey struct {
	First         float64
	Second        float64
	Type          string
	Name          string
	Version       string
	Vulnerability string
}

func (k *findingKey) parts() []any {
	return []any{&k.First, &k.Second, &k.Type, &k.Name, &k.Version, &k.Vulnerability}
}

// findingRow is a finding of the page with its instances, each an element at
// the same index of the arrays.
type findingRow struct {
	findingKey
	SeverityRank   int
	KnownExploited bool
	Epss           *float64
	Risk           float64
	Inventories    []int64
	Members        []int32
	Matches        []int64
	Ignored        []string
}

func (r findingRow) cursor(sort report.Sort) string {
	return report.EncodeCursor(cursorName(sort), r.First, r.Second, r.Type, r.Name, r.Version, r.Vulnerability)
}

// findingRows reads a page of the findings of inventories under the snapshot's
// build. A finding is ignored only when every instance is.
func findingRows(ctx context.Context, at snapshot, inventories []int64, filter report.FindingFilter, after bool, key findingKey, limit int) ([]findingRow, error) {
	const query = `
		WITH named AS MATERIALIZED (
			SELECT v.inventory_id, v.member, v.match_id, v.ignored, v.fix_state, p.type, p.name, p.version, v.canonical,
			       COALESCE(r.severity_rank, 0)::int AS rank, COALESCE(r.known_exploited, false) AS exploited, u.epss, u.risk
			  FROM verdicts(@inventories::bigint[], @build) v
			  JOIN package p ON p.id = v.package_id
			  JOIN vulnerability u ON u.id = v.vulnerability_id
			  LEFT JOIN vulnerability_rating r ON r.vulnerability_id = u.id
			       AND r.opened_build <= @build AND (r.closed_build IS NULL OR r.closed_build > @build)
			 WHERE @package = '' OR package_key(p.type, p.name) = CASE WHEN p.type = 'python' THEN @python_package ELSE @package END
		), finding AS (
			SELECT type, name, version, canonical, max(rank) AS rank, bool_or(exploited) AS exploited, max(epss) AS epss,
			       max(risk) AS risk, bool_or(fix_state = 'fixed') AS fixable, bool_and(ignored <> '') AS ignored,
			       CASE @sort WHEN 'severity' THEN -max(rank)::float8
			                  WHEN 'epss' THEN -COALESCE(max(epss), -1)
			                  ELSE CASE WHEN bool_or(exploited) THEN 0 ELSE 1 END END AS first
			  FROM named
			 GROUP BY type, name, version, canonical
			HAVING cardinality(@vulnerabilities::text[]) = 0 OR canonical = ANY (@vulnerabilities)
			    OR bool_or(match_id IN (SELECT m.id FROM package_match m WHERE m.ids && @vulnerabilities::text[]))
		), page AS (
			SELECT f.*, -f.risk AS second FROM finding f
			 WHERE (cardinality(@ranks::int[]) = 0 OR f.rank = ANY (@ranks)) AND f.rank >= @min_rank
			   AND (@fixable::boolean IS NULL OR f.fixable = @fixable) AND (@kev::boolean IS NULL OR f.exploited = @kev)
			   AND (@ignored = 'true' OR f.ignored = (@ignored = 'only'))
			   AND (NOT @after OR (f.first, -f.risk, f.type, f.name, f.version, f.canonical)
			                    > (@first, @second, @after_type, @after_name, @after_version, @after_vulnerability))
			 ORDER BY f.first, -f.risk, f.type, f.name, f.version, f.canonical
			 LIMIT @limit
		)
		SELECT page.first, page.second, page.type, page.name, page.version, page.canonical AS vulnerability,
		       page.rank AS severity_rank, page.exploited AS known_exploited, page.epss, page.risk,
		       array_agg(n.inventory_id ORDER BY n.inventory_id, n.member, n.match_id) AS inventories,
		       array_agg(n.member ORDER BY n.inventory_id, n.member, n.match_id) AS members,
		       array_agg(n.match_id ORDER BY n.inventory_id, n.member, n.match_id) AS matches,
		       array_agg(n.ignored ORDER BY n.inventory_id, n.member, n.match_id) AS ignored
		  FROM page
		  JOIN named n ON n.type = page.type AND n.name = page.name AND n.version = page.version AND n.canonical = page.canonical
		 GROUP BY page.first, page.second, page.type, page.name, page.version, page.canonical,
		          page.rank, page.exploited, page.epss, page.risk
		 ORDER BY page.first, page.second, page.type, page.name, page.version, page.canonical`
	if len(inventories) == 0 {
		return nil, nil
	}
	ranks := []int{}
	for _, severity := range filter.Severities {
		ranks = append(ranks, severity.Rank())
	}
	python, other := report.PackageNameKeys(filter.Package)
	vulnerabilities := []string{}
	if filter.Vulnerability != "" {
		vulnerabilities = report.VulnerabilityNames(filter.Vulnerability)
	}
	return rows[findingRow](ctx, at, query, pgx.NamedArgs{
		"inventories": inventories, "build": at.buildID, "package": other, "python_package": python, "vulnerabilities": vulnerabilities,
		"ranks": ranks, "min_rank": filter.MinSeverity.Rank(), "fixable": filter.Fixable, "kev": filter.KEV,
		"ignored": string(filter.Ignored), "sort": string(filter.Sort), "after": after, "first": key.First, "second": key.Second,
		"after_type": key.Type, "after_name": key.Name, "after_version": key.Version, "after_vulnerability": key.Vulnerability,
		"limit": limit,
	})
}

// severityOf returns the severity of a rank.
func severityOf(rank int) vuln.Severity {
	for _, s := range vuln.Severities() {
		if s.Rank() == rank {
			return s
		}
	}
	return vuln.SeverityUnknown
}
