package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// ForgetRegistry forgets the repositories of a registry, one after the other, and
// then, unless the configuration has it (Keep), the registry with what its endpoint
// was told. Asking again goes on where the time was over. The error is of kind
// NotFound for a registry that is not there.
func (s *Store) ForgetRegistry(ctx context.Context, name string, o report.ForgetOptions) (report.Forgotten, error) {
	out := report.Forgotten{Registry: name, DryRun: o.DryRun, Done: true, Configured: o.Keep}
	f := newForgetting(s, o)
	id, ids, err := s.registryToForget(ctx, name, o, &out.Counts)
	if err != nil || o.DryRun {
		return out, err
	}
	f.together = ids
	if out.Done, err = f.repositories(ctx, id); err == nil && out.Done {
		out.Done, err = f.registry(ctx, id, name, o.Keep)
	}
	out.Counts = f.counts
	return out, err
}

// registryToForget finds a registry and its repositories, so that those that come
// back meanwhile are left alone. Of a dry run it counts them all.
func (s *Store) registryToForget(ctx context.Context, name string, o report.ForgetOptions, counts *report.ForgottenCounts) (id int64, ids []int64, err error) {
	const query = `
		SELECT g.id, ARRAY(SELECT r.id FROM repository r WHERE r.registry_id = g.id ORDER BY r.id) FROM registry g WHERE g.name = $1`
	const deliveries = `SELECT count(*) FROM delivery WHERE registry_id = $1`
	err = s.inTx(ctx, "find registry", func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, query, name).Scan(&id, &ids)
		if errors.Is(err, pgx.ErrNoRows) {
			return noRegistry(name)
		}
		if err != nil {
			return err
		}
		if !o.DryRun {
			return nil
		}
		if *counts, err = countForgotten(ctx, tx, ids); err != nil || o.Keep {
			return err
		}
		return tx.QueryRow(ctx, deliveries, id).Scan(&counts.Deliveries)
	})
	return id, ids, err
}

// repositories forgets those of a registry that were there when it began.
func (f *forgetting) repositories(ctx context.Context, registryID int64) (done bool, err error) {
	const query = `
		SELECT r.id, g.name AS registry, g.host, r.name FROM repository r JOIN registry g ON g.id = r.registry_id
		 WHERE g.id = $1 AND r.id = ANY ($2) ORDER BY r.id LIMIT 1`
	for {
		found, err := f.store.pool.Query(ctx, query, registryID, f.together)
		if err != nil {
			return false, wrap("list repositories", err)
		}
		next, err := pgx.CollectRows(found, pgx.RowToStructByName[repositoryRow])
		if err != nil || len(next) == 0 {
			return err == nil, wrap("list repositories", err)
		}
		if done, err := f.repository(ctx, next[0]); err != nil || !done {
			return false, err
		}
		if f.over() {
			return false, nil
		}
	}
}

// registry forgets one that has no repositories any more, and writes down that it
// was asked for.
func (f *forgetting) registry(ctx context.Context, id int64, name string, keep bool) (done bool, err error) {
	change := f.by
	change.Action, change.Object = actionForgetRegistry, name
	change.Detail = map[string]any{"repositories": f.counts.Repositories, "configured": keep}
	if keep {
		return true, f.store.SaveChange(ctx, change)
	}
	deliveries := historyPart{"deliveries", `
		DELETE FROM delivery t WHERE t.id IN (
			SELECT x.id FROM delivery x WHERE x.registry_id = @repository ORDER BY x.id DESC LIMIT @size FOR UPDATE SKIP LOCKED)`,
		func(c *report.ForgottenCounts) *int64 { return &c.Deliveries }}
	if done, err := f.history(ctx, repositoryRow{ID: id}, deliveries); err != nil || !done {
		return false, err
	}
	err = f.again(ctx, "forget registry", func(tx pgx.Tx) error {
		if err := dropRegistry(ctx, tx, id, name); err != nil {
			return err
		}
		return saveChange(ctx, tx, change)
	})
	if err != nil {
		return false, f.inTime(err)
	}
	f.store.ledger.clear()
	return true, nil
}

// dropRegistry deletes a registry with what is left. The error is of kind Conflict
// when it got a repository meanwhile: another process has it in its configuration.
func dropRegistry(ctx context.Context, tx pgx.Tx, id int64, name string) error {
	const lock = `SELECT EXISTS (SELECT 1 FROM repository r WHERE r.registry_id = g.id) FROM registry g WHERE g.id = $1 FOR UPDATE OF g`
	var inUse bool
	err := tx.QueryRow(ctx, lock, id).Scan(&inUse)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil // somebody else was quicker
	case err != nil:
		return err
	case inUse:
		return errs.New(errs.Conflict, "postgres: registry %s is told of meanwhile", name).
			WithHint("take it out of the configuration of every process first")
	}
	for _, statement := range []string{
		`DELETE FROM delivery WHERE registry_id = $1`, `DELETE FROM reconciliation WHERE registry_id = $1`,
		`DELETE FROM webhook_rejection WHERE registry = (SELECT name FROM registry WHERE id = $1)`,
		`DELETE FROM webhook_rejection_hour WHERE registry = (SELECT name FROM registry WHERE id = $1)`,
		`DELETE FROM registry WHERE id = $1`,
	} {
		if _, err := tx.Exec(ctx, statement, id); err != nil {
			return err
		}
	}
	return nil
}
