package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// OldestNews tells when the first event was collected that a rule chose and no
// message holds; ok is false when there is none.
func (s *Store) OldestNews(ctx context.Context, rule string) (at time.Time, ok bool, err error) {
	const query = `SELECT collected_at FROM notification_pending WHERE rule = $1 ORDER BY id LIMIT 1`
	err = s.pool.QueryRow(ctx, query, rule).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, false, nil
	}
	return at.UTC(), err == nil, wrap("read oldest news", err)
}

// WaitingNews lists what a rule chose and no message holds, by cause: all of a scan
// together, and what is not of a scan by build, package and vulnerability. The worst
// come first. Events whose finding is no longer what they say are dropped: what
// opened and closed again is no news.
func (s *Store) WaitingNews(ctx context.Context, rule string) ([]report.WaitingNews, error) {
	const stale = `
		DELETE FROM notification_pending p USING repository_finding f
		 WHERE p.rule = $1
		   AND (f.repository_id, f.package_type, f.package_name, f.vulnerability) = (p.repository_id, p.package_type, p.package_name, p.vulnerability)
		   AND (p.kind = 'closed') = (f.closed_at IS NULL)`
	// A finding may stand there twice, as opened and as escalated: it counts once.
	const query = `
		SELECT p.cause, COALESCE(p.scan_id, 0) AS scan_id, COALESCE(p.build_id, 0) AS build_id,
		       COALESCE(CASE WHEN p.scan_id IS NULL THEN p.package_type END, '') AS package_type,
		       COALESCE(CASE WHEN p.scan_id IS NULL THEN p.package_name END, '') AS package_name,
		       COALESCE(CASE WHEN p.scan_id IS NULL THEN p.vulnerability END, '') AS vulnerability,
		       count(*) AS events, min(p.event_id) AS first_event, min(p.collected_at) AS first_at, max(p.collected_at) AS last_at,
		       max(p.severity_rank) AS rank, bool_or(p.fixable) AS fixable, bool_or(p.known_exploited) AS known_exploited,
		       count(DISTINCT p.repository_id) AS repositories,
		       count(DISTINCT (p.repository_id, p.package_type, p.package_name, p.vulnerability)) AS findings,
		       count(DISTINCT (p.repository_id, p.package_type, p.package_name, p.vulnerability)) FILTER (WHERE p.fixable) AS fixables,
		       count(DISTINCT (p.repository_id, p.package_type, p.package_name, p.vulnerability)) FILTER (WHERE p.known_exploited) AS kevs,
		       ARRAY[count(*) FILTER (WHERE p.severity_rank = 5), count(*) FILTER (WHERE p.severity_rank = 4), count(*) FILTER (WHERE p.severity_rank = 3),
		             count(*) FILTER (WHERE p.severity_rank = 2), count(*) FILTER (WHERE p.severity_rank = 1), count(*) FILTER (WHERE p.severity_rank = 0)] AS ranks,
		       ARRAY[count(*) FILTER (WHERE p.kind = 'opened'), count(*) FILTER (WHERE p.kind = 'reopened'), count(*) FILTER (WHERE p.kind = 'escalated'),
		             count(*) FILTER (WHERE p.kind = 'fix_available'), count(*) FILTER (WHERE p.kind = 'closed')] AS kinds,
		       range_agg(int8range(p.id, p.id, '[]'))::text AS rows
		  FROM notification_pending p
		 WHERE p.rule = @rule
		 GROUP BY 1, 2, 3, 4, 5, 6
		 ORDER BY bool_or(p.known_exploited) DESC, max(p.severity_rank) DESC, bool_or(p.fixable) DESC, count(DISTINCT p.repository_id) DESC, min(p.event_id)`
	var out []report.WaitingNews
	err := s.inTx(ctx, "list waiting news", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, stale, rule); err != nil {
			return err
		}
		found, err := rows[waitingRow](ctx, tx, query, pgx.NamedArgs{"rule": rule})
		for _, r := range found {
			out = append(out, r.report())
		}
		return err
	})
	return out, err
}

type waitingRow struct {
	Cause          string
	ScanID         int64
	BuildID        int64
	PackageType    string
	PackageName    string
	Vulnerability  string
	Events         int
	FirstEvent     int64
	FirstAt        time.Time
	LastAt         time.Time
	Rank           int
	Fixable        bool
	KnownExploited bool
	Repositories   int
	Findings       int
	Fixables       int
	KEVs           int `db:"kevs"`
	Ranks          []int
	Kinds          []int
	Rows           string
}

func (r waitingRow) report() report.WaitingNews {
	counts := report.NewsCounts{
		Findings: r.Findings, Repositories: r.Repositories, Fixable: r.Fixables, KnownExploited: r.KEVs,
		Severities: map[string]int{}, Kinds: map[string]int{},
	}
	for i, n := range r.Ranks {
		if n > 0 {
			counts.Severities[string(severityOf(len(r.Ranks)-1-i))] = n
		}
	}
	for i, kind := range []string{"opened", "reopened", "escalated", "fix_available", "closed"} {
		if r.Kinds[i] > 0 {
			counts.Kinds[kind] = r.Kinds[i]
		}
	}
	g := report.NewsGroup{
		Cause: r.Cause, Severity: string(severityOf(r.Rank)), Fixable: r.Fixable, KnownExploited: r.KnownExploited, Counts: counts,
	}
	if r.ScanID == 0 {
		g.Vulnerability = &report.NewsVulnerability{ID: r.Vulnerability, PackageType: r.PackageType, Package: r.PackageName}
	}
	return report.WaitingNews{
		Group: g, ScanID: r.ScanID, BuildID: r.BuildID, Events: r.Events, FirstEvent: r.FirstEvent,
		FirstAt: r.FirstAt.UTC(), LastAt: r.LastAt.UTC(), Rows: r.Rows,
	}
}

// NewsRepositories counts the repositories that groups are about.
func (s *Store) NewsRepositories(ctx context.Context, rule string, of []report.WaitingNews) (n int, err error) {
	const query = `
		WITH taken AS (SELECT range_agg(x) AS ids FROM unnest(@rows::text[]) AS t, unnest(t::int8multirange) AS x)
		SELECT count(DISTINCT p.repository_id) FROM taken JOIN notification_pending p ON p.rule = @rule AND taken.ids @> p.id`
	all := make([]string, len(of))
	for i, w := range of {
		all[i] = w.Rows
	}
	err = s.pool.QueryRow(ctx, query, pgx.NamedArgs{"rule": rule, "rows": all}).Scan(&n)
	return n, wrap("count repositories of news", err)
}
