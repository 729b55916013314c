package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// likelyMargin is how far below the threshold an estimate has to fall, as a share
// of it, before a rise is news again.
const likelyMargin = 0.8

// escalateLikely escalates the open findings, of all repositories, whose
// vulnerability has become likely to be exploited, and forgets those that have
// become unlikely. It goes behind what changes estimates and findings for a
// build, in the same transaction. A finding that the build opened is no news
// twice.
//
// Estimates are made per CVE: all records of one name have the same, so that no
// image has to be looked at.
func (s *Store) escalateLikely(ctx context.Context, tx pgx.Tx, build int64) error {
	const rise = `
		WITH hot AS MATERIALIZED (
			SELECT m.canonical, max(u.epss) AS score, max(u.epss_before) AS before
			  FROM vulnerability u JOIN package_match m ON m.vulnerability_id = u.id
			 WHERE u.epss >= @likely AND m.opened_build <= @build AND (m.closed_build IS NULL OR m.closed_build > @build)
			 GROUP BY m.canonical
		), risen AS (
			UPDATE repository_finding f SET likely = true FROM hot
			 WHERE f.vulnerability = hot.canonical AND f.closed_at IS NULL AND NOT f.likely
			RETURNING f.repository_id, f.package_type, f.package_name, f.vulnerability, f.severity, hot.before, hot.score
		)
		INSERT INTO finding_event (repository_id, package_type, package_name, vulnerability, kind, severity, epss_from, epss_to, cause, build_id)
		SELECT r.repository_id, r.package_type, r.package_name, r.vulnerability, 'escalated', r.severity, r.before, r.score, 'build', @build
		  FROM risen r
		 WHERE NOT EXISTS (SELECT 1 FROM finding_event e
		                    WHERE e.repository_id = r.repository_id AND e.occurred_at = now() AND e.kind IN ('opened', 'reopened')
		                      AND e.package_type = r.package_type AND e.package_name = r.package_name AND e.vulnerability = r.vulnerability)`
	const fall = `
		WITH likely AS MATERIALIZED (
			SELECT DISTINCT f.vulnerability FROM repository_finding f WHERE f.closed_at IS NULL AND f.likely
		), cold AS MATERIALIZED (
			SELECT l.vulnerability FROM likely l
			 WHERE NOT EXISTS (SELECT 1 FROM package_match m JOIN vulnerability u ON u.id = m.vulnerability_id
			                    WHERE m.canonical = l.vulnerability AND u.epss >= @least)
		)
		UPDATE repository_finding f SET likely = false FROM cold
		 WHERE f.vulnerability = cold.vulnerability AND f.closed_at IS NULL AND f.likely`
	if _, err := tx.Exec(ctx, rise, pgx.NamedArgs{"likely": s.likely, "build": build}); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, fall, pgx.NamedArgs{"least": s.likely * likelyMargin})
	return err
}
