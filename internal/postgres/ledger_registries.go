package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// ledgerRegistries lists the registries a reader sees, without their ledgers.
func ledgerRegistries(ctx context.Context, at snapshot, args pgx.NamedArgs) ([]*registryLedger, error) {
	const query = `
		SELECT g.id, g.name, g.host, count(r.id) AS repositories, count(r.id) FILTER (WHERE r.excluded <> '') AS excluded,
		       c.finished_at AS reconciled,
		       CASE WHEN c.id IS NULL THEN 0
		            WHEN cardinality(@prefixes::text[]) = 0 THEN COALESCE((c.counts ->> 'errors')::int, 0)
		            ELSE (SELECT count(*)::int FROM reconciliation_problem p CROSS JOIN LATERAL (SELECT p.repository AS name) r
		                   WHERE p.reconciliation_id = c.id AND p.repository <> '' AND ` + visible + `) END AS unread
		  FROM registry g LEFT JOIN repository r ON r.registry_id = g.id AND ` + visible + `
		  LEFT JOIN LATERAL (SELECT c.* FROM reconciliation c
		                      WHERE c.registry_id = g.id AND c.state = 'done' AND c.repository = '' ORDER BY c.id DESC LIMIT 1) c ON true
		 GROUP BY g.id, c.id, c.finished_at, c.counts
		HAVING cardinality(@prefixes::text[]) = 0 OR count(r.id) > 0
		 ORDER BY g.name`
	type row struct {
		ID                     int64
		Name, Host             string
		Repositories, Excluded int
		Reconciled             *time.Time
		Unread                 int
	}
	found, err := rows[row](ctx, at, query, args)
	out := make([]*registryLedger, len(found))
	for i, r := range found {
		out[i] = &registryLedger{id: r.ID, name: r.Name, host: r.Host, repositories: r.Repositories, excluded: r.Excluded, reconciled: r.Reconciled, unread: r.Unread}
	}
	return out, err
}

// ledgerRow is an entry of a registry or a repository.
type ledgerRow struct {
	ID     int64
	State  string
	Reason string
	Count  int
}

func (r ledgerRow) entry() report.LedgerEntry {
	return report.LedgerEntry{State: report.LedgerState(r.State), Reason: r.Reason, Count: r.Count}
}

// seen is the condition that a repository's id is among those a reader sees; a
// list, so that few of them are looked up and not searched among all.
const seen = `(@ids::bigint[] IS NULL OR repository_id = ANY (@ids))`

// seenRepositories is the list: nil for all.
func seenRepositories(ctx context.Context, at snapshot, access report.Access) ([]int64, error) {
	const query = `SELECT r.id FROM repository r JOIN registry g ON g.id = r.registry_id WHERE ` + visible
	if !access.Limited() {
		return nil, nil
	}
	type row struct{ ID int64 }
	found, err := rows[row](ctx, at, query, pgx.NamedArgs{"prefixes": prefixes(access)})
	ids := make([]int64, len(found))
	for i, r := range found {
		ids[i] = r.ID
	}
	return ids, err
}

func countManifests(ctx context.Context, at snapshot, args pgx.NamedArgs, of map[int64]*registryLedger) error {
	const query = `
		SELECT r.registry_id AS id, l.state, l.reason, count(*) AS count
		  FROM ledger_manifest l JOIN repository r ON r.id = l.repository_id
		 WHERE ` + seen + `
		 GROUP BY 1, 2, 3`
	found, err := rows[ledgerRow](ctx, at, query, args)
	for _, r := range found {
		of[r.ID].manifests = append(of[r.ID].manifests, r.entry())
	}
	return err
}

func countTargets(ctx context.Context, at snapshot, args pgx.NamedArgs, of map[int64]*registryLedger) error {
	// Counted by repository first: the planner cannot know how few there are.
	const query = `
		SELECT r.registry_id AS id, t.state, t.reason, sum(t.count)::bigint AS count
		  FROM (SELECT repository_id, state, reason, count(*) AS count FROM ledger_target WHERE ` + seen + ` GROUP BY 1, 2, 3) t
		  JOIN repository r ON r.id = t.repository_id
		 GROUP BY 1, 2, 3`
	found, err := rows[ledgerRow](ctx, at, query, args)
	for _, r := range found {
		of[r.ID].targets = append(of[r.ID].targets, r.entry())
	}
	return err
}

func findOldest(ctx context.Context, at snapshot, args pgx.NamedArgs, of map[int64]*registryLedger) error {
	const query = `
		SELECT r.registry_id AS id, min(m.scanned_at) AS oldest
		  FROM tag t JOIN manifest m ON m.id = t.manifest_id AND m.state = 'done'
		  JOIN repository r ON r.id = t.repository_id
		 WHERE ` + seen + `
		 GROUP BY 1`
	type row struct {
		ID     int64
		Oldest *time.Time
	}
	found, err := rows[row](ctx, at, query, args)
	for _, r := range found {
		of[r.ID].oldest = r.Oldest
	}
	return err
}
