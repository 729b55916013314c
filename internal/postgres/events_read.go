package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// Events lists what became of findings of repositories, newest first.
func (s *Store) Events(ctx context.Context, access report.Access, filter report.EventFilter, p report.Page) (report.List[report.FindingEvent], error) {
	var out report.List[report.FindingEvent]
	var at time.Time
	var id int64
	after, err := report.DecodeCursor("events", p.Cursor, &at, &id)
	if err != nil {
		return out, err
	}
	err = s.read(ctx, "list events", func(now snapshot) error {
		args, err := eventArgs(ctx, now, access, filter)
		if err != nil {
			return err
		}
		args["after"], args["at"], args["id"], args["limit"] = after, at, id, p.Size()+1
		found, err := rows[eventRow](ctx, now, eventsQuery, args)
		out = page(found, p.Size(), eventRow.report, func(r eventRow) string {
			return report.EncodeCursor("events", r.OccurredAt.UTC(), r.ID)
		})
		return err
	})
	return out, err
}

// eventsQuery finds a page of events first and looks up what belongs to each
// then.
const eventsQuery = `
	WITH page AS (
		SELECT e.id, e.occurred_at, g.name AS registry, g.host, r.name AS repository, e.kind, e.cause, e.package_type, e.package_name,
		       e.vulnerability, e.severity, e.severity_from, e.exploited, e.epss_from, e.epss_to, e.scan_id, e.build_id
		  FROM finding_event e
		  JOIN repository r ON r.id = e.repository_id
		  JOIN registry g ON g.id = r.registry_id
		 WHERE (@everywhere OR e.repository_id = ANY (@repositories::bigint[]))
		   AND (cardinality(@kinds::text[]) = 0 OR e.kind = ANY (@kinds)) AND (cardinality(@causes::text[]) = 0 OR e.cause = ANY (@causes))
		   AND (cardinality(@severities::text[]) = 0 OR e.severity = ANY (@severities))
		   AND (cardinality(@vulnerabilities::text[]) = 0 OR e.vulnerability = ANY (@vulnerabilities))
		   AND (@package = '' OR package_key(e.package_type, e.package_name) = CASE WHEN e.package_type = 'python' THEN @python_package ELSE @package END)
		   AND e.occurred_at >= @since AND e.occurred_at < @until
		   AND (NOT @after OR (e.occurred_at, e.id) < (@at, @id))
		 ORDER BY e.occurred_at DESC, e.id DESC
		 LIMIT @limit
	)
	SELECT page.id, page.occurred_at, page.registry, page.host, page.repository, page.kind, page.cause, page.package_type,
	       page.package_name, page.vulnerability, page.severity, page.severity_from, page.exploited, page.epss_from, page.epss_to,
	       page.scan_id, COALESCE(s.tag, '') AS tag, COALESCE(m.digest, '') AS digest, COALESCE(b.checksum, '') AS checksum
	  FROM page
	  LEFT JOIN scan s ON s.id = page.scan_id
	  LEFT JOIN manifest m ON m.id = s.manifest_id
	  LEFT JOIN vuln_build b ON b.id = page.build_id
	 ORDER BY page.occurred_at DESC, page.id DESC`

// eventArgs are the arguments of a filter. What a reader sees is found out before
// the events are read: there are many of them. A repository or registry that is
// not there, or not to be seen, is NotFound.
func eventArgs(ctx context.Context, at snapshot, access report.Access, filter report.EventFilter) (pgx.NamedArgs, error) {
	// Bounds that every event lies within: partitions outside of a window are not
	// looked at.
	since, until := time.Unix(0, 0), time.Now().AddDate(1, 0, 0)
	if !filter.Since.IsZero() {
		since = filter.Since
	}
	if !filter.Until.IsZero() {
		until = filter.Until
	}
	python, other := report.PackageNameKeys(filter.Package)
	args := pgx.NamedArgs{
		"everywhere": true, "repositories": []int64{},
		"kinds": texts(filter.Kinds), "causes": texts(filter.Causes), "severities": texts(atLeast(filter.Severities, filter.MinSeverity)),
		"package": other, "python_package": python, "vulnerabilities": []string{}, "since": since, "until": until,
	}
	if access.Limited() || filter.Registry != "" || filter.Repository != nil {
		repositories, err := repositoriesWithin(ctx, at, access, filter.Registry, filter.Repository)
		if err != nil {
			return nil, err
		}
		args["everywhere"], args["repositories"] = false, append([]int64{}, repositories...)
	}
	if filter.Vulnerability != "" {
		names, err := everCanonical(ctx, at, filter.Vulnerability)
		if err != nil {
			return nil, err
		}
		args["vulnerabilities"] = names
	}
	return args, nil
}

// texts turns words into what Postgres takes; never nil.
func texts[T ~string](words []T) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = string(w)
	}
	return out
}

// atLeast joins two filters for severities: those of the list, or all when it is
// empty, that are as bad as least. One that nothing passes stays one.
func atLeast(list []vuln.Severity, least vuln.Severity) []vuln.Severity {
	if least == "" {
		return list
	}
	out := []vuln.Severity{"none"} // an empty list would pass everything
	for _, s := range vuln.Severities() {
		if s.Rank() >= least.Rank() && (len(list) == 0 || slices.Contains(list, s)) {
			out = append(out, s)
		}
	}
	return out
}

// everCanonical lists the names that findings go by, or went by under any build,
// of a vulnerability by any of its names; among them those it was given.
func everCanonical(ctx context.Context, at snapshot, id string) ([]string, error) {
	const query = `SELECT DISTINCT canonical FROM package_match WHERE ids && $1::text[]`
	names := report.VulnerabilityNames(id)
	found, err := at.Query(ctx, query, names)
	if err != nil {
		return nil, err
	}
	more, err := pgx.CollectRows(found, pgx.RowTo[string])
	return append(names, more...), err
}

type eventRow struct {
	ID            int64
	OccurredAt    time.Time
	Registry      string
	Host          string
	Repository    string
	Kind          string
	Cause         string
	PackageType   string
	PackageName   string
	Vulnerability string
	Severity      string
	SeverityFrom  *string
	Exploited     bool
	EpssFrom      *float64
	EpssTo        *float64
	ScanID        *int64
	Tag           string
	Digest        string
	Checksum      string
}

func (r eventRow) report() report.FindingEvent {
	e := report.FindingEvent{
		ID: r.ID, OccurredAt: r.OccurredAt.UTC(), Registry: r.Registry, Repository: r.Host + "/" + r.Repository,
		Kind: report.EventKind(r.Kind), Cause: report.EventCause(r.Cause), Package: report.PackageName{Type: r.PackageType, Name: r.PackageName},
		Vulnerability: r.Vulnerability, Severity: vuln.Severity(r.Severity),
		ScanID: r.ScanID, Tag: r.Tag, Digest: image.Digest(r.Digest), Build: r.Checksum,
	}
	if r.SeverityFrom != nil || r.Exploited || r.EpssTo != nil {
		e.Escalation = &report.Escalation{KnownExploited: r.Exploited, EPSSFrom: r.EpssFrom, EPSSTo: r.EpssTo}
		if r.SeverityFrom != nil {
			e.Escalation.SeverityFrom = vuln.Severity(*r.SeverityFrom)
		}
	}
	return e
}
