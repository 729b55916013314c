package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// SaveFindings compares what the live tags of the job's repository have now
// with what the repository had before, and records the difference as events.
// When neither the tags' contents nor the active build changed, it writes
// nothing.
func (s *Store) SaveFindings(ctx context.Context, job scan.Job) error {
	return s.inTx(ctx, "save findings", func(tx pgx.Tx) error {
		cause := "push"
		if job.Cause == scan.CauseDelete {
			cause = "delete"
		}
		return compareRepository(ctx, tx, job.Repository, cause, &job.ID)
	})
}

// compareRepository is the one place where a repository's findings open, close,
// escalate, get a fix or come back. A tag whose new image has no answer yet keeps
// what it had (standing_tag), unless a rule leaves the new one out. scanID is nil when a database build is the
// cause.
func compareRepository(ctx context.Context, tx pgx.Tx, repositoryID int64, cause string, scanID *int64) error {
	const lock = `SELECT pg_advisory_xact_lock(hashtextextended('tidewaiter/repository', $1))`
	const buildID = `SELECT id FROM vuln_build WHERE state = 'active'`
	const answered = `
		UPDATE tag t SET answered_id = t.manifest_id FROM manifest m
		 WHERE t.repository_id = $1 AND m.id = t.manifest_id
		   AND (m.state IN ('done', 'unsupported')
		     OR EXISTS (SELECT 1 FROM repository_manifest rm
		                 WHERE rm.repository_id = t.repository_id AND rm.manifest_id = m.id AND rm.presence = 'excluded'))
		   AND t.answered_id IS DISTINCT FROM t.manifest_id`
	// Held shared, so that no switch passes between reading the active build and
	// remembering what was compared under it.
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock_shared(`+lockKey("build")+`)`); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, lock, repositoryID); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, answered, repositoryID); err != nil {
		return err
	}
	var build int64
	if err := tx.QueryRow(ctx, buildID).Scan(&build); err != nil {
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // nothing was ever judged
		}
		return err
	}
	changed, state, err := contentsChanged(ctx, tx, repositoryID, build)
	if err != nil || !changed {
		return err
	}
	if err := applyFindings(ctx, tx, repositoryID, build, cause, scanID); err != nil {
		return err
	}
	const remember = `UPDATE repository SET compared = $2 WHERE id = $1`
	_, err = tx.Exec(ctx, remember, repositoryID, state)
	return err
}

// contentsChanged tells whether the inventories behind the repository's live
// tags, or the build, are others than at the last comparison.
func contentsChanged(ctx context.Context, tx pgx.Tx, repositoryID, build int64) (changed bool, state string, err error) {
	const query = `
		SELECT r.compared, COALESCE((
		    SELECT md5(string_agg(i.id::text, ',' ORDER BY i.id)) FROM repository_inventories(r.id) i(id)), '')
		  FROM repository r WHERE r.id = $1`
	var before, contents string
	if err := tx.QueryRow(ctx, query, repositoryID).Scan(&before, &contents); err != nil {
		return false, "", err
	}
	state = fmt.Sprintf("%d/%s", build, contents)
	return before != state, state, nil
}

// applyFindings moves repository_finding to the present state and writes one
// event for each difference, in one statement.
func applyFindings(ctx context.Context, tx pgx.Tx, repositoryID, build int64, cause string, scanID *int64) error {
	const apply = `
		WITH now_has AS (
			SELECT p.type, p.name, v.canonical AS vulnerability, max(COALESCE(r.severity_rank, 0::smallint)) AS rank,
			       bool_or(v.fix_state = 'fixed') AS fixable, bool_or(COALESCE(r.known_exploited, false)) AS kev
			  FROM verdicts(ARRAY(SELECT repository_inventories(@repository)), @build) v
			  JOIN package p ON p.id = v.package_id
			  LEFT JOIN vulnerability_rating r ON r.vulnerability_id = v.vulnerability_id
			       AND r.opened_build <= @build AND (r.closed_build IS NULL OR r.closed_build > @build)
			 WHERE v.ignored = ''
			 GROUP BY p.type, p.name, v.canonical
		), upserted AS (
			INSERT INTO repository_finding AS rf (repository_id, package_type, package_name, vulnerability, severity, severity_rank,
			                                      fixable, known_exploited, opened_at)
			SELECT @repository, n.type, n.name, n.vulnerability, severity_name(n.rank), n.rank, n.fixable, n.kev, now()
			  FROM now_has n
			  LEFT JOIN repository_finding old ON old.repository_id = @repository AND old.package_type = n.type
			       AND old.package_name = n.name AND old.vulnerability = n.vulnerability
			 WHERE old.repository_id IS NULL OR old.closed_at IS NOT NULL
			    OR (old.severity_rank, old.fixable, old.known_exploited) IS DISTINCT FROM (n.rank, n.fixable, n.kev)
			ON CONFLICT (repository_id, package_type, package_name, vulnerability) DO UPDATE
			SET severity = EXCLUDED.severity, severity_rank = EXCLUDED.severity_rank, fixable = EXCLUDED.fixable,
			    known_exploited = EXCLUDED.known_exploited, closed_at = NULL
			RETURNING package_type, package_name, vulnerability, severity, severity_rank, fixable, known_exploited
		), closed AS (
			UPDATE repository_finding rf SET closed_at = now()
			 WHERE rf.repository_id = @repository AND rf.closed_at IS NULL
			   AND NOT EXISTS (SELECT 1 FROM now_has n WHERE n.type = rf.package_type AND n.name = rf.package_name
			                      AND n.vulnerability = rf.vulnerability)
			RETURNING package_type, package_name, vulnerability, severity
		), told AS (
			SELECT u.package_type, u.package_name, u.vulnerability, u.severity,
			       CASE WHEN old.repository_id IS NULL THEN 'opened'
			            WHEN old.closed_at IS NOT NULL THEN 'reopened'
			            WHEN u.severity_rank > old.severity_rank OR (u.known_exploited AND NOT old.known_exploited) THEN 'escalated'
			            WHEN u.fixable AND NOT old.fixable THEN 'fix_available' END AS kind
			  FROM upserted u
			  LEFT JOIN repository_finding old ON old.repository_id = @repository AND old.package_type = u.package_type
			       AND old.package_name = u.package_name AND old.vulnerability = u.vulnerability
			UNION ALL
			SELECT package_type, package_name, vulnerability, severity, 'closed' FROM closed
		)
		INSERT INTO finding_event (repository_id, package_type, package_name, vulnerability, kind, severity, cause, scan_id, build_id)
		SELECT @repository, package_type, package_name, vulnerability, kind, severity, @cause, @scan, @build
		  FROM told WHERE kind IS NOT NULL`
	// The "old" rows of told are those before this statement: parts of one
	// statement see the same snapshot (Postgres manual, 7.8.4).
	_, err := tx.Exec(ctx, apply, pgx.NamedArgs{"repository": repositoryID, "build": build, "cause": cause, "scan": scanID})
	return err
}
