package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// compareBatch counts and compares the groups of a batch, for all inventories up to
// the mark and all repositories: how counts change goes to rematch_inventory, and
// what findings become to rematch_finding.
func (a staging) compareBatch(ctx context.Context, tx pgx.Tx, batch int) error {
	args := a.args()
	args["batch"] = batch
	_, err := tx.Exec(ctx, batchComparison(), args)
	return err
}

// batchComparison states the rule of the function verdicts for some groups of findings
// and all inventories. What a match of a package comes to depends on the package,
// its owners and its twins, which are few, and not on the image: it is found out
// once for each, and then laid over the inventories.
//
// Where a match is suppressed by another package of the same type, name and version,
// the image decides whether it has that one.
func batchComparison() string {
	return `
	WITH grouped AS MATERIALIZED ( -- numbers are cheaper to group by than names
		SELECT package_type, package_name, vulnerability, (row_number() OVER ())::int AS number FROM rematch_group WHERE batch = @batch
	), judged AS MATERIALIZED (
		SELECT g.number, p.id AS package_id, m.ids, m.ignored <> '' AS ruled, m.fix_state = 'fixed' AS fixable,
		       m.opened_build <= @base AS before, m.closed_build IS NULL OR m.closed_build > @build AS after,
		       COALESCE(o.severity_rank, 0::smallint) AS rank_before, COALESCE(o.known_exploited, false) AS kev_before,
		       COALESCE(n.severity_rank, 0::smallint) AS rank_after, COALESCE(n.known_exploited, false) AS kev_after,
		       t.own_before, t.own_after, t.others_before, t.others_after
		  FROM grouped g
		  JOIN package p ON p.name = g.package_name AND p.type = g.package_type
		 CROSS JOIN LATERAL ( -- by both: a package may have thousands
			SELECT m.vulnerability_id, m.ids, m.ignored, m.fix_state, m.opened_build, m.closed_build FROM package_match m
			 WHERE m.package_id = p.id AND m.canonical = g.vulnerability
			   AND m.opened_build <= @build AND (m.closed_build IS NULL OR m.closed_build > @base)
			OFFSET 0) m
		  LEFT JOIN vulnerability_rating o ON o.vulnerability_id = m.vulnerability_id
		   AND o.opened_build <= @base AND (o.closed_build IS NULL OR o.closed_build > @base)
		  LEFT JOIN vulnerability_rating n ON n.vulnerability_id = m.vulnerability_id
		   AND n.opened_build <= @build AND (n.closed_build IS NULL OR n.closed_build > @build)
		 CROSS JOIN LATERAL ( -- what twins suppress
			SELECT COALESCE(bool_or(i.package_id = p.id AND i.before), false) AS own_before,
			       COALESCE(bool_or(i.package_id = p.id AND i.after), false) AS own_after,
			       COALESCE(array_agg(i.package_id) FILTER (WHERE i.package_id <> p.id AND i.before), '{}') AS others_before,
			       COALESCE(array_agg(i.package_id) FILTER (WHERE i.package_id <> p.id AND i.after), '{}') AS others_after
			  FROM (SELECT i.package_id, i.opened_build <= @base AS before, i.closed_build IS NULL OR i.closed_build > @build AS after
			          FROM package q JOIN package_ignore i ON i.package_id = q.id AND i.kind = 'same'
			         WHERE q.name = p.name AND q.type = p.type AND q.version = p.version AND i.vulnerability = ANY (m.ids)
			           AND i.opened_build <= @build AND (i.closed_build IS NULL OR i.closed_build > @base)
			        OFFSET 0) i) t
	), held AS MATERIALIZED (
		SELECT k.inventory_id, k.package_id, k.owners
		  FROM (SELECT DISTINCT package_id FROM judged) j
		  JOIN inventory_package k ON k.package_id = j.package_id AND k.excluded = '' AND k.inventory_id <= @mark
	), verdict AS MATERIALIZED ( -- by package and owners
		SELECT j.number, j.package_id, c.owners, j.fixable, j.before, j.after, j.rank_before, j.kev_before,
		       j.rank_after, j.kev_after, j.others_before, j.others_after,
		       j.ruled OR j.own_before OR w.before AS ignored_before, j.ruled OR j.own_after OR w.after AS ignored_after
		  FROM (SELECT DISTINCT package_id, owners FROM held) c
		  JOIN judged j ON j.package_id = c.package_id
		 CROSS JOIN LATERAL ( -- what owners suppress
			SELECT COALESCE(bool_or(i.before), false) AS before, COALESCE(bool_or(i.after), false) AS after
			  FROM (SELECT i.opened_build <= @base AS before, i.closed_build IS NULL OR i.closed_build > @build AS after
			          FROM package_ignore i
			         WHERE i.package_id = ANY (c.owners) AND i.kind = 'owned' AND i.vulnerability = ANY (j.ids)
			           AND i.opened_build <= @build AND (i.closed_build IS NULL OR i.closed_build > @base)
			        OFFSET 0) i) w
	), alike AS MATERIALIZED ( -- the same in every image
		SELECT v.number, v.package_id, v.owners, ` + summed + `
		  FROM verdict v WHERE v.others_before = '{}' AND v.others_after = '{}'
		 GROUP BY v.number, v.package_id, v.owners
	), part AS (
		SELECT h.inventory_id, a.number, a.rank_before, a.fixable_before, a.kev_before, a.ignored_before,
		       a.live_rank_before, a.live_fixable_before, a.live_kev_before,
		       a.rank_after, a.fixable_after, a.kev_after, a.ignored_after, a.live_rank_after, a.live_fixable_after, a.live_kev_after
		  FROM held h JOIN alike a ON a.package_id = h.package_id AND a.owners = h.owners
		UNION ALL
		SELECT v.inventory_id, v.number, ` + summed + `
		  FROM (SELECT h.inventory_id, v.number, v.fixable, v.before, v.after, v.rank_before, v.kev_before,
		               v.rank_after, v.kev_after,
		               v.ignored_before OR EXISTS (SELECT 1 FROM inventory_package k WHERE k.inventory_id = h.inventory_id
		                                              AND k.package_id = ANY (v.others_before) AND k.excluded = '') AS ignored_before,
		               v.ignored_after OR EXISTS (SELECT 1 FROM inventory_package k WHERE k.inventory_id = h.inventory_id
		                                             AND k.package_id = ANY (v.others_after) AND k.excluded = '') AS ignored_after
		          FROM held h JOIN verdict v ON v.package_id = h.package_id AND v.owners = h.owners
		         WHERE v.others_before <> '{}' OR v.others_after <> '{}') v
		 GROUP BY v.inventory_id, v.number
	), finding AS MATERIALIZED (
		SELECT inventory_id, number, max(rank_before) AS rank_before, bool_or(fixable_before) AS fixable_before,
		       bool_or(kev_before) AS kev_before, bool_and(ignored_before) AS ignored_before,
		       max(rank_after) AS rank_after, bool_or(fixable_after) AS fixable_after,
		       bool_or(kev_after) AS kev_after, bool_and(ignored_after) AS ignored_after,
		       max(live_rank_after) AS live_rank, bool_or(live_fixable_after) AS live_fixable, bool_or(live_kev_after) AS live_kev,
		       (max(live_rank_before), bool_or(live_fixable_before), bool_or(live_kev_before))
		       IS DISTINCT FROM (max(live_rank_after), bool_or(live_fixable_after), bool_or(live_kev_after)) AS lives_otherwise
		  FROM part GROUP BY inventory_id, number
	), counted AS (
		INSERT INTO rematch_inventory (inventory_id, critical, high, medium, low, negligible, unknown, fixable, known_exploited, ignored)
		SELECT inventory_id, ` + moved(`rank_after = 5`, `rank_before = 5`) + `, ` + moved(`rank_after = 4`, `rank_before = 4`) + `,
		       ` + moved(`rank_after = 3`, `rank_before = 3`) + `, ` + moved(`rank_after = 2`, `rank_before = 2`) + `,
		       ` + moved(`rank_after = 1`, `rank_before = 1`) + `, ` + moved(`rank_after = 0`, `rank_before = 0`) + `,
		       ` + moved(`fixable_after`, `fixable_before`) + `, ` + moved(`kev_after`, `kev_before`) + `,
		       count(*) FILTER (WHERE ignored_after) - count(*) FILTER (WHERE ignored_before)
		  FROM finding
		 WHERE (rank_before, fixable_before, kev_before, ignored_before) IS DISTINCT FROM (rank_after, fixable_after, kev_after, ignored_after)
		 GROUP BY inventory_id
	), now_has AS (
		SELECT k.repository_id, f.number, max(f.live_rank) AS rank, bool_or(f.live_fixable) AS fixable, bool_or(f.live_kev) AS kev
		  FROM finding f JOIN repository_inventory k ON k.inventory_id = f.inventory_id
		    -- not as a condition of its own: the planner, which takes findings for few, would join
		 WHERE CASE WHEN f.number IN (SELECT number FROM finding WHERE lives_otherwise) THEN true ELSE false END
		 GROUP BY k.repository_id, f.number
	)
	INSERT INTO rematch_finding (repository_id, package_type, package_name, vulnerability, severity_rank, fixable, known_exploited)
	SELECT n.repository_id, g.package_type, g.package_name, g.vulnerability, n.rank, n.fixable, n.kev
	  FROM now_has n
	  JOIN grouped g ON g.number = n.number
	  LEFT JOIN LATERAL (
	        SELECT f.severity_rank, f.fixable, f.known_exploited FROM repository_finding f
	         WHERE f.repository_id = n.repository_id AND f.closed_at IS NULL
	           AND (f.package_type, f.package_name, f.vulnerability) = (g.package_type, g.package_name, g.vulnerability)
	        OFFSET 0) old ON true
	 WHERE (old.severity_rank, old.fixable, old.known_exploited) IS DISTINCT FROM (n.rank, n.fixable, n.kev)`
}

// summed sums up verdicts v of one group by what they are under either build: with
// all matches, which summaries count by, and with those alone that nothing ignores,
// which findings of repositories are taken from. Null is that there are none.
const summed = `
	max(v.rank_before) FILTER (WHERE v.before) AS rank_before,
	bool_or(v.fixable) FILTER (WHERE v.before) AS fixable_before,
	bool_or(v.kev_before) FILTER (WHERE v.before) AS kev_before,
	bool_and(v.ignored_before) FILTER (WHERE v.before) AS ignored_before,
	max(v.rank_before) FILTER (WHERE v.before AND NOT v.ignored_before) AS live_rank_before,
	bool_or(v.fixable) FILTER (WHERE v.before AND NOT v.ignored_before) AS live_fixable_before,
	bool_or(v.kev_before) FILTER (WHERE v.before AND NOT v.ignored_before) AS live_kev_before,
	max(v.rank_after) FILTER (WHERE v.after) AS rank_after,
	bool_or(v.fixable) FILTER (WHERE v.after) AS fixable_after,
	bool_or(v.kev_after) FILTER (WHERE v.after) AS kev_after,
	bool_and(v.ignored_after) FILTER (WHERE v.after) AS ignored_after,
	max(v.rank_after) FILTER (WHERE v.after AND NOT v.ignored_after) AS live_rank_after,
	bool_or(v.fixable) FILTER (WHERE v.after AND NOT v.ignored_after) AS live_fixable_after,
	bool_or(v.kev_after) FILTER (WHERE v.after AND NOT v.ignored_after) AS live_kev_after`

// moved counts by how many more findings something is true after than before.
func moved(after, before string) string {
	return `count(*) FILTER (WHERE ` + after + ` AND NOT ignored_after) - count(*) FILTER (WHERE ` + before + ` AND NOT ignored_before)`
}
