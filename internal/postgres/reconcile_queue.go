package postgres

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/reconcile"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// Reconciliations is the store as package reconcile needs it: what it queues gets
// permits.
type Reconciliations struct {
	*Store
	Permits Enqueue
}

var _ reconcile.Store = Reconciliations{}

// Waiting counts the scans that runs queued for the registry and nobody took yet.
func (s *Store) Waiting(ctx context.Context, run reconcile.Run) (n int, err error) {
	// One part for each index: those in the line and those that wait for their time.
	const query = `
		WITH place AS (SELECT registry_id AS id FROM reconciliation WHERE id = @run)
		SELECT (SELECT count(*) FROM scan s JOIN place ON place.id = s.registry_id
		         WHERE s.state = 'queued' AND s.turn IS NOT NULL AND s.priority = @priority)
		     + (SELECT count(*) FROM scan s JOIN place ON place.id = s.registry_id
		         WHERE s.state = 'queued' AND s.turn IS NULL AND s.priority = @priority)`
	err = s.pool.QueryRow(ctx, query, pgx.NamedArgs{"run": run.ID, "priority": scan.PriorityReconcile}).Scan(&n)
	return n, wrap("count waiting scans", err)
}

// QueueTargets queues a scan for each target of a repository for which none
// waits, behind everything else, and returns those. A scan that waits already is
// left as it is: it asks the registry itself.
func (s Reconciliations) QueueTargets(ctx context.Context, run reconcile.Run, repository string, targets []reconcile.Target) (done []reconcile.Target, err error) {
	targets = slices.Clone(targets)
	slices.SortFunc(targets, func(a, b reconcile.Target) int { // as everybody who queues does, or two could deadlock
		return cmp.Or(cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Digest, b.Digest))
	})
	err = s.inTxAgain(ctx, "queue scans of "+repository, func(tx pgx.Tx) error {
		done = nil
		registry, err := holdRun(ctx, tx, run)
		if err != nil {
			return err
		}
		id, err := ensureRepository(ctx, tx, registry, repository)
		if err != nil {
			return err
		}
		idle, err := withoutScan(ctx, tx, id, targets)
		if err != nil {
			return err
		}
		permits := 0
		for _, t := range idle {
			got, err := queueScan(ctx, tx, order{registry: registry, repository: id, tag: t.Tag, digest: t.Digest, cause: t.Cause,
				priority: scan.PriorityReconcile})
			if err != nil {
				return err
			}
			permits += got.due
			if got.fresh {
				done = append(done, t)
			}
		}
		return s.Permits(ctx, tx, permits)
	})
	return done, err
}

// holdRun locks a run against being given to somebody else until the transaction
// ends, and returns the id of its registry.
func holdRun(ctx context.Context, tx pgx.Tx, run reconcile.Run) (registry int64, err error) {
	const query = `SELECT registry_id FROM reconciliation WHERE id = $1 AND lease_token = $2 AND state = 'running' FOR UPDATE`
	err = tx.QueryRow(ctx, query, run.ID, run.Lease).Scan(&registry)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, runLost(run)
	}
	return registry, err
}

// withoutScan returns the targets for which no scan waits.
func withoutScan(ctx context.Context, tx pgx.Tx, repositoryID int64, targets []reconcile.Target) ([]reconcile.Target, error) {
	const query = `
		SELECT n.position FROM unnest(@tags::text[], @digests::text[]) WITH ORDINALITY AS n (tag, digest, position)
		 WHERE NOT EXISTS (SELECT 1 FROM scan s WHERE s.state = 'queued' AND s.repository_id = @repository AND s.tag = n.tag
		                      AND (CASE WHEN s.tag = '' THEN s.digest ELSE '' END) = (CASE WHEN n.tag = '' THEN n.digest ELSE '' END))
		 ORDER BY n.position`
	tags, digests := make([]string, len(targets)), make([]string, len(targets))
	for i, t := range targets {
		tags[i], digests[i] = t.Tag, string(t.Digest)
	}
	found, err := tx.Query(ctx, query, pgx.NamedArgs{"repository": repositoryID, "tags": tags, "digests": digests})
	if err != nil {
		return nil, err
	}
	positions, err := pgx.CollectRows(found, pgx.RowTo[int])
	out := make([]reconcile.Target, len(positions))
	for i, n := range positions {
		out[i] = targets[n-1]
	}
	return out, err
}
