package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// exporter is one export under way.
type exporter struct {
	at     snapshot
	filter report.ExportFilter
	row    func(report.ExportRow) error
	end    report.ExportEnd
	// packages are all that may have a finding the filter lets through; nil when it
	// names neither package nor vulnerability.
	packages []int64
}

// Export reads the findings of the images behind live tags, one after the other,
// all of one moment: start is called first, then row for each. Memory is bounded
// whatever the size; an error of theirs ends the export and is returned.
func (s *Store) Export(ctx context.Context, access report.Access, filter report.ExportFilter, start func(report.ExportStart) error, row func(report.ExportRow) error) (report.ExportEnd, error) {
	e := exporter{filter: filter, row: row}
	err := s.read(ctx, "export findings", func(at snapshot) error {
		e.at = at
		repositoryID := int64(0)
		if filter.Repository != nil {
			repo, err := repository(ctx, at, access, *filter.Repository)
			if err != nil {
				return err
			}
			repositoryID = repo.ID
		}
		var err error
		if e.packages, err = exportedPackages(ctx, at, filter.FindingFilter); err != nil {
			return err
		}
		var now time.Time
		if err := at.QueryRow(ctx, `SELECT now()`).Scan(&now); err != nil {
			return err
		}
		if err := declareImages(ctx, at, access, filter, repositoryID); err != nil {
			return err
		}
		if err := start(report.ExportStart{At: now.UTC(), Build: at.build}); err != nil {
			return err
		}
		return e.images(ctx)
	})
	return e.end, err
}

// exportedPackages lists the packages that a filter leaves, nil for all.
func exportedPackages(ctx context.Context, at snapshot, filter report.FindingFilter) ([]int64, error) {
	out := []int64{}
	switch {
	case filter.Vulnerability != "":
		matches, err := matchesNamed(ctx, at, report.VulnerabilityNames(filter.Vulnerability))
		for _, m := range matches {
			out = append(out, m.PackageID)
		}
		return out, err
	case filter.Package != "":
		found, err := packagesByName(ctx, at, report.PackageQuery{Name: filter.Package})
		for _, p := range found {
			out = append(out, p.ID)
		}
		if len(out) > report.MaxPackages {
			return nil, err // the list was cut
		}
		return out, err
	}
	return nil, nil
}

// holding keeps those of some images that hold one of the packages.
func (e *exporter) holding(ctx context.Context, ordinals []int32, inventories []int64) ([]int32, []int64, error) {
	const query = `
		SELECT i.ordinal, i.inventory_id FROM unnest($1::int[], $2::bigint[]) AS i (ordinal, inventory_id)
		 WHERE EXISTS (SELECT 1 FROM inventory_package ip WHERE ip.inventory_id = i.inventory_id AND ip.package_id = ANY ($3))`
	if e.packages == nil {
		return ordinals, inventories, nil
	}
	found, err := e.at.Query(ctx, query, ordinals, inventories, e.packages)
	if err != nil {
		return nil, nil, err
	}
	ordinals, inventories = nil, nil
	var ordinal int32
	var inventory int64
	_, err = pgx.ForEachRow(found, []any{&ordinal, &inventory}, func() error {
		ordinals, inventories = append(ordinals, ordinal), append(inventories, inventory)
		return nil
	})
	return ordinals, inventories, err
}

// declareImages opens a cursor over the images of the export, so that their list
// stays in the database.
func declareImages(ctx context.Context, at snapshot, access report.Access, filter report.ExportFilter, repositoryID int64) error {
	const query = `
		DECLARE export_image NO SCROLL CURSOR FOR
		SELECT g.name AS registry, g.host, r.name AS repository, m.digest, m.os, m.architecture, m.variant, m.state, m.reason, m.partial,
		       m.inventory_id, COALESCE(s.no_data, '{}') AS no_data, s.inventory_id IS NOT NULL AS judged, l.tags[1:50] AS tags,
		       cardinality(l.tags) AS tags_total
		  FROM (SELECT l.repository_id, l.manifest_id, array_agg(DISTINCT l.tag ORDER BY l.tag) AS tags FROM live_image l
		         WHERE @repository::bigint = 0 OR l.repository_id = @repository
		         GROUP BY l.repository_id, l.manifest_id) l
		  JOIN repository r ON r.id = l.repository_id
		  JOIN registry g ON g.id = r.registry_id
		  JOIN manifest m ON m.id = l.manifest_id
		  LEFT JOIN inventory_summary s ON s.inventory_id = m.inventory_id
		 WHERE (@registry = '' OR g.name = @registry) AND starts_with(g.host || '/' || r.name, @prefix) AND ` + visible + `
		 ORDER BY g.host, r.name, m.digest`
	_, err := at.Exec(ctx, query, pgx.QueryExecModeSimpleProtocol, pgx.NamedArgs{
		"repository": repositoryID, "registry": filter.Registry, "prefix": filter.Prefix, "prefixes": prefixes(access),
	})
	return err
}

// exportImage is an image of the export.
type exportImage struct {
	Registry     string
	Host         string
	Repository   string
	Digest       string
	OS           string
	Architecture string
	Variant      string
	State        string
	Reason       string
	Partial      string
	InventoryID  *int64
	NoData       []string
	Judged       bool
	Tags         []string
	TagsTotal    int
}

func (i exportImage) row(kind report.RowKind) report.ExportRow {
	return report.ExportRow{Row: kind, Registry: i.Registry, Repository: i.Host + "/" + i.Repository, Digest: image.Digest(i.Digest),
		Platform: platformName(i.OS, i.Architecture, i.Variant), Tags: i.Tags, TagsTotal: i.TagsTotal}
}

// images fetches some images after the others and exports each.
func (e *exporter) images(ctx context.Context) error {
	const fetch = `FETCH 64 FROM export_image`
	for {
		found, err := e.at.Query(ctx, fetch, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return err
		}
		images, err := pgx.CollectRows(found, pgx.RowToStructByName[exportImage])
		if err != nil || len(images) == 0 {
			return err
		}
		if err := e.chunk(ctx, images); err != nil {
			return err
		}
	}
}

// chunk exports some images, each with its rows in a piece.
func (e *exporter) chunk(ctx context.Context, images []exportImage) error {
	var inventories []int64
	var ordinals []int32
	for n, i := range images {
		e.end.Images++
		if i.Judged && e.at.build != nil {
			inventories, ordinals = append(inventories, *i.InventoryID), append(ordinals, int32(n))
		}
	}
	ordinals, inventories, err := e.holding(ctx, ordinals, inventories)
	if err != nil {
		return err
	}
	told := 0 // images before it have been told of
	err = e.findings(ctx, ordinals, inventories, func(ordinal int32, f exportFinding) error {
		for ; told <= int(ordinal); told++ {
			if err := e.unjudged(images[told]); err != nil {
				return err
			}
		}
		e.end.Findings++
		return e.row(f.addTo(images[ordinal].row(report.RowFinding)))
	})
	for ; err == nil && told < len(images); told++ {
		err = e.unjudged(images[told])
	}
	return err
}

// unjudged tells of an image whose answer leaves something out.
func (e *exporter) unjudged(i exportImage) error {
	whole := i.Judged && e.at.build != nil && len(i.NoData) == 0 && i.Partial == ""
	if whole || i.State == string(report.StateUnsupported) {
		return nil
	}
	e.end.Unjudged++
	r := i.row(report.RowUnjudged)
	r.State, r.Reason, r.NoData, r.Partial = report.State(i.State), i.Reason, i.NoData, i.Partial
	return e.row(r)
}

// exportFinding is a finding of an image.
type exportFinding struct {
	Ordinal        int32
	Type           string
	Name           string
	Version        string
	Purl           string
	Vulnerability  string
	Aliases        []string
	Rank           int
	CVSS           float64
	FixState       string
	FixedVersions  []string
	Suggested      string
	KnownExploited bool
	Epss           *float64
	EpssPercentile *float64
	Risk           float64
	Ignored        bool
	Reason         string
}

func (f exportFinding) addTo(r report.ExportRow) report.ExportRow {
	r.Vulnerability, r.Aliases, r.PackageType, r.PackageName, r.PackageVersion = f.Vulnerability, f.Aliases, f.Type, f.Name, f.Version
	r.PURL, r.Severity, r.CVSS, r.FixState, r.FixedVersions = f.Purl, severityOf(f.Rank), f.CVSS, vuln.FixState(f.FixState), f.FixedVersions
	r.SuggestedVersion, r.KnownExploited, r.EPSS, r.EPSSPercentile = f.Suggested, f.KnownExploited, f.Epss, f.EpssPercentile
	r.Risk, r.Ignored, r.IgnoredReason = f.Risk, f.Ignored, f.Reason
	return r
}

// findings reads the findings of inventories one by one. An inventory of several
// images is judged once for a chunk.
func (e *exporter) findings(ctx context.Context, ordinals []int32, inventories []int64, tell func(int32, exportFinding) error) error {
	const query = `
		WITH found AS (
			SELECT v.inventory_id, p.type, p.name, p.version, v.canonical, min(p.purl) AS purl,
			       max(COALESCE(r.severity_rank, 0))::int AS rank, max(COALESCE(r.cvss_score, 0)) AS cvss,
			       (array_agg(v.fix_state ORDER BY array_position(ARRAY['fixed', 'not-fixed', 'wont-fix', 'unknown'], v.fix_state)))[1] AS fix_state,
			       COALESCE((array_agg(v.suggested_version ORDER BY v.suggested_version = '', v.match_id))[1], '') AS suggested,
			       bool_or(COALESCE(r.known_exploited, false)) AS exploited, max(u.epss) AS epss, max(u.epss_percentile) AS epss_percentile,
			       max(u.risk) AS risk, bool_and(v.ignored <> '') AS ignored, min(NULLIF(v.ignored, '')) AS reason,
			       array_agg(DISTINCT v.match_id) AS matches
			  FROM verdicts(@inventories::bigint[], @build) v
			  JOIN package p ON p.id = v.package_id
			  JOIN vulnerability u ON u.id = v.vulnerability_id
			  LEFT JOIN vulnerability_rating r ON r.vulnerability_id = u.id
			       AND r.opened_build <= @build AND (r.closed_build IS NULL OR r.closed_build > @build)
			 WHERE @package = '' OR package_key(p.type, p.name) = CASE WHEN p.type = 'python' THEN @python_package ELSE @package END
			 GROUP BY v.inventory_id, p.type, p.name, p.version, v.canonical
		), kept AS (
			SELECT * FROM found f
			 WHERE (cardinality(@ranks::int[]) = 0 OR f.rank = ANY (@ranks)) AND f.rank >= @min_rank
			   AND (@fixable::boolean IS NULL OR (f.fix_state = 'fixed') = @fixable) AND (@kev::boolean IS NULL OR f.exploited = @kev)
			   AND (@ignored = 'true' OR f.ignored = (@ignored = 'only'))
			   AND (cardinality(@vulnerabilities::text[]) = 0 OR f.canonical = ANY (@vulnerabilities)
			     OR EXISTS (SELECT 1 FROM package_match m WHERE m.id = ANY (f.matches) AND m.ids && @vulnerabilities::text[]))
		)
		SELECT i.ordinal, k.type, k.name, k.version, k.purl, k.canonical AS vulnerability, more.aliases, k.rank, k.cvss, k.fix_state,
		       more.fixed_versions, k.suggested, k.exploited AS known_exploited, k.epss, k.epss_percentile, k.risk, k.ignored,
		       CASE WHEN k.ignored THEN COALESCE(k.reason, '') ELSE '' END AS reason
		  FROM unnest(@ordinals::int[], @inventories::bigint[]) AS i (ordinal, inventory_id)
		  JOIN kept k ON k.inventory_id = i.inventory_id
		 CROSS JOIN LATERAL (
			SELECT ARRAY(SELECT DISTINCT a FROM package_match m, unnest(m.ids) a WHERE m.id = ANY (k.matches) AND a <> k.canonical ORDER BY a) AS aliases,
			       ARRAY(SELECT DISTINCT v FROM package_match m, unnest(m.fix_versions) v WHERE m.id = ANY (k.matches) ORDER BY v) AS fixed_versions) more
		 ORDER BY i.ordinal, k.type, k.name, k.version, k.canonical`
	if len(inventories) == 0 {
		return nil
	}
	args := e.args()
	args["ordinals"], args["inventories"], args["build"] = ordinals, inventories, e.at.buildID
	found, err := e.at.Query(ctx, query, args)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		f, err := pgx.RowToStructByName[exportFinding](found)
		if err != nil {
			return err
		}
		if err := tell(f.Ordinal, f); err != nil {
			return err
		}
	}
	return found.Err()
}

func (e *exporter) args() pgx.NamedArgs {
	filter := e.filter.FindingFilter
	ranks := []int{}
	for _, severity := range filter.Severities {
		ranks = append(ranks, severity.Rank())
	}
	python, other := report.PackageNameKeys(filter.Package)
	vulnerabilities := []string{}
	if filter.Vulnerability != "" {
		vulnerabilities = report.VulnerabilityNames(filter.Vulnerability)
	}
	return pgx.NamedArgs{
		"package": other, "python_package": python, "vulnerabilities": vulnerabilities, "ranks": ranks, "min_rank": filter.MinSeverity.Rank(),
		"fixable": filter.Fixable, "kev": filter.KEV, "ignored": string(filter.Ignored),
	}
}
