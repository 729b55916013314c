package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/reconcile"
)

// RequestReconciliation queues a run over a registry, or over one repository of
// it, and returns its number; that of the one that waits already.
func (s *Store) RequestReconciliation(ctx context.Context, registry, repository string) (id int64, err error) {
	const insert = `
		INSERT INTO reconciliation (registry_id, repository, cause) VALUES ($1, $2, 'request')
		ON CONFLICT (registry_id, repository) WHERE state = 'queued' DO UPDATE SET cause = 'request'
		RETURNING id`
	err = s.inTx(ctx, "request reconciliation", func(tx pgx.Tx) error {
		registryID, err := registryID(ctx, tx, registry)
		if err != nil {
			return err
		}
		return tx.QueryRow(ctx, insert, registryID, repository).Scan(&id)
	})
	return id, err
}

// ScheduleReconciliation queues a run over a registry when none waits or runs and
// the last began at least an interval ago; when it failed for a reason that may
// have passed, at least the shorter pause since its end.
func (s *Store) ScheduleReconciliation(ctx context.Context, registry string, interval, pause time.Duration) (queued bool, err error) {
	const insert = `
		INSERT INTO reconciliation (registry_id, cause)
		SELECT g.id, 'schedule' FROM registry g
		 WHERE g.name = @registry AND NOT EXISTS (
			SELECT 1 FROM reconciliation r
			 WHERE r.registry_id = g.id AND r.repository = '' AND CASE
			       WHEN r.state IN ('queued', 'running') THEN true
			       WHEN r.state = 'failed' AND r.reason = ANY (@passing) THEN r.finished_at > now() - make_interval(secs => @pause)
			       ELSE r.created_at > now() - make_interval(secs => @interval) END)
		ON CONFLICT DO NOTHING`
	var passing []string
	for _, kind := range errs.Kinds() {
		if kind.Meaning().Outcome == errs.Retry {
			passing = append(passing, string(kind))
		}
	}
	tag, err := s.pool.Exec(ctx, insert, pgx.NamedArgs{
		"registry": registry, "interval": interval.Seconds(), "pause": pause.Seconds(), "passing": passing,
	})
	return tag.RowsAffected() > 0, wrap("schedule reconciliation", err)
}

// ClaimReconciliation takes a run of one of the registries: one that another
// process left, or one that waits while none runs. rules are the fingerprints of
// the rules in force, by registry. It returns nil when there is none. A run that
// very many processes died of is not taken again.
func (s *Store) ClaimReconciliation(ctx context.Context, rules map[string]string) (*reconcile.Run, error) {
	const maxTakeovers = 100
	const claim = `
		WITH spent AS (
			UPDATE reconciliation SET state = 'failed', reason = 'internal', detail = 'the process vanished, time and again',
			       finished_at = now(), lease_token = NULL, lease_until = NULL
			 WHERE state = 'running' AND lease_until < now() AND takeovers >= @most
		), next AS (
			SELECT c.id, (SELECT b.rules FROM reconciliation b
			               WHERE b.registry_id = c.registry_id AND b.repository = '' AND b.state = 'done' ORDER BY b.id DESC LIMIT 1) AS before
			  FROM reconciliation c JOIN registry g ON g.id = c.registry_id
			 WHERE g.name = ANY (@registries)
			   AND (c.state = 'running' AND c.lease_until < now() AND c.takeovers < @most
			     OR c.state = 'queued' AND NOT EXISTS (SELECT 1 FROM reconciliation r WHERE r.registry_id = c.registry_id AND r.state = 'running'))
			 ORDER BY c.state = 'queued', c.repository = '', c.id
			 LIMIT 1
			   FOR UPDATE OF c SKIP LOCKED
		)
		UPDATE reconciliation c
		   SET state = 'running', reason = '', detail = '', lease_token = gen_random_uuid(),
		       lease_until = now() + make_interval(secs => @lease), heartbeat_at = now(),
		       takeovers = c.takeovers + CASE WHEN c.state = 'running' AND c.lease_token IS NOT NULL THEN 1 ELSE 0 END,
		       rules = CASE WHEN c.started_at IS NULL THEN (@rules::jsonb ->> g.name) ELSE c.rules END,
		       started_at = COALESCE(c.started_at, now())
		  FROM next, registry g
		 WHERE c.id = next.id AND g.id = c.registry_id
		RETURNING c.id, c.lease_token::text, g.name, g.host, c.repository, c.cause = 'request', COALESCE(next.before, ''), c.position, c.counts`
	names := make([]string, 0, len(rules))
	for name := range rules {
		names = append(names, name)
	}
	var run reconcile.Run
	err := s.pool.QueryRow(ctx, claim, pgx.NamedArgs{"registries": names, "rules": rules, "lease": leaseSeconds, "most": maxTakeovers}).
		Scan(&run.ID, &run.Lease, &run.Registry, &run.Host, &run.Repository, &run.Requested, &run.RulesBefore, &run.Position, &run.Counts)
	if errors.Is(err, pgx.ErrNoRows) || isUnique(err, "reconciliation_running") {
		return nil, nil // the latter: another process claimed a run of the registry at the same moment
	}
	return &run, wrap("claim reconciliation", err)
}

// RenewReconciliation prolongs the lease and says what the run waits for.
func (s *Store) RenewReconciliation(ctx context.Context, run reconcile.Run, note string) error {
	const renew = `
		UPDATE reconciliation SET lease_until = now() + make_interval(secs => @lease), heartbeat_at = now(), detail = @detail
		 WHERE id = @id AND lease_token = @token AND state = 'running'`
	return s.ownRun(ctx, "renew reconciliation", renew, run, pgx.NamedArgs{"lease": leaseSeconds, "detail": cleanText(note)})
}

// SaveReconciliation keeps position and counts of a run.
func (s *Store) SaveReconciliation(ctx context.Context, run reconcile.Run) error {
	const save = `
		UPDATE reconciliation SET position = @position, counts = @counts
		 WHERE id = @id AND lease_token = @token AND state = 'running'`
	return s.ownRun(ctx, "save reconciliation", save, run, pgx.NamedArgs{})
}

// FinishReconciliation ends a run: done for a nil cause, else failed with the
// kind and words of the cause.
func (s *Store) FinishReconciliation(ctx context.Context, run reconcile.Run, cause error) error {
	const finish = `
		UPDATE reconciliation SET state = CASE WHEN @reason = '' THEN 'done' ELSE 'failed' END, reason = @reason, detail = @detail,
		       position = @position, counts = @counts, finished_at = now(), lease_token = NULL, lease_until = NULL
		 WHERE id = @id AND lease_token = @token AND state = 'running'`
	return s.ownRun(ctx, "finish reconciliation", finish, run, pgx.NamedArgs{"reason": string(errs.KindOf(cause)), "detail": words(cause)})
}

// ReleaseReconciliation gives a run back, to go on from where it was saved.
func (s *Store) ReleaseReconciliation(ctx context.Context, run reconcile.Run) error {
	const release = `
		UPDATE reconciliation SET lease_token = NULL, lease_until = now(), detail = ''
		 WHERE id = @id AND lease_token = @token AND state = 'running'`
	return s.ownRun(ctx, "release reconciliation", release, run, pgx.NamedArgs{})
}

// ownRun writes to a run, whose lease has to be its own.
func (s *Store) ownRun(ctx context.Context, op, query string, run reconcile.Run, args pgx.NamedArgs) error {
	var err error
	args["id"], args["token"] = run.ID, run.Lease
	if args["position"], err = json.Marshal(run.Position); err != nil {
		return errs.Wrap(errs.Internal, "postgres: encode position", err)
	}
	if args["counts"], err = json.Marshal(run.Counts); err != nil {
		return errs.Wrap(errs.Internal, "postgres: encode counts", err)
	}
	tag, err := s.pool.Exec(ctx, query, args)
	if err == nil && tag.RowsAffected() == 0 {
		return runLost(run)
	}
	return wrap(op, err)
}

func runLost(run reconcile.Run) error {
	return errs.New(errs.Canceled, "postgres: reconciliation %d is no longer ours", run.ID)
}

// maxProblems bounds what is kept per run.
const maxProblems = 100

// SaveProblem keeps what a run could not look at, unless it has very many.
func (s *Store) SaveProblem(ctx context.Context, run reconcile.Run, p reconcile.Problem) error {
	const insert = `
		INSERT INTO reconciliation_problem (reconciliation_id, repository, tag, reason, detail)
		SELECT @run, @repository, @tag, @reason, @detail
		 WHERE (SELECT count(*) FROM reconciliation_problem WHERE reconciliation_id = @run) < @most`
	_, err := s.pool.Exec(ctx, insert, pgx.NamedArgs{
		"run": run.ID, "repository": cleanText(p.Repository), "tag": cleanText(p.Tag),
		"reason": string(errs.KindOf(p.Err)), "detail": words(p.Err), "most": maxProblems,
	})
	return wrap("save problem", err)
}

// CancelReconciliations ends the runs of registries that are no longer
// configured; nobody would ever take them.
func (s *Store) CancelReconciliations(ctx context.Context, configured []string) error {
	const cancel = `
		UPDATE reconciliation c SET state = 'canceled', detail = 'the registry is no longer configured', finished_at = now(),
		       lease_token = NULL, lease_until = NULL
		  FROM registry g
		 WHERE g.id = c.registry_id AND g.name <> ALL (@configured)
		   AND (c.state = 'queued' OR c.state = 'running' AND c.lease_until < now())`
	_, err := s.pool.Exec(ctx, cancel, pgx.NamedArgs{"configured": configured})
	return wrap("cancel reconciliations", err)
}

// LastReconciled tells when the newest whole run of each registry ended well.
func (s *Store) LastReconciled(ctx context.Context) (map[string]time.Time, error) {
	const query = `
		SELECT g.name, max(c.finished_at) FROM reconciliation c JOIN registry g ON g.id = c.registry_id
		 WHERE c.state = 'done' AND c.repository = '' GROUP BY g.name`
	out := map[string]time.Time{}
	found, err := s.pool.Query(ctx, query)
	if err != nil {
		return nil, wrap("read last reconciliations", err)
	}
	var name string
	var at time.Time
	_, err = pgx.ForEachRow(found, []any{&name, &at}, func() error { out[name] = at.UTC(); return nil })
	return out, wrap("read last reconciliations", err)
}
