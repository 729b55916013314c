package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// groupRematch lists what may be other than before: findings by what they are
// grouped by, a package's type and name and the canonical name of a
// vulnerability. Everything else is the same under both builds.
func (s *Store) groupRematch(ctx context.Context, build int64) error {
	err := s.inStage(ctx, build, stageMarked, stageGrouped, func(tx pgx.Tx) error {
		at, err := holdStaging(ctx, tx, build)
		if err != nil {
			return err
		}
		for _, statement := range []string{
			`TRUNCATE rematch_group, rematch_batch, rematch_inventory, rematch_finding, rematch_repository, rematch_count, rematch_coverage`,
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, fillGroups, at.args()); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO rematch_batch (batch) SELECT DISTINCT batch FROM rematch_group`); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, rememberRepositories, at.args())
		return err
	})
	if err != nil {
		return err
	}
	// What was written by the thousand a moment ago is not in the statistics yet.
	_, err = s.pool.Exec(ctx, `ANALYZE rematch_group`)
	return wrap("prepare build: statistics", err)
}

// fillGroups lists groups in batches of like weight: as many packages of images as
// are looked at in a second or so.
//
// A match that is only told otherwise (how it was found, which versions fix it)
// makes no group, a rating with the same severity none, and what packages suppress
// those alone that match it.
const fillGroups = `
	WITH changed_match AS (
		SELECT m.package_id, m.canonical
		  FROM package_match m
		 WHERE m.opened_build = @build OR m.closed_build = @build
		 GROUP BY m.package_id, m.vulnerability_id, m.canonical, m.ids, m.fix_state = 'fixed', m.ignored <> ''
		HAVING count(*) FILTER (WHERE m.opened_build = @build) <> count(*) FILTER (WHERE m.opened_build <> @build)
	), changed_rating AS (
		SELECT n.vulnerability_id
		  FROM vulnerability_rating n
		  LEFT JOIN vulnerability_rating o ON o.vulnerability_id = n.vulnerability_id
		       AND o.opened_build <= @base AND (o.closed_build IS NULL OR o.closed_build > @base)
		 WHERE n.opened_build = @build
		   AND (COALESCE(o.severity_rank, 0), COALESCE(o.known_exploited, false)) <> (n.severity_rank, n.known_exploited)
	), changed_ignore AS (
		SELECT i.package_id, i.vulnerability, i.kind
		  FROM package_ignore i
		 WHERE i.opened_build = @build OR i.closed_build = @build
		 GROUP BY i.package_id, i.vulnerability, i.kind
		HAVING count(*) FILTER (WHERE i.opened_build = @build) <> count(*) FILTER (WHERE i.opened_build <> @build)
	), ignored_name AS MATERIALIZED (
		SELECT DISTINCT vulnerability FROM changed_ignore WHERE kind = 'owned'
	), open_match AS NOT MATERIALIZED ( -- under either build
		SELECT m.package_id, m.vulnerability_id, m.canonical, m.ids FROM package_match m
		 WHERE m.opened_build <= @build AND (m.closed_build IS NULL OR m.closed_build > @base)
	), touched AS (
		SELECT c.package_id, c.canonical FROM changed_match c
		UNION
		SELECT m.package_id, m.canonical FROM changed_rating r JOIN open_match m ON m.vulnerability_id = r.vulnerability_id
		UNION
		SELECT m.package_id, m.canonical
		  FROM changed_ignore i JOIN package s ON s.id = i.package_id
		  JOIN package p ON p.name = s.name AND p.type = s.type AND p.version = s.version
		  JOIN open_match m ON m.package_id = p.id AND i.vulnerability = ANY (m.ids)
		 WHERE i.kind = 'same'
		UNION
		SELECT m.package_id, m.canonical
		  FROM ignored_name n JOIN open_match m ON m.ids @> ARRAY[n.vulnerability]
		 WHERE EXISTS (SELECT 1 FROM inventory_package k WHERE k.package_id = m.package_id AND k.owners <> '{}')
	), named AS (
		SELECT DISTINCT p.type, p.name, t.canonical FROM touched t JOIN package p ON p.id = t.package_id
	), weight AS (
		SELECT p.type, p.name, count(*) AS members
		  FROM (SELECT DISTINCT type, name FROM named) n
		  JOIN package p ON p.name = n.name AND p.type = n.type
		  JOIN inventory_package k ON k.package_id = p.id
		 GROUP BY p.type, p.name
	)
	INSERT INTO rematch_group (package_type, package_name, vulnerability, batch)
	SELECT n.type, n.name, n.canonical,
	       sum(COALESCE(w.members, 0) + 20) OVER (ORDER BY n.type, n.name, n.canonical ROWS UNBOUNDED PRECEDING) / 100000
	  FROM named n LEFT JOIN weight w ON w.type = n.type AND w.name = n.name`

// rememberRepositories keeps what each repository was when it was last compared:
// one that was compared since, or whose findings were taken from late inventories
// or under a build that no longer holds, is compared by itself.
const rememberRepositories = `
	INSERT INTO rematch_repository (repository_id, compared)
	SELECT r.id, CASE WHEN ` + fit + ` AND split_part(r.compared, '/', 1)::bigint >= @since
	                   AND NOT COALESCE(k.latest > @mark, false) THEN r.compared ELSE '?' END
	  FROM repository r LEFT JOIN ` + heldInventories + ` k ON k.repository_id = r.id
	 WHERE r.compared <> ''`

// heldInventories sums up repository_inventory; fit tells whether it says the same
// as repository.compared. The version before leaves it as it was.
const (
	heldInventories = `(
		SELECT repository_id, max(inventory_id) AS latest, md5(string_agg(inventory_id::text, ',' ORDER BY inventory_id)) AS list
		  FROM repository_inventory GROUP BY repository_id)`
	fit = `split_part(r.compared, '/', 2) = COALESCE(k.list, '')`
)
