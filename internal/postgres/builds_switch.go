package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// SwitchBuild makes the candidate the active build: in one transaction, with the
// counts, the findings of repositories and their events, and what is told of
// records. Nobody stores an answer meanwhile, and readers see what was before
// until all of it is there. What moved since it was staged is caught up first; the
// error is of kind Conflict when that is too much for others to wait, and Canceled
// when the build is no longer the candidate.
func (s *Store) SwitchBuild(ctx context.Context, build int64, session scan.Session) error {
	const ready = `SELECT r.stage = 'covered' AND NOT EXISTS (SELECT 1 FROM rematch_batch WHERE NOT done) FROM rematch r WHERE r.build_id = $1`
	return s.inTx(ctx, "switch build", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, stagePlanner); err != nil {
			return err
		}
		if err := lockBuilds(ctx, tx); err != nil {
			return err
		}
		if err := mustBeCandidate(ctx, tx, build); err != nil {
			return err
		}
		at, err := holdStaging(ctx, tx, build)
		if err != nil {
			return err
		}
		var staged bool
		if err := tx.QueryRow(ctx, ready, build).Scan(&staged); err != nil {
			return err
		}
		if !staged {
			return errs.New(errs.Conflict, "postgres: build %d is not counted yet", build)
		}
		if err := s.catchUp(ctx, tx, at, session); err != nil {
			return err
		}
		return s.applyStaged(ctx, tx, at)
	})
}

// applyStaged puts the candidate in the place of the active build.
func (s *Store) applyStaged(ctx context.Context, tx pgx.Tx, at staging) error {
	const retire = `UPDATE vuln_build SET state = 'retired', retired_at = now() WHERE state = 'active'`
	const activate = `
		UPDATE vuln_build b SET state = 'active', activated_at = now(), reason = '', counted_since = @since,
		       judged_since = CASE WHEN r.everything <> '' THEN b.id ELSE COALESCE(a.judged_since, a.id) END
		  FROM rematch r, vuln_build a
		 WHERE b.id = @build AND r.build_id = b.id AND a.id = @base`
	// Coverage first: the trigger that keeps what was known sees by the build that
	// a summary is of an older one.
	for _, statement := range []string{
		retire, activate, applyCoverage, applyCounts, applyChanges, applyFindings,
	} {
		if _, err := tx.Exec(ctx, statement, at.args()); err != nil {
			return err
		}
	}
	if err := applyRecords(ctx, tx); err != nil {
		return err
	}
	if err := s.escalateLikely(ctx, tx, at.build); err != nil {
		return err
	}
	return emptyStaging(ctx, tx)
}

const applyCoverage = `
	UPDATE inventory_summary s SET build_id = @build, no_data = c.no_data, distro_eol = c.distro_eol
	  FROM rematch_coverage c WHERE s.inventory_id = c.inventory_id`

// applyCounts takes the counts of late inventories, which were counted as a whole.
const applyCounts = `
	UPDATE inventory_summary s SET build_id = @build, critical = c.critical, high = c.high, medium = c.medium, low = c.low,
	       negligible = c.negligible, unknown = c.unknown, fixable = c.fixable, known_exploited = c.known_exploited, ignored = c.ignored
	  FROM rematch_count c WHERE s.inventory_id = c.inventory_id`

// applyChanges moves the counts of all others by what changed.
const applyChanges = `
	UPDATE inventory_summary s SET build_id = @build, critical = s.critical + d.critical, high = s.high + d.high,
	       medium = s.medium + d.medium, low = s.low + d.low, negligible = s.negligible + d.negligible, unknown = s.unknown + d.unknown,
	       fixable = s.fixable + d.fixable, known_exploited = s.known_exploited + d.known_exploited, ignored = s.ignored + d.ignored
	  FROM (SELECT inventory_id, sum(critical)::int AS critical, sum(high)::int AS high, sum(medium)::int AS medium, sum(low)::int AS low,
	               sum(negligible)::int AS negligible, sum(unknown)::int AS unknown, sum(fixable)::int AS fixable,
	               sum(known_exploited)::int AS known_exploited, sum(ignored)::int AS ignored
	          FROM rematch_inventory GROUP BY inventory_id) d
	 WHERE s.inventory_id = d.inventory_id AND NOT EXISTS (SELECT 1 FROM rematch_count c WHERE c.inventory_id = d.inventory_id)
	   AND (d.critical, d.high, d.medium, d.low, d.negligible, d.unknown, d.fixable, d.known_exploited, d.ignored)
	       <> (0, 0, 0, 0, 0, 0, 0, 0, 0)`

// applyFindings brings repository_finding to what was staged, and writes one event
// for each difference: move says the same of one repository (findings_apply.go). A
// repository that was forgotten since is left out; none is while this runs.
// What the estimate of exploitation adds comes behind it (escalateLikely).
const applyFindings = `
	WITH told AS MATERIALIZED (
		SELECT n.repository_id, n.package_type, n.package_name, n.vulnerability, n.severity_rank, n.fixable, n.known_exploited,
		       COALESCE(old.severity_rank, n.severity_rank) AS rank_before, old.closed_at IS NULL AND old.repository_id IS NOT NULL AS was_open,
		       CASE WHEN n.severity_rank IS NULL THEN 'closed'
		            WHEN old.repository_id IS NULL THEN 'opened'
		            WHEN old.closed_at IS NOT NULL THEN 'reopened'
		            WHEN n.severity_rank > old.severity_rank OR (n.known_exploited AND NOT old.known_exploited) THEN 'escalated'
		            WHEN n.fixable AND NOT old.fixable THEN 'fix_available' END AS kind,
		       COALESCE(n.known_exploited AND NOT old.known_exploited AND old.closed_at IS NULL, false) AS exploited
		  FROM rematch_finding n
		  LEFT JOIN LATERAL (
		        SELECT f.repository_id, f.severity_rank, f.fixable, f.known_exploited, f.closed_at FROM repository_finding f
		         WHERE f.repository_id = n.repository_id
		           AND (f.package_type, f.package_name, f.vulnerability) = (n.package_type, n.package_name, n.vulnerability)
		        OFFSET 0) old ON true
		 WHERE EXISTS (SELECT 1 FROM repository r WHERE r.id = n.repository_id)
		 ORDER BY n.repository_id -- as the indexes are
	), upserted AS (
		INSERT INTO repository_finding AS rf (repository_id, package_type, package_name, vulnerability, severity, severity_rank,
		                                      fixable, known_exploited, opened_at)
		SELECT repository_id, package_type, package_name, vulnerability, severity_name(severity_rank), severity_rank, fixable,
		       known_exploited, now()
		  FROM told WHERE severity_rank IS NOT NULL
		ON CONFLICT (repository_id, package_type, package_name, vulnerability) DO UPDATE
		SET severity = EXCLUDED.severity, severity_rank = EXCLUDED.severity_rank, fixable = EXCLUDED.fixable,
		    known_exploited = EXCLUDED.known_exploited, closed_at = NULL, likely = rf.closed_at IS NULL AND rf.likely
	), closed AS (
		UPDATE repository_finding rf SET closed_at = now()
		  FROM told t
		 WHERE t.severity_rank IS NULL AND t.was_open
		   AND (rf.repository_id, rf.package_type, rf.package_name, rf.vulnerability)
		       = (t.repository_id, t.package_type, t.package_name, t.vulnerability)
	)
	INSERT INTO finding_event (repository_id, package_type, package_name, vulnerability, kind, severity, severity_from, exploited,
	                           cause, build_id)
	SELECT repository_id, package_type, package_name, vulnerability, kind, severity_name(COALESCE(severity_rank, rank_before)),
	       CASE WHEN was_open AND severity_rank > rank_before THEN severity_name(rank_before) END,
	       exploited AND was_open, 'build', @build
	  FROM told
	 WHERE kind IS NOT NULL AND (kind <> 'closed' OR was_open)`
