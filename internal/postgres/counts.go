package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// countsRow are the columns of inventory_summary that count.
type countsRow struct {
	Critical       int
	High           int
	Medium         int
	Low            int
	Negligible     int
	Unknown        int
	Fixable        int
	KnownExploited int
	Ignored        *int
}

func (c countsRow) counts() report.Counts {
	return report.Counts{
		Total:    c.Critical + c.High + c.Medium + c.Low + c.Negligible + c.Unknown,
		Critical: c.Critical, High: c.High, Medium: c.Medium, Low: c.Low, Negligible: c.Negligible, Unknown: c.Unknown,
		Fixable: c.Fixable, KnownExploited: c.KnownExploited, Ignored: c.Ignored,
	}
}

// countGroups counts the findings of groups of inventories under the snapshot's
// build, each vulnerability of a package name once per group. Groups have keys
// of the caller's choice.
func countGroups(ctx context.Context, at snapshot, groups map[int64][]int64) (map[int64]report.Counts, error) {
	const query = `
		WITH part AS (
			SELECT u.key, u.inventory_id FROM unnest(@keys::bigint[], @inventories::bigint[]) AS u (key, inventory_id)
		), named AS (
			SELECT part.key, p.type, p.name, v.canonical, max(COALESCE(r.severity_rank, 0)) AS rank,
			       bool_or(v.fix_state = 'fixed') AS fixable, bool_or(COALESCE(r.known_exploited, false)) AS exploited,
			       bool_and(v.ignored <> '') AS ignored
			  FROM verdicts(@inventories::bigint[], @build) v
			  JOIN part ON part.inventory_id = v.inventory_id
			  JOIN package p ON p.id = v.package_id
			  LEFT JOIN vulnerability_rating r ON r.vulnerability_id = v.vulnerability_id
			       AND r.opened_build <= @build AND (r.closed_build IS NULL OR r.closed_build > @build)
			 GROUP BY part.key, p.type, p.name, v.canonical
		)
		SELECT key,
		       count(*) FILTER (WHERE rank = 5 AND NOT ignored) AS critical, count(*) FILTER (WHERE rank = 4 AND NOT ignored) AS high,
		       count(*) FILTER (WHERE rank = 3 AND NOT ignored) AS medium, count(*) FILTER (WHERE rank = 2 AND NOT ignored) AS low,
		       count(*) FILTER (WHERE rank = 1 AND NOT ignored) AS negligible, count(*) FILTER (WHERE rank = 0 AND NOT ignored) AS unknown,
		       count(*) FILTER (WHERE fixable AND NOT ignored) AS fixable, count(*) FILTER (WHERE exploited AND NOT ignored) AS known_exploited,
		       count(*) FILTER (WHERE ignored) AS ignored
		  FROM named GROUP BY key`
	type row struct {
		Key int64
		countsRow
	}
	var keys, inventories []int64
	out := make(map[int64]report.Counts, len(groups))
	for key, group := range groups {
		out[key] = report.Counts{Ignored: new(int)} // a group without a finding has no row
		for _, id := range group {
			keys, inventories = append(keys, key), append(inventories, id)
		}
	}
	if len(keys) == 0 {
		return out, nil
	}
	found, err := rows[row](ctx, at, query, pgx.NamedArgs{"keys": keys, "inventories": inventories, "build": at.buildID})
	for _, r := range found {
		out[r.Key] = r.counts()
	}
	return out, err
}

// countUnions fills in the union of each root. One inventory is its own union;
// only several have to be counted together.
func countUnions(ctx context.Context, at snapshot, roots map[int64]rootRow) error {
	groups := map[int64][]int64{}
	for id, root := range roots {
		inventories := root.inventories()
		switch len(inventories) {
		case 0:
		case 1:
			for _, p := range root.images {
				if p.Counted() && p.Counts != nil {
					root.union = p.Counts
				}
			}
			roots[id] = root
		default:
			groups[id] = inventories
		}
	}
	counted, err := countGroups(ctx, at, groups)
	for id, counts := range counted {
		root := roots[id]
		root.union = &counts
		roots[id] = root
	}
	return err
}
