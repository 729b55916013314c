package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// BuildFigures are what operators watch of builds and of what they led to.
type BuildFigures struct {
	States map[string]int // builds that are active, candidate or held
	// SecondsToJudge is the time from when the active build was published until all
	// answers were of it; ChangedPackages how many packages were judged for it.
	SecondsToJudge  float64
	ChangedPackages int
	// Judged is the share of the candidate's packages that are judged; 1 without a
	// candidate.
	Judged float64
	// Fresh is the share of images in repositories that have an answer of a build
	// younger than a day; 1 when there are no images.
	Fresh  float64
	Events []EventFigure // of the last hour
}

// EventFigure counts events of findings.
type EventFigure struct {
	Kind  string
	Cause string
	N     int
}

// BuildFigures counts them.
func (s *Store) BuildFigures(ctx context.Context) (f BuildFigures, err error) {
	const states = `SELECT state, count(*)::int FROM vuln_build WHERE state <> 'retired' GROUP BY state`
	const active = `
		SELECT COALESCE(extract(epoch FROM activated_at - built), 0)::float8, COALESCE((report->>'packages')::int, 0)
		  FROM vuln_build WHERE state = 'active'`
	const candidate = `
		SELECT COALESCE(avg((p.judged_build = r.build_id)::int), 1)::float8
		  FROM rematch r, rematch_package t JOIN package p ON p.id = t.package_id
		 WHERE EXISTS (SELECT 1 FROM vuln_build b WHERE b.id = r.build_id AND b.state = 'candidate')`
	const fresh = `
		SELECT COALESCE(avg((m.state = 'done' AND EXISTS (
		           SELECT 1 FROM vuln_build b WHERE b.state = 'active' AND b.built > now() - interval '24 hours'))::int), 1)::float8
		  FROM manifest m
		 WHERE (m.inventory_id IS NOT NULL OR m.state IN ('queued', 'running', 'failed'))
		   AND EXISTS (SELECT 1 FROM repository_manifest rm WHERE rm.manifest_id = m.id AND rm.presence = 'present')`
	const events = `
		SELECT kind, cause, count(*)::int AS n FROM finding_event
		 WHERE occurred_at > now() - interval '1 hour' GROUP BY kind, cause ORDER BY kind, cause`
	f.States = map[string]int{}
	err = s.read(ctx, "count builds", func(at snapshot) error {
		found, err := at.Query(ctx, states)
		if err != nil {
			return err
		}
		var state string
		var n int
		if _, err := pgx.ForEachRow(found, []any{&state, &n}, func() error { f.States[state] = n; return nil }); err != nil {
			return err
		}
		if at.buildID != 0 {
			if err := at.QueryRow(ctx, active).Scan(&f.SecondsToJudge, &f.ChangedPackages); err != nil {
				return err
			}
		}
		if err := at.QueryRow(ctx, candidate).Scan(&f.Judged); err != nil {
			return err
		}
		if err := at.QueryRow(ctx, fresh).Scan(&f.Fresh); err != nil {
			return err
		}
		f.Events, err = rows[EventFigure](ctx, at, events, nil)
		return err
	})
	return f, err
}
