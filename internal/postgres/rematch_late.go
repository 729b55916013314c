package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// late is what moved since a candidate was marked: inventories to count, and
// repositories to compare, each with what it was when it was last compared.
type late struct {
	inventories  []int64
	repositories []int64
	compared     []string
	unfit        []int64 // compared by the version before
}

func (l late) size() int { return len(l.inventories) + len(l.repositories) + len(l.unfit) }

// findLate looks for what has to be counted and compared one by one. What holds
// already is left out.
func findLate(ctx context.Context, tx pgx.Tx, at staging) (l late, err error) {
	const inventories = `
		SELECT s.inventory_id FROM inventory_summary s
		 WHERE (s.inventory_id > @mark OR s.build_id < @since)
		   AND NOT EXISTS (SELECT 1 FROM rematch_count c WHERE c.inventory_id = s.inventory_id)
		 ORDER BY 1`
	const repositories = `
		SELECT r.id, r.compared, ` + fit + `
		  FROM (SELECT r.* FROM repository r LEFT JOIN rematch_repository w ON w.repository_id = r.id
		         WHERE r.compared <> '' AND r.compared IS DISTINCT FROM w.compared) r
		  LEFT JOIN LATERAL (
		        SELECT md5(string_agg(q.inventory_id::text, ',' ORDER BY q.inventory_id)) AS list
		          FROM repository_inventory q WHERE q.repository_id = r.id) k ON true
		 ORDER BY r.id`
	rows, err := tx.Query(ctx, inventories, at.args())
	if err != nil {
		return l, err
	}
	if l.inventories, err = pgx.CollectRows(rows, pgx.RowTo[int64]); err != nil {
		return l, err
	}
	if rows, err = tx.Query(ctx, repositories); err != nil {
		return l, err
	}
	var id int64
	var compared string
	var fits bool
	_, err = pgx.ForEachRow(rows, []any{&id, &compared, &fits}, func() error {
		if !fits {
			l.unfit = append(l.unfit, id)
			return nil
		}
		l.repositories, l.compared = append(l.repositories, id), append(l.compared, compared)
		return nil
	})
	return l, err
}

// stageLate counts and compares what is late, until little is left for the switch
// or it was tried some times.
func (s *Store) stageLate(ctx context.Context, build int64, session scan.Session) error {
	const little, times, part = 20, 5, 50
	for range times {
		var l late
		var at staging
		err := s.inTx(ctx, "find what is late", func(tx pgx.Tx) (err error) {
			if at, err = holdStaging(ctx, tx, build); err == nil {
				l, err = findLate(ctx, tx, at)
			}
			return err
		})
		if err != nil || l.size() == 0 {
			return err
		}
		for _, id := range l.unfit {
			if err := s.compareAgain(ctx, id); err != nil {
				return err
			}
		}
		// Their packages first: those were stored with them, or before.
		if err := s.judgeAndDescribeLate(ctx, build, session); err != nil {
			return err
		}
		if err := s.learnTypes(ctx); err != nil {
			return err
		}
		for _, p := range l.parts(part) {
			if err := s.stageLatePart(ctx, build, session, p); err != nil {
				return err
			}
		}
		if l.size() <= little {
			return nil
		}
	}
	return nil
}

// parts cuts what is late into parts that one transaction can deal with.
func (l late) parts(size int) (out []late) {
	for ids := range slices.Chunk(l.inventories, size) {
		out = append(out, late{inventories: ids})
	}
	for i := 0; i < len(l.repositories); i += size {
		end := min(i+size, len(l.repositories))
		out = append(out, late{repositories: l.repositories[i:end], compared: l.compared[i:end]})
	}
	return out
}

// compareAgain compares a repository under the active build, of which the version
// before left no list of what it was compared by.
func (s *Store) compareAgain(ctx context.Context, repositoryID int64) error {
	return s.inTx(ctx, "compare repository", func(tx pgx.Tx) error {
		return s.compareRepository(ctx, tx, repositoryID, "push", nil)
	})
}

// judgeAndDescribeLate brings packages and records that appeared to what the
// candidate says.
func (s *Store) judgeAndDescribeLate(ctx context.Context, build int64, session scan.Session) error {
	return s.inTxAgain(ctx, "judge what appeared", func(tx pgx.Tx) error {
		if err := shareCandidate(ctx, tx, build); err != nil {
			return err
		}
		if err := s.judgeLate(ctx, tx, build, session); err != nil {
			return err
		}
		return describeLate(ctx, tx, build, session)
	})
}

// stageLatePart counts and compares on one moment of the database.
func (s *Store) stageLatePart(ctx context.Context, build int64, session scan.Session, l late) error {
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, stagePlanner); err != nil {
			return err
		}
		at, err := holdStaging(ctx, tx, build)
		if err != nil {
			return err
		}
		return at.take(ctx, tx, session, l)
	})
	return wrap("count what is late", err)
}

// catchUp does the same within the switch, when nobody can move anything. It
// returns kind Conflict when that were more than others should wait for.
func (s *Store) catchUp(ctx context.Context, tx pgx.Tx, at staging, session scan.Session) error {
	const most, part = 100, 50
	if err := s.judgeLate(ctx, tx, at.build, session); err != nil {
		return err
	}
	if err := describeLate(ctx, tx, at.build, session); err != nil {
		return err
	}
	l, err := findLate(ctx, tx, at)
	if err != nil {
		return err
	}
	if l.size() > most || len(l.unfit) > 0 {
		return errs.New(errs.Conflict, "postgres: %d inventories and repositories moved since they were counted", l.size())
	}
	for _, p := range l.parts(part) {
		if err := at.take(ctx, tx, session, p); err != nil {
			return err
		}
	}
	return nil
}

// take counts and compares what is late as a whole, not by what changed.
func (a staging) take(ctx context.Context, tx pgx.Tx, session scan.Session, l late) error {
	if len(l.inventories) > 0 {
		args := a.args()
		args["ids"] = l.inventories
		if _, err := tx.Exec(ctx, countInventories, args); err != nil {
			return err
		}
		if err := stageCoverage(ctx, tx, session, l.inventories); err != nil {
			return err
		}
	}
	if len(l.repositories) == 0 {
		return nil
	}
	args := a.args()
	args["ids"], args["compared"] = l.repositories, l.compared
	for _, statement := range []string{dropFindings, compareRepositories, rememberCompared} {
		if _, err := tx.Exec(ctx, statement, args); err != nil {
			return err
		}
	}
	return nil
}

// countInventories counts inventories under the candidate, as saveSummary does.
const countInventories = `
	WITH named AS (
		SELECT v.inventory_id, p.type, p.name, v.canonical, max(COALESCE(r.severity_rank, 0::smallint)) AS rank,
		       bool_or(v.fix_state = 'fixed') AS fixable, bool_or(COALESCE(r.known_exploited, false)) AS kev,
		       bool_and(v.ignored <> '') AS ignored
		  FROM verdicts(@ids::bigint[], @build) v
		  JOIN package p ON p.id = v.package_id
		  LEFT JOIN vulnerability_rating r ON r.vulnerability_id = v.vulnerability_id
		       AND r.opened_build <= @build AND (r.closed_build IS NULL OR r.closed_build > @build)
		 GROUP BY v.inventory_id, p.type, p.name, v.canonical
	)
	INSERT INTO rematch_count (inventory_id, critical, high, medium, low, negligible, unknown, fixable, known_exploited, ignored)
	SELECT w.id,
	       count(*) FILTER (WHERE rank = 5 AND NOT ignored), count(*) FILTER (WHERE rank = 4 AND NOT ignored),
	       count(*) FILTER (WHERE rank = 3 AND NOT ignored), count(*) FILTER (WHERE rank = 2 AND NOT ignored),
	       count(*) FILTER (WHERE rank = 1 AND NOT ignored), count(*) FILTER (WHERE rank = 0 AND NOT ignored),
	       count(*) FILTER (WHERE fixable AND NOT ignored), count(*) FILTER (WHERE kev AND NOT ignored),
	       count(*) FILTER (WHERE ignored)
	  FROM unnest(@ids::bigint[]) w(id) LEFT JOIN named n ON n.inventory_id = w.id
	 GROUP BY w.id
	ON CONFLICT (inventory_id) DO NOTHING`

// held are the repositories in question that are what they were when they were
// found to be late; another one is looked at again.
const heldRepositories = `
	SELECT r.id, r.compared FROM unnest(@ids::bigint[], @compared::text[]) w(id, compared)
	  JOIN repository r ON r.id = w.id AND r.compared = w.compared`

const dropFindings = `DELETE FROM rematch_finding WHERE repository_id IN (SELECT id FROM (` + heldRepositories + `) h)`

// compareRepositories compares repositories with all that the inventories behind
// their findings have under the candidate.
const compareRepositories = `
	WITH held AS MATERIALIZED (` + heldRepositories + `),
	behind AS MATERIALIZED (
		SELECT k.repository_id, k.inventory_id FROM held h JOIN repository_inventory k ON k.repository_id = h.id
	), now_has AS MATERIALIZED (
		SELECT b.repository_id, p.type, p.name, v.canonical, max(COALESCE(r.severity_rank, 0::smallint)) AS rank,
		       bool_or(v.fix_state = 'fixed') AS fixable, bool_or(COALESCE(r.known_exploited, false)) AS kev
		  FROM verdicts(ARRAY(SELECT DISTINCT inventory_id FROM behind), @build) v
		  JOIN behind b ON b.inventory_id = v.inventory_id
		  JOIN package p ON p.id = v.package_id
		  LEFT JOIN vulnerability_rating r ON r.vulnerability_id = v.vulnerability_id
		       AND r.opened_build <= @build AND (r.closed_build IS NULL OR r.closed_build > @build)
		 WHERE v.ignored = ''
		 GROUP BY b.repository_id, p.type, p.name, v.canonical
	), open_finding AS MATERIALIZED (
		SELECT f.repository_id, f.package_type AS type, f.package_name AS name, f.vulnerability AS canonical, f.severity_rank AS rank,
		       f.fixable, f.known_exploited AS kev
		  FROM held h JOIN repository_finding f ON f.repository_id = h.id AND f.closed_at IS NULL
	)
	INSERT INTO rematch_finding (repository_id, package_type, package_name, vulnerability, severity_rank, fixable, known_exploited)
	SELECT COALESCE(n.repository_id, o.repository_id), COALESCE(n.type, o.type), COALESCE(n.name, o.name), COALESCE(n.canonical, o.canonical),
	       n.rank, n.fixable, n.kev
	  FROM now_has n FULL JOIN open_finding o ON o.repository_id = n.repository_id AND o.type = n.type AND o.name = n.name
	       AND o.canonical = n.canonical
	 WHERE (n.rank, n.fixable, n.kev) IS DISTINCT FROM (o.rank, o.fixable, o.kev)`

const rememberCompared = `
	INSERT INTO rematch_repository (repository_id, compared) ` + heldRepositories + `
	ON CONFLICT (repository_id) DO UPDATE SET compared = EXCLUDED.compared`
