package postgres

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// ReportBuild sums up what a candidate, whose packages are judged, would change,
// and keeps it with the build. released tells that somebody let the build go on.
func (s *Store) ReportBuild(ctx context.Context, build int64, change scan.Change) (report scan.BuildReport, released bool, err error) {
	const keep = `UPDATE vuln_build SET report = $2 WHERE id = $1 AND state = 'candidate' RETURNING released_at IS NOT NULL`
	const packages = `SELECT count(*) FROM package WHERE judged_build = $1`
	report = scan.BuildReport{
		Everything: change.Everything, Names: len(change.Names), Records: len(change.Records),
		Before: change.Before, After: change.After, Matches: map[string]scan.MatchChange{},
	}
	err = s.inTx(ctx, "report on build", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, stagePlanner); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, packages, build).Scan(&report.Packages); err != nil {
			return err
		}
		if err := countMatches(ctx, tx, build, report.Matches); err != nil {
			return err
		}
		encoded, err := json.Marshal(report)
		if err != nil {
			return errs.Wrap(errs.Internal, "postgres: encode report", err)
		}
		err = tx.QueryRow(ctx, keep, build, encoded).Scan(&released)
		return gone(err, build)
	})
	return report, released, err
}

// countMatches counts pairs of package and record by what covers the package.
func countMatches(ctx context.Context, tx pgx.Tx, build int64, into map[string]scan.MatchChange) error {
	const query = `
		WITH base AS (SELECT base_build AS id FROM vuln_build WHERE id = $1
		), pair AS (
			SELECT m.package_id, count(*) FILTER (WHERE m.opened_build <= base.id) AS before,
			       count(*) FILTER (WHERE m.opened_build <= base.id AND m.closed_build IS NOT NULL AND NOT EXISTS (
			           SELECT 1 FROM package_match n WHERE n.package_id = m.package_id AND n.vulnerability_id = m.vulnerability_id
			              AND n.engine = m.engine AND n.closed_build IS NULL)) AS closed,
			       count(*) FILTER (WHERE m.opened_build > base.id AND NOT EXISTS (
			           SELECT 1 FROM package_match o WHERE o.package_id = m.package_id AND o.vulnerability_id = m.vulnerability_id
			              AND o.engine = m.engine AND o.closed_build = $1)) AS opened
			  FROM base, package_match m
			 WHERE m.opened_build <= $1 AND (m.closed_build IS NULL OR m.closed_build > base.id)
			 GROUP BY m.package_id
		)
		SELECT CASE WHEN p.type IN ('alpm', 'apk', 'deb', 'portage', 'rpm') THEN 'distro:' || p.distro ELSE 'ecosystem:' || p.type END,
		       sum(pair.before)::int, sum(pair.closed)::int, sum(pair.opened)::int
		  FROM pair JOIN package p ON p.id = pair.package_id
		 GROUP BY 1`
	rows, err := tx.Query(ctx, query, build)
	if err != nil {
		return err
	}
	var by string
	var c scan.MatchChange
	_, err = pgx.ForEachRow(rows, []any{&by, &c.Before, &c.Closed, &c.Opened}, func() error {
		into[by] = c
		return nil
	})
	return err
}
