package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Trend counts what the live tags of a scope had at the end of each day. It adds
// up what changed from the first day on.
func (s *Store) Trend(ctx context.Context, access report.Access, scope report.TrendScope) (report.Trend, error) {
	out := report.Trend{Items: []report.TrendDay{}}
	err := s.read(ctx, "read trend", func(at snapshot) error {
		repositories, err := repositoriesWithin(ctx, at, access, scope.Registry, scope.Repository)
		if err != nil {
			return err
		}
		changes, err := dayChanges(ctx, at, repositories, scope)
		if err != nil {
			return err
		}
		out.Items = sumUp(changes, scope)
		if out.UnjudgedImages, err = unjudgedWithin(ctx, at, repositories); err != nil {
			return err
		}
		out.Complete = out.UnjudgedImages == 0
		return nil
	})
	return out, err
}

// repositoriesWithin lists the repositories of a registry, the one that is named,
// or all, as far as the reader sees. A repository or registry that is not there is
// NotFound.
func repositoriesWithin(ctx context.Context, at snapshot, access report.Access, registry string, ref *report.RepositoryRef) ([]int64, error) {
	const query = `
		SELECT r.id FROM repository r JOIN registry g ON g.id = r.registry_id
		 WHERE (@registry = '' OR g.name = @registry) AND ` + visible
	const known = `SELECT EXISTS (SELECT 1 FROM registry WHERE name = $1)`
	if ref != nil {
		repo, err := repository(ctx, at, access, *ref)
		return []int64{repo.ID}, err
	}
	found, err := at.Query(ctx, query, pgx.NamedArgs{"registry": registry, "prefixes": prefixes(access)})
	if err != nil {
		return nil, err
	}
	ids, err := pgx.CollectRows(found, pgx.RowTo[int64])
	if err != nil || len(ids) > 0 || registry == "" {
		return ids, err
	}
	there := false
	if !access.Limited() {
		if err := at.QueryRow(ctx, known, registry).Scan(&there); err != nil {
			return nil, err
		}
	}
	if !there {
		return nil, errs.New(errs.NotFound, "no registry %.100q is configured", registry).
			WithField("registry").WithHint("GET /api/v1/registries lists them")
	}
	return ids, nil
}

// dayRow is by how much the findings of a scope changed on a day; all days before
// the first are in one row.
type dayRow struct {
	Day    time.Time
	Opened int
	Closed int
	countsRow
}

func dayChanges(ctx context.Context, at snapshot, repositories []int64, scope report.TrendScope) ([]dayRow, error) {
	const query = `
		SELECT greatest(d.day, @since::date - 1)::timestamptz AS day, sum(opened)::int AS opened, sum(closed)::int AS closed,
		       sum(critical)::int AS critical, sum(high)::int AS high, sum(medium)::int AS medium, sum(low)::int AS low,
		       sum(negligible)::int AS negligible, sum(unknown)::int AS unknown, sum(fixable)::int AS fixable,
		       sum(known_exploited)::int AS known_exploited, NULL::int AS ignored
		  FROM repository_day d
		 WHERE d.repository_id = ANY (@repositories) AND d.day <= @until::date
		 GROUP BY 1 ORDER BY 1`
	if _, err := at.Exec(ctx, `SET LOCAL TimeZone = 'UTC'`); err != nil {
		return nil, err
	}
	return rows[dayRow](ctx, at, query, pgx.NamedArgs{
		"repositories": repositories, "since": scope.Since.Format(time.DateOnly), "until": scope.Until.Format(time.DateOnly),
	})
}

// sumUp makes a day of each from changes, which ascend.
func sumUp(changes []dayRow, scope report.TrendScope) []report.TrendDay {
	out := []report.TrendDay{}
	var sum countsRow
	for day := scope.Since.AddDate(0, 0, -1); !day.After(scope.Until); day = day.AddDate(0, 0, 1) {
		of := report.TrendDay{Day: day.Format(time.DateOnly)}
		if len(changes) > 0 && changes[0].Day.UTC().Format(time.DateOnly) == of.Day {
			sum.add(changes[0].countsRow)
			of.Opened, of.Closed = changes[0].Opened, changes[0].Closed
			changes = changes[1:]
		}
		if of.Counts = sum.counts(); !day.Before(scope.Since) {
			out = append(out, of)
		}
	}
	return out
}

func (c *countsRow) add(d countsRow) {
	c.Critical += d.Critical
	c.High += d.High
	c.Medium += d.Medium
	c.Low += d.Low
	c.Negligible += d.Negligible
	c.Unknown += d.Unknown
	c.Fixable += d.Fixable
	c.KnownExploited += d.KnownExploited
}

// unjudgedWithin is unjudgedImages of some repositories.
func unjudgedWithin(ctx context.Context, at snapshot, repositories []int64) (n int, err error) {
	const query = `
		WITH unjudged AS MATERIALIZED (
			SELECT m.id FROM manifest m LEFT JOIN inventory_summary s ON s.inventory_id = m.inventory_id
			 WHERE m.kind IN ('image', 'sbom') AND (s.inventory_id IS NULL OR s.no_data <> '{}' OR m.partial <> '')
		)
		SELECT count(DISTINCT (l.repository_id, l.manifest_id)) FROM unjudged u JOIN live_image l ON l.manifest_id = u.id
		 WHERE l.repository_id = ANY ($1)`
	err = at.QueryRow(ctx, query, repositories).Scan(&n)
	return n, err
}
