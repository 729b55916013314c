package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// comparison is of what a repository has with what it had before.
type comparison struct {
	repository, build int64
	since             int64 // the oldest build under which what was compared holds
	cause             string
	scan              *int64  // nil when a database build is the cause
	likely            float64 // see Options.LikelyAt
}

func (c comparison) args(more pgx.NamedArgs) pgx.NamedArgs {
	args := pgx.NamedArgs{"repository": c.repository, "build": c.build, "cause": c.cause, "scan": c.scan, "likely": c.likely}
	for k, v := range more {
		args[k] = v
	}
	return args
}

// named sums up verdicts, a set v, by what findings of a repository are told
// apart by.
const named = `
	SELECT p.type, p.name, v.canonical AS vulnerability, max(COALESCE(r.severity_rank, 0::smallint)) AS rank,
	       bool_or(v.fix_state = 'fixed') AS fixable, bool_or(COALESCE(r.known_exploited, false)) AS kev, max(u.epss) AS epss
	  FROM v
	  JOIN package p ON p.id = v.package_id
	  JOIN vulnerability u ON u.id = v.vulnerability_id
	  LEFT JOIN vulnerability_rating r ON r.vulnerability_id = v.vulnerability_id
	       AND r.opened_build <= @build AND (r.closed_build IS NULL OR r.closed_build > @build)
	 WHERE v.ignored = ''
	 GROUP BY p.type, p.name, v.canonical`

// before looks up what the repository had of each finding of a set: one row by its
// key, whatever the planner knows of how many there are.
func before(set string) string {
	return `
		  LEFT JOIN LATERAL (
		        SELECT f.repository_id, f.severity_rank, f.fixable, f.known_exploited, f.closed_at FROM repository_finding f
		         WHERE f.repository_id = @repository AND (f.package_type, f.package_name, f.vulnerability) = ` + set + `
		        OFFSET 0) old ON true`
}

// move brings repository_finding to what now_has says, and writes one event for
// each difference. It goes behind the definition of now_has; what of the
// repository is in question and not in now_has is closed.
//
// The "old" rows are those before the statement: its parts see the same snapshot
// (Postgres manual, 7.8.4).
func move(inQuestion string) string {
	return `, upserted AS (
		INSERT INTO repository_finding AS rf (repository_id, package_type, package_name, vulnerability, severity, severity_rank,
		                                      fixable, known_exploited, likely, opened_at)
		SELECT @repository, n.type, n.name, n.vulnerability, severity_name(n.rank), n.rank, n.fixable, n.kev,
		       COALESCE(n.epss >= @likely, false), now()
		  FROM now_has n` + before(`(n.type, n.name, n.vulnerability)`) + `
		 WHERE old.repository_id IS NULL OR old.closed_at IS NOT NULL
		    OR (old.severity_rank, old.fixable, old.known_exploited) IS DISTINCT FROM (n.rank, n.fixable, n.kev)
		ON CONFLICT (repository_id, package_type, package_name, vulnerability) DO UPDATE
		SET severity = EXCLUDED.severity, severity_rank = EXCLUDED.severity_rank, fixable = EXCLUDED.fixable,
		    known_exploited = EXCLUDED.known_exploited, closed_at = NULL,
		    likely = CASE WHEN rf.closed_at IS NULL THEN rf.likely ELSE EXCLUDED.likely END
		RETURNING package_type, package_name, vulnerability, severity, severity_rank, fixable, known_exploited
	), closed AS (
		UPDATE repository_finding rf SET closed_at = now()
		 WHERE rf.repository_id = @repository AND rf.closed_at IS NULL AND ` + inQuestion + `
		   AND NOT EXISTS (SELECT 1 FROM now_has n WHERE n.type = rf.package_type AND n.name = rf.package_name
		                      AND n.vulnerability = rf.vulnerability)
		RETURNING package_type, package_name, vulnerability, severity
	), told AS (
		SELECT u.package_type, u.package_name, u.vulnerability, u.severity,
		       CASE WHEN old.repository_id IS NULL THEN 'opened'
		            WHEN old.closed_at IS NOT NULL THEN 'reopened'
		            WHEN u.severity_rank > old.severity_rank OR (u.known_exploited AND NOT old.known_exploited) THEN 'escalated'
		            WHEN u.fixable AND NOT old.fixable THEN 'fix_available' END AS kind,
		       CASE WHEN old.closed_at IS NULL AND u.severity_rank > old.severity_rank THEN severity_name(old.severity_rank) END AS severity_from,
		       COALESCE(old.closed_at IS NULL AND u.known_exploited AND NOT old.known_exploited, false) AS exploited
		  FROM upserted u` + before(`(u.package_type, u.package_name, u.vulnerability)`) + `
		UNION ALL
		SELECT package_type, package_name, vulnerability, severity, 'closed', NULL, false FROM closed
	)
	INSERT INTO finding_event (repository_id, package_type, package_name, vulnerability, kind, severity, severity_from, exploited,
	                           cause, scan_id, build_id)
	SELECT @repository, package_type, package_name, vulnerability, kind, severity, severity_from, exploited, @cause, @scan, @build
	  FROM told WHERE kind IS NOT NULL`
}

// applyAll compares with everything that the repository has.
func applyAll(ctx context.Context, tx pgx.Tx, c comparison, live []int64) error {
	apply := `WITH v AS (SELECT * FROM verdicts(@live::bigint[], @build)), now_has AS (` + named + `)` + move(`true`)
	_, err := tx.Exec(ctx, apply, c.args(pgx.NamedArgs{"live": live}))
	return err
}

// applyChange compares with what inventories that came and went make of what the
// repository had. A finding that one of those that went had, and none of those
// that came has like it, is in doubt: it is taken from all that are left.
func applyChange(ctx context.Context, tx pgx.Tx, c comparison, live, came, went []int64) error {
	var doubt doubtful
	if len(went) > 0 {
		var err error
		if doubt, err = inDoubt(ctx, tx, c, came, went); err != nil {
			return err
		}
	}
	if err := applyAdded(ctx, tx, c, came, doubt); err != nil || len(doubt.Names) == 0 {
		return err
	}
	return applyDoubtful(ctx, tx, c, live, doubt)
}

// doubtful are findings, by index.
type doubtful struct {
	Types, Names, Vulnerabilities []string
}

func (d doubtful) args() pgx.NamedArgs {
	return pgx.NamedArgs{"types": append([]string{}, d.Types...), "names": append([]string{}, d.Names...), "vulnerabilities": append([]string{}, d.Vulnerabilities...)}
}

// doubts is the set of them in SQL.
const doubts = `unnest(@types::text[], @names::text[], @vulnerabilities::text[]) AS d(type, name, vulnerability)`

func inDoubt(ctx context.Context, tx pgx.Tx, c comparison, came, went []int64) (d doubtful, err error) {
	query := `
		WITH lost AS (WITH v AS (SELECT * FROM verdicts(@went::bigint[], @build)) ` + named + `),
		     gained AS (WITH v AS (SELECT * FROM verdicts(@came::bigint[], @build)) ` + named + `)
		SELECT type, name, vulnerability FROM (
			SELECT l.*, NULL::smallint AS gained_rank, NULL::boolean AS gained_fixable, NULL::boolean AS gained_kev FROM lost l
			UNION ALL
			SELECT g.type, g.name, g.vulnerability, NULL, NULL, NULL, NULL, g.rank, g.fixable, g.kev FROM gained g) both_sides
		 GROUP BY type, name, vulnerability
		HAVING max(rank) > COALESCE(max(gained_rank), -1)
		    OR bool_or(fixable) AND NOT COALESCE(bool_or(gained_fixable), false)
		    OR bool_or(kev) AND NOT COALESCE(bool_or(gained_kev), false)`
	rows, err := tx.Query(ctx, query, c.args(pgx.NamedArgs{"came": came, "went": went}))
	if err != nil {
		return d, err
	}
	var typ, name, vulnerability string
	_, err = pgx.ForEachRow(rows, []any{&typ, &name, &vulnerability}, func() error {
		d.Types, d.Names, d.Vulnerabilities = append(d.Types, typ), append(d.Names, name), append(d.Vulnerabilities, vulnerability)
		return nil
	})
	return d, err
}

// applyAdded adds the findings of inventories that came, but for those in doubt:
// each becomes the worst of what it was and what they say.
func applyAdded(ctx context.Context, tx pgx.Tx, c comparison, came []int64, doubt doubtful) error {
	apply := `
		WITH gained AS (WITH v AS (SELECT * FROM verdicts(@came::bigint[], @build)) ` + named + `),
		counted AS ( -- those of gained that are not in doubt
			SELECT type, name, vulnerability, max(rank) AS rank, bool_or(fixable) AS fixable, bool_or(kev) AS kev, max(epss) AS epss
			  FROM (SELECT g.*, false AS doubt FROM gained g
			        UNION ALL
			        SELECT d.type, d.name, d.vulnerability, NULL, NULL, NULL, NULL, true FROM ` + doubts + `) either
			 GROUP BY type, name, vulnerability HAVING NOT bool_or(doubt)
		), now_has AS ( -- with what was open of each
			SELECT c.type, c.name, c.vulnerability, CASE WHEN is_open THEN greatest(c.rank, old.severity_rank) ELSE c.rank END AS rank,
			       c.fixable OR is_open AND old.fixable AS fixable, c.kev OR is_open AND old.known_exploited AS kev,
			       c.epss
			  FROM counted c` + before(`(c.type, c.name, c.vulnerability)`) + `
			 CROSS JOIN LATERAL (SELECT old.repository_id IS NOT NULL AND old.closed_at IS NULL AS is_open) o
		)` + move(`false`)
	if len(came) == 0 {
		return nil
	}
	args := doubt.args()
	args["came"] = came
	_, err := tx.Exec(ctx, apply, c.args(args))
	return err
}

// applyDoubtful compares the findings in doubt with all that the repository has.
func applyDoubtful(ctx context.Context, tx pgx.Tx, c comparison, live []int64, doubt doubtful) error {
	const packages = `
		SELECT DISTINCT p.id FROM (SELECT DISTINCT d.type, d.name FROM ` + doubts + `) d
		  JOIN package p ON p.name = d.name AND p.type = d.type`
	apply := `
		WITH v AS (SELECT * FROM package_verdicts(@live::bigint[], @packages::bigint[], @build)),
		held AS (` + named + `),
		now_has AS (
			SELECT h.* FROM held h JOIN ` + doubts + ` ON d.type = h.type AND d.name = h.name AND d.vulnerability = h.vulnerability
		)` + move(`EXISTS (SELECT 1 FROM `+doubts+` WHERE d.type = rf.package_type AND d.name = rf.package_name AND d.vulnerability = rf.vulnerability)`)
	if _, err := tx.Exec(ctx, freePlanner); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, packages, doubt.args())
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	args := doubt.args()
	args["live"], args["packages"] = live, ids
	_, err = tx.Exec(ctx, apply, c.args(args))
	return err
}
